"""What happens while a task is PROCESSING: files for each feature, and the execution database."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

from rasterio.errors import RasterioError

from airflow_provider_sentinelhub.simulator import evalscript, rasters
from airflow_provider_sentinelhub.simulator.analysis import responses, template
from airflow_provider_sentinelhub.simulator.cost import feature_pu
from airflow_provider_sentinelhub.simulator.delivery import BucketFailed
from airflow_provider_sentinelhub.simulator.store import FeatureRow

if TYPE_CHECKING:
    from airflow_provider_sentinelhub.simulator.delivery import Bucket
    from airflow_provider_sentinelhub.simulator.features import Feature
    from airflow_provider_sentinelhub.simulator.kind import Work
    from airflow_provider_sentinelhub.simulator.machine import Task

NO_DATA = "No data"


def process(work: Work) -> tuple[FeatureRow, float]:
    """
    Deal with one feature.

    :param work: The feature and all about it.
    :returns: What became of it, and what it costs in processing units.
    """
    task, feature = work.task, work.feature
    rule = work.script.feature_rule(work.subject)
    outcome = rule.outcome if rule is not None else "delivered"
    error = rule.error if rule is not None and outcome in {"fatal", "failed"} else None
    if outcome == "delivered":
        try:
            deliver(task, feature, work.bucket)
        except (BucketFailed, RasterioError) as failure:
            outcome, error = "fatal", f"Writing failed: {failure}"
    row = FeatureRow(
        number=work.number,
        name=feature.name,
        status={"fatal": "FATAL", "failed": "FATAL", "pending": "PENDING"}.get(outcome, "DONE"),
        error=NO_DATA if outcome == "no_data" else error,
        delivered=outcome in {"delivered", "missing_file"},
        handled=True,
    )
    # Only what was processed is paid for.
    charged = outcome in {"delivered", "missing_file", "undelivered"}
    return row, _price(task, feature) if charged else 0.0


def _price(task: Task, feature: Feature) -> float:
    process_request = task.request["processRequest"]
    setup = evalscript.parse(process_request["evalscript"])
    return feature_pu(feature.width, feature.height, setup, process_request)


def deliver(task: Task, feature: Feature, bucket: Bucket) -> None:
    """
    Write the files of one feature.

    :param task: Its task.
    :param feature: The feature.
    :param bucket: Where they go.
    """
    setup = evalscript.parse(task.request["processRequest"]["evalscript"])
    output = task.request["output"]
    cog = output.get("cogParameters", {}) if output["cogOutput"] else None
    for identifier, kind in responses(task):
        key = template(task).output(feature.name, identifier, kind)
        if kind == "application/json":
            bucket.put(key, rasters.userdata(feature))
        else:
            bucket.put(key, rasters.geotiff(feature, setup.outputs[identifier], cog))


def execution_database(rows: list[FeatureRow], *, documented: bool = True) -> bytes:
    """
    Write an execution database.

    :param rows: All features of the task.
    :param documented: Whether it has the documented columns; others, if not.
    """
    columns = (
        ("id", "name", "status", "error", "delivered") if documented else ("fid", "feature", "state", "message", "ok")
    )
    types = ("INTEGER", "TEXT", "TEXT", "TEXT", "BOOLEAN")
    declared = ", ".join(f"{name} {kind}" for name, kind in zip(columns, types, strict=True))
    with closing(sqlite3.connect(":memory:")) as database:
        database.execute(f"CREATE TABLE features ({declared})")
        database.executemany(
            "INSERT INTO features VALUES (?, ?, ?, ?, ?)",
            [(row.number, row.name, row.status, row.error, int(row.delivered)) for row in rows],
        )
        database.commit()
        return bytes(database.serialize())
