"""
Compares the table of statistics with the data frame of the public client for the same files, cell by cell.

``statistical_to_dataframe`` has a row for each interval and a column for each output, band and statistic. It leaves out
what is not all well; :class:`Dropped` names what that is.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

NAN = "NaN"
_ABOUT = frozenset({"interval_from", "interval_to", "identifier"})
_NAMES = {
    "min": "min",
    "max": "max",
    "mean": "mean",
    "stDev": "st_dev",
    "sampleCount": "sample_count",
    "noDataCount": "no_data_count",
}


class Dropped(StrEnum):
    """Why the public client omits a row."""

    NO_DATA = "nothing was sampled"
    BEHIND = "a band before it in the same output has no data"
    PARTIAL = "another interval of the feature failed"
    INTERVAL = "the interval failed"
    FEATURE = "the whole feature failed"


@dataclass(slots=True)
class Difference:
    """
    The differences of the two.

    :param rows: Rows of the table whose cells were all found in the frame, and equal.
    :param features: Identifiers of their features.
    :param cells: How many cells these rows have.
    :param nan_as_text: How many of them are NaN in the table and the text ``"NaN"`` in the frame.
    :param dropped: Rows the frame does not have.
    :param unequal: Descriptions of cells that differ.
    :param only_theirs: Descriptions of cells that only the frame has.
    """

    rows: int = 0
    features: set[str] = field(default_factory=set)
    cells: int = 0
    nan_as_text: int = 0
    dropped: dict[Dropped, list[dict[str, Any]]] = field(default_factory=lambda: defaultdict(list))
    unequal: list[str] = field(default_factory=list)
    only_theirs: list[str] = field(default_factory=list)


def compare(frame: Any, rows: Iterable[dict[str, Any]], statuses: Mapping[str, str | None]) -> Difference:
    """
    Compare a table with a frame. Features are matched by identifier: the frame has no ids.

    :param frame: What ``statistical_to_dataframe`` returned.
    :param rows: The rows of the table.
    :param statuses: ``response.status`` by identifier; ``None`` where a file has an error instead of a response.
    """
    theirs = _cells(frame)
    found = Difference()
    for row in rows:
        about = (row["identifier"], row["interval_from"], row["interval_to"])
        ours = {} if row["mean"] is None else _columns(row)
        cells = theirs.get(about, {})
        if not ours or not ours.keys() & cells.keys():
            found.dropped[_reason(row, statuses[row["identifier"]])].append(row)
            continue
        unequal = [name for name in ours if not _same(ours[name], cells.get(name))]
        found.unequal += [f"{about} {name}: ours {ours[name]!r}, theirs {cells.get(name)!r}" for name in unequal]
        found.rows += not unequal
        found.features.add(row["identifier"])
        found.cells += len(ours) - len(unequal)
        found.nan_as_text += sum(cells.pop(name, None) == NAN for name in ours)
    found.only_theirs = [
        f"{about} {name}: {value!r}" for about, cells in theirs.items() for name, value in cells.items()
    ]
    return found


def _cells(frame: Any) -> dict[tuple[Any, ...], dict[str, Any]]:
    """Return the cells of a frame by feature and interval, without missing ones."""
    found = {}
    for record in frame.to_dict("records"):
        # A cell is NaN where an interval has no such column; NaN in a file stays a text.
        cells = {name: value for name, value in record.items() if name not in _ABOUT and value == value}  # noqa: PLR0124
        interval = (record["interval_from"].to_pydatetime(), record["interval_to"].to_pydatetime())
        found[(record["identifier"], *interval)] = cells
    return found


def _columns(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row with the column names of the frame, which has none for counts outside a histogram's bins."""
    values = {name: row[ours] for name, ours in _NAMES.items()}
    values |= {f"percentiles_{name}": value for name, value in row["percentiles"] or ()}
    if bins := row["histogram"]:
        values["bins"] = [*(each["low_edge"] for each in bins), bins[-1]["high_edge"]]
        values["counts"] = [each["count"] for each in bins]
    return {f"{row['output']}_{row['band']}_{name}": value for name, value in values.items()}


def _same(ours: Any, theirs: Any) -> bool:
    return bool(ours == theirs or (theirs == NAN and ours != ours))  # noqa: PLR0124


def _reason(row: dict[str, Any], status: str | None) -> Dropped:
    if row["error"] is not None:
        return Dropped.FEATURE if row["interval_from"] is None else Dropped.INTERVAL
    if status != "OK":
        return Dropped.PARTIAL
    return Dropped.NO_DATA if row["mean"] is None else Dropped.BEHIND
