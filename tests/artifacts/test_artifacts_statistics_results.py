"""One result: what is said in it, and what it becomes."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_sentinelhub.artifacts.report.causes import CauseKind, cause_of
from airflow_provider_sentinelhub.artifacts.statistics.answers import ResultReader, Unreadable
from airflow_provider_sentinelhub.artifacts.statistics.builder import Added, TableBuilder
from airflow_provider_sentinelhub.artifacts.statistics.schema import part_schema
from tests.artifacts.statistics_files import DAYS, answer, data, lost


def read(result: Any) -> tuple[list[dict[str, Any]], Added, str | None]:
    found, said = ResultReader().read(result if isinstance(result, bytes) else json.dumps(result).encode())
    builder = TableBuilder()
    added = builder.add(found.id, found.identifier, said)
    table = builder.take()
    table.validate(full=True)
    assert table.schema == part_schema()
    rows: list[dict[str, Any]] = table.to_pylist()
    assert len(rows) == added.rows
    return rows, added, said.message()


def test_nan_is_null_where_nothing_was_sampled_and_nan_elsewhere() -> None:
    entry = data()
    stats = entry["outputs"]["ndvi"]["bands"]["B0"]["stats"]
    stats |= {"mean": "NaN", "max": "Infinity", "percentiles": {"50.0": "NaN"}}
    (row,), added, _ = read(answer(1, [entry]))
    assert math.isnan(row["mean"])
    assert row["max"] == math.inf
    assert math.isnan(dict(row["percentiles"])["50.0"])
    assert added == Added(1, 1, 0, 0)
    stats["noDataCount"] = stats["sampleCount"]
    (row,), added, _ = read(answer(1, [entry]))
    assert (row["mean"], row["max"], row["percentiles"], row["histogram"]) == (None, None, None, None)
    assert (row["sample_count"], row["no_data_count"]) == (100, 100)
    assert added == Added(1, 0, 1, 0)


@pytest.mark.parametrize(
    ("given", "read_as"), [({"geometryPixelCount": 97}, 97), ({"geometryPixelCount": None}, None), ({}, None)]
)
def test_the_pixels_of_a_geometry(given: dict[str, Any], read_as: int | None) -> None:
    said = answer(1, [data(DAYS[0]), lost(DAYS[1])])
    said["response"] |= given
    rows, _, _ = read(said)
    assert [row["geometry_pixel_count"] for row in rows] == [read_as] * 2


def test_an_answer_without_any_interval_has_no_data() -> None:
    nothing = answer(1, [])
    nothing["response"]["geometryPixelCount"] = None
    (row,), added, message = read(nothing)
    assert {name for name, value in row.items() if value is not None} == {"feature_id", "identifier"}
    assert (added, message) == (Added(1, 0, 0, 0), None)


def test_what_was_not_asked_for_is_null() -> None:
    entry = data()
    band = entry["outputs"]["ndvi"]["bands"]["B0"]
    del band["histogram"], band["stats"]["percentiles"]
    (row,), _, _ = read(answer(1, [entry]))
    assert (row["percentiles"], row["histogram"], row["histogram_overflow"]) == (None, None, None)
    band |= {"histogram": {"bins": []}}
    band["stats"]["percentiles"] = {}
    (row,), _, _ = read(answer(1, [entry]))
    assert (row["percentiles"], row["histogram"], row["histogram_overflow"]) == ([], [], None)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        ("EXECUTION_ERROR", "EXECUTION_ERROR"),
        ({"type": "TIMEOUT"}, "TIMEOUT"),
        ({"type": "BAD_REQUEST", "message": "no such band"}, "BAD_REQUEST: no such band"),
        ({"code": 7}, '{"code": 7}'),
        ("", "no reason given"),
    ],
)
def test_errors_are_told_in_the_services_words(error: Any, text: str) -> None:
    rows, added, message = read(answer(1, [data(DAYS[0]), lost(DAYS[1], error)]))
    assert [row["error"] for row in rows] == [None, text]
    assert added == Added(2, 1, 0, 1)
    assert message == f"1 of 2 intervals failed: {text}"
    rows, _, message = read({"id": 1, "error": error})
    assert [(row["interval_from"], row["error"]) for row in rows] == [(None, text)]
    assert message == text


def test_what_passes_is_worth_another_try() -> None:
    for error in ("TIMEOUT", "EXECUTION_ERROR"):
        _, _, message = read(answer(1, [lost(DAYS[0], error), lost(DAYS[1], {"type": error})]))
        assert message == f"2 of 2 intervals failed: {error}"
        assert cause_of(message).kind is CauseKind.TRANSIENT


@pytest.mark.parametrize(
    ("response", "error"),
    [
        ({"data": None, "status": "FAILED"}, "FAILED"),
        ({"data": [], "status": "FAILED"}, "FAILED"),
        ({"status": "OK"}, "no response"),
        ({"data": None, "status": "OK"}, "no response"),
        ({}, "no response"),
        (None, "no response"),
        ({"data": None, "status": "FAILED", "error": {"type": "TIMEOUT"}}, "TIMEOUT"),
        ({"data": [], "status": "OK"}, None),
        ({"data": []}, None),
    ],
)
def test_a_feature_without_intervals_is_one_row(response: Any, error: str | None) -> None:
    rows, added, message = read({"id": 1, "identifier": "a", "response": response})
    assert [(row["feature_id"], row["identifier"], row["error"]) for row in rows] == [(1, "a", error)]
    assert {rows[0][name] for name in ("interval_from", "output", "band", "mean")} == {None}
    assert (added, message) == (Added(1, 0, 0, 0), error)


def test_partial_without_a_failed_interval_is_an_error_of_the_feature() -> None:
    rows, added, message = read(answer(1, [data()], status="PARTIAL"))
    assert [(row["mean"], row["error"]) for row in rows] == [(0.5, None), (None, "PARTIAL")]
    assert (added, message) == (Added(2, 1, 0, 0), "PARTIAL")


def test_what_failed_in_an_interval_nobody_names_is_an_error_of_the_feature() -> None:
    entries = [data(), {"error": {"type": "TIMEOUT"}}, {"outputs": {}}, lost(DAYS[1])]
    rows, added, _ = read(answer(1, entries))
    assert [(row["mean"], row["error"]) for row in rows] == [
        (0.5, None),
        (None, "TIMEOUT"),
        (None, "TIMEOUT, an interval without from and to"),
    ]
    assert added == Added(3, 1, 0, 1)
    _, said = ResultReader().read(json.dumps(answer(1, entries)).encode())
    # Which interval it was nobody knows, so all of them are wanted again.
    assert said.failed_span() == (None, None)


@pytest.mark.parametrize("nothing", [{}, {"stats": None}, {"stats": {}, "histogram": {"bins": None}}])
def test_a_band_of_which_nothing_is_said_costs_no_other_one(nothing: Any) -> None:
    entry = data(bands=("B0", "B1"))
    entry["outputs"]["ndvi"]["bands"]["B0"] = nothing
    entry["outputs"]["later"] = {"bands": None}
    rows, _, message = read(answer(1, [entry]))
    assert [(row["band"], row["mean"], row["error"]) for row in rows] == [("B0", None, None), ("B1", 0.5, None)]
    assert message is None


@pytest.mark.parametrize(("given", "text"), [(17, "17"), (0, "0"), (1.5, "1.5"), ("007", "007"), (None, None)])
def test_an_identifier_may_be_a_number(given: Any, text: str | None) -> None:
    (row,), _, _ = read({**answer(1, [data()]), "identifier": given})
    assert row["identifier"] == text


def test_a_file_nested_too_deeply_is_none() -> None:
    with pytest.raises(Unreadable, match="recursion"):
        ResultReader().read(b'{"id": 1, "x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}")


def test_an_interval_that_occurs_twice_counts_once() -> None:
    entries = [data(DAYS[0], 0.25), lost(DAYS[0]), data(DAYS[1], 0.25), data(DAYS[1], 0.75), lost(DAYS[2])]
    rows, added, _ = read(answer(1, [*entries, data(DAYS[2], 0.125)]))
    assert [row["mean"] for row in rows] == [0.25, 0.75, 0.125]
    assert added == Added(3, 3, 0, 0)


def test_times_are_taken_as_utc() -> None:
    entry = data()
    for text in ("2024-05-06T02:00:00+02:00", "2024-05-06T00:00:00", "2024-05-06T00:00:00.000Z"):
        entry["interval"]["from"] = text
        (row,), _, _ = read(answer(1, [entry]))
        assert row["interval_from"].isoformat() == "2024-05-06T00:00:00+00:00"


WHOLE = json.dumps(answer(1, [data(DAYS[0]), lost(DAYS[1])])).encode()


@given(st.integers(0, len(WHOLE) - 1))
def test_a_file_that_was_cut_off_is_never_taken_for_whole(size: int) -> None:
    with pytest.raises(Unreadable):
        ResultReader().read(WHOLE[:size])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
PATHS = [
    ("id",),
    ("identifier",),
    ("response",),
    ("response", "data"),
    ("response", "status"),
    ("response", "data", 0),
    ("response", "data", 0, "interval"),
    ("response", "data", 0, "interval", "from"),
    ("response", "data", 0, "outputs"),
    ("response", "data", 0, "outputs", "ndvi", "bands", "B0"),
    ("response", "data", 0, "outputs", "ndvi", "bands", "B0", "stats", "mean"),
    ("response", "data", 0, "outputs", "ndvi", "bands", "B0", "stats", "sampleCount"),
    ("response", "data", 0, "outputs", "ndvi", "bands", "B0", "stats", "percentiles"),
    ("response", "data", 0, "outputs", "ndvi", "bands", "B0", "histogram", "bins"),
    ("response", "data", 1, "error"),
]


@given(st.sampled_from(PATHS), JSON)
def test_whatever_a_file_holds_is_understood_or_refused(path: tuple[Any, ...], value: Any) -> None:
    result = json.loads(WHOLE)
    place = result
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    try:
        rows, added, _ = read(result)
    except Unreadable:
        return
    assert len(rows) == added.rows >= 1
