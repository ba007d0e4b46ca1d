"""Where the results of the simulated Batch Statistical API are."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from airflow_provider_sentinelhub.simulator.process import Simulator

if TYPE_CHECKING:
    from pathlib import Path

Json = dict[str, Any]
BASE = "/statistics/batch/v1"


def folder_of(sim: Simulator, request: Json) -> Path:
    return sim.bucket_folder / str(request["output"]["s3"]["url"]).split("/", 3)[3].partition("/<")[0]


def results(sim: Simulator, task: Json) -> dict[str, Json]:
    files = (folder_of(sim, task["request"]) / task["id"]).glob("*.json")
    return {file.stem: json.loads(file.read_bytes()) for file in files}


def create(sim: Simulator, request: Json) -> str:
    answer = sim.call("POST", BASE, request)
    assert answer.status == 201, answer.body
    return str(answer.body["id"])
