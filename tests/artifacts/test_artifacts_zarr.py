"""Zarr groups of any content, opened within bounds."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_sentinelhub.artifacts.storage.storage import Storage
from airflow_provider_sentinelhub.artifacts.storage.zarr_group import open_group, within
from airflow_provider_sentinelhub.client.errors import (
    ArtifactCorrupt,
    ArtifactMissing,
    InvalidConfiguration,
    InvalidParameter,
)


def written(folder: Path, arrays: dict[str, dict[str, Any]], **files: str) -> str:
    """A group of format 2 with metadata alone."""
    documents: dict[str, Any] = {".zgroup": {"zarr_format": 2}, ".zattrs": {}}
    for name, changes in arrays.items():
        documents[f"{name}/.zarray"] = {
            "zarr_format": 2, "shape": [4], "chunks": [4], "dtype": "<f8", "compressor": None, "fill_value": None,
            "order": "C", "filters": None, **changes,
        }  # fmt: skip
        sides = len(documents[f"{name}/.zarray"]["shape"])
        documents[f"{name}/.zattrs"] = {"_ARRAY_DIMENSIONS": [name] if sides == 1 else ["time", "y", "x"]}
    documents[".zmetadata"] = {"zarr_consolidated_format": 1, "metadata": dict(documents)}
    texts = {name: json.dumps(each) for name, each in documents.items()} | files
    for name, text in texts.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder.as_uri()


@pytest.mark.parametrize(
    ("arrays", "why"),
    [
        ({"x": {"shape": [10**12], "chunks": [10]}}, "the coordinate x has 8,000,000,000,000 bytes"),
        ({"x": {"shape": [10], "chunks": [10**12]}}, "the coordinate x has 8,000,000,000,000 bytes"),
        (
            {"ndvi": {"shape": [1, 10**9, 10**9], "chunks": [1, 10**9, 10**9]}},
            "a chunk of ndvi has 8,000,000,000,000,000,000 bytes",
        ),
        ({"x": {"dtype": "wrong"}}, ""),
        ({"x": {"compressor": {"id": "unknown"}}}, ""),
        ({"x": {"shape": [-4]}}, ""),
        ({"x": {"shape": "many"}}, ""),
    ],
)
def test_what_cannot_be_read_within_bounds_is_refused(arrays: Any, why: str, tmp_path: Path) -> None:
    with pytest.raises(ArtifactCorrupt, match=f"not a Zarr group that can be opened: .*{why}"):
        open_group(Storage(), written(tmp_path, arrays))


@pytest.mark.parametrize("text", ["", "{", "[]", '{"metadata": 1}', '{"zarr_consolidated_format": 1, "metadata": []}'])
def test_metadata_of_any_text(text: str, tmp_path: Path) -> None:
    with pytest.raises(ArtifactCorrupt, match="not a Zarr group that can be opened"):
        open_group(Storage(), written(tmp_path, {}, **{".zmetadata": text, ".zgroup": text}))


def test_large_metadata_is_not_read(tmp_path: Path) -> None:
    url = written(tmp_path, {})
    with (tmp_path / ".zmetadata").open("wb") as file:
        file.truncate(65 * 1024**2)
    with pytest.raises(ArtifactCorrupt, match="its metadata has 68,157,440 bytes"):
        open_group(Storage(), url)


def test_no_group_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ArtifactMissing, match="There is no Zarr group at"):
        open_group(Storage(), tmp_path.as_uri())


def test_a_group_without_consolidated_metadata(tmp_path: Path) -> None:
    url = written(tmp_path, {"x": {"fill_value": 1.5}})
    (tmp_path / ".zmetadata").unlink()
    group = open_group(Storage(), url)
    assert group.sizes == {"x": 4}
    with pytest.raises(InvalidParameter, match="none of the coordinates y, lat"):
        within(group, (0, 0, 1, 1))


def test_without_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "xarray", None)
    with pytest.raises(InvalidConfiguration, match=r"airflow-provider-sentinelhub\[zarr\]"):
        open_group(Storage(), tmp_path.as_uri())
