"""The same results, read by the public client and by us: what both keep is equal, and what it drops is known."""

from __future__ import annotations

import json
from typing import Any

from sentinelhub.data_utils import get_failed_statistical_requests, statistical_to_dataframe

from airflow_provider_sentinelhub.artifacts.statistics.answers import ResultReader
from airflow_provider_sentinelhub.artifacts.statistics.builder import TableBuilder
from tests.artifacts.statistics_files import DAYS, answer, broken, data, failed, lost

BOTH = ("B0", "B1")
RESULTS = [
    answer(1, [data(DAYS[0], 0.5, bands=BOTH), data(DAYS[1], 0.25, bands=BOTH)]),
    answer(2, [data(DAYS[0], 0.125, bands=BOTH), data(DAYS[1], bands=BOTH, empty=True)]),
    answer(3, [data(DAYS[0], 0.75, bands=BOTH), lost(DAYS[1])]),
    failed(4),
    broken(5),
    answer(6, [data(DAYS[0], bands=BOTH, empty=True)]),
    answer(7, [data(DAYS[2], 0.375, bands=BOTH)]),
]
NAMES = {"stDev": "st_dev", "sampleCount": "sample_count", "noDataCount": "no_data_count"}


def ours() -> list[dict[str, Any]]:
    reader, builder = ResultReader(), TableBuilder()
    for content in RESULTS:
        result, said = reader.read(json.dumps(content).encode())
        builder.add(result.id, result.identifier, said)
    rows: list[dict[str, Any]] = builder.take().to_pylist()
    return rows


def theirs() -> dict[tuple[Any, ...], dict[str, Any]]:
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for record in statistical_to_dataframe(json.loads(json.dumps(RESULTS))).to_dict("records"):
        for column, value in record.items():
            if column.startswith("ndvi_"):
                _, band, name = column.split("_", 2)
                key = (record["identifier"], record["interval_from"], band)
                found.setdefault(key, {})[NAMES.get(name, name)] = value
    return found


def test_what_the_public_client_keeps_is_in_our_table_value_by_value() -> None:
    rows = {(row["identifier"], row["interval_from"], row["band"]): row for row in ours()}
    found = theirs()
    assert len(found) == 8
    for key, values in found.items():
        row = rows[key]
        bins, counts = values.pop("bins"), values.pop("counts")
        assert bins == [*(each["low_edge"] for each in row["histogram"]), row["histogram"][-1]["high_edge"]]
        assert counts == [each["count"] for each in row["histogram"]]
        assert {f"percentiles_{name}": value for name, value in row["percentiles"]}.items() <= values.items()
        assert {name: row[name] for name in values if not name.startswith("percentiles_")}.items() <= values.items()
        assert len(values) == 8


def test_what_it_drops_is_in_our_table() -> None:
    """Intervals without data, features of which an interval failed, and those that failed altogether."""
    kept = theirs()
    dropped = [row for row in ours() if (row["identifier"], row["interval_from"], row["band"]) not in kept]
    assert [(row["feature_id"], row["band"], row["mean"], row["error"]) for row in dropped] == [
        (2, "B0", None, None),
        (2, "B1", None, None),
        (3, "B0", 0.75, None),
        (3, "B1", 0.75, None),
        (3, None, None, "TIMEOUT"),
        (4, None, None, "FAILED"),
        (5, None, None, "EXECUTION_ERROR"),
        (6, "B0", None, None),
        (6, "B1", None, None),
    ]


def test_what_it_calls_failed_has_an_error() -> None:
    names = {each["identifier"] for each in get_failed_statistical_requests(json.loads(json.dumps(RESULTS)))}
    assert names == {row["identifier"] for row in ours() if row["error"]} == {"parcel-3", "parcel-4", "parcel-5"}
