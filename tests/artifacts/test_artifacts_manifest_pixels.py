from __future__ import annotations

import sqlite3
import tracemalloc
from collections import Counter
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_sentinelhub.artifacts.report.manifest import pixel_counts
from airflow_provider_sentinelhub.client.errors import ArtifactCorrupt
from tests.artifacts.artifact_files import ManifestEntry, write_manifest

if TYPE_CHECKING:
    from pathlib import Path


def test_a_feature_counts_once_however_many_outputs_it_has(tmp_path: Path) -> None:
    entries = [
        ManifestEntry(name, output, width=width, height=20, crs=crs)
        for name, width, crs in (("a", 10, 32633), ("b", 10, 32633), ("c", 10, 32634), ("d", 99, 32634))
        for output in ("default", "mask", "userdata")
    ]
    path = write_manifest(tmp_path / "manifest.gpkg", entries)
    assert list(pixel_counts(path)) == [(10, 20, 3), (99, 20, 1)]


NAMES = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=3)


@given(st.dictionaries(NAMES, st.tuples(st.integers(1, 3), st.integers(1, 3), st.sampled_from([4326, 32633]))))
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_groups_are_those_of_python(tmp_path: Path, features: dict[str, tuple[int, int, int]]) -> None:
    path = tmp_path / "manifest.gpkg"
    path.unlink(missing_ok=True)
    entries = [
        ManifestEntry(name, output, width=width, height=height, crs=crs)
        for output in "xy"
        for name, (width, height, crs) in features.items()
    ]
    # A manifest without any table would not be one.
    write_manifest(path, [*entries, ManifestEntry("more than three", width=7, height=7)])
    expected = Counter((width, height) for width, height, _ in features.values()) + Counter([(7, 7)])
    assert {(width, height): count for width, height, count in pixel_counts(path)} == expected


@pytest.mark.parametrize("size", [None, 0, -3, "wide", b"\xff"])
def test_a_feature_without_a_size_cannot_be_priced(tmp_path: Path, size: Any) -> None:
    path = write_manifest(tmp_path / "manifest.gpkg", [ManifestEntry("a"), ManifestEntry("b")])
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("UPDATE feature_32633 SET width = ? WHERE identifier = 'b'", (size,))
    with pytest.raises(ArtifactCorrupt, match="1 of its features have the size"):
        list(pixel_counts(path))


def test_a_manifest_without_sizes_cannot_be_priced(tmp_path: Path) -> None:
    path = write_manifest(tmp_path / "manifest.gpkg", [ManifestEntry("a"), ManifestEntry("b")])
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("ALTER TABLE feature_32633 DROP COLUMN width")
    with pytest.raises(ArtifactCorrupt, match="2 of its features have the size None x 20"):
        list(pixel_counts(path))


def test_rows_that_disagree_count_as_the_larger(tmp_path: Path) -> None:
    entries = [ManifestEntry("a", "x", width=5), ManifestEntry("a", "y", width=50), ManifestEntry("a", "z", width=7)]
    assert list(pixel_counts(write_manifest(tmp_path / "manifest.gpkg", entries))) == [(50, 20, 1)]


def test_a_damaged_manifest_is_named(tmp_path: Path) -> None:
    path = write_manifest(tmp_path / "manifest.gpkg", [ManifestEntry("a")])
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ArtifactCorrupt, match=r"manifest\.gpkg"):
        list(pixel_counts(path))


def test_memory_does_not_grow_with_the_number_of_sizes(tmp_path: Path) -> None:
    entries = (ManifestEntry(f"{n}", o, width=1 + n // 150, height=1 + n % 150) for n in range(20_000) for o in "xy")
    path = write_manifest(tmp_path / "manifest.gpkg", entries)
    tracemalloc.start()
    try:
        assert sum(count for _, _, count in pixel_counts(path)) == 20_000
        assert tracemalloc.get_traced_memory()[1] < 200_000
    finally:
        tracemalloc.stop()
