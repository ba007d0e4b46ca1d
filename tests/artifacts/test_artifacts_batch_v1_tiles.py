"""Odd lists of tiles: none may hide a tile, count one twice, or end in anything but a message."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from airflow_provider_sentinelhub.artifacts.results import batch_v1
from airflow_provider_sentinelhub.artifacts.storage.storage import Storage
from airflow_provider_sentinelhub.client.apis.batch_v1.answers import BatchV1Task
from airflow_provider_sentinelhub.client.apis.batch_v1.spec import BATCH_V1
from tests.client.v1_requests import v1_request

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_provider_sentinelhub.artifacts.report.report import FeatureReport

Page = list[dict[str, Any]]


def tile(number: int, **fields: Any) -> dict[str, Any]:
    return {"id": number, "name": f"tile-{number}", "status": "PROCESSED", "cost": 1.0, **fields}


@pytest.fixture
def report_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Reports on a task with these pages of tiles; each further reading of the list finds the next of ``readings``."""
    monkeypatch.setattr(batch_v1, "PATIENCE_S", 0.6)

    def run(*readings: list[Page], status: str = "DONE", **fields: Any) -> FeatureReport:
        waiting = list(readings)

        def ask(procedure: Any) -> Any:
            pages = waiting.pop(0) if len(waiting) > 1 else waiting[0]
            asked = next(procedure)
            try:
                for number, page in enumerate(pages, 1):
                    links = {"nextToken": str(number)} if number < len(pages) else {}
                    asked = procedure.send(asked.parse({"data": page, "links": links}))
            except StopIteration as end:
                return end.value
            raise AssertionError("the list was read beyond its end")

        request = v1_request(output={"defaultTilePath": f"file://{tmp_path}/<requestId>/<tileName>.tif"})
        task = BatchV1Task.model_validate({"id": "t-1", "status": status, **request, **fields})
        return batch_v1.BatchV1Results(BATCH_V1, Storage(), ask).report([task])

    return run


def test_a_tile_that_is_listed_twice_counts_once(report_on: Any) -> None:
    report = report_on([[tile(1), tile(2)], [tile(2), tile(3)]], tileCount=3)
    assert (report.total, report.cost_pu, report.complete) == (3, 3.0, True)


def test_a_tile_that_is_not_listed_is_missing(report_on: Any) -> None:
    report = report_on([[tile(1), tile(2)]], tileCount=3)
    assert (report.total, report.delivered, report.pending, report.complete) == (3, 2, 1, False)
    assert report.notes == ("The analysis found 3 tiles, and the service lists 2.",)


@pytest.mark.parametrize("late", [[], [tile(2, status="FAILED")], [tile(2, status="QUEUED")]])
def test_tiles_that_lag_behind_are_waited_for(report_on: Any, late: Page) -> None:
    report = report_on([[tile(1), *late]], [[tile(1), tile(2)]], tileCount=2)
    assert (report.total, report.delivered, report.complete) == (2, 2, True)


def test_tiles_that_may_be_skipped_are_not_missing(report_on: Any) -> None:
    assert report_on([[tile(1)]], tileCount=2, output={"skipExisting": True, "defaultTilePath": "file:///tmp/none"})


def test_an_outline_that_is_nested_too_deep_is_left_out(report_on: Any) -> None:
    ring: Any = 1
    for _ in range(900):
        ring = [ring]
    assert report_on([[tile(1, geometry={"type": "Polygon", "coordinates": ring})]]).complete


def test_an_id_that_no_file_can_hold_is_refused(report_on: Any) -> None:
    with pytest.raises(ValidationError, match="less than"):
        report_on([[tile(2**63)]])


def test_an_output_with_a_path_of_its_own_is_found_there(report_on: Any, tmp_path: Path) -> None:
    responses = [{"identifier": name, "format": {"type": "image/tiff"}} for name in ("red", "nir")]
    output = {
        "defaultTilePath": f"file://{tmp_path}/<tileName>/<outputId>.tif",
        "responses": [{"identifier": "nir", "tilePath": f"file://{tmp_path}/own/<tileId>.tif"}],
    }
    process = {**v1_request()["processRequest"], "output": {"responses": responses}}
    report = report_on([[tile(7)]], processRequest=process, output=output)
    (row,) = pq.read_table(report.report_url.removeprefix("file://")).to_pylist()
    assert {each["path"].removeprefix(f"file://{tmp_path}") for each in row["outputs"]} == {
        "/tile-7/red.tif",
        "/own/7.tif",
    }
