"""The execution database of an ended task: uploaded now and then, so right after the end an old one may lie there."""

from __future__ import annotations

import logging
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_provider_sentinelhub.artifacts.storage import Storage

log = logging.getLogger(__name__)

PATIENCE_S = 120.0


def await_final_database(storage: Storage, root: str, task_id: str) -> None:
    """
    Wait, for two minutes at most, until the execution database of a task that is DONE calls no feature PENDING.

    Whatever is wrong with it afterwards is said by the one who reads it next.

    :param storage: Where the bucket is.
    :param root: Root folder of the task.
    :param task_id: Its id.
    """
    from airflow_provider_sentinelhub.artifacts.layout import execution_db_url
    from airflow_provider_sentinelhub.artifacts.reader import ProgressReader

    reader = ProgressReader(storage, execution_db_url(root, task_id), max_bytes=sys.maxsize)
    give_up_at, pause = time.monotonic() + PATIENCE_S, 0.5
    while True:
        counts = reader.read()
        if counts is not None and not counts.pending:
            return
        if time.monotonic() + pause > give_up_at:
            return
        log.info(
            "The execution database is not final yet: %s",
            "it cannot be read" if counts is None else f"{counts.pending} features are pending",
        )
        time.sleep(pause)
        pause = min(pause * 2, 20.0)
