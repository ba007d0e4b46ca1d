"""Files that were delivered to the same place by two tasks: the report says so."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from airflow_provider_sentinelhub.artifacts.report.overwritten import Written
from airflow_provider_sentinelhub.artifacts.report.reader import read_merged_report
from airflow_provider_sentinelhub.artifacts.report.reruns import TaskFiles
from airflow_provider_sentinelhub.artifacts.storage.storage import ObjectMeta, Storage
from airflow_provider_sentinelhub.client.errors import StorageUnavailable
from airflow_provider_sentinelhub.client.lifecycle.tasks import BatchTask
from tests.artifacts.artifact_files import TASK, ManifestEntry, write_execution_db, write_manifest

if TYPE_CHECKING:
    from pathlib import Path

CREATED = datetime(2026, 3, 1, 12, tzinfo=UTC)
ENDED = CREATED + timedelta(hours=1)
MINUTES = timedelta(minutes=1)


class Asked(Storage):
    """Counts the files that are looked at."""

    def __init__(self) -> None:
        super().__init__()
        self.looks: list[str] = []
        self.is_down = False

    def head(self, url: str) -> ObjectMeta:
        self.looks.append(url)
        if self.is_down:
            raise StorageUnavailable("no")
        return super().head(url)


def delivered(folder: Path, moments: list[datetime | None]) -> list[TaskFiles]:
    """Write what a task leaves; its files were written at these moments, and one without a moment is not there."""
    names = [f"tile-{number:05d}" for number in range(len(moments))]
    write_execution_db(
        folder / f"execution-{TASK}.sqlite", [(number, name, "DONE", None, 1) for number, name in enumerate(names)]
    )
    urls = [(folder / f"{name}.tif").as_uri() for name in names]
    manifest = [ManifestEntry(name, path=url) for name, url in zip(names, urls, strict=True)]
    write_manifest(folder / f"featureManifest-{TASK}.gpkg", manifest)
    for name, moment in zip(names, moments, strict=True):
        if moment is not None:
            (folder / f"{name}.tif").touch()
            os.utime(folder / f"{name}.tif", (moment.timestamp(), moment.timestamp()))
    return [TaskFiles(folder.as_uri(), TASK)]


@pytest.mark.parametrize(
    ("moments", "notes"),
    [
        ([CREATED + MINUTES, ENDED], ()),
        # The clocks of service and bucket may differ.
        ([CREATED - 4 * MINUTES, ENDED + 4 * MINUTES], ()),
        (
            [ENDED, ENDED + 6 * MINUTES, ENDED + 7 * MINUTES],
            (
                (
                    "2 of 3 files looked at were replaced after this task had ended: another task delivers to the same "
                    "place. Add <requestId> to the delivery URL."
                ),
            ),
        ),
        (
            [CREATED - 6 * MINUTES, ENDED],
            (
                (
                    "1 of 2 files looked at are older than this task: an earlier one delivered to the same place. Add "
                    "<requestId> to the delivery URL."
                ),
            ),
        ),
        ([None, ENDED], ()),
    ],
    ids=["its own", "clocks", "younger", "older", "deleted"],
)
def test_files_of_others_are_noted(tmp_path: Path, moments: list[datetime | None], notes: tuple[str, ...]) -> None:
    tasks = delivered(tmp_path, moments)
    report = read_merged_report(Storage(), tasks, written=Written(CREATED, ENDED))
    assert report.notes == notes
    # They are cut where they are long.
    assert tuple(report.to_dict()["notes"]) == notes


def test_twenty_of_many_are_looked_at_from_all_parts_of_the_table(tmp_path: Path) -> None:
    storage = Asked()
    tasks = delivered(tmp_path, [None] * 30_000)
    read_merged_report(storage, tasks, written=Written(CREATED, ENDED))
    numbers = sorted(int(url[-9:-4]) for url in storage.looks)
    assert len(numbers) == 20
    assert (numbers[0], numbers[-1] > 28_000) == (0, True)


def test_a_bucket_that_does_not_tell_hides_no_report(tmp_path: Path) -> None:
    storage = Asked()
    storage.is_down = True
    report = read_merged_report(storage, delivered(tmp_path, [ENDED] * 3), written=Written(CREATED, ENDED))
    assert (report.delivered, report.notes, len(storage.looks)) == (3, (), 1)


def test_files_in_other_buckets_are_not_asked_for(tmp_path: Path) -> None:
    tasks = delivered(tmp_path, [ENDED])
    write_manifest(tmp_path / "new.gpkg", [ManifestEntry("tile-00000", path="s3://somebody-elses/x.tif")])
    (tmp_path / "new.gpkg").replace(tmp_path / f"featureManifest-{TASK}.gpkg")
    storage = Asked()
    read_merged_report(storage, tasks, written=Written(CREATED, ENDED))
    assert storage.looks == []


def task(**changes: object) -> BatchTask:
    return BatchTask.model_validate({"id": TASK, "status": "DONE", **changes})


def test_when_files_can_have_been_written() -> None:
    first, second = task(created=CREATED, lastUpdated=ENDED), task(created=ENDED, lastUpdated=ENDED + 60 * MINUTES)
    assert Written.by([first, second]) == Written(CREATED, ENDED + 60 * MINUTES)
    assert Written.by([first, task(created=ENDED)]) == Written(CREATED, None)
    skipping = task(created=CREATED, lastUpdated=ENDED, request={"output": {"skipExisting": True}})
    assert Written.by([skipping]) == Written(None, ENDED)
