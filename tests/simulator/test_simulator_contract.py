"""Real answers against the service's published OpenAPI document, which is not part of this repository."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_sentinelhub.simulator.process import Simulator
from airflow_provider_sentinelhub.simulator.sample import EVALSCRIPT, sample_statistical, sample_tiles
from tests.contract.exchanges import FOLDER, validate
from tests.contract.exchanges import document as mended
from tests.simulator.conftest import until
from tests.simulator.statistics_support import results

Json = dict[str, Any]
Request = Callable[..., Json]
Run = Callable[[Json], Json]


@pytest.fixture(scope="module")
def document() -> Json:
    return mended()


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
    path = FOLDER / "fixtures" / name
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


V1 = "/api/v1/batch"
TILES = f"{V1}/process"
AT_ONCE = dict.fromkeys(
    ("pickup_seconds", "analysis_seconds", "queue_seconds", "feature_seconds", "finalising_seconds", "stop_seconds"), 0
)


def ended(sim: Simulator, task_id: str) -> Json:
    return until(sim, TILES, task_id, "DONE", "PARTIAL", "FAILED", "CANCELED")


def checked(document: Json, sim: Simulator, method: str, path: str, status: int, body: Any = None) -> Any:
    """Make a call of Batch V1, validate request and answer, and return the answer."""
    template = re.sub(r"(?<=process/)[0-9a-f-]{36}", "{requestId}", path.partition("?")[0])
    template = re.sub(r"(?<=collections/)[0-9a-f-]{36}", "{collectionId}", template)
    template = re.sub(r"(?<=tiles/)\d+", "{tileId}", re.sub(r"(?<=tilinggrids/)\d+", "{id}", template))
    operation = document["paths"][template][method.lower()]
    if "requestBody" in operation:
        validate(document, operation["requestBody"]["content"]["application/json"]["schema"], body)
    answer = sim.call(method, path, body)
    assert answer.status == status, answer.body
    if status == 204:
        assert (str(status) in operation["responses"], answer.body) == (True, None)
        return None
    if "content" not in operation["responses"].get(str(status), {}):
        validate(document, {"$ref": "#/components/schemas/RestErrorWrapper"}, answer.body)
        return answer.body
    schema = answer_schema(document, template, method.lower(), str(status))
    # What the public client's last version for V1 expects, and the document does not say: it is wrapped.
    wrapped = template.startswith(f"{V1}/collections") and "data" in answer.body and "links" not in answer.body
    body = answer.body["data"] if wrapped else answer.body
    validate(document, schema, body)
    known = schema.get("$ref", "").rpartition("/")[2]
    if known:
        # Real tiles have a name, which the document lacks.
        extra = {"name"} if known == "BatchTile" else set()
        assert body.keys() <= document["components"]["schemas"][known]["properties"].keys() | extra
    return body


def test_all_operations_of_batch_v1(document: Json, sim: Simulator) -> None:
    sim.set_script({"timing": AT_ONCE, "features": [{"indexes": [1], "outcome": "fatal", "first_attempts": 1}]})
    folder = f"contract-v1-{time.time_ns()}"

    def call(method: str, path: str, status: int, body: Any = None) -> Any:
        called.add((method, re.sub(r"(?<=/)(\d+|[0-9a-f-]{36})(?=/|$)", "*", path.partition("?")[0])))
        return checked(document, sim, method, f"{V1}/{path}", status, body)

    called: set[tuple[str, str]] = set()
    collection = call("POST", "collections", 201, {"name": "ndvi", "s3Bucket": sim.ready.bucket})["id"]
    cog = {"defaultTilePath": f"s3://{sim.ready.bucket}/{folder}", "cogOutput": True, "collectionId": collection}
    single = EVALSCRIPT.replace("bands: 2", "bands: 1")
    request = sample_tiles(sim.ready, folder, output=cog, processRequest__evalscript=single)
    created = call("POST", "process", 201, request)
    task = f"process/{created['id']}"
    assert call("GET", f"{task}/tiles", 200)["data"] == []
    call("POST", f"{task}/analyse", 204)
    until(sim, TILES, created["id"], "ANALYSIS_DONE")
    analysed = call("GET", task, 200)
    assert analysed.keys() - created.keys() == {"valueEstimate", "userActionUpdated"}
    call("POST", f"{task}/start", 204)
    assert ended(sim, created["id"])["status"] == "PARTIAL"
    assert call("GET", task, 200)["error"].startswith("1 tile failed: ")
    call("POST", f"{task}/restartpartial", 204)
    until(sim, TILES, created["id"], "DONE")
    tiles = call("GET", f"{task}/tiles?count=2&status=PROCESSED", 200)
    tile = call("GET", f"{task}/tiles/{tiles['data'][0]['id']}", 200)
    assert tile == tiles["data"][0]
    call("POST", f"{task}/restartpartial", 400)
    call("DELETE", task, 409)
    call("DELETE", f"collections/{collection}", 409)
    call("PUT", f"collections/{collection}", 204, {"name": "NDVI"})
    assert call("GET", f"collections/{collection}", 200)["name"] == "NDVI"
    assert call("GET", f"process?collectionId={collection}", 200)["data"][0]["id"] == created["id"]
    assert (
        "collectionId" not in call("PUT", task, 200, {"output": {"collectionId": None}, "description": "x"})["output"]
    )
    call("GET", "collections?search=ndvi", 200)
    call("DELETE", f"collections/{collection}", 204)
    other = call("POST", "process", 201, sample_tiles(sim.ready, folder))["id"]
    call("POST", f"process/{other}/cancel", 204)
    until(sim, TILES, other, "CANCELED")
    call("DELETE", f"process/{other}", 204)
    call("GET", f"process/{other}", 404)
    call("GET", "tilinggrids", 200)
    for grid in (0, 1, 2, 3, 6, 7):
        call("GET", f"tilinggrids/{grid}", 200)
    call("GET", "tilinggrids/4", 400)
    described = {
        (method.upper(), re.sub(r"\{\w+\}", "*", path.removeprefix(f"{V1}/")))
        for path, operations in document["paths"].items()
        if path.startswith(f"{V1}/")
        for method in operations
    }
    assert (len(described), called) == (18, described)


def test_refusals_of_batch_v1(document: Json, sim: Simulator) -> None:
    wrapper = {"$ref": "#/components/schemas/RestErrorWrapper"}
    task_id = sim.call("POST", TILES, sample_tiles(sim.ready, "contract-v1")).body["id"]
    answers = {
        400: [sim.call("POST", TILES, {}), sim.call("POST", f"{V1}/collections", {"name": "x"})],
        404: [sim.call("GET", f"{TILES}/{task_id}/tiles/1"), sim.call("GET", f"{V1}/collections/unknown")],
    }
    for status, given in answers.items():
        for answer in given:
            assert answer.status == status
            validate(document, wrapper, answer.body)
    refused = sim.call("POST", f"{TILES}/{task_id}/restartpartial").body
    assert refused == fixture("error_400_restartpartial.json")


def test_a_tile_has_the_keys_of_a_real_one(sim: Simulator) -> None:
    sim.set_script({"timing": AT_ONCE})
    task_id = sim.call("POST", TILES, sample_tiles(sim.ready, f"contract-v1-{time.time_ns()}")).body["id"]
    sim.call("POST", f"{TILES}/{task_id}/start")
    ended(sim, task_id)
    tile = sim.call("GET", f"{TILES}/{task_id}/tiles?count=1").body["data"][0]
    real = fixture("batchv2_tile_grid2.json")
    assert shape({key: tile[key] for key in real}) == shape(real)
    assert tile.keys() - real.keys() == {"requestId", "status", "cost"}
