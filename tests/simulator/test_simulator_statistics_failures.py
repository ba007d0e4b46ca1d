from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest

from airflow_provider_sentinelhub.simulator.process import Simulator
from airflow_provider_sentinelhub.simulator.sample import STATISTICS_EVALSCRIPT, sample_parcels, upload
from tests.simulator.statistics_support import folder_of, results

Json = dict[str, Any]
Request = Callable[..., Json]
Wait = Callable[..., Json]
Run = Callable[[Json], Json]
WEEKS = 6


def test_failing_features_have_files_that_say_so(sim: Simulator, statistics_for: Request, run_statistics: Run) -> None:
    request = statistics_for()
    name = folder_of(sim, request).name
    rules: list[Json] = [
        {"names": [f"{name}-1"], "outcome": "fatal"},
        {"names": [f"{name}-2"], "outcome": "failed"},
        {"pattern": f"{name}-3", "outcome": "no_data"},
        {"ids": [4], "task": "setup", "outcome": "missing_file"},
    ]
    sim.set_script({"features": rules})
    task = run_statistics(request)
    assert (task["status"], task["completionPercentage"]) == ("DONE", 100)
    found = results(sim, task)
    assert set(found) == {"1", "2", "3"}
    assert found["1"] == {"id": 1, "identifier": f"{name}-1", "error": {"type": "EXECUTION_ERROR"}}
    assert found["2"] == {"id": 2, "identifier": f"{name}-2", "response": {"data": None, "status": "FAILED"}}
    for entry in found["3"]["response"]["data"]:
        stats = entry["outputs"]["ndvi"]["bands"]["B0"]["stats"]
        assert stats["sampleCount"] == stats["noDataCount"] == 400
        assert stats["mean"] == stats["percentiles"]["50.0"] == "NaN"
    assert found["3"]["response"]["status"] == "OK"
    listed = [(row["status"], row["delivered"]) for row in sim.task(task["id"])["features"]]
    assert listed == [("FATAL", True), ("FATAL", True), ("DONE", True), ("DONE", False)]


@pytest.mark.parametrize(("text", "kind"), [("TIMEOUT", "TIMEOUT"), ("It broke.", "EXECUTION_ERROR")])
def test_the_error_of_a_fatal_feature_is_of_a_documented_type(
    sim: Simulator, statistics_for: Request, run_statistics: Run, text: str, kind: str
) -> None:
    sim.set_script({"features": [{"outcome": "fatal", "error": text}]})
    found = results(sim, run_statistics(statistics_for()))
    assert {each["error"]["type"] for each in found.values()} == {kind}


def test_intervals_fail_by_position_and_by_day(sim: Simulator, statistics_for: Request, run_statistics: Run) -> None:
    rules: list[Json] = [
        {"ids": [1], "intervals": [0]},
        {"ids": [1], "dates": ["2024-04-17"], "outcome": "TIMEOUT"},
        {"ids": [1], "intervals": [5], "outcome": "absent"},
        {"ids": [2], "outcome": "BAD_REQUEST"},
        {"ids": [3], "outcome": "no_data", "intervals": [2]},
    ]
    sim.set_script({"intervals": rules})
    found = results(sim, run_statistics(statistics_for()))
    one = found["1"]["response"]
    assert one["status"] == "PARTIAL"
    errors = [entry.get("error", {}).get("type") for entry in one["data"]]
    assert errors == ["EXECUTION_ERROR", None, "TIMEOUT", None, None]
    assert all(("error" in entry) != ("outputs" in entry) for entry in one["data"])
    two = found["2"]["response"]
    assert two["status"] == "FAILED"
    assert [entry["error"]["type"] for entry in two["data"]] == ["BAD_REQUEST"] * WEEKS
    stats = found["3"]["response"]["data"][2]["outputs"]["ndvi"]["bands"]["B0"]["stats"]
    assert (found["3"]["response"]["status"], stats["noDataCount"]) == ("OK", 400)
    assert found["4"]["response"]["status"] == "OK"


def test_what_fails_the_first_time_is_mended_the_second(
    sim: Simulator, statistics_for: Request, run_statistics: Run
) -> None:
    sim.set_script(
        {
            "features": [{"ids": [1], "outcome": "fatal", "first_tasks": 1}, {"ids": [2], "outcome": "fatal"}],
            "intervals": [{"ids": [3], "intervals": [1], "first_tasks": 1}],
        }
    )
    request = statistics_for()
    first, second = (results(sim, run_statistics(request)) for _ in range(2))
    assert ("error" in first["1"], "error" in first["2"]) == (True, True)
    assert ("error" in second["1"], "error" in second["2"]) == (False, True)
    assert [each["3"]["response"]["status"] for each in (first, second)] == ["PARTIAL", "OK"]


def test_rules_for_tasks_look_at_the_evalscript(sim: Simulator, statistics_for: Request, run_statistics: Run) -> None:
    sim.set_script({"tasks": [{"match": "airflow:dag/run", "count": 1, "analysis_error": "Out of luck."}]})
    assert run_statistics(statistics_for())["status"] == "DONE"
    tagged = statistics_for(aggregation__evalscript=f"{STATISTICS_EVALSCRIPT}// airflow:dag/run/task#1~0")
    failed = run_statistics(tagged)
    assert (failed["status"], failed["error"]) == ("FAILED", "Out of luck.")
    assert run_statistics(tagged)["status"] == "DONE"
    story = sim.task(failed["id"])
    assert story["api"] == "batch-statistical"
    assert story["description"].endswith("// airflow:dag/run/task#1~0")


def with_another_table(content: bytes, crs: int) -> bytes:
    """Adds a second table with one more feature, number 100."""
    with closing(sqlite3.connect(":memory:")) as database:
        database.deserialize(content)
        database.execute("CREATE TABLE more (fid INTEGER PRIMARY KEY, shape POLYGON)")
        database.execute("INSERT INTO more SELECT 100, geom FROM parcels WHERE id = 1")
        database.execute("INSERT INTO gpkg_contents (table_name, data_type, srs_id) VALUES ('more', 'features', 1)")
        database.execute("INSERT INTO gpkg_geometry_columns VALUES ('more', 'shape', 'POLYGON', ?, 0, 0)", (crs,))
        database.commit()
        return bytes(database.serialize())


def replace_parcels(sim: Simulator, request: Json, content: bytes) -> None:
    upload(sim.ready, f"{folder_of(sim, request).name}/parcels.gpkg", content)


def test_features_need_no_identifier_and_may_lie_in_several_tables(
    sim: Simulator, statistics_for: Request, run_statistics: Run
) -> None:
    request = statistics_for()
    replace_parcels(sim, request, with_another_table(sample_parcels([None, "named"]), 32632))
    found = results(sim, run_statistics(request))
    assert {name: each.get("identifier") for name, each in found.items()} == {"1": None, "2": "named", "100": None}
    assert found["100"]["response"] == found["1"]["response"]
    request["output"]["s3"]["url"] += "/<IDENTIFIER>.json"
    assert "<IDENTIFIER>" in run_statistics(request)["error"]


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (with_another_table(sample_parcels(["a"]), 4326), "same CRS"),
        (with_another_table(sample_parcels(["a"] * 100), 32632), "not unique"),
        (b"nonsense", "not a GeoPackage"),
        (sample_parcels([]), "no features"),
    ],
    ids=["crs", "id", "file", "empty"],
)
def test_a_geopackage_that_breaks_a_rule_fails_the_analysis(
    sim: Simulator, statistics_for: Request, run_statistics: Run, content: bytes, text: str
) -> None:
    request = statistics_for()
    replace_parcels(sim, request, content)
    task = run_statistics(request)
    assert task["status"] == "FAILED"
    assert text in task["error"]


def test_a_geopackage_that_is_not_there_fails_the_analysis(statistics_for: Request, run_statistics: Run) -> None:
    request = statistics_for()
    request["input"]["features"]["s3"]["url"] += ".missing"
    assert "NoSuchKey" in run_statistics(request)["error"]


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"aggregation__evalscript": "//VERSION=3\nfunction evaluatePixel() {}"}, "has no function setup()"),
        ({"aggregation__evalscript": STATISTICS_EVALSCRIPT.replace('"dataMask", bands', '"m", bands')}, "dataMask"),
        ({"calculations": {"ndwi": {}}}, "Output ndwi requested"),
    ],
)
def test_a_wrong_evalscript_passes_create_and_fails_the_analysis(
    statistics_for: Request, run_statistics: Run, changes: Json, text: str
) -> None:
    task = run_statistics(statistics_for(**changes))
    assert task["status"] == "FAILED"
    assert text in task["error"]


def test_a_feature_with_too_many_pixels_fails_alone(
    sim: Simulator, statistics_for: Request, run_statistics: Run
) -> None:
    task = run_statistics(statistics_for(aggregation__resx=0.05))
    assert task["status"] == "DONE"
    assert {each["error"]["type"] for each in results(sim, task).values()} == {"BAD_REQUEST"}
