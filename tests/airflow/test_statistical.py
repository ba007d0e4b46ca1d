"""Statistics of geometries, one request each, as Airflow runs it, against the simulator."""

from __future__ import annotations

import io
import itertools
import json
import logging
import re
import runpy
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest
import shapely

from airflow_provider_sentinelhub.artifacts.storage.storage import Storage
from airflow_provider_sentinelhub.client.errors import InvalidParameter
from airflow_provider_sentinelhub.hooks.statistical import SentinelHubStatisticalHook
from airflow_provider_sentinelhub.operators.statistical import SentinelHubStatisticalOperator
from tests.airflow.airflow_harness import Comms, Run, RunTask
from tests.airflow.statistical_harness import NDVI, parcels
from tests.client.client_harness import build_document

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_sentinelhub.simulator.process import Simulator

# The simulator remembers what a place was asked for; each test has places of its own.
ROWS = itertools.count()
FIELDS = {"field-1": "POLYGON ((0 0, 100 0, 100 100, 0 100, 0 0))"}
WEEKS = 4
ROOT = Path(__file__).parents[2]
CRS84_BOX = [9.0, 46.5, 9.002, 46.502]
UTM = "http://www.opengis.net/def/crs/EPSG/0/32632"
SECOND_WEEK = {"dates": ["2025-05-13"]}


def request(**aggregation: Any) -> dict[str, Any]:
    return {
        "input": {"data": [{"type": "sentinel-2-l2a"}]},
        "aggregation": {
            "timeRange": {"from": "2025-05-05T00:00:00Z", "to": "2025-06-02T00:00:00Z"},
            "aggregationInterval": {"of": "P7D"},
            "resx": 10,
            "resy": 10,
            "evalscript": NDVI,
            **aggregation,
        },
    }


@pytest.fixture
def fields() -> dict[str, str]:
    north = 5_150_000 + 1_000 * next(ROWS)
    return {
        f"field-{number}": shapely.box(east, north, east + 100, north + 100).wkt
        for number in range(1, 6)
        for east in [500_000 + 150 * number]
    }


@pytest.fixture
def output(sim: Simulator) -> str:
    return f"s3://{sim.ready.bucket}/{uuid.uuid4()}"


@pytest.fixture
def ask(run_task: RunTask, output: str, fields: dict[str, str]) -> Callable[..., Run]:
    def run(attempt: dict[str, Any] | None = None, **parameters: Any) -> Run:
        given = {"task_id": "s", "request": request(), "output_url": output, "rerun_delay": 0.01, **parameters}
        if not {"source", "geometries"} & set(parameters) and "bounds" not in given["request"].get("input", {}):
            given |= {"geometries": fields, "epsg": 32632}
        return run_task(SentinelHubStatisticalOperator(**given), **(attempt or {}))

    return run


def in_bucket(sim: Simulator, url: str) -> Path:
    return sim.bucket_folder / url.removeprefix(f"s3://{sim.ready.bucket}/")


def rows(sim: Simulator, result: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pq.read_table(in_bucket(sim, result["statistics_url"])).to_pylist()
    return found


def answered(result: dict[str, Any]) -> int:
    return int(result["intervals_with_data"] + result["intervals_without_data"])


def calls(sim: Simulator) -> int:
    return int(sim.requests()["counts"].get("POST /statistics/v1", 0))


def spoil(sim: Simulator, **rule: Any) -> None:
    sim.set_script({"intervals": [rule]})


def test_many_geometries_become_one_table(ask: Callable[..., Run], sim: Simulator, comms: Comms, output: str) -> None:
    assert ask().state == "success"
    result = comms.xcoms["return_value"]
    assert len(json.dumps(result)) < 4000
    page = (ROOT / "docs/howto/statistical.md").read_text().partition("## The result")[2].partition("## In a Python")[0]
    listed = set(re.findall(r"`(\w+)`", page))
    assert listed - {"cost_pu", "max_pu", "on_partial", "warn"} < set(result)
    assert (result["outcome"], result["total"], result["delivered"], result["failed"]) == ("DONE", 5, 5, 0)
    assert (answered(result), result["intervals_failed"]) == (5 * WEEKS, 0)
    found = rows(sim, result)
    assert [(row["feature_id"], row["identifier"]) for row in found] == [
        (number, f"field-{number}") for number in range(1, 6) for _ in range(WEEKS)
    ]
    assert {(row["output"], row["band"], row["error"]) for row in found} == {("ndvi", "B0", None)}
    assert all(row["sample_count"] == 100 for row in found)
    # Some weeks have no data: clouds.
    assert sum(row["mean"] is not None for row in found) == result["intervals_with_data"]
    assert calls(sim) == 5
    # As Batch Statistical leaves them, so that what reads its results reads these.
    files = {path.name for path in in_bucket(sim, f"{output}/{result['run_id']}").glob("*.json")}
    assert files == {f"{number}.json" for number in range(1, 6)}


@pytest.mark.parametrize(
    "geometries",
    [
        shapely.box(*CRS84_BOX).wkt,
        [shapely.box(*CRS84_BOX).wkt],
        {"a": shapely.geometry.mapping(shapely.box(*CRS84_BOX))},
        {"a": CRS84_BOX},
        CRS84_BOX,
        str(CRS84_BOX),
        json.dumps({"a": CRS84_BOX}),
    ],
    ids=["WKT", "list", "GeoJSON", "boxes", "box", "box as text", "boxes as text"],
)
def test_one_geometry_in_any_form(ask: Callable[..., Run], sim: Simulator, comms: Comms, geometries: Any) -> None:
    assert ask(geometries=geometries, epsg="4326", request=request(resx=1e-4, resy="1e-4")).state == "success"
    found = rows(sim, comms.xcoms["return_value"])
    assert [row["sample_count"] for row in found] == [20 * 20] * WEEKS


def test_a_template_of_the_answers_is_not_read_as_a_file(
    ask: Callable[..., Run], sim: Simulator, comms: Comms, output: str
) -> None:
    assert ask(output_url=f"{{{{ '{output}' }}}}/<REQUEST_ID>/of-<IDENTIFIER>.json").state == "success"
    result = comms.xcoms["return_value"]
    files = {path.name for path in in_bucket(sim, f"{output}/{result['run_id']}").glob("*.json")}
    assert files == {f"of-field-{number}.json" for number in range(1, 6)}
    assert result["statistics_url"].startswith(f"{output}/{result['run_id']}/statistics-")


def test_a_request_may_bring_its_own_geometry(ask: Callable[..., Run], sim: Simulator, comms: Comms) -> None:
    whole = request()
    whole["input"]["bounds"] = {"bbox": [500_000, 5_150_000, 500_100, 5_150_100], "properties": {"crs": UTM}}
    assert ask(request=whole).state == "success"
    (identifier,) = {row["identifier"] for row in rows(sim, comms.xcoms["return_value"])}
    assert identifier is None


def test_geometries_from_a_file(ask: Callable[..., Run], sim: Simulator, comms: Comms) -> None:
    assert ask(source=parcels(sim, 3)).state == "success"
    found = rows(sim, comms.xcoms["return_value"])
    assert {row["identifier"] for row in found} == {"parcel-1", "parcel-2", "parcel-3"}


@pytest.mark.parametrize("error", ["EXECUTION_ERROR", "TIMEOUT"])
def test_failed_intervals_are_asked_for_again(
    ask: Callable[..., Run], sim: Simulator, comms: Comms, error: str
) -> None:
    spoil(sim, outcome=error, first_tasks=2, **SECOND_WEEK)
    assert ask(max_reruns=2).state == "success"
    result = comms.xcoms["return_value"]
    assert (result["outcome"], result["intervals_failed"]) == ("DONE", 0)
    # The whole once, and two times the interval alone.
    assert calls(sim) == 5 * 3
    found = rows(sim, result)
    assert len(found) == len({(row["feature_id"], row["interval_from"]) for row in found}) == 5 * WEEKS


def test_200_with_failed_intervals_is_no_success(ask: Callable[..., Run], sim: Simulator, comms: Comms) -> None:
    spoil(sim, outcome="EXECUTION_ERROR", **SECOND_WEEK)
    run = ask(max_reruns=1)
    assert run.state == "failed"
    assert "Statistics are missing for 5 of 5 geometries" in str(run.error)
    assert (comms.xcoms["return_value"]["failed"], comms.xcoms["return_value"]["outcome"]) == (5, "FAILED")
    assert "1 of 4 intervals failed: EXECUTION_ERROR" in str(run.error)


def test_one_may_go_on_with_what_there_is(ask: Callable[..., Run], sim: Simulator, comms: Comms) -> None:
    area = {"area": list(shapely.box(*CRS84_BOX).bounds)}
    spoil(sim, outcome="BAD_REQUEST", **SECOND_WEEK, **area)
    other = [9.1, 46.5, 9.102, 46.502]
    boxes = {"bad": CRS84_BOX, "good": other}
    run = ask(geometries=boxes, epsg=4326, request=request(resx=1e-4, resy=1e-4), on_partial="warn")
    assert run.state == "success"
    result = comms.xcoms["return_value"]
    assert (result["outcome"], result["delivered"], result["failed"]) == ("PARTIAL", 1, 1)
    assert result["failed_names"] == ["bad"]
    # What would fail again is not asked for again.
    assert calls(sim) == 2
    assert [row["error"] for row in rows(sim, result) if row["error"]] == ["BAD_REQUEST"]


def test_nothing_at_all_is_a_failure_all_the_same(ask: Callable[..., Run], sim: Simulator) -> None:
    sim.set_script({"features": [{"outcome": "failed"}]})
    run = ask(on_partial="warn", max_reruns=0)
    assert run.state == "failed"
    assert "Statistics are missing for 5 of 5 geometries" in str(run.error)


def test_a_retry_asks_only_for_what_is_missing(ask: Callable[..., Run], sim: Simulator, comms: Comms) -> None:
    spoil(sim, outcome="EXECUTION_ERROR", first_tasks=1, **SECOND_WEEK)
    assert ask(max_reruns=0).state == "failed"
    first = calls(sim)
    assert first == 5
    assert ask({"try_number": 2}, max_reruns=1).state == "success"
    # Each geometry is asked for its one failed interval, and for nothing else.
    assert calls(sim) - first == 5
    result = comms.xcoms["return_value"]
    assert (result["outcome"], answered(result)) == ("DONE", 5 * WEEKS)
    assert ask({"try_number": 3}).state == "success"
    assert calls(sim) - first == 5
    assert comms.xcoms["return_value"]["run_id"] == result["run_id"]


def test_a_worker_that_died_loses_nothing_it_was_answered(
    ask: Callable[..., Run], sim: Simulator, comms: Comms
) -> None:
    # The service is there for three geometries, and then it is not.
    sim.set_script({"endpoints": [{"method": "POST", "path": "/statistics/v1", "status": 403, "skip": 3}]})
    assert ask(concurrency=1).state == "failed"
    sim.set_script({})
    before = calls(sim)
    assert ask({"try_number": 2}, concurrency=1).state == "success"
    assert calls(sim) - before == 2
    assert comms.xcoms["return_value"]["delivered"] == 5


def test_a_clear_after_a_success_asks_for_everything_anew(
    ask: Callable[..., Run], sim: Simulator, comms: Comms, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    ask()
    run_id = comms.xcoms["return_value"]["run_id"]
    assert ask({"try_number": 2, "max_tries": 1}).state == "success"
    assert calls(sim) == 10
    assert comms.xcoms["return_value"]["run_id"] != run_id
    assert f"Run {run_id} has succeeded, and the task was cleared: starting over" in caplog.text
    assert ask({"try_number": 3, "max_tries": 2}, on_clear="adopt").state == "success"
    assert calls(sim) == 10


@pytest.mark.parametrize("name", ["", "/<REQUEST_ID>/<ID>.json", "/<REQUEST_ID>-<ID>.json", "/<ID>/<REQUEST_ID>.json"])
def test_a_clear_after_a_failure_goes_on(
    ask: Callable[..., Run], sim: Simulator, comms: Comms, output: str, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    # The service is there for three geometries, and then it is not.
    down = {"method": "POST", "path": "/statistics/v1", "status": 403}
    sim.set_script({"endpoints": [{**down, "skip": 3}]})
    assert ask(concurrency=1, output_url=f"{output}{name}").state == "failed"
    before = calls(sim)
    # Cleared too soon, and again.
    sim.set_script({"endpoints": [down]})
    assert ask({"try_number": 2, "max_tries": 1}, concurrency=1, output_url=f"{output}{name}").state == "failed"
    sim.set_script({})
    again = calls(sim)
    assert ask({"try_number": 3, "max_tries": 2}, concurrency=1, output_url=f"{output}{name}").state == "success"
    assert (again - before, calls(sim) - again) == (1, 2)
    result = comms.xcoms["return_value"]
    assert (result["delivered"], answered(result)) == (5, 5 * WEEKS)
    assert "3 of 5 geometries were answered before, which saves about 0.08 PU" in caplog.text
    assert f"Run {result['run_id']} has not succeeded: continuing it. To start over" in caplog.text
    # A retry of the attempt that ended well is no clear; a clear is.
    assert ask({"try_number": 4, "max_tries": 2}, output_url=f"{output}{name}").state == "success"
    assert calls(sim) - again == 2
    assert ask({"try_number": 5, "max_tries": 4}, output_url=f"{output}{name}").state == "success"
    assert calls(sim) - again == 7


def test_a_clear_after_statistics_were_missing_asks_for_those(
    ask: Callable[..., Run], sim: Simulator, comms: Comms
) -> None:
    spoil(sim, outcome="EXECUTION_ERROR", first_tasks=1, **SECOND_WEEK)
    run = ask(max_reruns=0)
    assert run.state == "failed"
    assert "Clear the task to ask again for what is missing, and for nothing else" in str(run.error)
    first = calls(sim)
    assert ask({"try_number": 2, "max_tries": 1}, max_reruns=1).state == "success"
    assert calls(sim) - first == 5
    assert answered(comms.xcoms["return_value"]) == 5 * WEEKS


def test_what_was_accepted_as_partial_was_a_success(ask: Callable[..., Run], sim: Simulator) -> None:
    spoil(sim, outcome="BAD_REQUEST", area=list(shapely.box(*CRS84_BOX).bounds), **SECOND_WEEK)
    boxes = {"bad": CRS84_BOX, "good": [9.1, 46.5, 9.102, 46.502]}
    parameters = {"geometries": boxes, "epsg": 4326, "request": request(resx=1e-4, resy=1e-4), "on_partial": "warn"}
    assert ask(**parameters).state == "success"
    assert ask({"try_number": 2, "max_tries": 1}, **parameters).state == "success"
    assert calls(sim) == 4


@pytest.mark.parametrize("changes", [{"on_clear": "new"}, {"request": request(resx=5)}])
def test_a_clear_may_mean_everything_anew(ask: Callable[..., Run], sim: Simulator, changes: dict[str, Any]) -> None:
    sim.set_script({"endpoints": [{"method": "POST", "path": "/statistics/v1", "status": 403, "skip": 3}]})
    assert ask(concurrency=1).state == "failed"
    sim.set_script({})
    before = calls(sim)
    assert ask({"try_number": 2, "max_tries": 1}, **changes).state == "success"
    assert calls(sim) - before == 5


def test_too_expensive_is_not_asked_at_all(ask: Callable[..., Run], sim: Simulator) -> None:
    run = ask(max_pu="0.01")
    assert run.state == "failed"
    assert "would cost about" in str(run.error)
    assert "more than max_pu = 0.01. Nothing was requested." in str(run.error)
    assert calls(sim) == 0
    assert ask(max_pu=1000).state == "success"


def test_a_geometry_that_is_refused_is_a_row_with_an_error(
    ask: Callable[..., Run], sim: Simulator, comms: Comms
) -> None:
    body = {"error": {"status": 400, "reason": "Bad Request", "message": "Not this one.", "code": "COMMON_BAD_PAYLOAD"}}
    sim.set_script(
        {"endpoints": [{"method": "POST", "path": "/statistics/v1", "status": 400, "body": body, "count": 1}]}
    )
    assert ask(on_partial="warn", concurrency=1).state == "success"
    result = comms.xcoms["return_value"]
    assert (result["outcome"], result["delivered"], result["failed_names"]) == ("PARTIAL", 4, ["field-1"])
    (error,) = [row["error"] for row in rows(sim, result) if row["error"]]
    assert error.startswith("BAD_REQUEST: ")
    assert "Not this one." in error


def test_a_request_that_is_refused_for_every_geometry_is_given_up(ask: Callable[..., Run], sim: Simulator) -> None:
    body = {"error": {"status": 400, "reason": "Bad Request", "message": "Not at all.", "code": "COMMON_BAD_PAYLOAD"}}
    sim.set_script({"endpoints": [{"method": "POST", "path": "/statistics/v1", "status": 400, "body": body}]})
    many = [shapely.box(east, 5_000_000, east + 100, 5_000_100).wkt for east in range(400_000, 440_000, 1_000)]
    run = ask(geometries=many, epsg=32632, on_partial="warn", concurrency=2)
    assert run.state == "failed"
    assert "Not at all." in str(run.error)
    assert 20 <= calls(sim) < 30


def test_a_rate_limit_is_waited_for(ask: Callable[..., Run], sim: Simulator, comms: Comms) -> None:
    busy = {"method": "POST", "path": "/statistics/v1", "status": 429, "retry_after_ms": 100, "count": 3}
    sim.set_script({"endpoints": [busy]})
    assert ask().state == "success"
    assert (comms.xcoms["return_value"]["delivered"], calls(sim)) == (5, 8)


IMAGES = build_document()
BY_NAME = "s3://bucket/<REQUEST_ID>/<IDENTIFIER>.json"
IN_DEGREES: dict[str, Any] = {"epsg": 4326, "request": request(resx=1e-4, resy=1e-4)}


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"geometries": FIELDS, "source": "s3://b/a.gpkg"}, "exactly one of geometries, source and the request's"),
        ({"geometries": {}}, "there are no geometries"),
        ({"geometries": {"a": [9, 46, 8, 47]}}, "is not a valid box: west must be less than east"),
        ({"geometries": {"a": "POINT (9 46)"}, "epsg": 4326}, "input.bounds.geometry of geometry a = "),
        ({"geometries": {"a": CRS84_BOX}, "epsg": 2056}, "input.bounds.properties.crs of geometry a = "),
        ({"geometries": {"a": CRS84_BOX}, "epsg": 4326}, "aggregation.resx of geometry a = 10: is more than the width"),
        ({"geometries": FIELDS}, "does not say which coordinate reference system it is in"),
        ({"columns": {"name": "id"}, "source": "s3://b/a.gpkg"}, "must be a dict with some of the keys identifier"),
        ({"columns": {"identifier": "id"}, "geometries": FIELDS}, "columns = {'identifier': 'id'}: geometries have no"),
        ({"max_pu": "{{ 'a lot' }}"}, "max_pu = 'a lot': must be a number"),
        (
            {"geometries": {"a": "SRID=32633;POLYGON((9 42, 9.01 42, 9.01 42.01, 9 42))"}, "epsg": 4326},
            "epsg = 4326: row 1 ('a') of the mapping says that its coordinates are in EPSG:32633. Leave epsg out",
        ),
        (
            {"geometries": {"a": "POLYGON((9 42, 9.01 42, 9.01 42.01, 9 42.01))"}, "epsg": 4326},
            "1 with a ring that does not end where it begins: row 1 ('a'). Close the rings, or",
        ),
        (
            {"geometries": {"a": {"type": "Polygon", "coordinates": [[[9, 42], [9.01, 42], [9.01, 42.01]]]}}},
            "1 with a ring that does not end where it begins: row 1 ('a'). Close the rings, or",
        ),
        ({"source": "a.geojson", "geometries": None}, "source = 'a.geojson': must be a URL (s3://, gs:// or file:///)"),
        ({"output_url": "gs://bucket/x"}, "output_url = 'gs://bucket/x': must start with s3://"),
        ({"output_url": "s3://bucket/<ID>.json"}, "must hold <REQUEST_ID>, or what another run left there"),
        (
            {"output_url": BY_NAME, "geometries": {"Feld #3": CRS84_BOX, "a//b": CRS84_BOX}, **IN_DEGREES},
            "geometries = 'Feld #3': cannot stand for <IDENTIFIER>, for a URL must not have a query or fragment",
        ),
        (
            {"output_url": BY_NAME, "geometries": {"Feld #3": CRS84_BOX, "a//b": CRS84_BOX}, **IN_DEGREES},
            "\ngeometries = 'a//b': cannot stand for <IDENTIFIER>, for a URL must not have empty, '.' or '..' path",
        ),
        (
            {"output_url": BY_NAME, "geometries": {"2": CRS84_BOX, "": CRS84_BOX}, **IN_DEGREES},
            "geometries = '2': is what geometries 1 and 2 are called, so one answer would replace the other. Choose",
        ),
        ({"request": request(evalscript="//VERSION=3")}, "has no function setup()"),
        ({"request": IMAGES}, "is a request of Batch Processing V2, and this is the Statistical API. Use Sentinel"),
        ({"request": IMAGES, "geometries": None}, "is a request of Batch Processing V2, and this is"),
    ],
)
def test_bad_input_is_said_before_anything_is_sent(
    ask: Callable[..., Run], sim: Simulator, parameters: dict[str, Any], said: str
) -> None:
    run = ask(**parameters)
    assert run.state == "failed"
    assert said in str(run.error)
    assert calls(sim) == 0


def test_a_bucket_that_takes_no_answers_is_found_before_one_is_paid_for(
    ask: Callable[..., Run], sim: Simulator
) -> None:
    run = ask(output_url="s3://no-such-bucket/answers")
    said = "output_url = 's3://no-such-bucket/answers': the bucket refused connection 'aws_default'."
    assert str(run.error).startswith(said)
    assert type(run.error).__name__ == "AirflowFailException"
    assert calls(sim) == 0


@pytest.mark.parametrize(
    "parameters",
    [
        {"on_partial": "rerun"},
        {"max_reruns": -1},
        {"concurrency": 0},
        {"rerun_delay": "soon"},
        {"epsg": "UTM"},
        {"output_url": None},
    ],
)
def test_parameters_are_checked_when_the_dag_is_parsed(parameters: dict[str, Any]) -> None:
    given = {"request": request(), "geometries": FIELDS, "output_url": "s3://b/x", **parameters}
    with pytest.raises(InvalidParameter) as refused:
        SentinelHubStatisticalOperator(task_id="s", **given)
    assert refused.value.field == next(iter(parameters))


def test_a_killed_task_sends_nothing_more(
    ask: Callable[..., Run], sim: Simulator, run_task: RunTask, output: str
) -> None:
    operator = SentinelHubStatisticalOperator(
        task_id="k", request=request(), geometries=FIELDS, epsg=32632, output_url=output
    )
    operator.on_kill()
    run = run_task(operator)
    assert run.state == "failed"
    assert "killed" in str(run.error)
    assert calls(sim) == 0


def test_the_hook_answers_python_tasks(sim: Simulator) -> None:
    spoil(sim, outcome="TIMEOUT", first_tasks=1, **SECOND_WEEK)
    whole = request()
    whole["input"]["bounds"] = {"bbox": [500_000, 5_100_000, 500_100, 5_100_100], "properties": {"crs": UTM}}
    answer = SentinelHubStatisticalHook().statistics(whole, rerun_delay=0.01)
    assert (answer.failed, answer.status, len(answer.data or ())) == ((), "OK", WEEKS)
    stats = (answer.data or [])[1].outputs["ndvi"].bands["B0"].stats
    assert stats is not None
    assert stats.sample_count == 100


def test_the_snippet_of_the_page_runs_where_intervals_failed(
    sim: Simulator, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (ROOT / "docs/howto/statistical.md").read_text()
    (code,) = re.findall(r"^## In a Python task\n\n```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    spoil(sim, outcome="BAD_REQUEST", **SECOND_WEEK)
    whole = request()
    whole["input"]["bounds"] = {"bbox": [500_000, 5_101_000, 500_100, 5_101_100], "properties": {"crs": UTM}}
    exec(code, {"request": whole})  # noqa: S102 - our own page
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == WEEKS
    assert [line for line in lines if line.endswith("failed for good: BAD_REQUEST")] == lines[1:2]


def test_what_is_kept_is_what_was_answered(tmp_path: Path, sim: Simulator) -> None:
    from airflow_provider_sentinelhub.artifacts.results.statistical import StatisticalRun
    from airflow_provider_sentinelhub.artifacts.statistics.geometries import Place
    from airflow_provider_sentinelhub.client.apis.statistical.answers import StatisticalAnswer

    body = {
        "data": [
            {
                "interval": {"from": "2025-05-05T00:00:00Z", "to": "2025-05-12T00:00:00Z"},
                "outputs": {
                    "ndvi": {
                        "bands": {
                            "B0": {
                                "stats": {
                                    "min": "NaN",
                                    "max": "NaN",
                                    "mean": "NaN",
                                    "stDev": "NaN",
                                    "sampleCount": 4,
                                    "noDataCount": 4,
                                    "percentiles": {"50.0": "NaN"},
                                },
                                "histogram": {
                                    "bins": [{"lowEdge": 0.0, "highEdge": 1.0, "count": 0}],
                                    "overflowCount": 0,
                                },
                            }
                        }
                    }
                },
            },
            {
                "interval": {"from": "2025-05-12T00:00:00Z", "to": "2025-05-19T00:00:00Z"},
                "error": {"type": "TIMEOUT"},
            },
        ],
        "status": "PARTIAL",
        "geometryPixelCount": 4,
    }
    run = StatisticalRun(Storage(), tmp_path.as_uri(), "run")
    place = Place(7, "a/b", {})
    assert run.finished() is None
    run.keep(place, StatisticalAnswer.model_validate(body))
    (path,) = tmp_path.rglob("*.json")
    assert json.load(io.BytesIO(path.read_bytes())) == {"id": 7, "identifier": "a/b", "response": body}
    assert run.finished() == frozenset()
    known = run.known(place)
    assert known is not None
    assert [each.error.type for each in known.failed if each.error] == ["TIMEOUT"]
    run.keep_refusal(place, "no")
    assert run.known(place) is None


def test_the_example(sim: Simulator, run_task: RunTask, comms: Comms, output: str) -> None:
    example = Path(__file__).parents[2] / "dags_examples" / "statistical.py"
    dag = runpy.run_path(str(example))

    sim.set_script({"intervals": [{"outcome": "TIMEOUT", "first_tasks": 1, "dates": ["2025-05-13"]}]})
    operator = dag["weekly_ndvi"]
    operator.rerun_delay = 0.01
    operator.params["delivery_url"] = output
    assert run_task(operator).state == "success"
    result = comms.xcoms["return_value"]
    assert (result["outcome"], result["delivered"], answered(result)) == ("DONE", 3, 3 * 26)
    found = dag["greenest"].function(result)
    means: dict[str, list[float]] = {}
    for row in rows(sim, result):
        if row["mean"] is not None:
            means.setdefault(row["identifier"], []).append(row["mean"])
    best = max(means, key=lambda name: sum(means[name]) / len(means[name]))
    assert (found["field"], found["weeks"]) == (best, len(means[best]))
