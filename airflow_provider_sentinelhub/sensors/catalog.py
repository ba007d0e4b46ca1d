"""
Sensor for the Catalog API: waits for scenes.

Source: https://docs.planet.com/develop/apis/catalog/
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, ClassVar, Final

from airflow.sdk import BaseSensorOperator, PokeReturnValue
from airflow.sdk.configuration import conf

from airflow_provider_sentinelhub.client.errors import InvalidParameter
from airflow_provider_sentinelhub.hooks import checks
from airflow_provider_sentinelhub.hooks.failures import airflow_failures
from airflow_provider_sentinelhub.hooks.sentinel_hub import SentinelHubHook

if TYPE_CHECKING:
    from airflow.sdk import Context
    from airflow.sdk.definitions.xcom_arg import XComArg

    from airflow_provider_sentinelhub.client.apis.catalog.coverage import Condition, Coverage
    from airflow_provider_sentinelhub.hooks.catalog import SentinelHubCatalogHook

_TRIGGER_MARGIN_S = 120.0
_MOST_BYTES: Final = 3800


def _share(name: str, value: Any) -> Any:
    found = checks.number(name, value, above=0)
    if found > 1:
        fix = "Write e.g. 0.95; the share is not in percent."
        raise InvalidParameter(name, value, "must be at most 1", fix)
    return found


def _percent(name: str, value: Any) -> Any:
    found = checks.number(name, value, at_least=0, optional=True, may_be_empty=True)
    if found is not None and found > 100:  # noqa: PLR2004 - per cent
        raise InvalidParameter(name, value, "must be at most 100", "It is in percent.")
    return found


def _area(name: str, value: Any) -> Any:
    is_list = isinstance(value, Sequence) and not isinstance(value, bytes)
    if not (is_list or isinstance(value, Mapping) or hasattr(value, "__geo_interface__")):
        rule = "must be an area: a bounding box, GeoJSON, or the URL of a file"
        raise InvalidParameter(name, value, rule, "Write e.g. [13.0, 45.0, 14.0, 46.0].")
    return value


def _interval(name: str, value: Any) -> Any:
    if not isinstance(value, Sequence) or isinstance(value, bytes) or not value:
        rule = "must be an interval, as text or as a pair"
        raise InvalidParameter(name, value, rule, "Write e.g. 2026-06-01T00:00:00Z/2026-07-01T00:00:00Z.")
    return value


class SentinelHubCatalogSensor(checks.CheckedParametersMixin, BaseSensorOperator):
    """
    Wait until scenes of few clouds together cover enough of an area in an interval.

    The catalog is searched, and the footprints of all scenes with at most ``max_cloud_cover`` are put together. Of a
    scene that was processed several times, the latest version counts, once. The clouds are those of whole scenes.

    Returns a small dict: ``coverage`` (the share), ``scenes`` (how many count), ``found`` (how many there are),
    ``dates``, ``ids`` (the newest, as far as an XCom has room for them), ``collection`` and ``datetime``.

    .. seealso:: ``docs/howto/catalog.md``

    :param collection: The collection, e.g. ``sentinel-2-l2a``. Templated.
    :param datetime: The interval of the acquisition: two dates and times with a slash between them, or a pair. Two dots
        for an open end. Templated.
    :param aoi: The area: a bounding box (west, south, east, north), GeoJSON, shapely, or the ``s3://``, ``gs://`` or
        ``file://`` URL of a file of polygons (GeoJSON, GeoPackage, GeoParquet and others); in degrees of WGS 84.
        Templated.
    :param min_coverage: Share of the area that has to be covered, above 0 and up to 1. Templated.
    :param max_cloud_cover: Clouds in percent that a scene may have at most. Default: any, as for radar. Templated.
    :param deferrable: Run in deferrable mode: wait in the triggerer instead of holding a worker slot.
    :param poll_interval: Time in seconds between two searches while deferred; each costs from 0.01 to 1 PU a page.
        Default: ``poke_interval``, which cannot be templated. Templated.
    :param sentinelhub_conn_id: The Sentinel Hub connection. Templated.
    :param aws_conn_id: The AWS connection, for an area at an ``s3://`` URL. Templated.
    :param gcp_conn_id: The Google Cloud connection, for an area at a ``gs://`` URL. Templated.
    """

    template_fields: Sequence[str] = (
        "collection",
        "datetime",
        "aoi",
        "min_coverage",
        "max_cloud_cover",
        "poll_interval",
        "sentinelhub_conn_id",
        "aws_conn_id",
        "gcp_conn_id",
    )
    template_fields_renderers = {"aoi": "json"}  # noqa: RUF012 - Airflow's own convention
    rules: ClassVar[Mapping[str, checks.Rule]] = {
        "collection": partial(checks.text, what="the id of a collection"),
        "datetime": _interval,
        "aoi": _area,
        "min_coverage": _share,
        "max_cloud_cover": _percent,
        "deferrable": checks.flag,
        "poll_interval": partial(checks.number, at_least=0, optional=True),
        "sentinelhub_conn_id": checks.CONNECTION,
        "aws_conn_id": checks.OPTIONAL_CONNECTION,
        "gcp_conn_id": checks.OPTIONAL_CONNECTION,
    }
    ui_color = "#f0f4d7"

    def __init__(
        self,
        *,
        collection: str | XComArg,
        datetime: str | Sequence[Any] | XComArg,
        aoi: Sequence[float] | Mapping[str, Any] | str | XComArg,
        min_coverage: float | str = 1.0,
        max_cloud_cover: float | str | None = None,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poll_interval: float | str | None = None,
        sentinelhub_conn_id: str = SentinelHubHook.default_conn_name,
        aws_conn_id: str | None = "aws_default",
        gcp_conn_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.collection = collection
        self.datetime = datetime
        self.aoi = aoi
        self.min_coverage = min_coverage
        self.max_cloud_cover = max_cloud_cover
        self.deferrable = deferrable
        self.poll_interval = poll_interval
        self.sentinelhub_conn_id = sentinelhub_conn_id
        self.aws_conn_id = aws_conn_id
        self.gcp_conn_id = gcp_conn_id
        self._seen = ""
        self.check_parameters(parsing=True)

    @cached_property
    def hook(self) -> SentinelHubCatalogHook:
        """The hook that reaches the service."""
        from airflow_provider_sentinelhub.hooks.catalog import SentinelHubCatalogHook

        return SentinelHubCatalogHook(self.sentinelhub_conn_id)

    def execute(self, context: Context) -> Any:
        """
        Wait for the scenes, and return what was found.

        :param context: The task's context.
        """
        if not self.deferrable:
            return super().execute(context)
        done = self.poke(context)
        return done.xcom_value if done.is_done else self._wait_in_triggerer(time.time() + self.timeout)

    def poke(self, context: Context) -> PokeReturnValue:  # noqa: ARG002 - Airflow's signature
        """
        Search once.

        :param context: The task's context.
        """
        from airflow_provider_sentinelhub.client.errors import ApiError

        with airflow_failures():
            self.check_parameters(parsing=False)
            try:
                found = self.hook.coverage(self._condition)
            except ApiError as e:
                if not e.retryable:
                    raise
                # Scenes may come while the service is unavailable, and the wait continues.
                self.log.warning("Could not search the catalog: %s", e)
                return PokeReturnValue(is_done=False)
        self.log.info("%s", found.text())
        self._seen = found.passing
        return PokeReturnValue(is_done=found.is_enough, xcom_value=self._result(found) if found.is_enough else None)

    def execute_complete(self, context: Context, event: Any = None) -> Any:
        """
        Continue after the deferral.

        :param context: The task's context.
        :param event: The payload of the trigger's event; ``None`` if something else resumed the Airflow task.
        :raises AirflowSensorTimeout: The scenes were not there in time.
        :raises AirflowSkipException: The same, if ``soft_fail`` is set.
        """
        from airflow.sdk.exceptions import AirflowSensorTimeout, AirflowSkipException

        from airflow_provider_sentinelhub.triggers.catalog_sensor import SceneEvent

        told = event if isinstance(event, Mapping) else {}
        done = self.poke(context)
        if done.is_done:
            return done.xcom_value
        if told.get("kind") == SceneEvent.LATE:
            message = f"The scenes did not cover enough within {self.timeout:g} s."
            raise AirflowSkipException(message) if self.soft_fail else AirflowSensorTimeout(message)
        deadline = told.get("deadline")
        return self._wait_in_triggerer(deadline if isinstance(deadline, (int, float)) else time.time() + self.timeout)

    def _wait_in_triggerer(self, deadline: float) -> None:
        from airflow_provider_sentinelhub.triggers.catalog_sensor import SentinelHubCatalogSensorTrigger

        condition = self._condition
        trigger = SentinelHubCatalogSensorTrigger(
            condition=(condition if condition.is_small else condition.boxed()).to_dict(),
            seen=None if condition.is_small else self._seen,
            sentinelhub_conn_id=self.sentinelhub_conn_id,
            poll_interval=self.poke_interval if self.poll_interval is None else float(self.poll_interval),
            deadline=deadline,
        )
        spare = max(0.0, deadline - time.time()) + _TRIGGER_MARGIN_S
        self.defer(trigger=trigger, method_name="execute_complete", timeout=spare)

    @cached_property
    def _condition(self) -> Condition:
        from airflow_provider_sentinelhub.client.apis.catalog.coverage import Condition
        from airflow_provider_sentinelhub.hooks.catalog import area_at

        aoi: Any = self.aoi
        if isinstance(aoi, str) and "://" in aoi[:10]:
            aoi = area_at(aoi, self.aws_conn_id, self.gcp_conn_id)
        clouds = None if self.max_cloud_cover is None else float(self.max_cloud_cover)
        return Condition.of(self.collection, self.datetime, aoi, float(self.min_coverage), clouds)

    def _result(self, found: Coverage) -> dict[str, Any]:
        from airflow_provider_sentinelhub.hooks.catalog import as_many_as_fit

        result: dict[str, Any] = {
            "coverage": round(found.share, 6),
            "scenes": found.scenes,
            "found": found.found,
            "collection": self._condition.collection,
            "datetime": self._condition.datetime,
        }
        result["dates"] = as_many_as_fit(list(found.dates), result, _MOST_BYTES // 2)
        return {**result, "ids": as_many_as_fit(list(found.ids), result, _MOST_BYTES)}
