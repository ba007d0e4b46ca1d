"""Items of the catalog on disk, and the table made of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest
from pyarrow import parquet

from airflow_provider_sentinelhub.artifacts.catalog.items import Spool
from airflow_provider_sentinelhub.artifacts.catalog.table import write_geoparquet
from airflow_provider_sentinelhub.client.errors import UnexpectedAnswer

if TYPE_CHECKING:
    from pathlib import Path


def spooled(path: Path, *items: bytes) -> Path:
    with Spool(path / "items.ndjson") as spool:
        spool.add([msgspec.Raw(each) for each in items])
    return path / "items.ndjson"


def test_an_item_is_one_line_however_the_service_wrote_it(tmp_path: Path) -> None:
    source = spooled(tmp_path, b'{"id":\r\n "a\\n"}', b'{"id": "b"}')
    assert source.read_bytes() == b'{"id":   "a\\n"}\n{"id": "b"}\n'
    assert write_geoparquet(source, tmp_path / "items.parquet") == 2
    assert parquet.read_table(tmp_path / "items.parquet")["id"].to_pylist() == ["a\n", "b"]


@pytest.mark.parametrize("item", [b"[]", b'{"properties": 1}', b'{"properties": {"n": 1e999}}', b'{"n": 1e999}'])
def test_what_is_no_item_is_an_error(tmp_path: Path, item: bytes) -> None:
    with pytest.raises(UnexpectedAnswer, match="no item"):
        write_geoparquet(spooled(tmp_path, b'{"id": "a"}', item), tmp_path / "items.parquet")
