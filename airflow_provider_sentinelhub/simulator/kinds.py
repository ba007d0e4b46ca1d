"""The batch APIs there are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_sentinelhub.simulator.batch_statistical import BatchStatistical
from airflow_provider_sentinelhub.simulator.batch_v2 import BatchV2

if TYPE_CHECKING:
    from airflow_provider_sentinelhub.simulator.kind import Kind
    from airflow_provider_sentinelhub.simulator.machine import Task

BATCH_V2: Kind = BatchV2()
BATCH_STATISTICAL: Kind = BatchStatistical()
_BY_NAME = {kind.name: kind for kind in (BATCH_V2, BATCH_STATISTICAL)}


def kind_of(task: Task) -> Kind:
    """
    Return the API a task is of.

    :param task: The task.
    """
    return _BY_NAME[task.kind]
