"""Small costs and sizes are not shown as 0."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_sentinelhub.client.apis.registry import TASK_APIS
from airflow_provider_sentinelhub.client.costs.amounts import mb_text, pu_text
from airflow_provider_sentinelhub.client.lifecycle.watch import Watch
from tests.client.client_harness import NDVI, build_document, make_task


@pytest.mark.parametrize(
    ("pu", "text"),
    [
        (None, "0 PU"), (0.0, "0 PU"), (0.0134, "0.0134 PU"), (0.94, "0.94 PU"), (0.96, "1.0 PU"), (100, "100.0 PU"),
        (1234.56, "1,234.6 PU"), (9999.96, "10,000.0 PU"), (12345.6, "12,346 PU"),
    ],
)  # fmt: skip
def test_processing_units(pu: float | None, text: str) -> None:
    assert pu_text(pu) == text


@pytest.mark.parametrize(
    ("mb", "text"), [(0.447, "0.447 MB"), (99.96, "100 MB"), (150.4, "150 MB"), (2359.3, "2,359 MB")]
)
def test_megabytes(mb: float, text: str) -> None:
    assert mb_text(mb) == text


@given(st.floats(1e-9, 1e9))
def test_nothing_that_costs_is_shown_as_free(amount: float) -> None:
    for text in (pu_text(amount), mb_text(amount)):
        number = float(text.split()[0].replace(",", ""))
        assert number == pytest.approx(amount, rel=0.06)


def test_a_log_line_and_an_estimate_say_so() -> None:
    line = Watch(1.0, None).saw(make_task(status="PROCESSING", costPU=0.0134))
    assert line is not None
    assert "0.0134 PU" in line
    named = {"processRequest__output__responses__0__identifier": "ndvi"}
    request = build_document(processRequest__evalscript=NDVI, **named)
    assert " 0 MB" not in TASK_APIS["batch-v2"].estimate(request, [(334, 334, 1)]).text()
