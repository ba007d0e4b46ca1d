"""
Operator for the Process API: an image of an area, answered at once.

Source: https://docs.planet.com/develop/apis/processing/
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from airflow_provider_sentinelhub.client.errors import TaskStopped
from airflow_provider_sentinelhub.hooks import checks
from airflow_provider_sentinelhub.hooks.failures import airflow_failures
from airflow_provider_sentinelhub.hooks.sentinel_hub import SentinelHubHook
from airflow_provider_sentinelhub.operators.templating import RequestTemplateMixin

if TYPE_CHECKING:
    from airflow.sdk import Context, XComArg

    from airflow_provider_sentinelhub.hooks.process import DeliveredImage, SentinelHubProcessHook

# An XCom stays below 4,000 bytes.
_MOST_NAMES = 20
_LONGEST_NAME = 100


class SentinelHubProcessOperator(RequestTemplateMixin, checks.CheckedParametersMixin):
    """
    Request an image, and write it to a bucket or a local folder.

    The service answers within seconds, so the operator is not deferrable. Beside the image it writes a record of the
    request: a retry or a clear with the same request keeps the image and pays nothing. With ``split=True`` the image
    may have more than 2,500 x 2,500 pixels; its parts are kept in the bucket until it is complete, so an attempt
    requests only what is missing.

    Returns a small dict: ``url``, ``files`` (names of the files in the folder ``url``, if there are several),
    ``bytes``, ``pu`` (what it cost, ``None`` if the service did not say it), ``width``, ``height``, ``epsg``,
    ``transform`` (the six affine coefficients, as rasterio has them) and ``reused`` (whether nothing was requested).

    .. seealso:: ``docs/howto/process.md``

    :param request: The service's own request, as a dict, its JSON text, or the path of a ``.json`` file: ``input``,
        ``output`` and ``evalscript``. The ``evalscript`` may be the path of a ``.js`` file; its text is sent as it is.
        Templated.
    :param output_url: Where the image is written: ``s3://bucket/folder/image.tif``, ``gs://`` or ``file:///``. Several
        outputs are written to ``<output_url>/<identifier>.tif``, or ``.png``, ``.jpg`` and ``.json``; if the URL ends
        with ``.tar``, to the tar that the service returns. Templated.
    :param if_exists: What to do about an image that is there already. ``reuse``: keep it if it was made from the same
        request, and replace it otherwise. ``overwrite``: replace it, except in a retry of the attempt that has written
        it. ``fail``: keep it if it was made from the same request, and fail otherwise. Templated.
    :param split: Whether to request the image in parts, and to put them together into one cloud optimised GeoTIFF.
        Needs the extra ``raster``, and a request with one output of ``image/tiff``.
    :param part_size: Maximum width and height of a part in pixels, with ``split=True``: at most 2,500. Smaller parts
        help where the service takes too long for one.
    :param concurrency: Maximum number of requests at the same time, with ``split=True``.
    :param max_pu: Maximum processing units, as estimated before the first request. Default: the limit of the
        connection; without one, 10,000 PU. Templated.
    :param sentinelhub_conn_id: The Sentinel Hub connection. Templated.
    :param aws_conn_id: The AWS connection, for ``s3://`` URLs. Templated.
    :param gcp_conn_id: The Google Cloud connection, for ``gs://`` URLs. Templated.
    """

    template_fields: Sequence[str] = (
        "request",
        "output_url",
        "if_exists",
        "max_pu",
        "sentinelhub_conn_id",
        "aws_conn_id",
        "gcp_conn_id",
    )
    template_fields_renderers = {"request": "json"}  # noqa: RUF012 - Airflow's own convention
    rules: ClassVar[Mapping[str, checks.Rule]] = {
        "request": checks.request,
        "output_url": checks.URL,
        "if_exists": partial(checks.one_of, choices=("reuse", "overwrite", "fail")),
        "split": checks.flag,
        "part_size": partial(checks.number, at_least=1, whole=True),
        "concurrency": partial(checks.number, at_least=1, whole=True),
        "max_pu": partial(checks.number, at_least=0, finite=False, optional=True),
        "sentinelhub_conn_id": checks.CONNECTION,
        "aws_conn_id": checks.OPTIONAL_CONNECTION,
        "gcp_conn_id": checks.OPTIONAL_CONNECTION,
    }
    may_hold_braces = frozenset({"request"})
    ui_color = "#d4e7c5"

    def __init__(
        self,
        *,
        request: Mapping[str, Any] | str | XComArg,
        output_url: str,
        if_exists: Literal["reuse", "overwrite", "fail"] = "reuse",
        split: bool = False,
        part_size: int = 2500,
        concurrency: int = 4,
        max_pu: float | str | None = None,
        sentinelhub_conn_id: str = SentinelHubHook.default_conn_name,
        aws_conn_id: str | None = "aws_default",
        gcp_conn_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.request = request
        self.output_url = output_url
        self.if_exists = if_exists
        self.split = split
        self.part_size = part_size
        self.concurrency = concurrency
        self.max_pu = max_pu
        self.sentinelhub_conn_id = sentinelhub_conn_id
        self.aws_conn_id = aws_conn_id
        self.gcp_conn_id = gcp_conn_id
        self.check_parameters(parsing=True)

    @cached_property
    def hook(self) -> SentinelHubProcessHook:
        """The hook that reaches the service and the bucket."""
        from airflow_provider_sentinelhub.hooks.process import SentinelHubProcessHook

        return SentinelHubProcessHook(self.sentinelhub_conn_id, self.aws_conn_id, self.gcp_conn_id)

    @cached_property
    def _stop(self) -> threading.Event:
        # Not in __init__: Airflow copies operators, and an event cannot be copied.
        return threading.Event()

    def execute(self, context: Context) -> dict[str, Any]:
        """
        Request the image, and write it.

        :param context: The task's context.
        """
        from airflow.sdk.exceptions import AirflowException

        with airflow_failures():
            self.check_parameters(parsing=False)
            try:
                image = self.hook.deliver(
                    self.with_files(self.request),
                    self.output_url,
                    if_exists=self.if_exists,
                    split=self.split,
                    part_size=int(self.part_size),
                    concurrency=int(self.concurrency),
                    max_pu=self.max_pu,
                    written_by=_attempt(context),
                    stop=self._stop,
                )
            except TaskStopped as e:
                raise AirflowException(f"The Airflow task was killed. {e}") from e
        return _result(image)

    def on_kill(self) -> None:
        """Send no further request; the parts so far are kept."""
        self._stop.set()


def _attempt(context: Context) -> str:
    """Name the attempt of a task instance: a retry is the same, a clear by a user is another."""
    ti = context["ti"]
    return f"{ti.dag_id}/{ti.run_id}/{ti.task_id}/{ti.map_index}~{ti.max_tries or 0}"


def _result(image: DeliveredImage) -> dict[str, Any]:
    raster, names = image.raster, [name for name in image.files if len(name) <= _LONGEST_NAME][:_MOST_NAMES]
    return {
        "url": image.url,
        "files": names,
        "bytes": image.bytes,
        "pu": image.pu,
        "width": raster.width,
        "height": raster.height,
        "epsg": raster.epsg,
        "transform": list(raster.transform),
        "reused": image.reused,
    }
