"""Real answers against the OpenAPI document its publisher keeps, which is not part of this repository."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from airflow_provider_sentinelhub.simulator.process import Simulator

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
