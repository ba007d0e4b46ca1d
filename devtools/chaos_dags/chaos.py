# ruff: noqa: INP001 - a DAG folder is not a package
"""
The batches that are harmed, in every way the main operator can run them.

With ``SENTINELHUB_CHAOS_NAIVE`` in the environment they are run as one would without record, search and order of
steps: create, start, wait. The harness has to find the duplicates this makes.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import DAG

from airflow_provider_sentinelhub.client.intent import Intent, digest
from airflow_provider_sentinelhub.operators.batch_process import SentinelHubBatchProcessOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_sentinelhub.client.models.answers import BatchTask

START = datetime(2026, 1, 1, tzinfo=UTC)
EVALSCRIPT = """//VERSION=3
function setup() { return {input: ["B04"], output: {bands: 1, sampleType: "UINT8"}}; }
function evaluatePixel(s) { return [s.B04]; }
"""
# Around the corner that four tiles of the 20 km grid share, and two of those tiles.
FOUR, ONE, ANOTHER = [9.21, 42.07, 9.27, 42.11], [9.21, 42.07, 9.22, 42.08], [9.26, 42.10, 9.27, 42.11]


class NaiveBatchProcessOperator(SentinelHubBatchProcessOperator):
    """Forgets what earlier attempts did. The tag is there only so that its tasks can be counted."""

    def obtain(self, context: Context, deadline: float | None = None) -> tuple[BatchTask, float | None]:
        """
        Create a task and start it.

        :param context: The task's context.
        :param deadline: Its deadline.
        """
        body = self.hook.prepare(self.request)
        ti = context["ti"]
        map_index = -1 if ti.map_index is None else ti.map_index
        intent = Intent(ti.dag_id, ti.run_id, ti.task_id, map_index, digest(body), ti.max_tries or 0)
        complete, secrets = self.hook.with_credentials(self.hook.api.tagged(body, intent.tag))
        task: BatchTask = self.hook.send(self.hook.api.create(complete, secrets))
        self.hook.send(self.hook.api.start(task.id).when_fresh())
        return task, deadline


Operator = NaiveBatchProcessOperator if os.environ.get("SENTINELHUB_CHAOS_NAIVE") else SentinelHubBatchProcessOperator


def request(bbox: list[float]) -> dict[str, Any]:
    """
    Return the request for an area.

    :param bbox: The area.
    """
    return {
        "processRequest": {
            "input": {"bounds": {"bbox": bbox}, "data": [{"type": "sentinel-2-l2a"}]},
            "evalscript": EVALSCRIPT,
        },
        "input": {"type": "tiling-grid", "id": 0, "resolution": 60},
        "output": {"type": "raster", "delivery": {"s3": {"url": "s3://sentinelhub/chaos"}}},
    }


# Each lane of the harness has connections of its own, so that it can tell, and break, its own runs' calls.
PARAMS: dict[str, Any] = {"lane": "0"}
SETTINGS: dict[str, Any] = {
    "task_id": "batch",
    "sentinelhub_conn_id": "lane{{ params.lane }}",
    "aws_conn_id": "bucket{{ params.lane }}",
    "poll_interval": 0.5,
    "retries": 30,
    "retry_delay": timedelta(0),
}
WAYS: dict[str, dict[str, Any]] = {
    "deferred": {"deferrable": True},
    "blocking": {"deferrable": False},
    "deferred_analyse": {"deferrable": True, "analyse_first": True},
    "blocking_analyse": {"deferrable": False, "analyse_first": True},
    "deferred_restart": {"deferrable": True, "on_partial": "restart"},
    "blocking_restart": {"deferrable": False, "on_partial": "restart"},
    "deferred_timeout": {"deferrable": True, "timeout": 8},
    "blocking_timeout": {"deferrable": False, "timeout": 8},
}

for way, settings in WAYS.items():
    with DAG(f"chaos_{way}", schedule=None, start_date=START, params=PARAMS):
        Operator(request=request(FOUR), progress_interval=0, **SETTINGS, **settings)

for way in ("deferred", "blocking"):
    with DAG(f"chaos_{way}_mapped", schedule=None, start_date=START, params=PARAMS):
        Operator.partial(progress_interval=5, **SETTINGS, **WAYS[way]).expand(request=[request(ONE), request(ANOTHER)])
