"""``airflow sentinelhub convert``, as Airflow offers it and as a user pipes it."""

from __future__ import annotations

import argparse
import io
import json
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_sentinelhub.cli.convert import convert
from airflow_provider_sentinelhub.cli.definition import get_commands
from airflow_provider_sentinelhub.client.apis.batch_v1.convert import convert_to_v2, rewritten
from tests.client.v1_requests import ONE, v1_request, v1_requests

GRID = {"id": 0, "resolution": 60}


def run(
    capsys: pytest.CaptureFixture[str], name: Path | str, output: Path | None = None, region: str | None = None
) -> tuple[str, list[str], Any]:
    """What the command prints on both outputs, and its exit status."""
    arguments = argparse.Namespace(request=str(name), output=output and str(output), region=region)
    with pytest.raises(SystemExit) as ended:
        convert(arguments)
    printed = capsys.readouterr()
    return printed.out, printed.err.splitlines(), ended.value.code


def written(folder: Path, request: Any) -> Path:
    path = folder / "request.json"
    path.write_text(json.dumps(request))
    return path


def test_the_request_is_printed_and_the_notes_beside_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    request = v1_requests()["bucket name"]
    path = written(tmp_path, request)
    printed, lines, status = run(capsys, path, region="eu-central-1")
    assert status == 0
    converted = convert_to_v2(request, region="eu-central-1")
    assert json.loads(printed) == converted.request
    assert lines == [f"{path}: note: {note}" for note in converted.notes]


def test_it_can_be_written_to_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, target = written(tmp_path, v1_requests()["template"]), tmp_path / "v2.json"
    assert run(capsys, path, target)[::2] == ("", 0)
    printed = run(capsys, path)[0]
    assert target.read_text() == printed
    assert printed.endswith("}\n")
    printed, lines, status = run(capsys, path, tmp_path / "no" / "v2.json")
    assert (printed, status) == ("", 1)
    assert "error: output = " in lines[0]
    assert "cannot be written" in lines[0]


def test_it_reads_standard_input(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    request = v1_requests()["former grid"]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\xef\xbb\xbf" + json.dumps(request).encode())))
    printed, lines, status = run(capsys, "-")
    assert json.loads(printed) == convert_to_v2(request).request
    assert (lines[0][:8], status) == ("-: note:", 0)


def test_the_path_of_an_evalscript_stays_and_its_text_is_checked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path, v1_request("scripts/ndvi.js", bucketName="my-bucket"))
    printed, lines, status = run(capsys, path)
    assert json.loads(printed)["processRequest"]["evalscript"] == "scripts/ndvi.js"
    assert (status, "processRequest.evalscript = 'scripts/ndvi.js': cannot be read" in lines[-1]) == (1, True)
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / "ndvi.js").write_text(ONE)
    assert run(capsys, path) == (printed, lines[:-1], 0)


def test_what_airflow_will_render_is_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    request = v1_request(bucketName="{{ params.bucket }}", tilingGrid={"id": "{{ params.id }}", "resolution": 60})
    printed, lines, status = run(capsys, written(tmp_path, request))
    found = json.loads(printed)
    assert found["input"]["id"] == "{{ params.id }}"
    assert found["output"]["delivery"]["s3"]["url"] == "s3://{{ params.bucket }}"
    assert status == 0
    assert ["is a template" in line for line in lines] == [False, True, True]


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        ({}, ["tilingGrid = None", "request = []"]),
        (v1_request(bucketName="s3://my-bucket"), ["bucketName = 's3://my-bucket'"]),
        (convert_to_v2(v1_requests()["cog"]).request, ["is a request of Batch Processing V2 already"]),
    ],
)
def test_a_request_that_cannot_be_converted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], request_: Any, said: list[str]
) -> None:
    printed, lines, status = run(capsys, written(tmp_path, request_))
    assert (printed, status, len(lines)) == ("", 1, len(said))
    assert all(part in line and ": error: " in line for part, line in zip(said, lines, strict=True))


def test_errors_in_the_result(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = {"defaultTilePath": "s3://my-bucket/<tile>"}
    printed, lines, status = run(capsys, written(tmp_path, v1_request(tilingGrid={**GRID, "id": 5}, output=output)))
    assert json.loads(printed)["input"]["id"] == 5
    assert status == 1
    assert ["input.id = 5: " in line for line in lines] == [False, True, False]
    assert "<tile> is not a placeholder" in lines[2]


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b'"text"', b"[]", b"null"])
def test_a_file_that_is_no_request(tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes) -> None:
    path = tmp_path / "request.json"
    path.write_bytes(content)
    printed, lines, status = run(capsys, path)
    assert (printed, status, len(lines)) == ("", 1, 1)
    assert lines[0].startswith(f"{path}: error: request")


def test_a_file_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    printed, lines, status = run(capsys, tmp_path / "no.json")
    assert (printed, status) == ("", 1)
    assert "cannot be read" in lines[0]


def test_the_example_is_what_the_command_makes_of_it() -> None:
    examples = Path(__file__).parents[2] / "dags_examples"
    before, after = (
        runpy.run_path(str(examples / f"migration_v1_{name}.py"))["max_ndvi"].request for name in ("before", "after")
    )
    assert rewritten(before).request == after


def test_it_is_a_command_of_airflow(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # test_validate.py runs the group with Airflow's own parser, which takes seconds.
    group: Any = get_commands()[0]
    (command,) = (each for each in group.subcommands if each.name == "convert")
    parser = argparse.ArgumentParser()
    for argument in command.args:
        argument.add_to_parser(parser)
    path = written(tmp_path, v1_requests()["bucket name"])
    with pytest.raises(SystemExit) as ended:
        command.func(parser.parse_args(["--region", "eu-central-1", str(path)]))
    assert ended.value.code == 0
    delivery = json.loads(capsys.readouterr().out)["output"]["delivery"]
    assert delivery == {"s3": {"url": "s3://my-bucket", "region": "eu-central-1"}}
