"""The command lines refuse what they would otherwise ignore, or stumble over later."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from airflow_provider_sentinelhub.simulator import __main__ as simulator
from devtools import clicks, demo
from devtools.chaos import __main__ as chaos

ROOT = Path(__file__).parents[1]
PROGRAMS: dict[str, Callable[[Sequence[str]], object]] = {
    "simulator": simulator.arguments,
    "demo": demo.arguments,
    "chaos": chaos.arguments,
    "clicks": clicks.main,
}


@pytest.mark.parametrize(
    ("program", "words", "said"),
    [
        ("demo", "--fatal three", "--fatal three: give a number from 0 to "),
        ("demo", "statistics --no-data parcel-001,parcel-1000", "there is no 'parcel-1000'; did you mean"),
        ("demo", "statistics --fatal 1,2", "there is no '1'"),
        ("demo", "statistics --fatal=-1", "--fatal -1: give a number from 0 to 300, or names of features (a,b,c)"),
        ("demo", "statistics --fatal \u00b2", "give a number from 0 to 300"),
        ("demo", "statistics --fatal 299 --fatal-once 2", "that is 301 features, and the job has 300"),
        ("demo", "statistics --fatal-twice parcel-3", "there is no 'parcel-3'; did you mean 'parcel-"),
        ("demo", "--speed nan", "--speed: 'nan' is not a number greater than 0"),
        ("demo", "corsika", "invalid choice"),
        ("demo", "--on-partial ignore", "invalid choice"),
        ("simulator", "--port 70000", "--port: '70000' is not a port from 0 to 65535"),
        ("simulator", "--s3-port=-1", "--s3-port: '-1' is not a port"),
        ("simulator", "--speed 0", "--speed: '0' is not a number greater than 0"),
        ("simulator", "--speed inf", "--speed: 'inf' is not a number greater than 0"),
        ("simulator", "--bucket ../elsewhere", "--bucket: '../elsewhere' is not the name of a bucket"),
        ("simulator", "--access-key-id short", "--access-key-id: it must have at least 16 characters"),
        ("simulator", "--client-secret=", "--client-secret: it is empty"),
        ("simulator", "--script no/such.json", "--script: there is no file 'no/such.json'"),
        ("chaos", "--steps 2,x", "--steps: there is no 'x'"),
        ("chaos", "--steps 99", "--steps: there is no '99'"),
        ("chaos", "--variants defered", "--variants: there is no 'defered'; did you mean 'deferred'?"),
        ("chaos", "--groups outage", "--groups: there is no 'outage'; did you mean 'outages'?"),
        ("chaos", "--quick --groups twins", "with --quick, --groups are of ended, running"),
        ("chaos", "--actions cleer", "--actions cleer: no such action; they are mark failed"),
        ("chaos", "--lanes 0", "--lanes: '0' is not a whole number from 1"),
        ("chaos", "--runs=-1", "--runs: '-1' is not a whole number from 0"),
        ("chaos", "--minutes 0", "--minutes: '0' is not a number greater than 0"),
        ("clicks", "--only clearr", "--only clearr: in no name of a scenario; they are clear a failed run"),
    ],
)
def test_a_wrong_argument_is_refused(program: str, words: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        PROGRAMS[program](words.split())
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


def test_right_arguments_are_taken() -> None:
    assert demo.arguments(["statistics", "--fatal", "3", "--no-data", "parcel-002"]).no_data == "parcel-002"
    options = chaos.arguments(["--steps", "2,3", "--variants", "deferred,blocking", "--quick", "--runs", "0"])
    assert (options.steps, options.variants) == ([2, 3], ["deferred", "blocking"])
    assert options.groups == ["ended", "running", "restarts"]
    assert chaos.arguments([]).steps == []
    assert simulator.arguments([]).speed == 60


def test_a_missing_extra_is_a_sentence(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for missing in ("uvicorn", "rasterio"):
        monkeypatch.setitem(sys.modules, missing, None)
    assert simulator.main([]) == 1
    assert capsys.readouterr().err == (
        "The simulator needs what is not installed: rasterio, uvicorn. All of it comes with the extra 'simulator'. "
        "Install it with: pip install 'airflow-provider-sentinelhub[simulator]'\n"
    )


def test_the_command_needs_no_extra_to_say_so() -> None:
    program = (
        "import sys\nfor name in ('uvicorn', 'fastapi', 'rasterio'): sys.modules[name] = None\n"
        "from airflow_provider_sentinelhub.simulator.__main__ import main; sys.exit(main([]))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "not installed: fastapi, rasterio, uvicorn" in done.stderr


def test_all_of_the_extra_is_looked_for() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert {re.split("[-<>=]", name)[0] for name in extras["simulator"]} - {"rclone"} == set(simulator.NEEDED)
