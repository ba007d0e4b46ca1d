# ruff: noqa: INP001 - a DAG folder is not a package
"""
The batches of the chaos experiments, run in every way the main operators can.

With ``SENTINELHUB_CHAOS_NAIVE`` in the environment they are run without record, search and order of steps: create,
start, wait. The harness has to find the duplicates of that.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import DAG

from airflow_provider_sentinelhub.operators.async_process import SentinelHubAsyncProcessOperator
from airflow_provider_sentinelhub.operators.batch_process import SentinelHubBatchProcessOperator
from airflow_provider_sentinelhub.operators.batch_process_v1 import SentinelHubBatchProcessV1Operator
from airflow_provider_sentinelhub.operators.batch_statistical import SentinelHubBatchStatisticalOperator
from airflow_provider_sentinelhub.operators.record import intent_of
from airflow_provider_sentinelhub.operators.running import RunningOperatorBase

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_sentinelhub.client.lifecycle.tasks import BatchTask

START = datetime(2026, 1, 1, tzinfo=UTC)
EVALSCRIPT = """//VERSION=3
function setup() { return {input: ["B04"], output: {bands: 1, sampleType: "UINT8"}}; }
function evaluatePixel(s) { return [s.B04]; }
"""
STATISTICS_EVALSCRIPT = """//VERSION=3
function setup() {
  return {input: ["B04", "dataMask"], output: [{id: "red", bands: 1}, {id: "dataMask", bands: 1}]};
}
function evaluatePixel(s) { return {red: [s.B04], dataMask: [s.dataMask]}; }
"""
# Too long for a request.
LONG_EVALSCRIPT = f"{STATISTICS_EVALSCRIPT}{'// far and wide' * 3000}\n"
# Around the corner that four tiles of the 20 km grid share, and two of those tiles.
FOUR, ONE, ANOTHER = [9.21, 42.07, 9.27, 42.11], [9.21, 42.07, 9.22, 42.08], [9.26, 42.10, 9.27, 42.11]


class Naive(RunningOperatorBase):
    """Ignores earlier attempts. The tag is there only so that its remote tasks can be counted."""

    def obtain(self, context: Context, deadline: float | None = None) -> tuple[BatchTask, float | None]:
        """
        Create a task and start it.

        :param context: The task's context.
        :param deadline: Its deadline.
        """
        body = self.body
        intent = intent_of(context, body)
        placed = self.hook.with_script_placed(body, intent)
        complete, secrets = self.hook.with_credentials(self.hook.api.tagged(placed, intent.tag))
        task: BatchTask = self.hook.send(self.hook.api.calls.create(complete, secrets))
        self.hook.send(self.hook.api.calls.start(task.id).when_fresh())
        return task, deadline


class NaiveBatchProcessOperator(Naive, SentinelHubBatchProcessOperator):
    """Images."""


class NaiveBatchStatisticalOperator(Naive, SentinelHubBatchStatisticalOperator):
    """Statistics."""


class NaiveBatchProcessV1Operator(Naive, SentinelHubBatchProcessV1Operator):
    """Tiles."""


NAIVE = "SENTINELHUB_CHAOS_NAIVE" in os.environ
Images = NaiveBatchProcessOperator if NAIVE else SentinelHubBatchProcessOperator
Tiles = NaiveBatchProcessV1Operator if NAIVE else SentinelHubBatchProcessV1Operator
Statistics = NaiveBatchStatisticalOperator if NAIVE else SentinelHubBatchStatisticalOperator


def images(bbox: list[float]) -> dict[str, Any]:
    """
    Return the request for images of an area.

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


def tiles(bbox: list[float]) -> dict[str, Any]:
    """
    Return the request of Batch Processing V1 for images of an area.

    :param bbox: The area.
    """
    processed = images(bbox)["processRequest"]
    return {
        "processRequest": {
            **processed,
            "output": {"responses": [{"identifier": "default", "format": {"type": "image/tiff"}}]},
        },
        "tilingGrid": {"id": 0, "resolution": 60},
        "output": {"defaultTilePath": "s3://sentinelhub/chaos/<requestId>/<tileName>/<outputId>.tif"},
    }


def image(url: str) -> dict[str, Any]:
    """
    Return the request of Async Process for an image of an area.

    :param url: Where it is delivered.
    """
    return {
        **images(FOUR)["processRequest"],
        "output": {
            "resx": 0.0005,
            "resy": 0.0005,
            "responses": [{"identifier": "default", "format": {"type": "image/tiff"}}],
            "delivery": {"s3": {"url": url}},
        },
    }


def statistics(url: str, script: str = STATISTICS_EVALSCRIPT) -> dict[str, Any]:
    """
    Return the request for statistics of four weeks of the parcels that the harness has put into the bucket.

    :param url: Where the results are written.
    :param script: Evalscript.
    """
    return {
        "input": {
            "features": {"s3": {"url": "s3://sentinelhub/chaos/parcels.gpkg"}},
            "data": [{"type": "sentinel-2-l2a"}],
        },
        "aggregation": {
            "timeRange": {"from": "2025-05-05T00:00:00Z", "to": "2025-06-02T00:00:00Z"},
            "aggregationInterval": {"of": "P7D"},
            "resx": 10,
            "resy": 10,
            "evalscript": script,
        },
        "output": {"s3": {"url": url}},
    }


# Each lane of the harness has connections of its own, so that it sees, and can break, the calls of its own runs.
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
    "deferred_rerun": {"deferrable": True, "on_partial": "rerun"},
    "blocking_rerun": {"deferrable": False, "on_partial": "rerun"},
    "deferred_timeout": {"deferrable": True, "timeout": 8},
    "blocking_timeout": {"deferrable": False, "timeout": 8},
    "deferred_deadline": {"deferrable": True, "timeout": 90, "progress_interval": 1},
    "blocking_deadline": {"deferrable": False, "timeout": 90, "progress_interval": 1},
    "deferred_progress": {"deferrable": True, "progress_interval": 1},
    "blocking_progress": {"deferrable": False, "progress_interval": 1},
    # Without a delay the attempts are used up before the outage ends.
    "deferred_patient": {"deferrable": True, "retry_delay": timedelta(seconds=10)},
    "blocking_patient": {"deferrable": False, "retry_delay": timedelta(seconds=10)},
    "deferred_new": {"deferrable": True, "on_clear": "new"},
    "blocking_new": {"deferrable": False, "on_clear": "new"},
    "deferred_adopt": {"deferrable": True, "on_clear": "adopt"},
    "blocking_adopt": {"deferrable": False, "on_clear": "adopt"},
}

# A folder, and a template.
BY_TASK = "s3://sentinelhub/chaos"
BY_RUN = "s3://sentinelhub/chaos/{{ dag.dag_id }}/{{ run_id }}/<REQUEST_ID>/<ID>.json"
STATISTICAL_WAYS: dict[str, dict[str, Any]] = {
    "deferred_statistical": {**WAYS["deferred"], "request": statistics(BY_TASK)},
    "blocking_statistical": {**WAYS["blocking"], "request": statistics(BY_TASK)},
    "deferred_statistical_long": {**WAYS["deferred"], "request": statistics(BY_TASK, LONG_EVALSCRIPT)},
    "deferred_statistical_rerun": {**WAYS["deferred_rerun"], "request": statistics(BY_RUN)},
    "blocking_statistical_rerun": {**WAYS["blocking_rerun"], "request": statistics(BY_RUN)},
    "deferred_statistical_patient": {**WAYS["deferred_patient"], "request": statistics(BY_TASK)},
    "blocking_statistical_patient": {**WAYS["blocking_patient"], "request": statistics(BY_TASK)},
    "deferred_statistical_timeout": {**WAYS["deferred_timeout"], "request": statistics(BY_TASK)},
    "blocking_statistical_timeout": {**WAYS["blocking_timeout"], "request": statistics(BY_TASK)},
}

# In the harness, ``MAX_RESTARTS``.
RESTART: dict[str, Any] = {"on_partial": "restart", "max_restarts": 2}
TILES_WAYS: dict[str, dict[str, Any]] = {
    f"{way}_v1{suffix}": {**WAYS[f"{way}{known}"], **settings}
    for way in ("deferred", "blocking")
    for suffix, known, settings in (
        *((suffix, suffix, {}) for suffix in ("", "_analyse", "_timeout", "_new", "_adopt")),
        ("_restart", "", RESTART),
        # Warns, so that what is wrong with the features does not fail the run.
        ("_restart_hopeless", "", {**RESTART, "on_partial": "restart_then_warn"}),
    )
}

for way, settings in TILES_WAYS.items():
    with DAG(f"chaos_{way}", schedule=None, start_date=START, params=PARAMS):
        Tiles(request=tiles(FOUR), **{**SETTINGS, "progress_interval": 0, **settings})

for way, settings in WAYS.items():
    with DAG(f"chaos_{way}", schedule=None, start_date=START, params=PARAMS):
        Images(request=images(FOUR), **{**SETTINGS, "progress_interval": 0, **settings})

for way in ("deferred", "blocking"):
    with DAG(f"chaos_{way}_mapped", schedule=None, start_date=START, params=PARAMS):
        Images.partial(progress_interval=5, **SETTINGS, **WAYS[way]).expand(request=[images(ONE), images(ANOTHER)])
    with DAG(f"chaos_{way}_v1_mapped", schedule=None, start_date=START, params=PARAMS):
        Tiles.partial(progress_interval=5, **SETTINGS, **WAYS[way]).expand(request=[tiles(ONE), tiles(ANOTHER)])

for way in ("deferred", "blocking"):
    with DAG(f"chaos_{way}_async", schedule=None, start_date=START, params=PARAMS):
        SentinelHubAsyncProcessOperator(
            request=image("s3://sentinelhub/chaos/{{ dag.dag_id }}/{{ run_id }}"),
            # A submission may arrive four seconds after its sender was killed.
            trace_timeout=15,
            on_unknown="create",
            **SETTINGS,
            **WAYS[way],
        )

for way, settings in STATISTICAL_WAYS.items():
    with DAG(f"chaos_{way}", schedule=None, start_date=START, params=PARAMS):
        Statistics(**{**SETTINGS, "progress_interval": 0, **settings})
