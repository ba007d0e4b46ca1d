"""The public client in JavaScript against the simulator: Catalog and Process."""

from __future__ import annotations

import json
import subprocess
from datetime import datetime
from pathlib import Path

import pytest

from airflow_provider_sentinelhub.simulator.process import Simulator
from devtools import client_in_js, operations

PROGRAM = Path(__file__).with_name("client_in_js.cjs")
EVALSCRIPT = """//VERSION=3
function setup() { return { input: ["B04", "B03", "B02"], output: { bands: 3 } }; }
function evaluatePixel(sample) { return [2.5 * sample.B04, 2.5 * sample.B03, 2.5 * sample.B02]; }
"""
FROM, TO = "2024-07-01T00:00:00Z", "2024-07-31T23:59:59Z"

pytestmark = [
    pytest.mark.skipif(bool(client_in_js.missing()), reason=client_in_js.missing() or "-"),
    pytest.mark.skipif(
        not all(api.is_here for api in operations.APIS if api.title in {"Process", "Catalog"}),
        reason="Process and Catalog have not arrived",
    ),
]


def test_a_user_of_the_client_in_js(sim: Simulator) -> None:
    given = {
        "folder": str(client_in_js.FOLDER),
        "base_url": sim.ready.base_url,
        "client_id": sim.ready.client_id,
        "client_secret": sim.ready.client_secret,
        "bbox": [9.0, 42.0, 9.1, 42.1],
        "from": FROM,
        "to": TO,
        "evalscript": EVALSCRIPT,
    }
    done = subprocess.run(
        ["node", PROGRAM], input=json.dumps(given), capture_output=True, text=True, check=False, timeout=200
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout.splitlines()[-1])
    assert (seen["tiles"], seen["more"], seen["repeated"]) == (5, True, 0)
    assert all(0 <= cover <= 80 for cover in seen["clouds"])
    dates = [datetime.fromisoformat(date) for date in seen["dates"]]
    assert dates
    assert all(datetime.fromisoformat(FROM) <= date <= datetime.fromisoformat(TO) for date in dates)
    assert seen["image"] == {"kind": "PNG", "width": 64, "height": 48}
    assert seen["refused"] == 400
    host = "services.sentinel-hub.com"
    assert set(seen["sent"]) == {
        f"POST {host}/auth/realms/main/protocol/openid-connect/token",
        f"POST {host}/api/v1/catalog/1.0.0/search",
        f"POST {host}/api/v1/process",
    }
