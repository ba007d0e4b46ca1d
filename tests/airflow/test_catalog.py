"""The hook and the operator of the Catalog API, as Airflow runs them, against the simulator."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any

import geopandas
import pystac
import pytest
import shapely
import stac_geoparquet.arrow
from pyarrow import parquet

from airflow_provider_sentinelhub.artifacts.storage.storage import Storage
from airflow_provider_sentinelhub.client.errors import InvalidParameter, NotFound
from airflow_provider_sentinelhub.hooks.catalog import SentinelHubCatalogHook
from airflow_provider_sentinelhub.operators.catalog import SentinelHubCatalogSearchOperator

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from airflow_provider_sentinelhub.simulator.process import Simulator
    from tests.airflow.airflow_harness import Comms, RunTask

    Found = Callable[..., dict[str, Any]]

SEARCH: dict[str, Any] = {
    "collections": ["sentinel-2-l2a"],
    "bbox": [13, 45, 14, 46],
    "datetime": "2025-06-01T00:00:00Z/2025-09-01T00:00:00Z",
}
S2 = "sentinel-2-l2a"


@pytest.fixture
def hook(sim: Simulator) -> SentinelHubCatalogHook:
    return SentinelHubCatalogHook()


@pytest.fixture
def found(sim: Simulator, run_task: RunTask, comms: Comms) -> Found:
    """Runs the operator, and returns its result."""

    def run(**parameters: Any) -> dict[str, Any]:
        ran = run_task(operator(**parameters))
        assert ran.state == "success", ran.error
        result: dict[str, Any] = comms.xcoms["return_value"]
        return result

    return run


def operator(**parameters: Any) -> SentinelHubCatalogSearchOperator:
    return SentinelHubCatalogSearchOperator(task_id="search", **({"request": SEARCH} | parameters))


# -------------------------------------------------------------------------------------------------------------- hook


def test_the_hook_has_all_operations(hook: SentinelHubCatalogHook) -> None:
    assert hook.landing_page()["id"] == "sentinel-hub"
    assert "https://api.stacspec.org/v1.0.0/item-search" in hook.conformance()
    assert S2 in {each["id"] for each in hook.collections()}
    assert hook.collection(S2)["id"] == S2
    assert "eo:cloud_cover" in hook.queryables(S2)["properties"]
    first = next(hook.search(SEARCH))
    assert hook.item(S2, first["id"]) == first
    with pytest.raises(NotFound):
        hook.item(S2, "nothing")
    assert hook.distinct(SEARCH)[0] == "2025-06-05"


def test_a_search_reads_pages_when_they_are_needed(hook: SentinelHubCatalogHook, sim: Simulator) -> None:
    found = hook.search(SEARCH | {"limit": 5})
    some = [next(found)["id"] for _ in range(5)]
    assert sim.requests()["total"] == 1
    rest = [each["id"] for each in found]
    assert len({*some, *rest}) == len(some) + len(rest)
    assert [each["id"] for each in hook.search(SEARCH, 7)] == (some + rest)[:7]


def test_items_are_objects_of_pystac(hook: SentinelHubCatalogHook) -> None:
    items = list(hook.items(SEARCH | {"fields": {}}, 3))
    assert [type(each) for each in items] == [pystac.Item] * 3
    assert items[0].datetime is not None
    assert items[0].to_dict(transform_hrefs=False)["assets"]["data"]["href"].startswith("s3://")


# ---------------------------------------------------------------------------------------------------------- operator


def test_a_result_names_the_first_items_and_fits_into_an_xcom(found: Found) -> None:
    result = found()
    everything = list(SentinelHubCatalogHook().search(SEARCH))
    assert (result["count"], result["is_complete"], result["is_shortened"]) == (len(everything), True, True)
    assert result["items"][0]["id"] == everything[0]["id"]
    assert set(result["items"][0]) == {"id", "datetime", "cloud_cover"}
    assert result["url"] is None
    assert 3000 < len(json.dumps(result)) < 4000


def test_distinct_dates_are_in_the_result(found: Found, tmp_path: Path) -> None:
    url = f"file://{tmp_path}/dates.ndjson"
    result = found(request=SEARCH | {"distinct": "date"}, output_url=url)
    assert (result["count"], result["is_shortened"]) == (len(result["values"]), False)
    assert [json.loads(line) for line in Storage().read(url).splitlines()] == result["values"]


def test_the_table_has_the_items_for_all_who_read_it(found: Found, tmp_path: Path) -> None:
    url, lines = f"file://{tmp_path}/scenes.parquet", f"file://{tmp_path}/scenes.ndjson"
    request = SEARCH | {"limit": 40}
    result = found(request=request, output_url=url)
    found(request=request, output_url=lines)
    expected = [comparable(each) for each in SentinelHubCatalogHook().search(SEARCH)]
    assert [comparable(json.loads(line)) for line in Storage().read(lines).splitlines()] == expected
    assert (result["count"], result["url"]) == (len(expected), url)
    path = tmp_path / "scenes.parquet"
    table = stac_geoparquet.arrow.stac_table_to_items(parquet.read_table(path))
    assert [comparable(each) for each in table] == expected
    frame = geopandas.read_parquet(path)
    assert (str(frame.crs), list(frame["id"])) == ("OGC:CRS84", [each["id"] for each in expected])
    assert frame.geometry.iloc[0].equals(shapely.from_geojson(json.dumps(expected[0]["geometry"])))


def comparable(item: dict[str, Any]) -> dict[str, Any]:
    """An item without what GeoParquet has no place for: how a geometry names its system, and how a date is written."""
    item = json.loads(json.dumps(item))
    properties = item["properties"]
    properties["datetime"] = properties["datetime"].replace("+00:00", "Z").replace("000Z", "Z").replace(".Z", "Z")
    for place in (item["geometry"], properties.get("proj:geometry", {})):
        place.pop("crs", None)
    return item


def test_what_is_above_the_limit_is_left_out(found: Found, tmp_path: Path) -> None:
    url = f"file://{tmp_path}/scenes.ndjson"
    result = found(request=SEARCH | {"limit": 4}, max_items=6, output_url=url)
    assert (result["count"], result["is_complete"], result["is_shortened"]) == (6, False, False)
    assert len(Storage().read(url).splitlines()) == 6


@pytest.mark.parametrize(("on_empty", "state"), [("succeed", "success"), ("skip", "skipped"), ("fail", "failed")])
def test_nothing_found(
    sim: Simulator, run_task: RunTask, comms: Comms, tmp_path: Path, on_empty: str, state: str
) -> None:
    url = f"file://{tmp_path}/scenes.parquet"
    request = SEARCH | {"filter": "eo:cloud_cover < 0"}
    run = run_task(operator(request=request, output_url=url, on_empty=on_empty, retries=3))
    assert run.state == state
    if on_empty == "succeed":
        result = comms.xcoms["return_value"]
        assert (result["count"], result["is_complete"]) == (0, True)
        assert len(geopandas.read_parquet(tmp_path / "scenes.parquet")) == 0


@pytest.mark.parametrize(
    ("parameters", "field"),
    [
        ({"request": SEARCH | {"limit": 1000}}, "limit"),
        ({"request": SEARCH | {"datetime": "2025-06-01"}}, "datetime"),
        ({"output_url": "s3://bucket/scenes.csv"}, "output_url"),
        ({"output_url": "http://host/scenes.parquet"}, "output_url"),
        ({"request": SEARCH | {"distinct": "date"}, "output_url": "s3://b-b/dates.parquet"}, "output_url"),
        (
            {"request": SEARCH | {"fields": {"exclude": ["geometry"]}}, "output_url": "s3://b-b/a.parquet"},
            "fields.exclude",
        ),
    ],
)
def test_what_is_wrong_is_told_before_anything_is_sent(
    sim: Simulator, run_task: RunTask, parameters: dict[str, Any], field: str
) -> None:
    run = run_task(operator(**parameters, retries=3))
    assert run.state == "failed"
    assert f"{field} = " in str(run.error)
    assert sim.requests()["total"] == 0


def test_parameters_are_checked_when_the_dag_is_parsed() -> None:
    for wrong in ({"max_items": 0}, {"on_empty": "retry"}, {"output_url": 5}, {"request": 7}):
        with pytest.raises(InvalidParameter):
            operator(**wrong)


def test_a_bucket_that_cannot_be_written_costs_nothing(sim: Simulator, run_task: RunTask) -> None:
    run = run_task(operator(output_url=f"s3://no-such-bucket-{uuid.uuid4()}/scenes.parquet"))
    assert run.state == "failed"
    assert "output_url" in str(run.error)
    assert not [each for each in sim.requests()["requests"] if "search" in each["path"]]


def test_a_search_survives_a_bad_moment_of_the_service(sim: Simulator, found: Found) -> None:
    rule = {"method": "POST", "path": "/catalog/v1/search", "action": "answer", "status": 503, "count": 1}
    sim.set_script({"endpoints": [rule]})
    result = found(request=SEARCH | {"limit": 40})
    assert result["count"] == len(list(SentinelHubCatalogHook().search(SEARCH)))
