"""Real answers against the service's published OpenAPI document, which is not part of this repository."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from airflow_provider_sentinelhub.simulator.process import Simulator
from airflow_provider_sentinelhub.simulator.sample import sample_statistical
from tests.simulator.statistics_support import results

Json = dict[str, Any]
Request = Callable[..., Json]
Run = Callable[[Json], Json]
BESIDE_THE_REPOSITORY = Path(__file__).resolve().parents[3] / "shared" / "contract"


@pytest.fixture(scope="module")
def document() -> Json:
    folder = Path(os.environ.get("SENTINELHUB_CONTRACT_DIR", BESIDE_THE_REPOSITORY))
    path = folder / "sentinel_hub_cdse_openapi.yaml"
    if not path.is_file():
        pytest.skip(
            "no OpenAPI document: set SENTINELHUB_CONTRACT_DIR to a folder with sentinel_hub_cdse_openapi.yaml "
            "(https://documentation.dataspace.copernicus.eu/APIs/SentinelHub/ApiReference.html)"
        )
    loaded: Json = yaml.load(path.read_bytes(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 - both are safe
    schemas = loaded["components"]["schemas"]
    # Known mistakes of the document: `group` belongs to Zarr only, and an identifier is anything, not "<identifier>".
    schemas["BatchV2RasterOutput"]["required"] = ["delivery", "type"]
    del schemas["ProcessRequestOutputBatchV2Response"]["properties"]["identifier"]["enum"]
    # Details of an error are a list, and a data source may fit the description of a user's own collection as well.
    del schemas["Boom"]["properties"]["errors"]
    items = schemas["ProcessRequestInputData"]["items"]
    items["anyOf"] = items.pop("oneOf")
    # Histograms have overflowCount and underflowCount, and what has no value is the string "NaN".
    bands = schemas["BandStatistics"]["properties"]
    counts = bands["histogram"]["properties"]
    for name in ("overflow", "underflow"):
        counts[f"{name}Count"] = counts.pop(name)
    for part in (bands["histogram"], bands["stats"]):
        part.update({"additionalProperties": False, "required": [*part["properties"]]})
    bands["stats"]["required"].remove("percentiles")
    stats = bands["stats"]["properties"]
    for name in ("min", "max", "mean", "stDev"):
        stats[name] = {"anyOf": [stats[name], {"const": "NaN"}]}
    stats["percentiles"]["additionalProperties"] = {"anyOf": [{"type": "number"}, {"const": "NaN"}]}
    # Percentiles go to 100 in all the examples.
    schemas["StatisticsDefinition"]["properties"]["percentiles"]["properties"]["k"]["items"]["maximum"] = 100
    # It lacks the key that says whether an answer is complete and one of newer documents, and misspells another.
    schemas["StatisticalResponse"].update(
        {
            "properties": {
                **schemas["StatisticalResponse"]["properties"],
                "status": {"enum": ["OK", "PARTIAL", "FAILED"]},
                "geometryPixelCount": {"type": ["integer", "null"]},
            },
            "required": ["data", "status"],
            "additionalProperties": False,
        }
    )
    status = schemas["BatchStatisticsTaskStatusDto"]["properties"]
    status["costPU"] = status.pop("costPu")
    return loaded


def validate(document: Json, schema: Json, answer: Any) -> None:
    merged = {**copy.deepcopy(schema), "components": document["components"]}
    validator = jsonschema.Draft202012Validator(merged, format_checker=jsonschema.FormatChecker())
    errors = [f"{error.json_path}: {error.message}" for error in validator.iter_errors(answer)]
    assert errors == []


def answer_schema(document: Json, path: str, method: str, status: str) -> Json:
    answer = document["paths"][path][method]["responses"][status]
    if "$ref" in answer:
        answer = document["components"]["responses"][answer["$ref"].rpartition("/")[2]]
    schema: Json = answer["content"]["application/json"]["schema"]
    return schema


PROCESS = "/api/v2/batch/process"
GRIDS = "/api/v2/batch/tilinggrids"


def test_tasks_at_every_stage(document: Json, sim: Simulator, request_for: Request, run: Run) -> None:
    created = sim.call("POST", PROCESS, request_for())
    assert created.status == 201
    validate(document, answer_schema(document, PROCESS, "post", "201"), created.body)
    one = answer_schema(document, f"{PROCESS}/{{taskId}}", "get", "200")
    validate(document, one, sim.call("GET", f"{PROCESS}/{created.body['id']}").body)
    validate(document, one, run(request_for()))
    validate(document, one, run(request_for(processRequest__evalscript="wrong")))
    validate(
        document,
        answer_schema(document, PROCESS, "get", "200"),
        sim.call("GET", f"{PROCESS}?count=2&sort=created:desc").body,
    )
    updated = sim.call("PUT", f"{PROCESS}/{created.body['id']}", {"description": "x"}).body
    validate(document, answer_schema(document, f"{PROCESS}/{{taskId}}", "put", "200"), updated)


def test_tiling_grids(document: Json, sim: Simulator) -> None:
    validate(document, answer_schema(document, GRIDS, "get", "200"), sim.call("GET", GRIDS).body)
    one = answer_schema(document, f"{GRIDS}/{{id}}", "get", "200")
    for grid in (0, 1, 2, 3, 6, 7):
        validate(document, one, sim.call("GET", f"{GRIDS}/{grid}").body)


def test_errors(document: Json, sim: Simulator, request_for: Request) -> None:
    wrapper = {"$ref": "#/components/schemas/RestErrorWrapper"}
    task_id = sim.call("POST", PROCESS, request_for()).body["id"]
    answers = [
        sim.call("POST", PROCESS, {}),
        sim.call("POST", PROCESS, request_for(input__id=4)),
        sim.call("POST", f"{PROCESS}/{task_id}/stop"),
        sim.call("GET", f"{PROCESS}/unknown"),
        sim.call("GET", f"{GRIDS}/4"),
    ]
    sim._token = "expired"
    answers.append(sim.call("GET", PROCESS))
    sim._token = None
    assert [answer.status for answer in answers] == [400, 400, 400, 404, 400, 401]
    for answer in answers:
        validate(document, wrapper, answer.body)


STATISTICS = "/api/v1/statistics/batch"


def test_statistical_tasks_at_every_stage(
    document: Json, sim: Simulator, statistics_for: Request, run_statistics: Run
) -> None:
    request = statistics_for()
    validate(document, {"$ref": "#/components/schemas/BatchStatisticalRequest"}, request)
    created = sim.call("POST", STATISTICS, request)
    assert created.status == 201
    validate(document, answer_schema(document, STATISTICS, "post", "201"), created.body)
    one = answer_schema(document, f"{STATISTICS}/{{requestId}}", "get", "200")
    status = answer_schema(document, f"{STATISTICS}/{{requestId}}/status", "get", "200")
    known = {*document["components"]["schemas"]["BatchStatisticsTaskStatusDto"]["properties"]}
    for task in (
        created.body,
        run_statistics(request),
        run_statistics(statistics_for(aggregation__evalscript="wrong")),
    ):
        validate(document, one, sim.call("GET", f"{STATISTICS}/{task['id']}").body)
        short = sim.call("GET", f"{STATISTICS}/{task['id']}/status").body
        validate(document, status, short)
        assert set(short) <= known
    listed = sim.call("GET", f"{STATISTICS}?count=2").body
    validate(document, answer_schema(document, STATISTICS, "get", "200"), listed)


def older(answer: Json) -> Json:
    """What the document knows of an answer: real ones have had the number of pixels since."""
    return {key: value for key, value in answer.items() if key != "geometryPixelCount"}


def test_statistics(document: Json, sim: Simulator, statistics_for: Request, run_statistics: Run) -> None:
    rules = [{"outcome": "TIMEOUT", "intervals": [1]}, {"outcome": "no_data", "intervals": [2]}]
    sim.set_script({"intervals": rules})
    wanted = {"ndvi": {"histograms": {"default": {"binWidth": 0.1}}, **sample_statistical()["calculations"]["default"]}}
    request = sample_statistical(calculations=wanted)
    validate(document, {"$ref": "#/components/schemas/StatisticalRequest"}, request)
    schema = answer_schema(document, "/api/v1/statistics", "post", "200")
    answer = sim.call("POST", "/api/v1/statistics", request).body
    assert answer["status"] == "PARTIAL"
    validate(document, schema, older(answer))
    for content in results(sim, run_statistics(statistics_for(calculations=wanted))).values():
        validate(document, schema, older(content["response"]))


def fixture(name: str) -> Any:
    path = Path(os.environ.get("SENTINELHUB_CONTRACT_DIR", BESIDE_THE_REPOSITORY)) / "fixtures" / name
    if not path.is_file():
        pytest.skip(f"no {name}: set SENTINELHUB_CONTRACT_DIR to a folder with fixtures/{name}")
    return json.loads(path.read_bytes())


def shape(value: Any) -> Any:
    """What keys and types a document has."""
    if isinstance(value, dict):
        return {key: shape(each) for key, each in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return "number" if isinstance(value, int | float) else type(value).__name__


def test_a_status_has_the_keys_of_a_real_one(sim: Simulator, statistics_for: Request, run_statistics: Run) -> None:
    created = sim.call("POST", STATISTICS, statistics_for()).body["id"]
    done = run_statistics(statistics_for())["id"]
    for task_id, name in ((created, "created"), (done, "done")):
        answer = sim.call("GET", f"{STATISTICS}/{task_id}/status").body
        assert shape(answer) == shape(fixture(f"batch_statistical_status_{name}.json"))


def test_an_answer_has_the_keys_of_a_real_one(sim: Simulator) -> None:
    wanted = {
        "default": {
            "histograms": {"default": {"nBins": 10, "lowEdge": -1.0, "highEdge": 1.0}},
            "statistics": {"default": {"percentiles": {"k": [50]}}},
        }
    }
    answer = sim.call("POST", "/statistics/v1", sample_statistical(calculations=wanted)).body
    answer["data"] = [entry for entry in answer["data"] if "NaN" not in json.dumps(entry)]
    real = fixture("sentinelhubpy_normal_stat_result.json")[0]
    assert shape(older(answer)) == shape(real)
    edges = [
        [(bin_["lowEdge"], bin_["highEdge"]) for bin_ in band["histogram"]["bins"]]
        for band in (each["data"][0]["outputs"]["ndvi"]["bands"]["B0"] for each in (answer, real))
    ]
    assert edges[0] == edges[1]
