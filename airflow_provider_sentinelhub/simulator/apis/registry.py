"""The APIs that the simulator serves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_sentinelhub.simulator.apis.async_process import AsyncProcess
from airflow_provider_sentinelhub.simulator.apis.batch_statistical import BatchStatistical
from airflow_provider_sentinelhub.simulator.apis.batch_v1 import BatchV1
from airflow_provider_sentinelhub.simulator.apis.batch_v2 import BatchV2
from airflow_provider_sentinelhub.simulator.apis.process import Process
from airflow_provider_sentinelhub.simulator.apis.statistical import Statistical
from airflow_provider_sentinelhub.simulator.tasks.api import TaskApi

if TYPE_CHECKING:
    from airflow_provider_sentinelhub.simulator.http.routes import Api

APIS: tuple[Api, ...] = (BatchV1(), BatchV2(), BatchStatistical(), Statistical(), Process(), AsyncProcess())
TASK_APIS = tuple(api for api in APIS if isinstance(api, TaskApi))
