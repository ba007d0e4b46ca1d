"""
Operator for BYOC: files in a bucket become a collection that requests can read.

Source: https://documentation.dataspace.copernicus.eu/APIs/SentinelHub/Byoc.html
"""

from __future__ import annotations

import os.path
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from airflow.sdk import BaseOperator
from airflow.sdk.configuration import conf

from airflow_provider_sentinelhub.client.errors import ArtifactMissing, BudgetExceeded, InvalidParameter, TaskTimedOut
from airflow_provider_sentinelhub.hooks import checks
from airflow_provider_sentinelhub.hooks.failures import airflow_failures, published
from airflow_provider_sentinelhub.hooks.ingestion import Ingestion
from airflow_provider_sentinelhub.hooks.sentinel_hub import SentinelHubHook

if TYPE_CHECKING:
    from airflow.sdk import Context
    from airflow.sdk.definitions.xcom_arg import XComArg

    from airflow_provider_sentinelhub.artifacts.results.byoc_tiles import WantedTile, WantedTiles
    from airflow_provider_sentinelhub.artifacts.storage.storage import Storage
    from airflow_provider_sentinelhub.client.apis.byoc.answers import ByocTile
    from airflow_provider_sentinelhub.client.lifecycle.collections import Collection
    from airflow_provider_sentinelhub.hooks.byoc import SentinelHubByocHook

_LARGE_PU = 10_000
_MARGIN_S = 120.0
_NAMED = 10


def _moment(name: str, value: Any) -> Any:
    """Check a sensing time: a datetime, or text in ISO 8601, with a time zone."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    try:
        found = datetime.fromisoformat(value) if isinstance(value, str) else value
    except ValueError:
        found = None
    if not isinstance(found, datetime) or found.tzinfo is None:
        rule = "must be a time in ISO 8601 with a time zone"
        raise InvalidParameter(name, value, rule, "Write e.g. 2026-06-01T10:30:00Z.")
    return value


class SentinelHubByocIngestOperator(checks.CheckedParametersMixin, BaseOperator):
    """
    Register files as tiles of a BYOC collection, and wait until the service has ingested them.

    The tiles are those that a batch delivered, or all GeoTIFFs below a folder. A tile whose path the collection has
    already is not registered again, so a retry or a clear registers what is missing, and reingests what failed. Each
    tile that is registered or reingested costs one processing unit.

    Returns a small dict: ``collection_id``, ``data_type`` (``byoc-<id>``, the ``type`` of a data source in requests),
    ``outcome`` (DONE, PARTIAL, FAILED, or INGESTING with ``wait_for_completion=False``), the number of tiles in
    ``total``, ``ingested``, ``failed`` and ``pending``, ``error_groups``, ``failed_names`` (some paths), ``cost_pu`` of
    this attempt, and ``tiles_url``: a Parquet table with ``path``, ``status`` and ``cause`` of each tile.

    .. seealso:: ``docs/howto/byoc.md``

    :param source: Either the ``report_url`` of a batch's result, which ends in ``.parquet``: its delivered features
        become tiles, and their outlines the cover geometries. Or the URL of a folder: all GeoTIFFs below it become
        tiles. Templated.
    :param collection_id: The id of the collection, with or without ``byoc-``. Give either this or
        ``collection_name``. Templated.
    :param collection_name: The name of the collection in the bucket of the files. It is created if there is none.
        Templated.
    :param bands: The bands of a collection that is created, as the service spells them: e.g.
        ``{"B4": {"source": "red", "bitDepth": 16, "sampleFormat": "UINT"}}``. Default: the service names them after
        the files of the first tile. Templated.
    :param file_pattern: Regular expression for the paths of files below a folder. Its group ``band`` is what
        differs between the files of one tile. Files that it does not match are left out. Default: the name of the file
        is the band, and the folder is the tile.
    :param sensing_time: The sensing time of all tiles, in ISO 8601 with a time zone. Default: none. Templated.
    :param sensing_time_pattern: Regular expression that finds the sensing time in the path of a tile, as its group
        ``time``: ISO 8601, or digits such as 20260601 or 20260601T103000, also with slashes between, in UTC.
    :param cover: The cover geometry of a tile: ``features`` for the outline of the feature in the report, with at most
        100 points and nothing cut off; ``files`` for what the service takes by default, the area of the files.
    :param check_files: Read the headers of all files that are to be registered, and check the rules of collections,
        before anything is sent. Needs the extra ``byoc``.
    :param reingest: Which tiles that the collection has already are ingested again: ``failed``, ``all`` or ``none``.
        ``all`` is for files that were replaced; each attempt repeats it.
    :param on_partial: What to do when some tiles cannot be ingested: ``fail``, or ``warn`` and succeed. With ``fail``,
        nothing is registered if a header breaks a rule. If no tile can be ingested, the Airflow task fails in any
        case. Templated.
    :param max_pu: Maximum processing units, one for each tile that is registered or reingested. Default: the limit of
        the connection; without one, 10,000 PU. Templated.
    :param wait_for_completion: Wait until the tiles are ingested.
    :param deferrable: Run in deferrable mode: wait in the triggerer instead of holding a worker slot.
    :param poll_interval: Time in seconds between two looks at the list of tiles. Templated.
    :param timeout: How long an attempt waits for the ingestion, as a ``timedelta`` or in seconds. After that the
        Airflow task fails, and a retry continues. ``None`` for no limit.
    :param concurrency: Maximum number of tiles registered at the same time.
    :param tiles_url: Where the table of tiles is written. Default: beside the report, or in the folder of the files.
        Templated.
    :param sentinelhub_conn_id: The Sentinel Hub connection. Templated.
    :param aws_conn_id: The AWS connection, for the bucket. Templated.
    """

    template_fields: Sequence[str] = (
        "source",
        "collection_id",
        "collection_name",
        "bands",
        "sensing_time",
        "on_partial",
        "max_pu",
        "poll_interval",
        "tiles_url",
        "sentinelhub_conn_id",
        "aws_conn_id",
    )
    template_fields_renderers = {"bands": "json"}  # noqa: RUF012 - Airflow's own convention
    rules: ClassVar[Mapping[str, checks.Rule]] = {
        "source": checks.URL,
        "collection_id": partial(checks.id_of, what="collection", optional=True),
        "collection_name": partial(checks.text, what="the name of a collection", optional=True),
        "bands": checks.columns,
        "file_pattern": partial(checks.text, what="a regular expression", optional=True),
        "sensing_time": _moment,
        "sensing_time_pattern": partial(checks.text, what="a regular expression", optional=True),
        "cover": partial(checks.one_of, choices=("features", "files")),
        "check_files": checks.flag,
        "reingest": partial(checks.one_of, choices=("failed", "all", "none")),
        "on_partial": partial(checks.one_of, choices=checks.ON_PARTIAL),
        "max_pu": partial(checks.number, at_least=0, finite=False, optional=True),
        "wait_for_completion": checks.flag,
        "deferrable": checks.flag,
        "poll_interval": checks.SECONDS,
        "timeout": checks.limit,
        "concurrency": partial(checks.number, at_least=1, whole=True),
        "tiles_url": checks.OPTIONAL_URL,
        "sentinelhub_conn_id": checks.CONNECTION,
        "aws_conn_id": checks.OPTIONAL_CONNECTION,
    }
    ui_color = "#d4e7c5"

    def __init__(
        self,
        *,
        source: str | XComArg,
        collection_id: str | XComArg | None = None,
        collection_name: str | None = None,
        bands: Mapping[str, Any] | None = None,
        file_pattern: str | None = None,
        sensing_time: Any = None,
        sensing_time_pattern: str | None = None,
        cover: Literal["features", "files"] = "features",
        check_files: bool = True,
        reingest: Literal["failed", "all", "none"] = "failed",
        on_partial: str = "fail",
        max_pu: float | str | None = None,
        wait_for_completion: bool = True,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poll_interval: float | str = 30.0,
        timeout: timedelta | float | None = None,
        concurrency: int = 4,
        tiles_url: str | None = None,
        sentinelhub_conn_id: str = SentinelHubHook.default_conn_name,
        aws_conn_id: str | None = "aws_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        # Strings once they are rendered.
        self.source: str = source  # type: ignore[assignment]
        self.collection_id: str | None = collection_id  # type: ignore[assignment]
        self.collection_name = collection_name
        self.bands = bands
        self.file_pattern = file_pattern
        self.sensing_time = sensing_time
        self.sensing_time_pattern = sensing_time_pattern
        self.cover = cover
        self.check_files = check_files
        self.reingest = reingest
        self.on_partial = on_partial
        self.max_pu = max_pu
        self.wait_for_completion = wait_for_completion
        self.deferrable = deferrable
        self.poll_interval = poll_interval
        self.timeout = timeout
        self.concurrency = concurrency
        self.tiles_url = tiles_url
        self.sentinelhub_conn_id = sentinelhub_conn_id
        self.aws_conn_id = aws_conn_id
        self.check_parameters(parsing=True)

    def _check_choices(self) -> None:
        given = [name for name in ("collection_id", "collection_name") if getattr(self, name)]
        if len(given) != 1:
            rule = "exactly one of collection_id and collection_name is needed"
            raise InvalidParameter("collection_id", given, rule, "Give one of them.")
        if self.sensing_time and self.sensing_time_pattern:
            rule = "exactly one of sensing_time and sensing_time_pattern may be given"
            raise InvalidParameter("sensing_time_pattern", self.sensing_time_pattern, rule, "Remove one of them.")

    @cached_property
    def hook(self) -> SentinelHubByocHook:
        """The hook that reaches the service."""
        from airflow_provider_sentinelhub.hooks.byoc import SentinelHubByocHook

        return SentinelHubByocHook(self.sentinelhub_conn_id)

    @cached_property
    def _storage(self) -> Storage:
        from airflow_provider_sentinelhub.hooks.bucket_connections import open_buckets

        return open_buckets(self.aws_conn_id, None)

    @cached_property
    def _stop(self) -> threading.Event:
        # Not in __init__: Airflow copies operators, and an event cannot be copied.
        return threading.Event()

    @property
    def _is_report(self) -> bool:
        return self.source.endswith(".parquet")

    def execute(self, context: Context) -> dict[str, Any] | None:
        """
        Register what is missing, wait for it, and return the result.

        :param context: The task's context.
        """
        with airflow_failures(), published(context):
            self.check_parameters(parsing=False)
            self._check_choices()
            wanted = self._wanted()
            collection, cost = self._obtain(wanted)
            self.log.info("Collection %s (%s): %d tiles", collection.id, collection.name, len(wanted.tiles))
            cost += self._register(wanted, collection)
            if not self.wait_for_completion:
                return self._conclude(wanted, collection.id, cost)
            deadline = None if self.timeout is None else time.time() + _seconds(self.timeout)
            return self._wait(wanted, collection.id, cost, deadline)

    def execute_complete(
        self,
        context: Context,
        event: Any = None,  # noqa: ARG002 - the list of tiles has the last word
        *,
        collection: str,
        cost: int,
        deadline: float | None = None,
    ) -> dict[str, Any] | None:
        """
        Continue after the deferral.

        :param context: The task's context.
        :param event: The payload of the trigger's event; ``None`` if something else resumed the Airflow task.
        :param collection: Id of the collection.
        :param cost: Processing units spent so far.
        :param deadline: When the wait ends, in seconds since the epoch.
        """
        with airflow_failures(), published(context):
            self.check_parameters(parsing=False)
            return self._wait(self._wanted(), collection, cost, deadline)

    def on_kill(self) -> None:
        """Register nothing further; the tiles that are registered stay."""
        self._stop.set()

    def _wanted(self) -> WantedTiles:
        from airflow_provider_sentinelhub.artifacts.results import byoc_tiles

        if self._is_report:
            with tempfile.TemporaryDirectory() as folder:
                wanted = byoc_tiles.from_report(self._storage, self.source, Path(folder))
        else:
            pattern = self.file_pattern or byoc_tiles.FILE_PATTERN
            wanted = byoc_tiles.from_files(self._storage, self.source, pattern)
        if not wanted.tiles:
            raise ArtifactMissing(f"There are no GeoTIFFs to register in {self.source}.")
        return wanted

    def _obtain(self, wanted: WantedTiles) -> tuple[Collection, int]:
        if self.collection_id:
            collection, is_new = self.hook.get_collection(self.collection_id), False
        else:
            wished = self._new_collection(wanted.bucket)
            if self.hook.find_collection(wished["name"], wanted.bucket) is None:
                self._check_before_creation(wanted, wished)
            collection, is_new = self.hook.obtain_collection(wished)
        here, there = (name.rpartition(":")[2] for name in (wanted.bucket, collection.s3_bucket or wanted.bucket))
        if here != there:
            rule = f"is in the bucket {collection.s3_bucket}, and the files are in {wanted.bucket}"
            raise InvalidParameter("collection_id", self.collection_id, rule, "Use another collection.")
        return collection, int(is_new)

    def _check_before_creation(self, wanted: WantedTiles, wished: dict[str, Any]) -> None:
        """Check files and budget while nothing has been paid for, not even the collection."""
        from airflow_provider_sentinelhub.client.lifecycle.collections import Collection

        self._check_budget(len(wanted.tiles))
        if self.on_partial == "fail":
            broken = self._broken(wanted, list(wanted.tiles.values()), Collection.model_validate(wished))
            self._check_broken(broken, "")

    def _new_collection(self, bucket: str) -> dict[str, Any]:
        from airflow_provider_sentinelhub.client.models import from_text

        made: dict[str, Any] = {"name": self.collection_name, "s3Bucket": bucket}
        if bands := from_text(self.bands):
            made["additionalData"] = {"bands": bands}
        return made

    def _register(self, wanted: WantedTiles, collection: Collection) -> int:
        there = self.hook.present(collection.id, wanted.tiles)
        again = [tile for tile in there.values() if self._is_repeated(tile)]
        new = [tile for path, tile in wanted.tiles.items() if path not in there]
        self.log.info("%d tiles are registered, %d are new, %d are reingested", len(there), len(new), len(again))
        broken = self._broken(wanted, [*new, *(wanted.tiles[tile.path] for tile in again)], collection)
        self._check_broken(broken, collection.id)
        new = [tile for tile in new if tile.path not in broken]
        again = [tile for tile in again if tile.path not in broken]
        self._check_budget(len(new) + len(again))
        bodies = [tile.body(self._sensed(tile), with_cover=self.cover == "features") for tile in new]
        cost = self.hook.register(collection.id, bodies, again, concurrency=int(self.concurrency), stop=self._stop)
        self._check_not_killed()
        return cost

    def _is_repeated(self, tile: ByocTile) -> bool:
        if self.reingest == "all":
            return tile.status in {"INGESTED", "FAILED"}
        return self.reingest == "failed" and tile.status == "FAILED"

    def _broken(self, wanted: WantedTiles, tiles: list[WantedTile], collection: Collection) -> dict[str, str]:
        from airflow_provider_sentinelhub.artifacts.results.byoc_files import broken_tiles

        if not (self.check_files and tiles):
            return {}
        return broken_tiles(self._storage, wanted.bucket_url, tiles, collection.additional_data.bands)

    def _check_broken(self, broken: Mapping[str, str], collection_id: str) -> None:
        if not broken:
            return
        rejected = Ingestion(collection_id, dict.fromkeys(broken, "REJECTED"), dict(broken))
        if self.on_partial == "fail":
            shown = [f"  {path}: {broken[path]}" for path in sorted(broken)[:_NAMED]]
            more = [f"  and {len(broken) - _NAMED} more"] if len(broken) > _NAMED else []
            rule = "\n".join(["has files that cannot be tiles, so nothing was registered:", *shown, *more])
            fix = "Write them as cloud optimised GeoTIFFs, or set on_partial='warn' to leave them out."
            raise InvalidParameter("source", self.source, rule, fix)
        self.log.warning("%s", rejected.text())

    def _check_budget(self, changes: int) -> None:
        limit = float(self.max_pu) if self.max_pu is not None else self.hook.max_pu
        most = _LARGE_PU if limit is None else limit
        if changes > most:
            raise BudgetExceeded(
                f"{changes:,} tiles would cost {changes:,} PU, and max_pu is {most:,.0f}. Nothing was registered. Set "
                "max_pu, or register fewer tiles."
            )

    def _sensed(self, tile: WantedTile) -> str | None:
        from airflow_provider_sentinelhub.artifacts.results.byoc_tiles import compiled, sensed_of

        if self.sensing_time_pattern:
            return sensed_of(tile.path, compiled("sensing_time_pattern", self.sensing_time_pattern, "time"))
        given = self.sensing_time
        return given.isoformat() if hasattr(given, "isoformat") else given or None

    def _wait(
        self, wanted: WantedTiles, collection_id: str, cost: int, deadline: float | None
    ) -> dict[str, Any] | None:
        prefix = _common_prefix(wanted)
        while True:
            why = self.hook.why_unsettled(collection_id, prefix)
            if not why:
                return self._conclude(wanted, collection_id, cost)
            if deadline is not None and time.time() >= deadline:
                raise TaskTimedOut(
                    f"Collection {collection_id}: {why} after the time that timeout allows. The service goes on; clear "
                    "the Airflow task to wait again."
                )
            if self.deferrable:
                self._defer(collection_id, prefix, cost, deadline)
            self._stop.wait(float(self.poll_interval))
            self._check_not_killed()

    def _defer(self, collection_id: str, prefix: str, cost: int, deadline: float | None) -> None:
        from airflow_provider_sentinelhub.triggers.byoc import SentinelHubByocTrigger

        trigger = SentinelHubByocTrigger(
            collection_id=collection_id,
            path_prefix=prefix,
            at_least=0,
            sentinelhub_conn_id=self.sentinelhub_conn_id,
            poll_interval=float(self.poll_interval),
            deadline=deadline,
        )
        spare = None if deadline is None else timedelta(seconds=max(0.0, deadline - time.time()) + _MARGIN_S)
        known = {"collection": collection_id, "cost": cost, "deadline": deadline}
        self.defer(trigger=trigger, method_name="execute_complete", kwargs=known, timeout=spare)

    def _conclude(self, wanted: WantedTiles, collection_id: str, cost: int) -> dict[str, Any]:
        there = self.hook.present(collection_id, wanted.tiles)
        found = Ingestion(collection_id)
        lost = [tile for path, tile in wanted.tiles.items() if path not in there]
        broken = self._broken(wanted, lost, self.hook.get_collection(collection_id)) if lost else {}
        for path in wanted.tiles:
            tile = there.get(path)
            found.statuses[path] = tile.status if tile else "REJECTED" if path in broken else "MISSING"
            if tile is None or tile.status == "FAILED":
                found.causes[path] = tile.cause if tile else broken.get(path, "the service does not list the tile")
        url = self.tiles_url or self._beside(collection_id)
        found.write(self._storage, url)
        result = found.result(cost_pu=cost, tiles_url=url)
        if found.failed:
            if self.on_partial == "fail" or not (found.ingested or found.pending):
                raise found.error(result)
            self.log.warning("%s", found.text())
        return result

    def _beside(self, collection_id: str) -> str:
        folder = self.source.rpartition("/")[0] if self._is_report else self.source.rstrip("/")
        return f"{folder}/tiles-{collection_id}.parquet"

    def _check_not_killed(self) -> None:
        from airflow.sdk.exceptions import AirflowException

        if self._stop.is_set():
            raise AirflowException("The Airflow task was killed")


def _seconds(limit: timedelta | float) -> float:
    return limit.total_seconds() if isinstance(limit, timedelta) else float(limit)


def _common_prefix(wanted: WantedTiles) -> str:
    paths = list(wanted.tiles)
    # Character by character is what is wanted: a path that begins with it is looked at.
    return os.path.commonprefix([paths[0], paths[-1]])  # noqa: RUF071 - see above
