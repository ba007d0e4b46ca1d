"""Periods of which there are no images, and templates that nothing has rendered; the clock is given."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_sentinelhub.artifacts.results.preflight import examine
from airflow_provider_sentinelhub.client.apis.registry import request_type
from airflow_provider_sentinelhub.client.preflight.data import BEGAN
from airflow_provider_sentinelhub.client.preflight.examine import unrendered
from airflow_provider_sentinelhub.client.requests.findings import Findings
from tests.client.client_harness import batch_statistical_document, build_document, statistical_document

NOW = datetime(2024, 6, 15, 12, tzinfo=UTC)
OWN = "byoc-3fa85f64-5717-4562-b3fc-2c963f66afa6"
RASTER = "processRequest.input.data.0.dataFilter.timeRange"
# Of the one band that every collection has.
SCRIPT = """//VERSION=3
function setup() { return {input: ["dataMask"], output: {bands: 1}}; }
function evaluatePixel(s) { return [s.dataMask]; }"""
DOCUMENTS = {"batch": batch_statistical_document, "direct": statistical_document}


def source(start: str | None, end: str | None, kind: str = "sentinel-2-l2a") -> dict[str, Any]:
    span = {"from": start, "to": end}
    return {"type": kind, "dataFilter": {"timeRange": {side: each for side, each in span.items() if each}}}


def build(**changes: Any) -> dict[str, Any]:
    return build_document(**{"processRequest__evalscript": SCRIPT, **changes})


def look(document: dict[str, Any], sent_at: datetime | None = NOW) -> tuple[list[str], list[str]]:
    found: Findings = examine(request_type(document), document, None, sent_at).findings
    return [str(each) for each in found.errors], [each.field for each in found.warnings if "images" in each.fact]


def raster(*sources: dict[str, Any]) -> dict[str, Any]:
    named = [{**each, "id": f"s{number}"} if len(sources) > 1 else each for number, each in enumerate(sources)]
    return build(processRequest__input__data=named)


def of_statistics(kind: str, start: str, end: str, collection: str = "sentinel-2-l2a") -> dict[str, Any]:
    span = {"from": start, "to": end}
    return DOCUMENTS[kind](
        aggregation__timeRange=span,
        aggregation__aggregationInterval={"of": "P1D"},
        input__data=[{"type": collection}],
    )


@pytest.mark.parametrize(
    ("start", "end", "refused"),
    [
        ("2024-07-01T00:00:00Z", "2024-07-31T00:00:00Z", True),
        ("2024-06-15T14:30:00+01:00", "2024-07-31T00:00:00Z", True),
        ("2024-07-01T00:00:00Z", None, True),
        # It has begun, or begins within what clocks may differ.
        ("2024-06-15T12:30:00Z", "2024-07-31T00:00:00Z", False),
        ("2024-06-01T00:00:00Z", "2024-07-31T00:00:00Z", False),
        (None, "2024-07-31T00:00:00Z", False),
        (None, None, False),
    ],
)
def test_a_period_in_the_future_is_refused(start: str | None, end: str | None, refused: bool) -> None:
    errors, _ = look(raster(source(start, end)))
    if not refused:
        assert errors == []
        return
    (error,) = errors
    assert error.startswith(f"{RASTER}.from = ")
    assert "lies in the future, and with it the whole period: there are no images of it yet" in error
    assert "{{ dag_run.run_after.isoformat() }}" in error


def test_one_of_several_sources_is_enough() -> None:
    past, future = source("2024-05-01T00:00:00Z", None), source("2025-05-01T00:00:00Z", None, "sentinel-1-grd")
    errors, _ = look(raster(past, future))
    assert [error.partition(" = ")[0] for error in errors if "future" in error] == [RASTER.replace("0", "1") + ".from"]


@pytest.mark.parametrize("kind", ["batch", "direct"])
def test_statistics_of_the_future_are_refused(kind: str) -> None:
    errors, _ = look(of_statistics(kind, "2025-05-01T00:00:00Z", "2025-06-01T00:00:00Z"))
    assert [error.partition(" = ")[0] for error in errors] == ["aggregation.timeRange.from"]
    assert look(of_statistics(kind, "2024-05-01T00:00:00Z", "2025-06-01T00:00:00Z")) == ([], [])


def test_what_may_be_of_any_time_is_not_refused() -> None:
    assert look(raster(source("2025-05-01T00:00:00Z", None, OWN))) == ([], [f"{RASTER}.from"])
    assert look(raster(source("2025-05-01T00:00:00Z", None, "dem"))) == ([], [])
    span = ("2025-05-01T00:00:00Z", "2025-06-01T00:00:00Z")
    assert look(of_statistics("direct", *span, OWN)) == ([], ["aggregation.timeRange.from"])


def test_what_is_not_sent_yet_may_have_begun_by_then() -> None:
    document = raster(source("9998-05-01T00:00:00Z", "9998-06-01T00:00:00Z"))
    assert look(document, None) == ([], [f"{RASTER}.from"])


@pytest.mark.parametrize("kind", BEGAN)
def test_before_a_collection_began(kind: str) -> None:
    began = datetime.fromisoformat(BEGAN[kind]).replace(tzinfo=UTC)
    start = (began - timedelta(days=400)).isoformat()
    assert look(raster(source(start, (began - timedelta(days=1)).isoformat(), kind))) == ([], [f"{RASTER}.to"])
    assert look(raster(source(start, began.isoformat(), kind))) == ([], [])


def test_statistics_before_a_collection_began() -> None:
    span = ("2013-05-01T00:00:00Z", "2013-06-01T00:00:00Z")
    assert look(of_statistics("batch", *span)) == ([], ["aggregation.timeRange.to"])
    assert look(of_statistics("batch", *span, "landsat-ot-l1")) == ([], [])
    assert look(of_statistics("batch", *span, OWN)) == ([], [])


@pytest.mark.parametrize(
    ("changes", "field", "value"),
    [
        (
            {"output__delivery": {"s3": {"url": "s3://bucket/{{ ds }}"}}},
            "output.delivery.s3.url",
            "s3://bucket/{{ ds }}",
        ),
        ({"input__resolution": "{{ params.r }}"}, "input.resolution", "{{ params.r }}"),
        ({"processRequest__input__data": [source("{{ ds }}", None)]}, f"{RASTER}.from", "{{ ds }}"),
        (
            {"processRequest__input__data": [{"type": "{% if x %}dem{% endif %}"}]},
            "processRequest.input.data.0.type",
            None,
        ),
        ({"output__delivery": {"s3": {"url": "s3://bucket/x{# daily #}"}}}, "output.delivery.s3.url", None),
        ({"processRequest__input__bounds": {"bbox": "{{ params.box }}"}}, "processRequest.input.bounds.bbox", None),
    ],
)
def test_a_template_that_was_not_rendered_is_named(changes: dict[str, Any], field: str, value: str | None) -> None:
    (error,), _ = look(build(**changes))
    assert error.startswith(f"{field} = {value!r}: " if value else f"{field} = ")
    assert "is a template that was not rendered: Airflow renders templates in the DAG file, but not in" in error
    assert "Render it in the task that returns it" in error
    assert "was not rendered" not in str(look(build(**changes), None))


def test_braces_of_a_script_are_javascript_and_a_description_is_free() -> None:
    script = f"{SCRIPT}\n" + "const a = `{{ ds }}`; // {% raw %} {# no #}"
    document = build(processRequest__evalscript=script, description="a {{ b }}")
    found = examine(request_type(document), document, None, NOW).findings
    assert found.errors == ()
    assert [each.field for each in found.warnings] == ["description"]


def test_keys_are_never_rendered() -> None:
    (error,) = Findings.of(unrendered({"calculations": {"{{ x }}": {}}})).errors
    assert (error.field, error.value) == ("calculations.{{ x }}", "{{ x }}")


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(JSON)
def test_json_of_any_shape_is_no_template(value: Any) -> None:
    """Objects in objects, written as text, close with the braces of a template, and do not open with them."""
    assert list(unrendered({"a": {"b": {}}, "text": json.dumps({"a": {"b": {}}})})) == []
    assert all("{" in str(each.value) for each in Findings.of(unrendered(value)).errors)
