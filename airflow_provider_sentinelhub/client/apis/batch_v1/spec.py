"""Batch Processing V1, as data."""

from __future__ import annotations

from typing import Final

from airflow_provider_sentinelhub.client.apis.batch_v1 import calls
from airflow_provider_sentinelhub.client.apis.batch_v1.collections import lookups
from airflow_provider_sentinelhub.client.apis.batch_v1.costs import estimate_of, price
from airflow_provider_sentinelhub.client.apis.batch_v1.rules import RULES
from airflow_provider_sentinelhub.client.lifecycle import description
from airflow_provider_sentinelhub.client.lifecycle.spec import Capabilities, TaskApiSpec

BATCH_V1: Final = TaskApiSpec(
    key="batch-v1",
    title="Batch Processing V1",
    operator="SentinelHubBatchProcessV1Operator",
    start_operator="SentinelHubRestartPartialBatchProcessV1Operator",
    or_else="convert it with `airflow sentinelhub convert`",
    service=calls.SERVICE,
    check=calls.check,
    rules=RULES,
    price=price,
    input=("processRequest", "input"),
    script_holder="processRequest",
    calls=calls.TASKS,
    can=Capabilities(resume=False, tells_cost=False),
    tagged=description.tagged,
    tag_of=description.tag_of,
    untagged=description.untagged,
    rerun=calls.rerun,
    check_rerun=calls.check_rerun,
    features_url=calls.features_url,
    delivery_url=calls.delivery_url,
    by_policy=calls.by_policy,
    lookups=lookups,
    data_type=calls.data_type,
    tiling_grid=("tilingGrid",),
    estimate_of=estimate_of,
    terminal=frozenset({"DONE", "PARTIAL", "FAILED", "CANCELED"}),
    answered=frozenset({"DONE", "PARTIAL"}),
    analysed=frozenset({"ANALYSIS_DONE", "PROCESSING", "DONE", "PARTIAL", "FAILED", "CANCELED"}),
    restartable=frozenset({"PARTIAL"}),
    has_failed=calls.has_failed,
    stopped="CANCELED",
    stop_asked="CANCEL",
)
