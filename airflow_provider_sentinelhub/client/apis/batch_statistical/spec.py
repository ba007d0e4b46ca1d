"""Batch Statistical, as data."""

from __future__ import annotations

from typing import Final

from airflow_provider_sentinelhub.client.apis.batch_statistical import calls
from airflow_provider_sentinelhub.client.apis.batch_statistical.costs import price
from airflow_provider_sentinelhub.client.apis.batch_statistical.rules import RULES
from airflow_provider_sentinelhub.client.http.deployments import Service
from airflow_provider_sentinelhub.client.lifecycle.spec import LongScript, TaskApiSpec

BATCH_STATISTICAL: Final = TaskApiSpec(
    key="batch-statistical",
    title="Batch Statistical",
    operator="SentinelHubBatchStatisticalOperator",
    start_operator="SentinelHubRerunFailedBatchStatisticalOperator",
    service=Service.BATCH_STATISTICAL,
    check=calls.check,
    rules=RULES,
    price=price,
    input=("input",),
    script_holder="aggregation",
    storages=(("output",), ("input", "features"), ("aggregation", "evalscriptReference")),
    calls=calls.TASKS,
    tagged=calls.tagged,
    tag_of=calls.tag_of,
    untagged=calls.untagged,
    rerun=calls.rerun,
    check_rerun=calls.check_rerun,
    features_url=calls.features_url,
    delivery_url=calls.delivery_url,
    long_script=LongScript(32 * 1024, calls.script_name),
    # PARTIAL is in the service's OpenAPI document, but undocumented. DELETED is our own status.
    terminal=frozenset({"DONE", "PARTIAL", "FAILED", "STOPPED", "DELETED"}),
    answered=frozenset({"DONE", "PARTIAL", "DELETED"}),
    analysed=frozenset({"ANALYSIS_DONE", "PROCESSING", "DONE", "PARTIAL", "FAILED", "STOPPED"}),
)
