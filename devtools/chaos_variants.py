"""The ways to run a batch that are harmed."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from airflow_provider_sentinelhub.client.apis.batch_statistical.spec import BATCH_STATISTICAL
from airflow_provider_sentinelhub.client.apis.batch_v2.spec import BATCH_V2

if TYPE_CHECKING:
    from airflow_provider_sentinelhub.client.lifecycle.spec import TaskApiSpec


class Variant(StrEnum):
    """A way to run a batch; the DAG is named after it."""

    DEFERRED = "deferred"
    BLOCKING = "blocking"
    DEFERRED_MAPPED = "deferred_mapped"
    BLOCKING_MAPPED = "blocking_mapped"
    DEFERRED_ANALYSE = "deferred_analyse"
    BLOCKING_ANALYSE = "blocking_analyse"
    DEFERRED_RERUN = "deferred_rerun"
    BLOCKING_RERUN = "blocking_rerun"
    DEFERRED_STATISTICAL = "deferred_statistical"
    BLOCKING_STATISTICAL = "blocking_statistical"
    DEFERRED_STATISTICAL_LONG = "deferred_statistical_long"
    DEFERRED_STATISTICAL_RERUN = "deferred_statistical_rerun"
    BLOCKING_STATISTICAL_RERUN = "blocking_statistical_rerun"

    @property
    def dag_id(self) -> str:
        """The DAG."""
        return f"chaos_{self.value}"

    @property
    def is_statistical(self) -> bool:
        """Whether statistics are asked for, and not images."""
        return "_statistical" in self.value

    @property
    def api(self) -> TaskApiSpec:
        """The API."""
        return BATCH_STATISTICAL if self.is_statistical else BATCH_V2

    @property
    def is_long(self) -> bool:
        """Whether the evalscript is too long to stand in the request."""
        return self.value.endswith("long")

    @property
    def deferred(self) -> bool:
        """Whether the wait is in the triggerer."""
        return self.value.startswith("deferred")

    @property
    def analyses(self) -> bool:
        """Whether the analysis is asked for before the start."""
        return self.value.endswith("analyse")

    @property
    def reruns(self) -> tuple[int, ...]:
        """The task itself, and each rerun of what failed in it."""
        return (0, 1) if self.value.endswith("rerun") else (0,)

    @property
    def map_indexes(self) -> tuple[int, ...]:
        """The task instances."""
        return (0, 1) if self.value.endswith("mapped") else (-1,)
