"""Templates in what another task returned: Airflow does not render them, and nothing is sent with them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from airflow_provider_sentinelhub.client.errors import InvalidRequest, Violation
from airflow_provider_sentinelhub.hooks.credentials import explained
from airflow_provider_sentinelhub.operators.batch_process import (
    SentinelHubBatchProcessOperator,
    SentinelHubBatchReportOperator,
)
from airflow_provider_sentinelhub.operators.input_features import SentinelHubInputFeaturesOperator
from airflow_provider_sentinelhub.operators.statistical import SentinelHubStatisticalOperator
from airflow_provider_sentinelhub.operators.statistics_table import SentinelHubStatisticsTableOperator
from airflow_provider_sentinelhub.sensors.batch_process import SentinelHubBatchProcessSensor
from airflow_provider_sentinelhub.simulator.process import Simulator
from tests.airflow.airflow_harness import Comms, RunTask, request

SAID = "is a template that was not rendered: Airflow renders templates in the DAG file, but not in what another task"


@pytest.mark.parametrize("what", ["{{ ds }}", "{% if x %}a{% endif %}", "{# a #}"])
def test_a_request_of_another_task(sim: Simulator, run_task: RunTask, comms: Comms, what: str) -> None:
    from airflow.providers.standard.operators.empty import EmptyOperator
    from airflow.sdk import DAG

    url = f"s3://{sim.ready.bucket}/{what}"
    comms.xcoms["return_value"] = request(sim.ready, output__delivery={"s3": {"url": url}})
    with DAG("unit", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)):
        op = SentinelHubBatchProcessOperator(task_id="t", request=EmptyOperator(task_id="makes_it").output)
    run = run_task(op)
    assert run.state == "failed"
    assert type(run.error).__name__ == "AirflowFailException"
    assert str(run.error).startswith(f"output.delivery.s3.url = {url!r}: {SAID}")
    assert sim.requests()["total"] == 0


# What a template makes of these is a template, as what another task returns may be.
RAW = "{% raw %}{{ ds }}{% endraw %}"


@pytest.mark.parametrize(
    ("operator", "parameters", "named"),
    [
        (SentinelHubBatchReportOperator, {}, "batch_task_id"),
        (SentinelHubBatchProcessSensor, {"deferrable": False}, "batch_task_id"),
        (SentinelHubStatisticsTableOperator, {"url": "s3://b/a.parquet"}, "statistics_url"),
        (SentinelHubStatisticalOperator, {"request": {}, "geometries": []}, "output_url"),
        (SentinelHubInputFeaturesOperator, {"url": "s3://b/a.gpkg"}, "source"),
    ],
)
def test_any_other_parameter(sim: Simulator, run_task: RunTask, operator: Any, parameters: Any, named: str) -> None:
    run = run_task(operator(task_id="t", **{named: RAW}, **parameters))
    assert run.state == "failed"
    assert str(run.error).startswith(f"{named} = '{{{{ ds }}}}': {SAID}")
    assert sim.requests()["total"] == 0


@pytest.mark.parametrize(
    ("parameter", "says_so"), [("output->delivery->s3->url", True), ("output->delivery->s3", False)]
)
def test_a_refused_address_is_first_of_all_another_address(parameter: str, says_so: bool) -> None:
    refusal = InvalidRequest("no", violations=(Violation(parameter, "no such thing"),))
    said = str(explained(refusal, "aws_default", None))
    assert ("Check that this is the address that was meant." in said) == says_so
    assert "what connection 'aws_default' holds" in said
