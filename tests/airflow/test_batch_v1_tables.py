"""The table of docs/batch_v1_operations.md against the hook and the last public client of this API."""

from __future__ import annotations

import json
import re
import subprocess

from airflow_provider_sentinelhub.hooks.batch_v1 import SentinelHubBatchV1Hook
from devtools.client_of_v1 import ready
from devtools.signatures import REPOSITORY

PAGE = (REPOSITORY / "docs" / "batch_v1_operations.md").read_text(encoding="utf-8")


def table(first_cell: str) -> list[list[str]]:
    """The rows of the table whose header begins with this cell, as the names in each of their cells."""
    lines = PAGE.split(f"| {first_cell} |", 1)[1].split("\n\n", 1)[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def names(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


METHODS = table("`SentinelHubBatch`")


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
