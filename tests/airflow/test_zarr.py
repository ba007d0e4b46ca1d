"""A batch that writes Zarr: all tiles into one group, which lies at the delivery URL itself."""

from __future__ import annotations

import io
from typing import Any

import pyarrow.parquet as pq
import pytest
from airflow.sdk import AssetAlias

from airflow_provider_sentinelhub.artifacts.storage.storage import Storage
from airflow_provider_sentinelhub.client.errors import InvalidParameter
from airflow_provider_sentinelhub.hooks.batch import SentinelHubBatchHook
from airflow_provider_sentinelhub.operators.batch_process import SentinelHubBatchProcessOperator
from airflow_provider_sentinelhub.simulator.process import Simulator
from tests.airflow.airflow_harness import EVALSCRIPT, Comms, RunTask, request


def zarr_request(sim: Simulator) -> dict[str, Any]:
    """A request for the four LAEA tiles that meet 4200 km east and 2100 km north."""
    body = request(sim.ready, input={"type": "tiling-grid", "id": 6, "resolution": 100})
    body["processRequest"]["input"]["bounds"]["bbox"] = [8.5, 41.86, 8.75, 42.1]
    body["processRequest"]["input"]["data"][0]["dataFilter"] = {
        "timeRange": {"from": "2024-07-01T00:00:00Z", "to": "2024-07-31T00:00:00Z"}
    }
    body["processRequest"]["output"]["responses"][0]["format"]["type"] = "zarr/array"
    body["processRequest"]["evalscript"] = EVALSCRIPT
    array = {"dtype": "<f4", "order": "C", "chunks": [1, 1000, 1000], "fill_value": 0}
    body["output"] |= {"type": "zarr", "group": {"zarr_format": 2}, "arrayParameters": array}
    return body


@pytest.mark.parametrize("below", ["", "/<requestId>"])
def test_a_zarr_is_delivered_and_reported(sim: Simulator, run_task: RunTask, comms: Comms, below: str) -> None:
    sim.set_script({"features": [{"outcome": "fatal", "names": ["E42N21"], "error": "no such band"}]})
    body = zarr_request(sim)
    body["output"]["delivery"]["s3"]["url"] += below
    run = run_task(
        SentinelHubBatchProcessOperator(
            task_id="t",
            request=body,
            on_partial="warn",
            poll_interval=0.05,
            progress_interval=0,
            outlets=[AssetAlias("ndvi")],
        )
    )
    assert run.state == "success", run.error
    result = comms.xcoms["return_value"]
    assert (result["outcome"], result["total"], result["delivered"], result["failed"]) == ("PARTIAL", 4, 3, 1)
    assert result["failed_names"] == ["E42N21"]
    assert result.get("notes", []) == []
    url = body["output"]["delivery"]["s3"]["url"].replace("<requestId>", result["task_id"])
    (event,) = run.message.outlet_events
    assert event["dest_asset_key"]["uri"] == event["extra"]["delivered_url"] == url
    storage: Storage = SentinelHubBatchHook().storage
    table = pq.read_table(io.BytesIO(storage.read(result["report_url"]))).to_pylist()
    assert {row["name"]: row["outcome"] for row in table} == {
        "E41N20": "DELIVERED",
        "E41N21": "DELIVERED",
        "E42N20": "DELIVERED",
        "E42N21": "FAILED",
    }
    assert {each["path"] for row in table for each in row["outputs"]} == {url}
    hook = SentinelHubBatchHook()
    for given in (result, result["task_id"], url):
        group = hook.open_zarr(given)
        assert dict(group.sizes) == {"time": 1, "y": 2000, "x": 2000}
        # Nothing was read but the coordinates.
        assert not group["default"]._in_memory
    assert hook.open_zarr(result).attrs["crs"] == "EPSG:3035"
    assert group["time"].dt.strftime("%Y-%m-%d").item() == "2024-07-01"
    place = {"x": slice(4_200_000, 4_300_000), "y": slice(2_100_000, 2_000_000)}
    tile = hook.open_zarr(result, feature="E42N20")
    assert tile.sizes == {"time": 1, "y": 1000, "x": 1000}
    assert tile.identical(hook.open_zarr(result).sel(place))
    assert (float(tile["x"].min()), float(tile["x"].max())) == (4_200_050, 4_299_950)
    # The tile that failed has the fill value everywhere.
    assert hook.open_zarr(result, feature="E42N21")["default"].isnull().all()
    assert tile["default"].notnull().any()
    with pytest.raises(InvalidParameter, match="feature = 'E99N99': is not in the report"):
        hook.open_zarr(result, feature="E99N99")
    with pytest.raises(InvalidParameter, match="Give the result of the operator, or the id"):
        hook.open_zarr(url, feature="E42N20")
    written = {item.url.removeprefix(f"{url}/default/") for item in storage.list(f"{url}/default")}
    assert written == {".zarray", ".zattrs", "0.0.0", "0.1.0", "0.1.1"}
