"""
Operator for the Statistical API: statistics of a few geometries, answered at once.

Source: https://docs.planet.com/develop/apis/statistical/
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from airflow_provider_sentinelhub.client.errors import FeaturesFailed, InvalidParameter
from airflow_provider_sentinelhub.hooks import checks
from airflow_provider_sentinelhub.hooks.failures import airflow_failures, published
from airflow_provider_sentinelhub.hooks.sentinel_hub import SentinelHubHook
from airflow_provider_sentinelhub.operators.record import intent_of
from airflow_provider_sentinelhub.operators.templating import RequestTemplateMixin

if TYPE_CHECKING:
    from airflow.sdk import Context, XComArg

    from airflow_provider_sentinelhub.artifacts.features.features import Batch
    from airflow_provider_sentinelhub.artifacts.report.report import FeatureReport
    from airflow_provider_sentinelhub.artifacts.results.statistical import StatisticalRun
    from airflow_provider_sentinelhub.artifacts.statistics.geometries import Place
    from airflow_provider_sentinelhub.artifacts.storage.storage import Storage
    from airflow_provider_sentinelhub.hooks.statistical import SentinelHubStatisticalHook

_COLUMNS = ("identifier", "geometry", "epsg")


class SentinelHubStatisticalOperator(RequestTemplateMixin, checks.CheckedParametersMixin):
    """
    Request the statistics of one or more geometries, repeat failed intervals, and write one table.

    One request is sent for each geometry, and each response is saved in the bucket as soon as it arrives. So a retry,
    or a clear after a failure, requests only what is missing and pays for nothing twice. For many geometries use
    :class:`~airflow_provider_sentinelhub.operators.batch_statistical.SentinelHubBatchStatisticalOperator`.

    Returns a small dict: ``statistics_url`` (the table of statistics, Parquet), ``run_id``, ``outcome`` (DONE or
    PARTIAL), the number of geometries in ``total`` and by outcome (``delivered``, ``no_data``, ``failed``), of
    intervals (``intervals_with_data``, ``intervals_without_data``, ``intervals_failed``), ``error_groups``,
    ``failed_names`` (some of them) and ``report_url`` (one row for every geometry, Parquet).

    .. seealso:: ``docs/howto/statistical.md``

    :param request: The service's own request, as a dict, its JSON text, or the path of a ``.json`` file: ``input``,
        ``aggregation`` and, optionally, ``calculations``. Without ``input.bounds`` if ``geometries`` or ``source`` is
        given. An ``evalscript`` may be the path of a ``.js`` file; its text is sent as it is. Templated.
    :param output_url: The folder for the responses and the table, like ``output.s3.url`` of Batch Statistical:
        ``s3://bucket/folder``, or a template with ``<REQUEST_ID>``, which is replaced by the id of the run, and
        ``<ID>`` or ``<IDENTIFIER>``. Templated.
    :param geometries: Geometries by name, a list of geometries, or one geometry: WKT, GeoJSON, shapely, or a bounding
        box as a list of west, south, east and north; or GeoJSON features, in a list or a FeatureCollection. Templated.
    :param source: URL or absolute path of a GeoPackage, GeoParquet, GeoJSON or Shapefile with the geometries, or of a
        zip with one of them. Templated.
    :param columns: The names of the columns in ``source``, or of the properties of GeoJSON features: a dict with the
        keys ``identifier``, ``geometry`` and ``epsg``. Templated.
    :param epsg: EPSG code of the coordinates, if geometries and source do not name one. A different code in them is an
        error. Templated.
    :param layer: The layer to read, if a source has several. Default: all of them. Templated.
    :param max_pu: Maximum processing units for all requests, as estimated before the first one. Default: the limit of
        the connection; without one, 10,000 PU and 1,000,000 km2. Templated.
    :param on_clear: What to do after a user has cleared the Airflow task. ``resume``: continue with a run that failed,
        and request everything again after one that succeeded. ``new``: always request everything again. ``adopt``:
        always continue with the run there is. Other geometries or another request are another run in any case.
    :param on_partial: What to do when statistics are still missing after all reruns: ``fail``, or ``warn`` and succeed.
        If there are none at all, the Airflow task fails in any case.
    :param max_reruns: How many times a failed interval is requested again at most.
    :param rerun_delay: Time in seconds before it is requested again for the first time; doubles each time.
    :param concurrency: Maximum number of requests at the same time.
    :param sentinelhub_conn_id: The Sentinel Hub connection. Templated.
    :param aws_conn_id: The AWS connection, for ``s3://`` URLs. Templated.
    :param gcp_conn_id: The Google Cloud connection, for ``gs://`` URLs. Templated.
    """

    template_fields: Sequence[str] = (
        "request",
        "output_url",
        "geometries",
        "source",
        "columns",
        "epsg",
        "layer",
        "max_pu",
        "sentinelhub_conn_id",
        "aws_conn_id",
        "gcp_conn_id",
    )
    template_fields_renderers = {"request": "json", "columns": "json"}  # noqa: RUF012 - Airflow's own convention
    rules: ClassVar[Mapping[str, checks.Rule]] = {
        "request": checks.request,
        "output_url": checks.URL,
        "geometries": checks.geometries,
        "source": partial(checks.text, what="the URL of a file", optional=True),
        "columns": checks.columns,
        "epsg": checks.OPTIONAL_COUNT,
        "layer": checks.LAYER,
        "max_pu": partial(checks.number, at_least=0, finite=False, optional=True),
        "on_clear": partial(checks.one_of, choices=("resume", "new", "adopt")),
        "on_partial": partial(checks.one_of, choices=checks.ON_PARTIAL),
        "max_reruns": partial(checks.number, at_least=0, whole=True),
        "rerun_delay": checks.SECONDS,
        "concurrency": partial(checks.number, at_least=1, whole=True),
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
        geometries: Mapping[str, Any] | Sequence[Any] | str | XComArg | None = None,
        source: str | XComArg | None = None,
        columns: Mapping[str, str] | None = None,
        epsg: int | str | None = None,
        layer: str | None = None,
        max_pu: float | str | None = None,
        on_clear: Literal["resume", "new", "adopt"] = "resume",
        on_partial: Literal["fail", "warn"] = "fail",
        max_reruns: int = 3,
        rerun_delay: float = 10.0,
        concurrency: int = 4,
        sentinelhub_conn_id: str = SentinelHubHook.default_conn_name,
        aws_conn_id: str | None = "aws_default",
        gcp_conn_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.request = request
        self.output_url = output_url
        self.geometries = geometries
        self.source = source
        self.columns = columns
        self.epsg = epsg
        self.layer = layer
        self.max_pu = max_pu
        self.on_clear = on_clear
        self.on_partial = on_partial
        self.max_reruns = max_reruns
        self.rerun_delay = rerun_delay
        self.concurrency = concurrency
        self.sentinelhub_conn_id = sentinelhub_conn_id
        self.aws_conn_id = aws_conn_id
        self.gcp_conn_id = gcp_conn_id
        self.check_parameters(parsing=True)

    @cached_property
    def hook(self) -> SentinelHubStatisticalHook:
        """The hook that reaches the service."""
        from airflow_provider_sentinelhub.hooks.statistical import SentinelHubStatisticalHook

        return SentinelHubStatisticalHook(self.sentinelhub_conn_id)

    @cached_property
    def _stop(self) -> threading.Event:
        # Not in __init__: Airflow copies operators, and an event cannot be copied.
        return threading.Event()

    def execute(self, context: Context) -> dict[str, Any]:
        """
        Request the statistics, and write the table.

        :param context: The task's context.
        """
        from airflow_provider_sentinelhub.artifacts.results.statistical import check_output_url
        from airflow_provider_sentinelhub.hooks.preflight import check_writable

        with airflow_failures(), published(context):
            self.check_parameters(parsing=False)
            check_output_url(self.output_url)
            places, body = self._question()
            run = self._run(context, places, body)
            run.check_names(places)
            conn_id = self.gcp_conn_id if self.output_url.startswith("gs://") else self.aws_conn_id
            check_writable(run.storage, "output_url", self.output_url, conn_id)
            finished = run.finished()
            left = [place for place in places if place.feature_id not in (finished or ())]
            if finished is not None:
                self.hook.tell_kept(body, places, finished)
            self._ask(run, body, left, has_answers=finished is not None)
            result = self._conclude(run, run.report())
            run.succeed(context["ti"].max_tries or 0)
            return result

    def on_kill(self) -> None:
        """Send no further request; the responses so far are kept."""
        self._stop.set()

    def _question(self) -> tuple[list[Place], dict[str, Any]]:
        """Return the geometries, and the request for the first of them; the others only differ in their bounds."""
        from airflow_provider_sentinelhub.artifacts.results.preflight import mistaken_request
        from airflow_provider_sentinelhub.artifacts.statistics.geometries import BOUNDS, Place, places_of
        from airflow_provider_sentinelhub.client.apis.statistical.spec import STATISTICAL
        from airflow_provider_sentinelhub.client.requests.findings import part
        from airflow_provider_sentinelhub.hooks.bucket_connections import open_buckets
        from airflow_provider_sentinelhub.hooks.statistical import check_places

        request = self.with_files(self.request)
        if (mistaken := mistaken_request(STATISTICAL, request)) is not None:
            raise mistaken
        has_bounds = part(request, *BOUNDS) is not None
        known = {
            "geometries": self.geometries is not None,
            "source": self.source is not None,
            "request.input.bounds": has_bounds,
        }
        given = [name for name, is_given in known.items() if is_given]
        if len(given) != 1:
            rule = "exactly one of geometries, source and the request's input.bounds is needed"
            raise InvalidParameter("geometries", given, rule, "Give one of them.")
        if has_bounds:
            body = self.hook.prepare(request)
            return [Place(1, None, body["input"]["bounds"])], body
        places = places_of(self._batches(open_buckets(self.aws_conn_id, self.gcp_conn_id)))
        if isinstance(request, Mapping):
            check_places(request, places)
            request = places[0].request(request)
        return places, self.hook.prepare(request)

    def _batches(self, storage: Storage) -> Iterator[Batch]:
        from airflow_provider_sentinelhub.artifacts.features.features import Columns
        from airflow_provider_sentinelhub.artifacts.features.sources import from_geometries
        from airflow_provider_sentinelhub.artifacts.statistics.geometries import boxes_as_polygons
        from airflow_provider_sentinelhub.client.models import from_text
        from airflow_provider_sentinelhub.hooks.input_features import from_urls

        epsg: Any = self.epsg
        columns = from_text(self.columns) or {}
        if not isinstance(columns, Mapping) or set(columns) - set(_COLUMNS):
            rule = f"must be a dict with some of the keys {', '.join(_COLUMNS)}"
            raise InvalidParameter("columns", columns, rule, 'Write e.g. columns={"identifier": "field_id"}.')
        if self.source is None:
            geometries = boxes_as_polygons(from_text(self.geometries))
            return from_geometries(geometries, columns=Columns(**columns), epsg=epsg)
        if not str(self.source).strip():
            raise InvalidParameter("source", self.source, "must be the URL of a file", "Write e.g. s3://bucket/a.gpkg.")
        return from_urls([str(self.source)], storage=storage, columns=Columns(**columns), epsg=epsg, layer=self.layer)

    def _run(self, context: Context, places: Sequence[Place], body: Mapping[str, Any]) -> StatisticalRun:
        from airflow_provider_sentinelhub.artifacts.results.statistical import StatisticalRun
        from airflow_provider_sentinelhub.artifacts.statistics.geometries import digest_of
        from airflow_provider_sentinelhub.hooks.bucket_connections import open_buckets
        from airflow_provider_sentinelhub.hooks.statistical import choose_run

        # The same in every attempt, unless the geometries or the request have changed.
        intent = intent_of(context, {"request": body, "places": digest_of(places)})
        storage = open_buckets(self.aws_conn_id, self.gcp_conn_id)

        def of(generation: int) -> StatisticalRun:
            run_id = uuid.uuid5(uuid.NAMESPACE_URL, replace(intent, generation=generation).tag)
            return StatisticalRun(storage, self.output_url, str(run_id))

        # A first attempt has nothing to continue with.
        is_first = context["ti"].try_number == 1
        run = of(intent.generation) if is_first else choose_run(of, intent.generation, self.on_clear)
        self.log.info("Run %s for %s: %d geometries", run.run_id, intent.tag, len(places))
        return run

    def _ask(self, run: StatisticalRun, body: Mapping[str, Any], places: Sequence[Place], *, has_answers: bool) -> None:
        from airflow.sdk.exceptions import AirflowException

        from airflow_provider_sentinelhub.hooks.statistical import Reruns

        if places:
            self.hook.check_budget(body, places, self.max_pu)
        self.hook.ask_for_all(
            run,
            body,
            places,
            concurrency=int(self.concurrency),
            reruns=Reruns(int(self.max_reruns), float(self.rerun_delay)),
            has_answers=has_answers,
            stop=self._stop,
        )
        if self._stop.is_set():
            raise AirflowException("The Airflow task was killed")

    def _conclude(self, run: StatisticalRun, report: FeatureReport) -> dict[str, Any]:
        from airflow_provider_sentinelhub.artifacts.report.report import Outcome, outcome_of

        self.log.info("%s", report.text())
        outcome = outcome_of("DONE", report)
        result = {"run_id": run.run_id, "outcome": str(outcome), **report.to_dict()}
        if outcome is not Outcome.DONE:
            groups = "\n".join(
                f"  {group.count} x {group.message} (e.g. {', '.join(group.examples)}). {group.hint}".rstrip()
                for group in report.error_groups
            )
            message = (
                f"Statistics are missing for {report.total - report.delivered - report.no_data} of {report.total} "
                f"geometries.\n{groups}\nAll of them: {report.report_url}. Clear the task to ask again for what is "
                "missing, and for nothing else; raise max_reruns where errors may pass, or set on_partial='warn' to "
                "continue with what there is. To request everything again, set on_clear='new' first."
            )
            if self.on_partial == "fail" or outcome is Outcome.FAILED:
                failed = FeaturesFailed(message)
                failed.result = result
                raise failed
            self.log.warning("%s", message)
        return result
