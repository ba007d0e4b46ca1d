"""Batch Processing V2, as data."""

from __future__ import annotations

from typing import Final

from airflow_provider_sentinelhub.client.apis.batch_v2 import calls
from airflow_provider_sentinelhub.client.apis.batch_v2.collections import lookups
from airflow_provider_sentinelhub.client.apis.batch_v2.costs import price
from airflow_provider_sentinelhub.client.apis.batch_v2.rules import RULES
from airflow_provider_sentinelhub.client.http.deployments import Service
from airflow_provider_sentinelhub.client.lifecycle import description
from airflow_provider_sentinelhub.client.lifecycle.spec import TaskApiSpec

BATCH_V2: Final = TaskApiSpec(
    key="batch-v2",
    title="Batch Processing V2",
    operator="SentinelHubBatchProcessOperator",
    start_operator="SentinelHubRerunFailedOperator",
    service=Service.BATCH_V2,
    check=calls.check,
    rules=RULES,
    price=price,
    input=("processRequest", "input"),
    script_holder="processRequest",
    storages=(("output", "delivery"), ("input", "features")),
    calls=calls.TASKS,
    tagged=description.tagged,
    tag_of=description.tag_of,
    untagged=description.untagged,
    rerun=calls.rerun,
    check_rerun=calls.check_rerun,
    features_url=calls.features_url,
    delivery_url=calls.delivery_url,
    lookups=lookups,
    data_type=calls.data_type,
    terminal=frozenset({"DONE", "FAILED", "STOPPED"}),
    answered=frozenset({"DONE"}),
    analysed=frozenset({"ANALYSIS_DONE", "PROCESSING", "DONE", "FAILED", "STOPPED"}),
)
