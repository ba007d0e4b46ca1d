from __future__ import annotations

import datetime as dt
import itertools
import json
import random
from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_sentinelhub.simulator.caller import Answer, call
from airflow_provider_sentinelhub.simulator.process import Simulator
from airflow_provider_sentinelhub.simulator.sample import STATISTICS_EVALSCRIPT, sample_statistical
from tests.simulator.statistics_support import results

Json = dict[str, Any]
Request = Callable[..., Json]
Run = Callable[[Json], Json]
PATH = "/statistics/v1"
WEEKS = 6


def ask(sim: Simulator, **changes: Any) -> Answer:
    return sim.call("POST", PATH, sample_statistical(**changes))


def types(answer: Answer) -> list[str | None]:
    return [entry.get("error", {}).get("type") for entry in answer.body["data"]]


@pytest.fixture
def place() -> list[float]:
    """Bounds nobody else asks for."""
    west, south = 500_000 + random.randrange(10**6) / 10, 5_000_000 + random.randrange(10**6) / 10
    return [west, south, west + 200, south + 100]


@pytest.mark.parametrize("path", ["/api/v1/statistics", PATH])
@pytest.mark.parametrize("slash", ["", "/"])
def test_both_layouts_answer(sim: Simulator, path: str, slash: str) -> None:
    answer = sim.call("POST", path + slash, sample_statistical())
    assert answer.status == 200
    assert (answer.body["status"], len(answer.body["data"])) == ("OK", WEEKS)
    assert answer.body["data"][0]["interval"] == {"from": "2024-04-01T00:00:00Z", "to": "2024-04-08T00:00:00Z"}
    stats = answer.body["data"][0]["outputs"]["ndvi"]["bands"]["B0"]["stats"]
    assert stats["sampleCount"] == 20 * 30


def test_a_box_and_the_same_polygon_have_the_same_statistics(sim: Simulator) -> None:
    ring = [[600_000, 5_330_000], [600_200, 5_330_000], [600_200, 5_330_300], [600_000, 5_330_300]]
    polygon = {"type": "Polygon", "coordinates": [[*ring, ring[0]]]}
    crs = sample_statistical()["input"]["bounds"]["properties"]
    by_geometry = ask(sim, input__bounds={"geometry": polygon, "properties": crs}).body
    assert by_geometry == ask(sim).body


def test_degrees_are_the_default(sim: Simulator) -> None:
    bounds = {"bbox": [13.40, 45.89, 13.41, 45.90]}
    answer = ask(sim, input__bounds=bounds, aggregation__resx=0.0001, aggregation__resy=0.0002)
    stats = answer.body["data"][0]["outputs"]["ndvi"]["bands"]["B0"]["stats"]
    assert stats["sampleCount"] == 100 * 50


def test_both_apis_give_the_same_values(sim: Simulator, statistics_for: Request, run_statistics: Run) -> None:
    request = statistics_for()
    found = results(sim, run_statistics(request))
    west = 600_000 + 1.5 * 200
    answer = ask(sim, input__bounds__bbox=[west, 5_330_000, west + 200, 5_330_200])
    assert answer.body == found["1"]["response"]


def test_a_request_costs_what_the_published_formula_says(sim: Simulator) -> None:
    sim.set_balance(100)
    answer = ask(sim)
    # 600 pixels count as a hundredth of 512 x 512; two bands of three; one sample in each of six weeks.
    spent = 0.01 * 2 / 3 * WEEKS
    assert float(answer.headers["x-processingunits-spent"]) == pytest.approx(spent)
    assert sim.admin("GET", "/account")["pu_balance"] == pytest.approx(100 - spent)
    one = ask(sim, aggregation__timeRange__to="2024-04-08T00:00:00Z")
    assert float(one.headers["x-processingunits-spent"]) == 0.01
    orbit = ask(sim, aggregation__evalscript=STATISTICS_EVALSCRIPT.replace("input:", 'mosaicking: "ORBIT", input:'))
    assert float(orbit.headers["x-processingunits-spent"]) == pytest.approx(0.01 * 2 / 3 * 14)


def test_days_without_an_image_are_left_out_and_free(sim: Simulator) -> None:
    answer = ask(sim, aggregation__aggregationInterval__of="P1D")
    days = [dt.datetime.fromisoformat(entry["interval"]["from"]) for entry in answer.body["data"]]
    assert {after - before for before, after in itertools.pairwise(days)} == {dt.timedelta(days=5)}
    assert len(days) in {8, 9}
    assert (answer.body["status"], answer.body["geometryPixelCount"]) == ("OK", 600)
    assert float(answer.headers["x-processingunits-spent"]) == pytest.approx(0.01 * 2 / 3 * len(days))
    dull = {"from": (days[0] + dt.timedelta(days=1)).isoformat(), "to": (days[0] + dt.timedelta(days=5)).isoformat()}
    nothing = ask(sim, aggregation__aggregationInterval__of="P1D", aggregation__timeRange=dull)
    assert (nothing.status, nothing.body) == (200, {"data": [], "status": "OK", "geometryPixelCount": None})


def test_an_empty_account_gets_nothing(sim: Simulator) -> None:
    sim.set_balance(0.001)
    answer = ask(sim)
    assert (answer.status, answer.body["error"]["code"]) == (403, "ACCESS_INSUFFICIENT_PROCESSING_UNITS")
    assert sim.admin("GET", "/account")["pu_balance"] == 0.001


def test_intervals_fail_so_many_times(sim: Simulator, place: list[float]) -> None:
    sim.set_script(
        {
            "intervals": [
                {"intervals": [0], "outcome": "EXECUTION_ERROR", "first_tasks": 1},
                {"dates": ["2024-04-10"], "outcome": "TIMEOUT", "first_tasks": 2},
                {"intervals": [2], "outcome": "BAD_REQUEST"},
            ]
        }
    )
    answers = [ask(sim, input__bounds__bbox=place) for _ in range(3)]
    assert [answer.status for answer in answers] == [200, 200, 200]
    assert [answer.body["status"] for answer in answers] == ["PARTIAL"] * 3
    assert [types(answer)[:4] for answer in answers] == [
        ["EXECUTION_ERROR", "TIMEOUT", "BAD_REQUEST", None],
        [None, "TIMEOUT", "BAD_REQUEST", None],
        [None, None, "BAD_REQUEST", None],
    ]


def test_a_failed_interval_asked_for_alone_counts_as_asked_for_again(sim: Simulator, place: list[float]) -> None:
    sim.set_script({"intervals": [{"dates": ["2024-04-08"], "first_tasks": 1}]})
    first = ask(sim, input__bounds__bbox=place)
    assert types(first) == [None, "EXECUTION_ERROR", None, None, None, None]
    again = ask(sim, input__bounds__bbox=place, aggregation__timeRange=first.body["data"][1]["interval"])
    assert (again.body["status"], types(again)) == ("OK", [None])


def test_when_every_interval_fails_the_answer_is_still_200(sim: Simulator) -> None:
    sim.set_script({"intervals": [{"outcome": "TIMEOUT"}]})
    answer = ask(sim)
    assert (answer.status, answer.body["status"], types(answer)) == (200, "FAILED", ["TIMEOUT"] * WEEKS)
    sim.set_script({"features": [{"outcome": "failed"}]})
    answer = ask(sim)
    assert (answer.status, answer.body) == (200, {"data": [], "status": "FAILED"})


def test_rules_find_their_places_by_area(sim: Simulator) -> None:
    sim.set_script({"features": [{"area": [10, 48, 11, 49], "outcome": "no_data"}]})
    here = {"bbox": [10.5, 48.5, 10.51, 48.51]}
    there = {"bbox": [11.5, 48.5, 11.51, 48.51]}
    for bounds, empty in ((here, True), (there, False)):
        data = ask(sim, input__bounds=bounds, aggregation__resx=0.001, aggregation__resy=0.001).body["data"]
        means = [entry["outputs"]["ndvi"]["bands"]["B0"]["stats"]["mean"] for entry in data]
        assert (set(means) == {"NaN"}) == empty


WRONG: list[tuple[Json, str]] = [
    ({"input__bounds": ...}, "input->bounds"),
    ({"input__bounds__bbox": [1, 2, 3]}, "input->bounds->bbox"),
    ({"input__bounds__bbox": [1, 2, 1e300, 1e301]}, "input->bounds"),
    ({"input__bounds__bbox": [200, 2, 201, 3], "input__bounds__properties": {}}, "input->bounds"),
    ({"input__bounds__bbox": [1, 1, 1, 1]}, "input->bounds"),
    ({"input__bounds__properties__crs": "EPSG/0/1"}, "input->bounds"),
    ({"input__data": []}, "input->data"),
    ({"input__data": [{"type": [1]}]}, "input->data[0]->type"),
    ({"input__data": [{"type": "dem", "dataFilter": "x"}]}, "input->data[0]->dataFilter"),
    ({"aggregation__aggregationInterval": {}}, "aggregation->aggregationInterval->of"),
    ({"aggregation__aggregationInterval__of": "P999999999W"}, "aggregation->aggregationInterval->of"),
    ({"aggregation__timeRange__to": "9999-12-31T23:59:59-12:00"}, "aggregation->timeRange->to"),
    ({"aggregation__timeRange__to": "2024-05-13"}, "aggregation->timeRange->to"),
    ({"aggregation__resx": 5e-324}, "aggregation->resx"),
    (
        {"calculations__default": {"histograms": {"default": {"nBins": 1e9}}}},
        "calculations->default->histograms->default->nBins",
    ),
    ({"status": "DONE"}, "status"),
    ({"aggregation": ...}, "aggregation"),
    ({"aggregation__evalscript": ...}, "aggregation->evalscript"),
    ({"aggregation__aggregationInterval__of": "PT1H"}, "aggregation->aggregationInterval->of"),
    ({"aggregation__resx": 0.05}, "aggregation->resx"),
    ({"aggregation__resx": ..., "aggregation__resy": ..., "aggregation__height": 3000}, "aggregation->height"),
    ({"calculations__default__statistics__default": None}, "calculations->default->statistics->default"),
]


@pytest.mark.parametrize(("changes", "parameter"), WRONG, ids=[f"{n}-{w[1]}" for n, w in enumerate(WRONG)])
def test_a_wrong_request_is_refused_with_the_parameter_named(sim: Simulator, changes: Json, parameter: str) -> None:
    answer = ask(sim, **changes)
    assert (answer.status, answer.body["error"]["code"]) == (400, "COMMON_BAD_PAYLOAD")
    assert parameter in [each["parameter"] for each in answer.body["error"]["errors"]], answer.body


def test_too_many_pixels_are_refused_in_the_service_s_words(sim: Simulator) -> None:
    answer = ask(sim, aggregation__resx=0.05)
    assert answer.body["error"]["message"] == "`width = 4000`, calculated from resx, is larger than allowed 2500.\n"


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"aggregation__evalscript": "//VERSION=3"}, "has no function setup()"),
        ({"aggregation__evalscript": STATISTICS_EVALSCRIPT.replace('"dataMask", bands', '"m", bands')}, "dataMask"),
        ({"calculations": {"ndwi": {}}}, "Output ndwi requested"),
    ],
)
def test_a_wrong_evalscript_is_refused_at_once(sim: Simulator, changes: Json, text: str) -> None:
    answer = ask(sim, **changes)
    assert (answer.status, answer.body["error"]["code"]) == (400, "RENDERER_EXCEPTION")
    assert text in answer.body["error"]["message"]


def test_a_script_without_its_version_is_refused_only_if_the_script_is_strict(sim: Simulator) -> None:
    script = STATISTICS_EVALSCRIPT.removeprefix("//VERSION=3\n")
    assert ask(sim, aggregation__evalscript=script).body["status"] == "OK"
    sim.set_script({"strict": True})
    answer = ask(sim, aggregation__evalscript=script)
    assert (answer.status, answer.body["error"]["code"]) == (400, "RENDERER_EXCEPTION")
    assert "must start with //VERSION=3" in answer.body["error"]["message"]


def test_a_multipart_request_carries_the_evalscript_apart(sim: Simulator) -> None:
    request = sample_statistical()
    evalscript = request["aggregation"].pop("evalscript")
    parts = [
        f'--x\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{content}\r\n'
        for name, content in (("request", json.dumps(request)), ("evalscript", evalscript))
    ]
    headers = {"Authorization": f"Bearer {sim.fetch_token()}", "Content-Type": "multipart/form-data; boundary=x"}
    answer = call("POST", sim.ready.base_url + PATH, ("".join(parts) + "--x--\r\n").encode(), headers)
    assert (answer.status, answer.body) == (200, ask(sim).body)


def test_nothing_works_without_a_token(sim: Simulator) -> None:
    assert call("POST", sim.ready.base_url + PATH, sample_statistical()).status == 401
