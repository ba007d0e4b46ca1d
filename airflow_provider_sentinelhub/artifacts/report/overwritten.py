"""
Whether the files a task delivered are its own: a delivery URL without ``<requestId>`` may be that of another task, too.

The service does not say so. The times at which the files were written do.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from airflow_provider_sentinelhub.artifacts.report.report import FeatureOutcome
from airflow_provider_sentinelhub.artifacts.storage.layout import REQUEST_ID
from airflow_provider_sentinelhub.client.errors import ArtifactMissing, InvalidParameter, StorageUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime
    from pathlib import Path

    from airflow_provider_sentinelhub.artifacts.storage.storage import Storage
    from airflow_provider_sentinelhub.client.lifecycle.tasks import BatchTask

CLOCKS_DIFFER = timedelta(minutes=5)
"""By how much the clocks of service and bucket may differ, and how late a task may say when it ended."""
_GROUPS = 4
_LOOKS_IN_GROUP = 5


@dataclass(frozen=True, slots=True)
class Written:
    """
    When the files of a task, and of those that ran again what it lost, can have been written.

    :param since: When the first was created; ``None`` where that is not known, or files may be older.
    :param until: When the last one ended; ``None`` where that is not known.
    """

    since: datetime | None
    until: datetime | None

    @classmethod
    def by(cls, tasks: Sequence[BatchTask]) -> Written:
        """
        Return it for some tasks.

        :param tasks: The original task, then those that ran again what was lost.
        """
        ends = [task.last_updated for task in tasks]
        known = [end for end in ends if end is not None]
        since = None if tasks[0].skips_existing else tasks[0].created
        return cls(since, max(known) if len(known) == len(ends) else None)


def notes_on_files(storage: Storage, table: Path, root: str, written: Written) -> tuple[str, ...]:
    """
    Return notes on delivered files that another task has written; none where none is known.

    Twenty are looked at, one request for each: whoever delivers to the same place replaces more than single files.

    :param storage: Where the bucket is. Where it cannot be asked, there is a report all the same.
    :param table: The table of all features, on this machine.
    :param root: Root folder of the task; files in other buckets are not looked at.
    :param written: When the files can have been written.
    """
    bucket = "/".join(root.split("/")[:3])
    paths = [path for path in _some_delivered(table) if path.startswith(f"{bucket}/")]
    found = list(_moments(storage, paths))
    notes = []
    younger = sum(written.until is not None and moment > written.until + CLOCKS_DIFFER for moment in found)
    if younger:
        notes.append(
            f"{younger} of {len(found)} files looked at were replaced after this task had ended: another task delivers "
            f"to the same place. Add {REQUEST_ID} to the delivery URL."
        )
    older = sum(written.since is not None and moment < written.since - CLOCKS_DIFFER for moment in found)
    if older:
        notes.append(
            f"{older} of {len(found)} files looked at are older than this task: an earlier one delivered to the "
            f"same place. Add {REQUEST_ID} to the delivery URL."
        )
    return tuple(notes)


def _moments(storage: Storage, paths: Sequence[str]) -> Iterator[datetime]:
    for path in paths:
        try:
            yield storage.head(path).last_modified
        except (ArtifactMissing, InvalidParameter):
            continue
        except StorageUnavailable:
            return


def _some_delivered(table: Path) -> Iterator[str]:
    """Go through the first files of a few delivered features from all parts of the table."""
    import pyarrow as pa
    import pyarrow.compute as pc
    from pyarrow import parquet

    with parquet.ParquetFile(table) as rows:
        last = rows.num_row_groups - 1
        for number in sorted({last * part // (_GROUPS - 1) for part in range(_GROUPS) if last >= 0}):
            group = rows.read_row_group(number, columns=["outcome", "outputs"])
            delivered = group.filter(pc.equal(group["outcome"], FeatureOutcome.DELIVERED.value))
            step = max(1, delivered.num_rows // _LOOKS_IN_GROUP)
            some = delivered.take(pa.array(range(0, delivered.num_rows, step)[:_LOOKS_IN_GROUP], pa.int64()))
            yield from (outputs[0]["path"] for outputs in some["outputs"].to_pylist() if outputs and outputs[0]["path"])
