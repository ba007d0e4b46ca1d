"""
Sensor for BYOC.

Source: https://documentation.dataspace.copernicus.eu/APIs/SentinelHub/Byoc.html
"""

from __future__ import annotations

import time
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import BaseSensorOperator, PokeReturnValue
from airflow.sdk.configuration import conf

from airflow_provider_sentinelhub.hooks import checks
from airflow_provider_sentinelhub.hooks.failures import airflow_failures, published
from airflow_provider_sentinelhub.hooks.ingestion import Ingestion
from airflow_provider_sentinelhub.hooks.sentinel_hub import SentinelHubHook

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow.sdk import Context
    from airflow.sdk.definitions.xcom_arg import XComArg

    from airflow_provider_sentinelhub.hooks.byoc import SentinelHubByocHook

_TRIGGER_MARGIN_S = 120.0


class SentinelHubByocSensor(checks.CheckedParametersMixin, BaseSensorOperator):
    """
    Wait until the tiles of a BYOC collection are ingested, whoever registered them.

    Returns a small dict: ``collection_id``, ``data_type``, ``outcome``, the number of tiles in ``total``, ``ingested``
    and ``failed``, ``error_groups`` and ``failed_names``. Reading costs nothing.

    .. seealso:: ``docs/howto/byoc.md``

    :param collection_id: The id of the collection, with or without ``byoc-``. Templated.
    :param path_prefix: What the paths of the tiles begin with. Default: all tiles. Templated.
    :param at_least: How many such tiles there must be; with fewer, the sensor waits for more. Templated.
    :param on_partial: What to do when tiles failed: ``fail`` or ``warn``. Templated.
    :param deferrable: Run in deferrable mode: wait in the triggerer instead of holding a worker slot.
    :param poll_interval: Time in seconds between two looks while deferred. Default: ``poke_interval``. Templated.
    :param sentinelhub_conn_id: The Sentinel Hub connection. Templated.
    """

    template_fields: Sequence[str] = (
        "collection_id",
        "path_prefix",
        "at_least",
        "on_partial",
        "poll_interval",
        "sentinelhub_conn_id",
    )
    rules: ClassVar[Mapping[str, checks.Rule]] = {
        "collection_id": partial(checks.id_of, what="collection"),
        "path_prefix": partial(checks.text, what="the beginning of a path", optional=True),
        "at_least": partial(checks.number, at_least=0, whole=True),
        "on_partial": partial(checks.one_of, choices=checks.ON_PARTIAL),
        "deferrable": checks.flag,
        "poll_interval": partial(checks.number, at_least=0, optional=True),
        "sentinelhub_conn_id": checks.CONNECTION,
    }
    ui_color = "#f0f4d7"

    def __init__(
        self,
        *,
        collection_id: str | XComArg,
        path_prefix: str | None = None,
        at_least: int | str = 1,
        on_partial: str = "fail",
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poll_interval: float | str | None = None,
        sentinelhub_conn_id: str = SentinelHubHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.collection_id: str = collection_id  # type: ignore[assignment]  # a string once it is rendered
        self.path_prefix = path_prefix
        self.at_least = at_least
        self.on_partial = on_partial
        self.deferrable = deferrable
        self.poll_interval = poll_interval
        self.sentinelhub_conn_id = sentinelhub_conn_id
        self.check_parameters(parsing=True)

    @cached_property
    def hook(self) -> SentinelHubByocHook:
        """The hook that reaches the service."""
        from airflow_provider_sentinelhub.hooks.byoc import SentinelHubByocHook

        return SentinelHubByocHook(self.sentinelhub_conn_id)

    def execute(self, context: Context) -> Any:
        """
        Wait for the tiles, and return the result.

        :param context: The task's context.
        """
        if not self.deferrable:
            return super().execute(context)
        done = self.poke(context)
        if done.is_done:
            return done.xcom_value
        return self._wait_in_triggerer(time.time() + self.timeout)

    def poke(self, context: Context) -> PokeReturnValue:
        """
        Look at the tiles once.

        :param context: The task's context.
        """
        from airflow_provider_sentinelhub.client.errors import ApiError

        with airflow_failures(), published(context):
            self.check_parameters(parsing=False)
            prefix = self.path_prefix or ""
            try:
                why = self.hook.why_unsettled(self.collection_id, prefix, int(self.at_least))
                found = self._found(prefix) if not why else None
            except ApiError as e:
                if not e.retryable:
                    raise
                self.log.warning("Could not look at collection %s: %s", self.collection_id, e)
                return PokeReturnValue(is_done=False)
            if found is None or found.pending:
                self.log.info("Collection %s: %s", self.collection_id, why or "some tiles are being ingested")
                return PokeReturnValue(is_done=False)
            result = found.result()
            if found.failed:
                if self.on_partial == "fail" or not found.ingested:
                    raise found.error(result)
                self.log.warning("%s", found.text())
            return PokeReturnValue(is_done=True, xcom_value=result)

    def _found(self, prefix: str) -> Ingestion:
        found = Ingestion(self.collection_id.removeprefix("byoc-"))
        for tile in self.hook.tiles(self.collection_id, sort="path:asc"):
            if tile.path.startswith(prefix):
                found.statuses[tile.path] = tile.status
                if tile.status == "FAILED":
                    found.causes[tile.path] = tile.cause
        return found

    def execute_complete(
        self,
        context: Context,
        event: Any = None,  # noqa: ARG002 - the list of tiles has the last word
        *,
        deadline: float | None = None,
    ) -> Any:
        """
        Continue after the deferral.

        :param context: The task's context.
        :param event: The payload of the trigger's event; ``None`` if something else resumed the Airflow task.
        :param deadline: When the wait ends, in seconds since the epoch.
        :raises AirflowSensorTimeout: The tiles were not ingested in time.
        :raises AirflowSkipException: The same, if ``soft_fail`` is set.
        """
        from airflow.sdk.exceptions import AirflowSensorTimeout, AirflowSkipException

        done = self.poke(context)
        if done.is_done:
            return done.xcom_value
        if deadline is not None and time.time() >= deadline:
            message = f"The tiles of collection {self.collection_id} were not ingested within {self.timeout} s."
            raise AirflowSkipException(message) if self.soft_fail else AirflowSensorTimeout(message)
        return self._wait_in_triggerer(deadline)

    def _wait_in_triggerer(self, deadline: float | None) -> None:
        from datetime import timedelta

        from airflow_provider_sentinelhub.triggers.byoc import SentinelHubByocTrigger

        trigger = SentinelHubByocTrigger(
            collection_id=self.collection_id,
            path_prefix=self.path_prefix or "",
            at_least=int(self.at_least),
            sentinelhub_conn_id=self.sentinelhub_conn_id,
            poll_interval=self.poke_interval if self.poll_interval is None else float(self.poll_interval),
            deadline=deadline,
        )
        spare = None if deadline is None else timedelta(seconds=max(0.0, deadline - time.time()) + _TRIGGER_MARGIN_S)
        self.defer(trigger=trigger, method_name="execute_complete", kwargs={"deadline": deadline}, timeout=spare)
