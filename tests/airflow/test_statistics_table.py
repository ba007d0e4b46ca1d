"""Other forms of a table of statistics, and the table as people work with it."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest

from airflow_provider_sentinelhub.client.errors import ArtifactMissing, InvalidParameter
from airflow_provider_sentinelhub.hooks.batch import SentinelHubBatchHook
from airflow_provider_sentinelhub.operators.batch_statistical import SentinelHubBatchStatisticalOperator
from airflow_provider_sentinelhub.operators.statistics_table import SentinelHubStatisticsTableOperator
from airflow_provider_sentinelhub.simulator.process import Simulator
from tests.airflow.airflow_harness import Comms, RunTask
from tests.airflow.statistical_harness import parcels, statistical_request

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def done(sim: Simulator, run_task: RunTask, comms: Comms) -> dict[str, Any]:
    """What came out of a task, and where its parcels lie."""
    sim.set_script({"features": [{"outcome": "failed", "ids": [3]}]})
    url = parcels(sim)
    operator = SentinelHubBatchStatisticalOperator(
        task_id="t", request=statistical_request(sim, url), poll_interval=0.1, on_partial="warn"
    )
    assert run_task(operator).state == "success"
    result: dict[str, Any] = comms.xcoms["return_value"]
    return {**result, "features_url": url}


def local(sim: Simulator, url: str) -> Path:
    return sim.bucket_folder / url.split("/", 3)[3]


def test_wide_with_outlines(sim: Simulator, run_task: RunTask, comms: Comms, done: dict[str, Any]) -> None:
    url = f"s3://{sim.ready.bucket}/{uuid.uuid4()}/wide.parquet"
    operator = SentinelHubStatisticsTableOperator(
        task_id="w", statistics_url=done["statistics_url"], url=url, wide=True, features_url=done["features_url"]
    )
    run = run_task(operator)
    assert run.state == "success", run.error
    table = pq.read_table(local(sim, url))
    assert comms.xcoms["return_value"] == {"url": url, "rows": table.num_rows} == {"url": url, "rows": 3 * 4 + 1}
    assert {"ndvi_B0_mean", "ndvi_B0_percentile_50", "geometry"} <= set(table.column_names)
    geo = json.loads(pq.read_metadata(local(sim, url)).metadata[b"geo"])
    assert (geo["primary_column"], geo["columns"]["geometry"]["encoding"]) == ("geometry", "WKB")
    tidy = pq.read_table(local(sim, done["statistics_url"])).to_pylist()
    means = {(row["feature_id"], row["interval_from"]): row["mean"] for row in tidy}
    wide = {(row["feature_id"], row["interval_from"]): row["ndvi_B0_mean"] for row in table.to_pylist()}
    assert wide == means


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"url": "s3://b/x.csv"}, "must end in .parquet"),
        ({"wide": False}, "there is nothing to do"),
        ({"statistics_url": "s3://b/x.parquet", "url": "s3://b/x.parquet"}, "is the table itself"),
        ({"features_url": "s3://{bucket}/no.gpkg"}, "no.gpkg"),
        ({"features_url": "{report_url}"}, "is no GeoPackage: it starts with b'PAR1"),
        (
            {"identifier_column": "parcel"},
            "is a column of the GeoPackage, and there is no features_url",
        ),
        ({"statistics_url": "s3://{bucket}/no.parquet"}, "no.parquet"),
        ({"statistics_url": "{report_url}"}, "must be the tidy table of statistics, and is another one"),
    ],
)
def test_what_cannot_be_done_is_said(
    sim: Simulator, run_task: RunTask, done: dict[str, Any], changes: dict[str, Any], message: str
) -> None:
    bucket = sim.ready.bucket
    given = {"statistics_url": done["statistics_url"], "url": f"s3://{bucket}/x.parquet", "wide": True, **changes}
    given = {
        key: value.format(bucket=bucket, **done) if isinstance(value, str) else value for key, value in given.items()
    }
    run = run_task(SentinelHubStatisticsTableOperator(task_id="w", **given))
    assert run.state != "success"
    assert message in str(run.error)


def test_a_dataframe_in_a_line(sim: Simulator, done: dict[str, Any]) -> None:
    hook = SentinelHubBatchHook("batch-statistical")
    frame = hook.statistics(done["statistics_url"], columns=["feature_id", "mean", "error"]).to_pandas()
    assert list(frame.columns) == ["feature_id", "mean", "error"]
    assert len(frame) == 3 * 4 + 1
    assert list(frame[frame["error"].notna()]["feature_id"]) == [3]
    with pytest.raises(ArtifactMissing):
        hook.statistics(f"s3://{sim.ready.bucket}/no.parquet")
    with pytest.raises(InvalidParameter, match="and is another one: it has no column feature_id, interval_from"):
        hook.statistics(done["report_url"])


def test_other_forms_are_tables_of_statistics_too(sim: Simulator, run_task: RunTask, done: dict[str, Any]) -> None:
    url = f"s3://{sim.ready.bucket}/{uuid.uuid4()}/wide.parquet"
    operator = SentinelHubStatisticsTableOperator(
        task_id="w", statistics_url=done["statistics_url"], url=url, wide=True, features_url=done["features_url"]
    )
    assert run_task(operator).state == "success"
    table = SentinelHubBatchHook("batch-statistical").statistics(url)
    assert {"ndvi_B0_mean", "geometry"} <= set(table.column_names)


def test_an_api_that_does_not_exist_is_named_at_once() -> None:
    with pytest.raises(InvalidParameter, match="api = 'batch-statistcal': must be one of batch-v2, batch-statistical"):
        SentinelHubBatchHook("batch-statistcal")
