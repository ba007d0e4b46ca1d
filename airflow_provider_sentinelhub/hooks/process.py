"""The hook for the Process API, used by the operator and in Python tasks: images to files and buckets."""

from __future__ import annotations

import logging
import tempfile
import threading
import uuid
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from airflow_provider_sentinelhub.client.costs.amounts import mb_text, pu_text
from airflow_provider_sentinelhub.client.errors import InvalidParameter, StorageUnavailable, TaskStopped
from airflow_provider_sentinelhub.hooks.sentinel_hub import SentinelHubHook

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_sentinelhub.artifacts.images.delivery import Destination, Record
    from airflow_provider_sentinelhub.artifacts.images.parts import Parts
    from airflow_provider_sentinelhub.artifacts.storage.storage import Storage
    from airflow_provider_sentinelhub.client.apis.process.calls import ImageAnswer
    from airflow_provider_sentinelhub.client.costs.estimate import Estimate
    from airflow_provider_sentinelhub.client.lifecycle.spec import ApiSpec
    from airflow_provider_sentinelhub.client.requests.raster import Cell, Raster

log = logging.getLogger(__name__)

IfExists = Literal["reuse", "overwrite", "fail"]
IF_EXISTS = ("reuse", "overwrite", "fail")

_MB = 1e6
_LESS = "a smaller area, a coarser resolution, fewer bands"


@dataclass(frozen=True, slots=True)
class DeliveredImage:
    """
    An image in a bucket.

    :param url: Its URL, or that of the folder with its outputs.
    :param files: Names of the files in the folder; empty if there is only the one that ``url`` names.
    :param bytes: Size of all files.
    :param pu: Processing units it cost, in all attempts; ``None`` if the service did not say it.
    :param raster: Its pixels.
    :param reused: Whether it was there already, and nothing was requested.
    """

    url: str
    files: tuple[str, ...]
    bytes: int
    pu: float | None
    raster: Raster
    reused: bool


class SentinelHubProcessHook(SentinelHubHook):
    """
    Interact with the Process API.

    :param sentinelhub_conn_id: The Sentinel Hub connection.
    :param aws_conn_id: The AWS connection, for ``s3://`` URLs.
    :param gcp_conn_id: The Google Cloud connection, for ``gs://`` URLs.
    """

    def __init__(
        self,
        sentinelhub_conn_id: str = SentinelHubHook.default_conn_name,
        aws_conn_id: str | None = "aws_default",
        gcp_conn_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(sentinelhub_conn_id, **kwargs)
        self.aws_conn_id = aws_conn_id
        self.gcp_conn_id = gcp_conn_id

    @property
    def api(self) -> ApiSpec:
        """The API."""
        from airflow_provider_sentinelhub.client.apis.process.spec import PROCESS

        return PROCESS

    @cached_property
    def storage(self) -> Storage:
        """Reads and writes by URL."""
        from airflow_provider_sentinelhub.hooks.bucket_connections import open_buckets

        return open_buckets(self.aws_conn_id, self.gcp_conn_id)

    def prepare(self, request: Any, *, split: bool = False) -> dict[str, Any]:
        """
        Check a request locally and return the JSON to send.

        Needs no network. Warnings are logged. A resolution becomes the width and height it makes, so that the size of
        the image is certain.

        :param request: The service's own request as a dict, or as JSON text.
        :param split: Whether the image is requested in parts.
        :raises InvalidParameter: Names each invalid field, its value, the rule and the fix.
        :raises InvalidConfiguration: The image is requested in parts, and rasterio is not installed.
        """
        from airflow_provider_sentinelhub.artifacts.images.mosaic import check_installed
        from airflow_provider_sentinelhub.client.apis.process.calls import sized
        from airflow_provider_sentinelhub.client.apis.process.spec import PROCESS_IN_PARTS
        from airflow_provider_sentinelhub.hooks.preflight import check_request, tell_size

        if split:
            check_installed()
        body = check_request(PROCESS_IN_PARTS if split else self.api, request, self.address.deployment)
        tell_size(self.api, body)
        return sized(body)

    def estimate(self, request: Any, *, split: bool = False) -> Estimate:
        """
        Estimate what an image will cost.

        :param request: The service's own request as a dict, or as JSON text.
        :param split: Whether it is requested in parts.
        :raises InvalidParameter: Names each invalid field, its value, the rule and the fix.
        """
        from airflow_provider_sentinelhub.client.apis.process.calls import parts_of

        body = self.prepare(request, split=split)
        return self.api.estimate(body, [(each.width, each.height, 1) for each in parts_of(body)])

    def image(self, request: Any, path: str | Path) -> ImageAnswer:
        """
        Write one image to a local file, or the tar of several outputs.

        ::

            SentinelHubProcessHook().image(request, "/tmp/image.tif").pu

        :param request: The service's own request as a dict, or as JSON text.
        :param path: The file; replaced if it exists.
        :returns: Its cost, size and media type.
        :raises InvalidParameter: Names each invalid field, its value, the rule and the fix.
        :raises ApiError: The service refused the request.
        """
        return self._request(self.prepare(request), Path(path))

    def deliver(
        self,
        request: Any,
        output_url: str,
        *,
        if_exists: IfExists = "reuse",
        split: bool = False,
        part_size: int = 2500,
        concurrency: int = 4,
        max_pu: float | str | None = None,
        written_by: str = "",
        stop: threading.Event | None = None,
    ) -> DeliveredImage:
        """
        Write an image, or several outputs, to a bucket or a local folder.

        :param request: The service's own request as a dict, or as JSON text.
        :param output_url: See :meth:`~airflow_provider_sentinelhub.artifacts.images.delivery.Destination.of`.
        :param if_exists: What to do about files that are there already. ``reuse``: keep them if they were made from the
            same request, and replace them otherwise. ``overwrite``: replace them. ``fail``: keep them if they were made
            from the same request, and fail otherwise.
        :param split: Whether to request the image in parts, and to put them together into one cloud optimised GeoTIFF.
        :param part_size: Maximum width and height of a part in pixels, with ``split=True``.
        :param concurrency: Maximum number of requests at the same time.
        :param max_pu: Maximum cost in processing units, as estimated; ``None`` for the connection's or, if it has none,
            10,000.
        :param written_by: A text that names the attempt. What the same attempt has written is never overwritten.
        :param stop: Set to send no further requests.
        :raises InvalidParameter: Names each invalid field, its value, the rule and the fix.
        :raises BudgetExceeded: Nothing was requested.
        :raises ApiError: The service refused the request.
        :raises StorageUnavailable: The bucket cannot be read or written.
        """
        from airflow_provider_sentinelhub.artifacts.images.delivery import Destination, Record, digest_of, publish
        from airflow_provider_sentinelhub.artifacts.images.parts import Parts
        from airflow_provider_sentinelhub.client.apis.process.calls import MAX_PX, formats_of, parts_of, raster_of

        body = self.prepare(request, split=split)
        destination, raster = Destination.of(output_url, formats_of(body)), raster_of(body)
        if split and destination.is_tar:
            rule = "is that of a tar, but split=True writes a GeoTIFF"
            raise InvalidParameter("output_url", output_url, rule, "Write e.g. s3://bucket/folder/image.tif.")
        cells = parts_of(body, part_size if split else MAX_PX)
        digest = digest_of(body, part_size if split else None)
        known = Record.read(self.storage, destination)
        if known is not None and self._is_kept(known, digest, if_exists, written_by):
            log.info("%s was made from this request before, %s; kept", destination.url, _cost(known.pu))
            return _delivered(destination, known, raster, reused=True)
        if if_exists == "fail":
            self._refuse_taken(destination)
        self._check_writable(destination)
        # Parts of an attempt that was interrupted long ago are not what overwriting asks for.
        only_of = written_by or uuid.uuid4().hex if if_exists == "overwrite" else ""
        parts = Parts(self.storage, destination.parts_url(digest, only_of))
        with tempfile.TemporaryDirectory(prefix="sentinelhub-process-") as name:
            folder = Path(name)
            if split:
                stop = stop or threading.Event()
                path, pu = self._in_parts(body, cells, parts, folder, concurrency=concurrency, max_pu=max_pu, stop=stop)
                files = dict.fromkeys(destination.files, path)
            else:
                self._check_budget(body, max_pu, cells)
                files, pu = self._at_once(body, destination, folder)
            record = publish(
                self.storage, destination, files, digest=digest, written_by=written_by, pu=pu, request=body
            )
        if split:
            self._clean_up(parts)
        log.info("Wrote %s: %s, %s", destination.url, mb_text(record.size / _MB), _cost(pu))
        return _delivered(destination, record, raster, reused=False)

    def _is_kept(self, known: Record, digest: str, if_exists: IfExists, written_by: str) -> bool:
        is_own = bool(written_by) and known.written_by == written_by
        return known.digest == digest and (if_exists != "overwrite" or is_own)

    def _refuse_taken(self, destination: Destination) -> None:
        from airflow_provider_sentinelhub.artifacts.images.delivery import FIELD, is_taken

        if (url := is_taken(self.storage, destination)) is not None:
            rule = f"is taken: {url} was not made from this request, as far as its record says"
            fix = "Write elsewhere, delete it, or set if_exists to 'reuse' or 'overwrite' to replace it."
            raise InvalidParameter(FIELD, destination.url, rule, fix)

    def _clean_up(self, parts: Parts) -> None:
        try:
            parts.delete()
        except StorageUnavailable as e:
            log.warning("The image is complete, but its parts are still at %s; delete them. %s", parts.url, e)

    def _check_writable(self, destination: Destination) -> None:
        from airflow_provider_sentinelhub.artifacts.images.delivery import FIELD
        from airflow_provider_sentinelhub.hooks.preflight import check_writable

        conn_id = self.gcp_conn_id if destination.url.startswith("gs://") else self.aws_conn_id
        check_writable(self.storage, FIELD, destination.record_url.rpartition("/")[0], conn_id)

    def _check_budget(self, body: Mapping[str, Any], max_pu: float | str | None, missing: list[Cell]) -> None:
        from airflow_provider_sentinelhub.hooks.budget import check_budget_of_answers

        found = self.api.estimate(body, [(each.width, each.height, 1) for each in missing])
        # An area that is too large for a batch is none for an image: its pixels are limited.
        check_budget_of_answers(self, found, None, max_pu, what="The image", less=_LESS)

    def _request(self, body: Mapping[str, Any], path: Path, *, as_tar: bool = False) -> ImageAnswer:
        from airflow_provider_sentinelhub.client.apis.process.calls import image
        from airflow_provider_sentinelhub.hooks.image_parts import local_file

        with local_file(path) as file:
            answer: ImageAnswer = self.send(image(body, file, as_tar=as_tar))
        return answer

    def _at_once(
        self, body: Mapping[str, Any], destination: Destination, folder: Path
    ) -> tuple[dict[str, Path], float | None]:
        from airflow_provider_sentinelhub.artifacts.images.tar import unpack
        from airflow_provider_sentinelhub.client.apis.process.calls import formats_of

        path, formats = folder / "answer", formats_of(body)
        answer = self._request(body, path, as_tar=destination.is_tar)
        if len(formats) > 1 and not destination.is_tar:
            return unpack(path, formats, folder), answer.pu
        return dict.fromkeys(destination.files, path), answer.pu

    def _in_parts(
        self,
        body: Mapping[str, Any],
        cells: list[Cell],
        parts: Parts,
        folder: Path,
        *,
        concurrency: int,
        max_pu: float | str | None,
        stop: threading.Event,
    ) -> tuple[Path, float | None]:
        from airflow_provider_sentinelhub.artifacts.images.mosaic import merge
        from airflow_provider_sentinelhub.client.apis.process.calls import raster_of
        from airflow_provider_sentinelhub.hooks.image_parts import PartsRequest

        known, raster = parts.kept(), raster_of(body)
        missing = [each for each in cells if (each.row, each.column) not in known]
        log.info(
            "%d x %d pixels in %d parts, of which %d were paid for before",
            raster.width, raster.height, len(cells), len(cells) - len(missing),
        )  # fmt: skip
        self._check_budget(body, max_pu, missing)
        request = PartsRequest(self.sender, parts, folder, body, raster)
        files, pu = request.fetch(cells, known, concurrency=concurrency, stop=stop)
        if len(files) < len(cells):
            raise TaskStopped(f"Stopped with {len(files)} of {len(cells)} parts. They are kept for the next attempt.")
        target = folder / "image.tif"
        merge(files, raster, target)
        return target, pu


def _cost(pu: float | None) -> str:
    return "cost unknown" if pu is None else pu_text(pu)


def _delivered(destination: Destination, record: Record, raster: Raster, *, reused: bool) -> DeliveredImage:
    return DeliveredImage(destination.url, tuple(destination.names), record.size, record.pu, raster, reused)
