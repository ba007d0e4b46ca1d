"""Files of features that an old execution database calls PENDING, by the paths of the manifest."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

from airflow_provider_sentinelhub.artifacts.report.staleness import is_stale
from airflow_provider_sentinelhub.artifacts.storage.storage import Storage
from tests.artifacts.artifact_files import ManifestEntry, write_execution_db, write_manifest

if TYPE_CHECKING:
    from pathlib import Path

NO_URLS = ["folder/t1/default.tif", "", "s3://bucket/../x.tif", "s3://bucket//x.tif", "https://host/x.tif", "a\nb"]


def stale(folder: Path, paths: list[str]) -> bool:
    names = [f"t{number}" for number, _ in enumerate(paths)]
    execution_db = write_execution_db(
        folder / "execution.sqlite", [(number, name, "PENDING", None, 0) for number, name in enumerate(names)]
    )
    entries = [ManifestEntry(name, path=path) for name, path in zip(names, paths, strict=True)]
    return is_stale(Storage(), execution_db, write_manifest(folder / "manifest.gpkg", entries), None)


@pytest.mark.parametrize("path", NO_URLS)
def test_a_path_that_is_no_url_is_passed_over_and_named(
    tmp_path: Path, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        assert not stale(tmp_path, [path])
    assert "could not be looked up for 1 path of manifest.gpkg" in caplog.text


def test_other_paths_are_looked_up_all_the_same(tmp_path: Path) -> None:
    there = tmp_path / "there.tif"
    there.write_bytes(b"1")
    assert stale(tmp_path, [*NO_URLS, there.as_uri()])
