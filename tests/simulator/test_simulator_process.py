from __future__ import annotations

import contextlib
import dataclasses
import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_sentinelhub.client.errors import ServiceUnavailable
from airflow_provider_sentinelhub.simulator.caller import call
from airflow_provider_sentinelhub.simulator.process import Simulator
from airflow_provider_sentinelhub.simulator.ready import Ready
from airflow_provider_sentinelhub.simulator.sample import (
    sample_parcels,
    sample_request,
    sample_statistics,
    upload,
)
from airflow_provider_sentinelhub.simulator.tasks.store import Store

COMMAND = [sys.executable, "-m", "airflow_provider_sentinelhub.simulator"]


def listens(url: str) -> bool:
    host, port = url.removeprefix("http://").split(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0


def wait_until_gone(url: str) -> None:
    deadline = time.monotonic() + 10
    while listens(url):
        assert time.monotonic() < deadline, f"{url} still listens"
        time.sleep(0.05)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_command_prints_one_line_and_a_signal_ends_everything(tmp_path: Path, number: signal.Signals) -> None:
    command = [*COMMAND, "--client-id", "me", "--client-secret", "s3cret", "--bucket", "pail"]
    with (
        (tmp_path / "log").open("wb") as log,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log) as process,
    ):
        try:
            assert process.stdout is not None
            ready = json.loads(process.stdout.readline())
            assert set(ready) == {field.name for field in dataclasses.fields(Ready)}
            assert (ready["client_id"], ready["client_secret"], ready["bucket"]) == ("me", "s3cret", "pail")
            assert ready["pid"] == process.pid
            assert Path(ready["home"]).is_dir()
            process.send_signal(number)
            assert process.wait(10) == 0
            assert process.stdout.read() == b""
        finally:
            process.kill()
    wait_until_gone(ready["s3_endpoint"])
    assert not Path(ready["home"]).exists()


def test_a_killed_simulator_continues_where_it_was(tmp_path: Path) -> None:
    script = {"timing": {"feature_seconds": 300, "parallel": 1}, "features": [{"indexes": [3], "outcome": "fatal"}]}
    with Simulator.start(home=tmp_path, speed=600, script=script) as first:
        task_id = first.call("POST", "/batch/v2/process", sample_request(first.ready, "out")).body["id"]
        waiting = first.call("POST", "/batch/v2/process", sample_request(first.ready, "other")).body["id"]
        first.call("POST", f"/batch/v2/process/{task_id}/start")
        while first.task(task_id)["status"] != "PROCESSING" or not first.task(task_id)["features"][0]["handled"]:
            time.sleep(0.02)
        token, ready = first.fetch_token(), first.ready
        first.kill()
        # rclone must end as well, or the port would be taken.
        wait_until_gone(ready.s3_endpoint)
    ports = [url.rpartition(":")[2] for url in (ready.base_url, ready.s3_endpoint)]
    with Simulator.start(home=tmp_path, speed=600, options=("--port", ports[0], "--s3-port", ports[1])) as second:
        assert (second.ready.base_url, second.ready.s3_endpoint) == (ready.base_url, ready.s3_endpoint)
        second._token = token
        task: dict[str, Any] = {}
        while task.get("status") != "DONE":
            task = second.call("GET", f"/batch/v2/process/{task_id}").body
            assert task["status"] in {"PROCESSING", "DONE"}, task
            time.sleep(0.02)
        # The script is kept as well.
        assert [feature["status"] for feature in second.task(task_id)["features"]] == ["DONE"] * 3 + ["FATAL"]
        assert second.call("GET", f"/batch/v2/process/{waiting}").body["status"] == "CREATED"
        events = [entry["event"] for entry in second.task(task_id)["history"]]
        assert events.count("status PROCESSING") == 1
        assert len(list(second.bucket_folder.rglob("*.tif"))) == 3


def test_statistics_continue_as_well(tmp_path: Path) -> None:
    script = {"timing": {"feature_seconds": 300, "parallel": 1}}

    def values(simulator: Simulator, task_id: str) -> list[Any]:
        files = sorted((simulator.bucket_folder / "out" / task_id).glob("*.json"))
        return [json.loads(file.read_bytes()) for file in files]

    def until(simulator: Simulator, task_id: str, number: int) -> None:
        deadline = time.monotonic() + 30
        while sum(row["handled"] for row in simulator.task(task_id)["features"]) < number:
            assert time.monotonic() < deadline
            time.sleep(0.02)

    with Simulator.start(home=tmp_path, speed=600, script=script) as first:
        upload(first.ready, "out/parcels.gpkg", sample_parcels(["a", "b", "c"]))
        undisturbed, killed = (
            first.call("POST", "/statistics/batch/v1", sample_statistics(first.ready, "out")).body["id"]
            for _ in range(2)
        )
        first.call("POST", f"/statistics/batch/v1/{undisturbed}/start")
        until(first, undisturbed, 3)
        expected = values(first, undisturbed)
        first.stop_clock()
        first.call("POST", f"/statistics/batch/v1/{killed}/start")
        # Ninety seconds of waiting and analysis, and one feature.
        first.advance_clock(90 + 301)
        until(first, killed, 1)
        first.kill()
    with Simulator.start(home=tmp_path, speed=600) as second:
        until(second, killed, 3)
        assert values(second, killed) == expected
        events = [entry["event"] for entry in second.task(killed)["history"]]
        assert events.count("status PROCESSING") == 1


def test_the_simulator_ends_with_the_process_that_started_it() -> None:
    code = (
        "import os, sys\n"
        "from airflow_provider_sentinelhub.simulator.process import Simulator\n"
        "simulator = Simulator.start()\n"
        "print(simulator.ready.base_url, simulator.ready.s3_endpoint, flush=True)\n"
        f"os.kill(os.getpid(), {signal.SIGKILL.value})\n"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False).stdout
    assert len(output.split()) == 2
    for url in output.split():
        wait_until_gone(url)


def test_a_simulator_that_cannot_start_says_why() -> None:
    with pytest.raises(ServiceUnavailable, match="outcom"):
        Simulator.start(script={"features": [{"outcom": "fatal"}]})
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        with pytest.raises(ServiceUnavailable, match="in use"):
            Simulator.start(options=("--port", port))


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Host": "localhost"}, 200),
        ({"Host": "[::1]:8080"}, 200),
        ({"Host": "evil.example"}, 403),
        ({"Host": "127.0.0.1.evil.example"}, 403),
        ({"Host": "["}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Host": "localhost:1", "Origin": "http://localhost:1"}, 200),
    ],
)
def test_the_admin_interface_answers_no_pages_of_others(sim: Simulator, headers: dict[str, str], status: int) -> None:
    assert call("GET", f"{sim.ready.admin_url}/clock", headers=headers).status == status
    changed = call("POST", f"{sim.ready.admin_url}/clock", {"running": True}, headers)
    assert changed.status == status


def test_nobody_else_on_the_machine_can_read_the_keys(sim: Simulator) -> None:
    state = list(Path(sim.ready.home).glob("state.sqlite*"))
    assert state
    assert all(path.stat().st_mode & 0o077 == 0 for path in state)
    servers = [each for each in _command_lines() if str(sim.bucket_folder.parent).encode() in each]
    assert servers
    assert not any(sim.ready.secret_access_key.encode() in each for each in servers)


def _command_lines() -> Iterator[bytes]:
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        # Processes end meanwhile.
        with contextlib.suppress(OSError):
            yield path.read_bytes()


def test_a_state_that_was_readable_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "state.sqlite"
    path.touch(0o644)
    Store(path).close()
    assert path.stat().st_mode & 0o777 == 0o600
