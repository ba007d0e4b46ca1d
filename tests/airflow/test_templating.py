"""A request is rendered but for its evalscripts, whichever way it reaches an operator; files are text in UTF-8."""

from __future__ import annotations

import json
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowFailException

from airflow_provider_sentinelhub.client.errors import InvalidParameter
from airflow_provider_sentinelhub.hooks.batch import SentinelHubBatchHook
from airflow_provider_sentinelhub.operators.batch_process import SentinelHubBatchProcessOperator
from tests.bad_inputs.requests import request, script

# What Jinja would change or stumble over, and what JSON and Python have to escape.
BRACES = r"""// {{ 1 + 1 }} {# gone #} {% raw %} {% endraw %} "quoted" 'too' \n é
const text = `${{a: 1}.a}`; const one = {"evalscript": "{{ ds }}"};
"""
SCRIPT = script() + BRACES
CONTEXT: Any = {"ds": "2026-11-30", "params": {"box": [8.5, 41.3, 9.6, 43.1], "name": "a.js"}}
URL = "s3://my-bucket/{{ ds }}/<requestId>/<tileName>.<format>"


def body(**changes: Any) -> dict[str, Any]:
    delivery = {"s3": {"url": URL}}
    return request(**{"processRequest__evalscript": SCRIPT, "output__delivery": delivery, **changes})


def with_a_bare_template(text: str) -> str:
    """Not JSON before it is rendered."""
    return text.replace("[8.5, 41.3, 9.6, 43.1]", "{{ params.box }}")


def with_a_part_as_text(given: dict[str, Any]) -> dict[str, Any]:
    return {**given, "processRequest": json.dumps(given["processRequest"])}


FORMS: dict[str, Any] = {
    "dict": body(),
    "mapping": MappingProxyType(body()),
    "JSON text": json.dumps(body()),
    "JSON text after a byte order mark": "\ufeff" + json.dumps(body()),
    "indented JSON text": json.dumps(body(), indent=2, ensure_ascii=False),
    "JSON text with a bare template": with_a_bare_template(json.dumps(body())),
    "Python text": str(body()),
    "a part as text": with_a_part_as_text(body()),
}


def operator(given: Any, folder: Path | None = None, *, native: bool = False) -> SentinelHubBatchProcessOperator:
    with DAG(
        "d", schedule=None, template_searchpath=str(folder) if folder else None, render_template_as_native_obj=native
    ):
        return SentinelHubBatchProcessOperator(task_id="t", request=given)


def sent(op: SentinelHubBatchProcessOperator) -> dict[str, Any]:
    return SentinelHubBatchHook().prepare(op.with_files(op.render_template(op.request, CONTEXT)))


@pytest.fixture(autouse=True)
def _connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_SENTINELHUB_DEFAULT", "sentinelhub://id:secret@")


@pytest.mark.parametrize("native", [False, True], ids=["text", "native"])
@pytest.mark.parametrize("form", FORMS)
def test_a_script_arrives_as_it_stands_and_the_rest_is_rendered(form: str, native: bool) -> None:
    found = sent(operator(FORMS[form], native=native))
    assert found["processRequest"]["evalscript"] == SCRIPT
    assert found["output"]["delivery"]["s3"]["url"] == "s3://my-bucket/2026-11-30/<requestId>/<tileName>.<format>"
    assert found["processRequest"]["input"]["bounds"]["bbox"] == [8.5, 41.3, 9.6, 43.1]


@pytest.mark.parametrize("given", [json.dumps(body()), str(body()), body()], ids=["JSON", "Python", "dict"])
def test_what_another_task_returned_is_not_rendered(given: Any) -> None:
    op = operator({})
    # Airflow marks it by its id.
    rendered = op.render_template(given, CONTEXT, op.get_template_env(), {id(given)})
    assert rendered is given
    with pytest.raises(
        InvalidParameter, match=r"output\.delivery\.s3\.url = .* is a template that was not rendered"
    ) as no:
        SentinelHubBatchHook().prepare(op.with_files(rendered))
    assert "evalscript" not in str(no.value)


@pytest.mark.parametrize("name", ["a.js", "{{ params.name }}", "{{ 'a' }}.js"])
@pytest.mark.parametrize(
    "form", [dict, json.dumps, str, lambda each: {**each, "processRequest": json.dumps(each["processRequest"])}]
)
def test_a_script_in_a_file_is_read_whatever_the_form_of_the_request(form: Any, name: str, tmp_path: Path) -> None:
    (tmp_path / "a.js").write_text(SCRIPT, encoding="utf-8")
    given = form(body(processRequest__evalscript=name))
    if name == "{{ params.name }}":
        # Before it is rendered, it is not the path of a .js file, so it is the text of a script.
        with pytest.raises(InvalidParameter, match="has no function setup"):
            sent(operator(given, tmp_path))
        return
    assert sent(operator(given, tmp_path))["processRequest"]["evalscript"] == SCRIPT


def test_a_request_in_a_file_is_rendered_wherever_its_path_comes_from(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    path.write_text(json.dumps(body()), encoding="utf-8-sig")
    for given in (path, str(path), "r.json", f"{{{{ '{path}' }}}}"):
        found = sent(operator(given, tmp_path))
        assert found["output"]["delivery"]["s3"]["url"] == "s3://my-bucket/2026-11-30/<requestId>/<tileName>.<format>"
        assert found["processRequest"]["evalscript"] == SCRIPT


@pytest.mark.parametrize("encoding", ["cp1252", "utf-16"])
@pytest.mark.parametrize("name", ["a.js", "r.json"])
def test_a_file_that_is_not_utf_8_is_named(name: str, encoding: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(f'// "{SCRIPT}"', encoding=encoding)
    given = body(processRequest__evalscript=name) if name == "a.js" else name
    field = "processRequest.evalscript" if name == "a.js" else "request"
    for folder, path in ((tmp_path, name), (None, str(tmp_path / name))):
        with pytest.raises(AirflowFailException) as refused:
            sent(operator(json.loads(json.dumps(given).replace(name, path)), folder))
        said = f"{field} = {path!r}: this file is not text in UTF-8 ('utf-8' codec can't decode byte"
        assert str(refused.value).startswith(said)
        assert str(refused.value).endswith("Save it as UTF-8.")


def test_a_byte_order_mark_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "a.js").write_text(SCRIPT, encoding="utf-8-sig")
    for given in ("a.js", "\ufeff" + SCRIPT):
        found = sent(operator(body(processRequest__evalscript=given), tmp_path))
        assert found["processRequest"]["evalscript"] == SCRIPT


def test_a_text_that_is_no_json_is_said_to_be_none() -> None:
    with pytest.raises(InvalidParameter, match=r"is not JSON \(Expecting ',' delimiter: line 1 column 46"):
        operator({}).with_files('{"processRequest": {"evalscript": "{{ ds }}"}')
