"""The last public client that speaks Batch Processing V1, unchanged, against the simulator."""

from __future__ import annotations

import json
import subprocess
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from airflow_provider_sentinelhub.simulator.process import Simulator
from airflow_provider_sentinelhub.simulator.sample import EVALSCRIPT, FOUR_TILES
from devtools.client_of_v1 import ready

PROGRAM = Path(__file__).with_name("client_of_v1.py")


def test_all_methods_of_the_client(sim: Simulator) -> None:
    folder = f"client-of-v1-{time.time_ns()}"
    sim.set_script({"features": [{"names": ["32TNM_0_1"], "outcome": "fatal", "first_attempts": 1}]})
    given = {**asdict(sim.ready), "folder": folder, "evalscript": EVALSCRIPT, "bbox": FOUR_TILES}
    # Nothing of this project is on its path.
    done = subprocess.run(
        [ready(), "-I", PROGRAM], input=json.dumps(given), capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    facts: dict[str, dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])

    assert facts["grids"] == {"all": [0, 1, 2, 3, 6, 7], "one": 20_040.0}

    called = [name for name in sim.requests()["counts"] if "/api/v1/batch/" in name]
    assert len(called) == 18

    run = facts["run"]
    task_id = run.pop("id")
    assert run.pop("estimate") > 0
    assert "Only requests with status PARTIAL can be restarted." in run.pop("second restart")
    assert "409" in run.pop("delete")
    assert run == {
        "created": "CREATED",
        "grid": {"id": 0, "resolution": 60.0, "bufferX": 2, "bufferY": 3},
        "bbox": list(FOUR_TILES),
        "is latest": True,
        "is listed": True,
        "analysed": ["ANALYSIS_DONE", 4, "ANALYSE"],
        "description": f"{folder} changed",
        "tiles": ["PENDING"],
        "same tile": True,
        "first end": {"status": "PARTIAL", "tiles": {"PROCESSED": 3, "FAILED": 1}},
        "second end": {"status": "DONE", "tiles": {"PROCESSED": 4}},
        "processed": 4,
    }
    assert len(list((sim.bucket_folder / folder / task_id).glob("*/default.tif*"))) == 4

    assert facts["given up"]["canceled"] == ["CANCELED", "CANCEL", True]
    assert "404" in facts["given up"]["deleted"]

    assert facts["collections"]["names"] == [f"{folder} one", f"{folder} two", f"{folder} one"]
    assert facts["collections"]["bucket"]
    assert "404" in facts["collections"]["deleted"]
