"""``airflow sentinelhub validate``, as Airflow offers it and as a CI uses it."""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_sentinelhub.cli.definition import APIS, DEPLOYMENTS, get_commands
from airflow_provider_sentinelhub.cli.validate import validate
from airflow_provider_sentinelhub.client.apis import registry
from airflow_provider_sentinelhub.client.http import deployments
from airflow_provider_sentinelhub.get_provider_info import get_provider_info
from tests.bad_inputs.requests import request, script

AIRFLOW = Path(sys.executable).with_name("airflow")


def run(
    capsys: pytest.CaptureFixture[str], *names: Path, deployment: str = "", as_json: bool = False, api: str = ""
) -> Any:
    """What the command prints, by line, and its exit status."""
    arguments = argparse.Namespace(requests=[str(name) for name in names], deployment=deployment, json=as_json, api=api)
    with pytest.raises(SystemExit) as ended:
        validate(arguments)
    return capsys.readouterr().out.splitlines(), ended.value.code


def written(folder: Path, name: str = "request.json", **changes: Any) -> Path:
    path = folder / name
    path.write_text(json.dumps(request(**changes)))
    return path


def test_a_good_request(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines, status = run(capsys, written(tmp_path), deployment="aws-eu-central-1")
    assert (lines, status) == (["1 request checked: 0 errors, 0 warnings"], 0)
    assert run(capsys, written(tmp_path), as_json=True) == ([], 0)


def test_what_the_request_is_for_can_be_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path)
    lines, status = run(capsys, path, api="batch-statistical")
    assert status == 1
    assert len(lines) == 2
    assert lines[0].endswith(
        "is a request of Batch Processing V2, and this is Batch Statistical. Use SentinelHubBatchProcessOperator."
    )
    assert run(capsys, path, api="batch-v2")[1] == 0


def test_the_apis_are_those_there_are() -> None:
    assert set(APIS) == set(registry.APIS)


def test_every_problem_has_a_line_of_its_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = written(tmp_path)
    bad = written(tmp_path, "bad.json", input__id=5, output__cogParameters={"blockxsize": 500})
    lines, status = run(capsys, good, bad)
    assert status == 1
    ignored = "is ignored, because output.cogOutput is not true. Set output.cogOutput to true, or remove it."
    assert [line.split(" = ")[0] for line in lines] == [
        f"{bad}: error: input.id",
        f"{bad}: error: output.cogParameters.blockxsize",
        f"{bad}: warning: output.cogParameters: {ignored}",
        "2 requests checked: 2 errors, 1 warning",
    ]
    lines, status = run(capsys, bad, as_json=True)
    assert status == 1
    assert [(each["level"], each["field"]) for each in map(json.loads, lines)] == [
        ("error", "input.id"),
        ("error", "output.cogParameters.blockxsize"),
        ("warning", "output.cogParameters"),
    ]


def test_warnings_alone_are_no_failure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines, status = run(capsys, written(tmp_path, output__cogParameters={"blockxsize": 512}))
    assert (len(lines), status) == (2, 0)


def test_the_deployment_makes_a_difference(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path, input__resolution=30)
    assert run(capsys, path)[1] == run(capsys, path, deployment="cdse")[1] == 0
    assert run(capsys, path, deployment="aws-eu-central-1")[1] == 1


def test_an_evalscript_is_looked_for_beside_the_request(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "scripts").mkdir()
    path = written(tmp_path, processRequest__evalscript="scripts/ndvi.js", input__resolution=25)
    lines, status = run(capsys, path)
    assert status == 1
    assert "processRequest.evalscript = 'scripts/ndvi.js': cannot be read" in lines[0]
    # What else is wrong is said as well, and nothing of a script that is not known.
    assert ["input.resolution = 25" in line for line in lines] == [False, True, False]
    path = written(tmp_path, processRequest__evalscript="scripts/ndvi.js")
    (tmp_path / "scripts" / "ndvi.js").write_text(script(id="ndvi"))
    lines, status = run(capsys, path)
    assert "is not an output of the evalscript; the evalscript's setup() has ndvi" in lines[0]
    (tmp_path / "scripts" / "ndvi.js").write_text(script())
    assert run(capsys, path)[1] == 0


@pytest.mark.parametrize("encoding", ["cp1250", "utf-16"])
def test_text_that_is_not_utf_8(tmp_path: Path, capsys: pytest.CaptureFixture[str], encoding: str) -> None:
    path = written(tmp_path, processRequest__evalscript="ndvi.js")
    (tmp_path / "ndvi.js").write_text(f"{script()}// Příbram", encoding=encoding)
    lines, status = run(capsys, path)
    assert status == 1
    assert "processRequest.evalscript = 'ndvi.js': this file is not text in UTF-8" in lines[0]
    assert lines[0].endswith("Save it as UTF-8.")
    path.write_text(path.read_text().replace("ndvi.js", "Příbram"), encoding=encoding)
    lines, status = run(capsys, path)
    assert status == 1
    assert f"request = '{path}': this file is not text in UTF-8" in lines[0]
    assert lines[0].endswith("Save it as UTF-8.")


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b'"text"', b"[]", b"null"])
def test_a_file_that_is_no_request(tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes) -> None:
    path = tmp_path / "request.json"
    path.write_bytes(content)
    lines, status = run(capsys, path)
    assert status == 1
    assert lines[0].startswith(f"{path}: error: request")


def test_a_file_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines, status = run(capsys, tmp_path / "no.json")
    assert status == 1
    assert "cannot be read" in lines[0]


def test_what_airflow_will_render_is_not_judged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(
        tmp_path,
        processRequest__input__data=[
            {
                "type": "{{ params.collection }}",
                "dataFilter": {
                    "timeRange": {"from": "{{ data_interval_start }}", "to": "{{ data_interval_end }}"},
                    "maxCloudCoverage": "{{ params.clouds }}",
                },
            }
        ],
        output__overwrite="{{ params.overwrite }}",
        processRequest__input__bounds="{{ params.bounds }}",
        processRequest__evalscript="{{ params.script }}.js",
        output__delivery={"s3": {"url": "s3://{{ params.bucket }}/{{ ds }}"}},
    )
    lines, status = run(capsys, path)
    assert status == 0
    assert [line.split(": ")[2].split()[0] for line in lines[:-1]] == [
        "processRequest.input.bounds",
        "processRequest.input.data.0.dataFilter.timeRange.from",
        "processRequest.input.data.0.dataFilter.timeRange.to",
        "processRequest.input.data.0.dataFilter.maxCloudCoverage",
        "output.overwrite",
        "output.delivery.s3.url",
        "processRequest.evalscript",
    ]


@pytest.mark.parametrize(
    ("changes", "fields"),
    [
        ({"tilingGrid": {"id": "{{ params.id }}"}}, ["tilingGrid"]),
        (
            {
                "processRequest__input__data": [
                    {
                        "type": "sentinel-2-l2a",
                        "dataFilter": {
                            "timeRange": {"from": "2020-01-01T00:00:00Z", "to": "2019-01-01T00:00:00Z"},
                            "x": "{{ x }}",
                        },
                    }
                ]
            },
            ["processRequest.input.data.0.dataFilter.timeRange"],
        ),
        ({"output__delivery": {"s3": {"url": "s3://{{ b }}/x"}, "gs": {"url": "gs://b/x"}}}, ["output.delivery"]),
        (
            {"processRequest__evalscript": "function setup() { return {{}} } function evaluatePixel(s) {}"},
            ["processRequest.evalscript"],
        ),
        # Airflow renders nothing of a script.
        ({"processRequest__evalscript": "{{ params.script }}"}, ["processRequest.evalscript"] * 2),
    ],
)
def test_what_is_wrong_beside_a_template_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], changes: dict[str, Any], fields: list[str]
) -> None:
    lines, status = run(capsys, written(tmp_path, **changes), as_json=True)
    found = [each["field"] for each in map(json.loads, lines) if each["level"] == "error"]
    assert (found, status) == (fields, 1)


@pytest.mark.parametrize(
    "bounds",
    [
        {"geometry": {"type": "Polygon", "coordinates": "{{ params.ring }}"}},
        {"geometry": {"type": "Polygon", "coordinates": [[["{{ x }}", 1], [2, 1], [2, 2], ["{{ x }}", 1]]]}},
        {"bbox": ["{{ x }}", 1, 2, 2]},
    ],
)
def test_coordinates_may_be_templates(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], bounds: dict[str, Any]
) -> None:
    lines, status = run(capsys, written(tmp_path, processRequest__input__bounds=bounds))
    assert (len(lines), status) == (2, 0)


def test_the_page_shows_what_it_prints(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (Path(__file__).parents[2] / "docs" / "preflight.md").read_text()
    (shown,) = re.findall(r"```text\n(.*?)```", page, re.DOTALL)
    (tmp_path / "requests").mkdir()
    delivery = {"s3": {"url": "s3://my-bucket/ndvi", "region": "us-west-2"}}
    written(tmp_path, "requests/ndvi.json", input__resolution=25, output__delivery=delivery)
    monkeypatch.chdir(tmp_path)
    lines, status = run(capsys, Path("requests/ndvi.json"), deployment="aws-eu-central-1")
    assert (lines, status) == (shown.splitlines(), 1)


def test_airflow_offers_it(tmp_path: Path) -> None:
    path = written(tmp_path, input__id=5)
    # Neither a connection nor a database: a home of its own, and nothing in it.
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "_AIRFLOW"))}
    found = subprocess.run(
        [str(AIRFLOW), "sentinelhub", "validate", "--json", "--deployment", "cdse", str(path)],
        env={**environment, "AIRFLOW_HOME": str(tmp_path / "home")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 1, found.stderr
    assert [json.loads(line)["field"] for line in found.stdout.splitlines()] == ["input.id"]
    assert not list((tmp_path / "home").glob("*.db"))


def test_it_costs_nothing_where_airflow_is_run_for_something_else() -> None:
    program = (
        "import sys, airflow.cli.cli_config\nbefore = set(sys.modules)\n"
        "from airflow_provider_sentinelhub.cli.definition import get_commands\nget_commands()\n"
        "print(*sorted(set(sys.modules) - before))"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert {name for name in found if "get_provider_info" not in name} <= {
        "airflow_provider_sentinelhub",
        "airflow_provider_sentinelhub.cli",
        "airflow_provider_sentinelhub.cli.definition",
    }


def test_it_is_declared_and_knows_the_deployments() -> None:
    assert get_provider_info()["cli"] == [f"{get_commands.__module__}.{get_commands.__name__}"]
    assert set(DEPLOYMENTS) == set(deployments.DEPLOYMENTS) - {"custom"}
