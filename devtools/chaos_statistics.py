"""Whether a published table of statistics holds what the service has written, each answer once."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from pathlib import Path

# Feature, start of the interval, output and band.
Key = tuple[str, str, str, str]


def statistics_faults(bucket: Path, result: Mapping[str, Any], features: Collection[str]) -> list[str]:
    """
    Compare a table with the service's own files, and say what is wrong with it.

    :param bucket: Folder that holds the bucket's files.
    :param result: What the run returned.
    :param features: Names of all features.
    """
    from pyarrow import parquet

    path = bucket / result["statistics_url"].split("/", 3)[3]
    rows = parquet.read_table(path).to_pylist()
    wanted: dict[Key, float | None] = {}
    for folder in (path.parent, *(found for each in result["task_ids"][1:] for found in bucket.rglob(each))):
        for file in folder.glob("*.json"):
            wanted |= dict(_answers(file))
    found = Counter(_key(row) for row in rows)
    faults = []
    if any(row["error"] for row in rows):
        faults.append("the table has rows with errors, and all features were mended")
    if twice := sum(count > 1 for count in found.values()):
        faults.append(f"{twice} statistics are in the table more than once")
    if missing := len(wanted.keys() - found.keys()):
        faults.append(f"{missing} of {len(wanted)} statistics are not in the table")
    if invented := len(found.keys() - wanted.keys()):
        faults.append(f"{invented} statistics in the table were never written by the service")
    if other := sum(row["mean"] != wanted.get(_key(row)) for row in rows):
        faults.append(f"{other} means are not what the service wrote")
    intervals = Counter(feature for feature, *_ in found)
    if set(intervals) != set(features) or len(set(intervals.values())) != 1:
        faults.append(f"not all intervals of all of {sorted(features)} are in the table: {dict(intervals)}")
    return faults


def _answers(file: Path) -> Iterator[tuple[Key, float | None]]:
    content = json.loads(file.read_text(encoding="utf-8"))
    for interval in content.get("response", {}).get("data") or []:
        for output, answer in interval.get("outputs", {}).items():
            for band, about in answer["bands"].items():
                mean = about["stats"]["mean"]
                key = content["identifier"], interval["interval"]["from"], output, band
                yield key, None if mean == "NaN" else mean


def _key(row: Mapping[str, Any]) -> Key:
    start = row["interval_from"]
    return row["identifier"], f"{start:%Y-%m-%dT%H:%M:%SZ}" if start else "", row["output"] or "", row["band"] or ""
