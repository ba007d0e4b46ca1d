"""
What a task of Batch Processing V1 leaves behind: rasters or a Zarr in the bucket, and tiles that the service lists.

The service writes no list of what it has delivered into the bucket: what became of a tile, and what it cost, is known
only at the tiles endpoint.

Source: https://documentation.dataspace.copernicus.eu/APIs/SentinelHub/Batch.html
"""

from __future__ import annotations

import logging
import tempfile
import time
from collections import Counter as Tally
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_provider_sentinelhub.artifacts.geopackage.blobs import geometry_blob
from airflow_provider_sentinelhub.artifacts.report.execution_db import read_execution_db
from airflow_provider_sentinelhub.artifacts.report.listed_features import WGS84, ListedFeature, ListedFeatures
from airflow_provider_sentinelhub.artifacts.report.overwritten import Written, notes_on_files
from airflow_provider_sentinelhub.artifacts.report.report import FeatureReport, TaskCounts
from airflow_provider_sentinelhub.artifacts.results.base import BatchResults, Counter
from airflow_provider_sentinelhub.artifacts.storage.layout import (
    DeliveryUrl,
    is_shared,
    output_path,
    report_url,
    root_folder,
    zarr_url,
)
from airflow_provider_sentinelhub.client.apis.batch_v1.answers import BatchV1Task
from airflow_provider_sentinelhub.client.apis.batch_v1.calls import TileStatus, read_tiles
from airflow_provider_sentinelhub.client.errors import ArtifactMissing
from airflow_provider_sentinelhub.client.requests.findings import objects, part

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from airflow_provider_sentinelhub.client.apis.batch_v1.answers import Tile, TilePage
    from airflow_provider_sentinelhub.client.costs.estimate import PixelCounts
    from airflow_provider_sentinelhub.client.lifecycle.spec import Rerun
    from airflow_provider_sentinelhub.client.lifecycle.tasks import BatchTask

log = logging.getLogger(__name__)

PATIENCE_S = 60.0
MOST_COUNTED = 5000
"""Tiles of a running task that are counted, a request for each hundred; no tiles of a larger one are."""
# As in an execution database.
_STATUSES = {**{str(status): "PENDING" for status in TileStatus}, "PROCESSED": "DONE", "FAILED": "FATAL"}
_ZARR = "zarrOutput"


class BatchV1Results(BatchResults):
    """Rasters or a Zarr; the tiles endpoint says what became of them."""

    @staticmethod
    def check_delivery_url(body: Mapping[str, Any], field: str, url: str) -> None:
        """
        Check the form of the URL of the rasters, or of the Zarr.

        :param body: The request, of any shape.
        :param field: Where in the request the URL stands.
        :param url: The URL.
        """
        names = {str(each.get("identifier")) for each in objects(body, "processRequest", "output", "responses")}
        # A path of one output is for that output alone, and the path of all is for the others.
        own = {str(each.get("identifier")) for each in objects(body, "output", "responses")}
        outputs = 1 if field.startswith("output.responses.") else max(1, len(names - own))
        DeliveryUrl.parse(url, field=field, outputs=outputs, zarr=field.startswith(_ZARR), knows_tile_id=True)

    def root(self, task: BatchTask) -> str:
        """
        Return the folder of the files about a task.

        :param task: The task.
        """
        return root_folder(self.api.delivery_url(task.request), task.id)

    def delivered_url(self, original: BatchTask) -> str:
        """
        Return the folder of the rasters, or the Zarr.

        :param original: The task.
        """
        if _ZARR in original.request:
            return zarr_url(self.api.delivery_url(original.request), original.id)
        return self.root(original)

    def report(self, tasks: Sequence[BatchTask]) -> FeatureReport:
        """
        Answer for every tile from the tiles endpoint, and write the table of all tiles as Parquet.

        :param tasks: The task.
        """
        from airflow_provider_sentinelhub.artifacts.report.table import write_parquet

        task = tasks[0]
        with tempfile.TemporaryDirectory(prefix="sentinelhub-report-") as name:
            folder = Path(name)
            with ListedFeatures(folder, task.id) as files:
                counts = self._read(task, files)
            if not counts.total:
                raise ArtifactMissing(f"Task {task.id} is {task.status}, and the service lists no tiles of it.")
            table = folder / "report.parquet"
            report = read_execution_db(files.execution_db)
            write_parquet(files.execution_db, files.manifest, table, [task.id])
            root = self.root(task)
            url = report_url(root, task.id)
            self.storage.upload(table, url)
            notes: tuple[str, ...] = ()
            if is_shared(self.api.delivery_url(task.request)):
                notes = notes_on_files(self.storage, table, root, Written.by(tasks))
        if missing := self._missing(task, report.total):
            # Nobody knows what became of them: the task must not look complete.
            notes += (f"The analysis found {report.total + missing:,} tiles, and the service lists {report.total:,}.",)
            report = replace(report, total=report.total + missing, pending=report.pending + missing)
        whole = TaskCounts(task.id, report.total, report.delivered, report.no_data, report.total)
        return replace(report, report_url=url, notes=notes, tasks=(whole,), cost_pu=counts.cost_pu)

    def _read(self, task: BatchTask, files: ListedFeatures) -> FeatureReport:
        """Read all tiles; wait for the last ones of a task that has ended, since replicas may lag behind."""
        give_up_at, pause = time.monotonic() + PATIENCE_S, 0.5
        while True:
            tiles = _Tiles(self, task, files)
            counts = tiles.count()
            late = counts.pending + self._missing(task, counts.total)
            # DONE means that no tile has failed: these have failed before a restart.
            late += counts.failed if task.status == "DONE" else 0
            if task.status not in self.api.answered or not late or time.monotonic() + pause > give_up_at:
                return counts
            log.info("Task %s is %s, and %d of its tiles do not show it yet", task.id, task.status, late)
            time.sleep(pause)
            pause = min(pause * 2, 10.0)

    def _missing(self, task: BatchTask, listed: int) -> int:
        """Return how many tiles of a task that has ended are not listed, as far as their number is known."""
        if not isinstance(task, BatchV1Task) or task.tile_count is None or task.status not in self.api.answered:
            return 0
        # Whether tiles that were skipped are counted is not documented.
        return 0 if task.skips_existing else max(0, task.tile_count - listed)

    def counter(self, task: BatchTask) -> Counter | None:
        """
        Return what counts the tiles of a running task; ``None`` if there are too many of them.

        :param task: The task.
        """
        if isinstance(task, BatchV1Task) and (task.tile_count or 0) > MOST_COUNTED:
            return None
        return lambda: self.counts(task)

    def counts(self, task: BatchTask) -> FeatureReport:
        """
        Count the tiles of a task.

        :param task: The task.
        """
        return _Tiles(self, task).count()

    def pixel_counts(self, task: BatchTask) -> PixelCounts:
        """
        Return the size of a task's tiles.

        :param task: The task.
        """
        size = _size(task)
        if size is None or not isinstance(task, BatchV1Task) or task.tile_count is None:
            raise ArtifactMissing(f"The number and the size of the tiles of task {task.id} are not known yet.")
        return [(*size, task.tile_count)]

    def prepare_rerun(self, tasks: Sequence[BatchTask], *, only_after_progress: bool) -> Rerun | None:
        """
        Return nothing: failed tiles are restarted in the same task.

        :param tasks: The task.
        :param only_after_progress: Not used.
        """


@dataclass(slots=True)
class _Tiles:
    """
    The tiles of a task, read page by page.

    :param results: Asks the service, and the bucket.
    :param task: The task.
    :param files: Takes each tile. Default: they are only counted.
    """

    results: BatchV1Results
    task: BatchTask
    files: ListedFeatures | None = None
    _statuses: Tally[str] = field(default_factory=Tally)
    # A tile that is listed twice, because the list has moved between two pages, counts once. The limit of pages keeps
    # this small.
    _seen: set[int] = field(default_factory=set)
    _cost: float | None = None
    _suffix: str = ""

    def count(self) -> FeatureReport:
        self.results.ask(read_tiles(self.task.id, self._take))
        total, known = self._statuses.total(), [self._statuses[status] for status in ("DONE", "FATAL", "PENDING")]
        delivered, failed, pending = known
        return FeatureReport(
            total=total,
            delivered=delivered,
            failed=failed,
            pending=pending,
            unknown=total - sum(known),
            cost_pu=self._cost,
        )

    def _take(self, page: TilePage) -> None:
        for tile in page.data:
            if tile.id in self._seen:
                continue
            self._seen.add(tile.id)
            self._statuses[_status(tile)] += 1
            if tile.cost is not None:
                self._cost = (self._cost or 0.0) + tile.cost
        if self.files is not None:
            self.files.add(self._feature(tile) for tile in page.data)

    def _feature(self, tile: Tile) -> ListedFeature:
        status, name = _status(tile), tile.name or str(tile.id)
        width, height = _size(self.task) or (None, None)
        return ListedFeature(
            tile.id,
            name,
            status,
            self._error(tile) if status == "FATAL" else None,
            tuple(self._outputs(tile, name, is_delivered=status == "DONE")),
            width,
            height,
            _outline(tile),
        )

    def _error(self, tile: Tile) -> str | None:
        # The service says why a task failed, and not why a tile did.
        return tile.error or (f"Said of the task: {self.task.error}" if self.task.error else None)

    def _outputs(self, tile: Tile, name: str, *, is_delivered: bool) -> Iterator[tuple[str, str]]:
        request = self.task.request
        of_all = self.results.api.delivery_url(request)
        own = {str(each.get("identifier")): each.get("tilePath") for each in objects(request, "output", "responses")}
        responses = objects(request, "processRequest", "output", "responses") or [{"identifier": "default"}]
        for response in responses:
            output = str(response.get("identifier") or "default")
            url = str(own.get(output) or of_all)
            if _ZARR in request:
                yield output, zarr_url(url, self.task.id)
            elif part(response, "format", "type") == "application/json":
                yield output, output_path(url, self.task.id, name, output, "json", tile_id=str(tile.id))
            else:
                if is_delivered and not self._suffix:
                    self._suffix = self._suffix_of(url, tile, name, output)
                yield output, output_path(url, self.task.id, name, output, self._suffix or "tif", tile_id=str(tile.id))

    def _suffix_of(self, url: str, tile: Tile, name: str, output: str) -> str:
        # The documentation says tiff, and the files that were seen end in tif.
        for suffix in ("tif", "tiff"):
            if self.results.storage.exists(output_path(url, self.task.id, name, output, suffix, tile_id=str(tile.id))):
                return suffix
        return "tif"


def _status(tile: Tile) -> str:
    return _STATUSES.get(tile.status, tile.status or "PENDING")


def _size(task: BatchTask) -> tuple[int, int] | None:
    """Return width and height of the tiles' files in pixels: what the service tells does not include buffers."""
    if not isinstance(task, BatchV1Task) or not task.tile_width_px or not task.tile_height_px:
        return None
    buffers = (part(task.request, "tilingGrid", name) for name in ("bufferX", "bufferY"))
    width, height = (2 * each if isinstance(each, int) else 0 for each in buffers)
    return task.tile_width_px + width, task.tile_height_px + height


def _outline(tile: Tile) -> bytes | None:
    import shapely
    from shapely.geometry import shape

    try:
        outline = shapely.force_2d(shape(tile.geometry))
    except (
        ValueError,
        TypeError,
        KeyError,
        AttributeError,
        IndexError,
        OverflowError,
        RecursionError,
        shapely.errors.ShapelyError,
    ):
        return None
    if outline.is_empty:
        return None
    return geometry_blob(shapely.to_wkb(outline, byte_order=1), WGS84, outline.bounds)
