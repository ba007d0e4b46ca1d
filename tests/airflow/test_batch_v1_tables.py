"""The tables of docs/batch_v1_operations.md against the service's document, the client, the hook and the simulator."""

from __future__ import annotations

import json
import os
import re
import subprocess
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_sentinelhub import operators, sensors
from airflow_provider_sentinelhub.client.apis.batch_v1 import calls, collections
from airflow_provider_sentinelhub.hooks.batch_v1 import SentinelHubBatchV1Hook
from airflow_provider_sentinelhub.simulator.process import Simulator
from devtools.client_of_v1 import ready
from devtools.signatures import REPOSITORY

PREFIX = "/api/v1/batch"
PAGE = (REPOSITORY / "docs" / "batch_v1_operations.md").read_text(encoding="utf-8")
CONTRACT = Path(os.environ.get("SENTINELHUB_CONTRACT_DIR", REPOSITORY.parent / "shared" / "contract"))
REQUEST, COLLECTION = "aaaaaaaa", "bbbbbbbb"
# What the Calls are made of here, by their names in the table.
VALUES: dict[str, tuple[Any, ...]] = {
    "calls.TASKS.create": ({},),
    "calls.listed": (),
    "calls.update": (REQUEST,),
    "calls.tile": (REQUEST, 7),
    "calls.tiling_grids": (),
    "calls.tiling_grid": (7,),
    "collections.create": ("name", "bucket"),
    "collections.listed": (),
    "collections.get": (COLLECTION,),
    "collections.update": (COLLECTION, "name"),
    "collections.delete": (COLLECTION,),
}


def table(first_cell: str) -> list[list[str]]:
    """The rows of the table whose header begins with this cell, as the names in each of their cells."""
    lines = PAGE.split(f"| {first_cell} |", 1)[1].split("\n\n", 1)[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def names(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


OPERATIONS = table("operation")
METHODS = table("`SentinelHubBatch`")


def anonymous(operation: str) -> str:
    return re.sub(r"\{\w+\}", "{}", operation)


LISTED = sorted(anonymous(names(row[0])[0]) for row in OPERATIONS)


def test_there_are_18_operations() -> None:
    assert len(LISTED) == len(set(LISTED)) == 18


def test_they_are_those_of_the_service() -> None:
    path = CONTRACT / "sentinel_hub_cdse_openapi.yaml"
    if not path.is_file():
        pytest.skip("no OpenAPI document, see tests/simulator/test_simulator_contract.py")
    found, below = [], None
    # To parse all of it takes seconds.
    for line in path.read_text(encoding="utf-8").splitlines():
        if key := re.fullmatch(r"  (\S+):", line):
            below = key[1].removeprefix(PREFIX) if key[1].startswith(f"{PREFIX}/") else None
        elif below is not None and (method := re.fullmatch(r"    (get|post|put|delete|patch):", line)):
            found.append(anonymous(f"{method[1].upper()} {below}"))
    assert sorted(found) == LISTED


def test_the_simulator_has_them(sim: Simulator) -> None:
    with urllib.request.urlopen(f"{sim.ready.base_url}/simulator/openapi.json") as answer:
        paths = json.load(answer)["paths"]
    own = [
        anonymous(f"{method.upper()} {path.removeprefix(PREFIX)}")
        for path, methods in paths.items()
        if path.startswith(f"{PREFIX}/")
        for method in methods
    ]
    assert sorted(own) == LISTED


@pytest.mark.parametrize("row", OPERATIONS, ids=lambda row: row[0].strip("`"))
def test_each_has_a_call_and_a_method_of_the_hook(row: list[str]) -> None:
    operation, call, _, hook, _ = row
    (name,) = names(call)
    module, *path = name.split(".")
    make: Any = {"calls": calls, "collections": collections}[module]
    for part in path:
        make = getattr(make, part)
    more = {"description": "text"} if name == "calls.update" else {}
    made = make(*VALUES.get(name, (REQUEST,)), **more)
    told = f"{made.method} {made.path}"
    assert made.service is calls.SERVICE
    for part, shown in ((REQUEST, "{requestId}"), (COLLECTION, "{collectionId}")):
        told = told.replace(part, shown)
    assert anonymous(told.replace("/7", "/{id}")) == anonymous(names(operation)[0])
    assert names(hook)
    assert all(callable(getattr(SentinelHubBatchV1Hook, each)) for each in names(hook))


def test_all_operators_and_the_sensor_are_named() -> None:
    exported = {name for name in (*operators.__all__, *sensors.__all__) if "V1" in name}
    assert set(re.findall(r"`(SentinelHub\w+(?:Operator|Sensor))`", PAGE)) == exported


def test_each_method_of_the_public_client_has_a_counterpart() -> None:
    told = "import json; from sentinelhub.api.batch.process import SentinelHubBatch as S; print(json.dumps(dir(S)))"
    done = subprocess.run([ready(), "-I", "-c", told], capture_output=True, text=True, check=True)
    public = [name for name in json.loads(done.stdout) if not name.startswith("_")]
    assert sorted(names(row[0])[0] for row in METHODS) == sorted(public)
    counterparts = [names(row[1])[0] for row in METHODS]
    # Its own, so none that the hooks of all APIs have.
    assert [each for each in counterparts if each not in vars(SentinelHubBatchV1Hook)] == []
    own = {name for name in vars(SentinelHubBatchV1Hook) if not name.startswith("_")}
    assert own == set(counterparts)
