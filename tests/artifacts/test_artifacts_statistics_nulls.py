"""The service may write null wherever it has nothing to say."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_sentinelhub.artifacts.statistics.answers import ResultReader, Unreadable
from airflow_provider_sentinelhub.artifacts.statistics.builder import TableBuilder
from airflow_provider_sentinelhub.client.apis.statistical.answers import StatisticalAnswer
from tests.artifacts.statistics_files import DAYS, answer, data, lost

if TYPE_CHECKING:
    from collections.abc import Iterator

WHOLE = answer(1, [data(), data(DAYS[1], bands=("B0", "B1")), lost(DAYS[2])])


def places(value: Any, *path: str | int) -> Iterator[tuple[str | int, ...]]:
    """Paths of everything in a JSON value, the value itself first."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, each in items:
        yield from places(each, *path, step)


def with_null(path: tuple[str | int, ...]) -> Any:
    changed = copy.deepcopy(WHOLE)
    place = changed
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = None
    return changed


def test_null_may_be_anywhere_in_a_result_file() -> None:
    reader, paths = ResultReader(), [path for path in places(WHOLE) if path and path != ("id",)]
    assert len(paths) > 90
    for path in paths:
        builder = TableBuilder()
        result, understood = reader.read(json.dumps(with_null(path)).encode())
        builder.add(result.id, result.identifier, understood)
        assert builder.take().num_rows >= 1, path


def test_null_may_be_anywhere_in_an_answer() -> None:
    for path in (path for path in places(WHOLE) if path[:1] == ("response",) and len(path) > 1):
        read = StatisticalAnswer.model_validate(with_null(path)["response"])
        # What is stored is read like a result file.
        stored = {"id": 1, "response": json.loads(read.model_dump_json(by_alias=True))}
        ResultReader().read(json.dumps(stored).encode())


def test_a_bin_without_an_edge_keeps_its_count() -> None:
    edge = ("response", "data", 0, "outputs", "ndvi", "bands", "B0", "histogram", "bins", 0, "lowEdge")
    read = StatisticalAnswer.model_validate(with_null(edge)["response"])
    assert read.data is not None
    histogram = read.data[0].outputs["ndvi"].bands["B0"].histogram
    assert histogram is not None
    assert [(each.low_edge, each.high_edge, each.count) for each in histogram.bins] == [(None, 0.5, 90), (0.5, 1.0, 7)]
    builder = TableBuilder()
    builder.add(1, None, ResultReader().read(json.dumps(with_null(edge)).encode())[1])
    stored = builder.take().column("histogram")[0].as_py()
    assert stored[0] == {"low_edge": None, "high_edge": 0.5, "count": 90}


def test_an_interval_without_its_start_is_a_failure_of_the_feature() -> None:
    _, understood = ResultReader().read(json.dumps(with_null(("response", "data", 0, "interval", "from"))).encode())
    assert len(understood.entries) == 2
    assert understood.error == "an interval without from and to"


def test_a_result_file_needs_the_id_of_its_feature() -> None:
    with pytest.raises(Unreadable):
        ResultReader().read(json.dumps(with_null(("id",))).encode())
