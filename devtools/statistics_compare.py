"""
What the public client, sentinelhub, makes of statistics, and what this package does: the comparison in the docs.

Usage: ``python -m devtools.statistics_compare``. Prints the listing of ``docs/statistics_compared.md``.

One task on the simulated service, created, started, awaited and downloaded by the public client. Its files have every
shape there is; two of them are changed by hand, because the simulated evalscript never returns NaN, and masks all bands
alike. Then a task that the service stops midway, and what the public client's monitor does about that.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from airflow_provider_sentinelhub.simulator.process import Simulator
from airflow_provider_sentinelhub.simulator.sample import sample_parcels, sample_statistics, upload
from devtools.public_client import Json, PublicClient, StillWaitingError, Task, environment, frame_of
from devtools.statistics_difference import NAN, Difference, compare

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa

    from airflow_provider_sentinelhub.simulator.ready import Ready

EVALSCRIPT = """//VERSION=3
function setup() {
  return {
    input: ["B04", "B08", "B11", "dataMask"],
    output: [
      { id: "index", bands: ["ndvi", "ndmi"], sampleType: "FLOAT32" },
      { id: "bands", bands: ["B04", "B08"], sampleType: "UINT16" },
      { id: "dataMask", bands: 1 },
    ],
  };
}
function evaluatePixel(s) {
  return {
    index: [index(s.B08, s.B04), index(s.B08, s.B11)],
    bands: [10000 * s.B04, 10000 * s.B08],
    dataMask: [s.dataMask],
  };
}
"""
CALCULATIONS: Json = {
    "index": {
        "statistics": {"default": {"percentiles": {"k": [5, 50, 95]}}},
        "histograms": {"default": {"nBins": 5, "lowEdge": 0, "highEdge": 0.8}},
    },
    "bands": {"histograms": {"B08": {"binWidth": 500}}},
}
WEEKS = {"from": "2024-04-01T00:00:00Z", "to": "2024-06-24T00:00:00Z"}
PARCELS = [f"parcel-{number}" for number in range(1, 25)]
# By their numbers. The others are OK, with a few weeks that clouds leave without data.
FAILED, FATAL, EMPTY, FILELESS, ONE_LOST, TWO_LOST, ALL_LOST, ABSENT, NOT_A_NUMBER, ONE_BAND_EMPTY = range(3, 13)
SCRIPT: Json = {
    "features": [
        {"ids": [FAILED], "outcome": "failed"},
        {"ids": [FATAL], "outcome": "fatal"},
        {"ids": [EMPTY], "outcome": "no_data"},
        {"ids": [FILELESS], "outcome": "undelivered"},
    ],
    "intervals": [
        {"ids": [ONE_LOST], "intervals": [1]},
        {"ids": [TWO_LOST], "intervals": [0, 2], "outcome": "TIMEOUT"},
        {"ids": [ALL_LOST]},
        {"ids": [ABSENT], "intervals": [2], "outcome": "absent"},
    ],
}
STOPPED_MIDWAY: Json = {"tasks": [{"stop": {"reason": "UNHEALTHY", "after_fraction": 0.5}}]}
_WIDE = 50


def request(ready: Ready, names: str = "") -> Json:
    """
    Upload the parcels, and return the request for their statistics.

    :param ready: The simulator.
    :param names: Template of the names of its files, e.g. ``/<REQUEST_ID>/<ID>.json``. Default: the usual ones.
    """
    folder = f"compared-{time.time_ns()}"
    upload(ready, f"{folder}/parcels.gpkg", sample_parcels(PARCELS))
    body = sample_statistics(
        ready, folder, aggregation__evalscript=EVALSCRIPT, aggregation__timeRange=WEEKS, calculations=CALCULATIONS
    )
    body["output"]["s3"]["url"] += names
    return body


def table_of(ready: Ready, task: Task) -> pa.Table:
    """
    Read the same files with this package, and return the table it writes.

    :param ready: The simulator.
    :param task: The task.
    """
    from airflow_provider_sentinelhub.artifacts.statistics.layout import statistics_root
    from airflow_provider_sentinelhub.artifacts.statistics.read import (
        StatisticsTarget,
        StatisticsTask,
        read_statistics,
    )
    from airflow_provider_sentinelhub.artifacts.statistics.tables import load_table
    from airflow_provider_sentinelhub.artifacts.storage.object_stores import StorageKeys, StorageOptions
    from airflow_provider_sentinelhub.artifacts.storage.storage import Storage

    keys = StorageKeys(ready.access_key_id, ready.secret_access_key)
    storage = Storage(StorageOptions(keys, region=ready.region, endpoint_url=ready.s3_endpoint))
    target = StatisticsTarget(statistics_root(task.url, task.id), task.id)
    with tempfile.TemporaryDirectory() as name:
        tasks = [StatisticsTask(task.url, task.id)]
        found = read_statistics(storage, tasks, target, features=None, workdir=Path(name))
    return load_table(storage, found.table_url)


def change_by_hand(ready: Ready, task: Task, files: Sequence[Json]) -> None:
    """
    Add to files what the service may write and the simulator does not: NaN, and one band without data.

    :param ready: The simulator.
    :param task: The task.
    :param files: Of :data:`NOT_A_NUMBER` and :data:`ONE_BAND_EMPTY`.
    """
    for one in files:
        found = (entry["outputs"]["index"]["bands"]["ndvi"]["stats"] for entry in one["response"]["data"])
        stats = next(each for each in found if each["mean"] != NAN)
        stats |= dict.fromkeys(("min", "max", "mean", "stDev"), NAN)
        stats["percentiles"] = dict.fromkeys(stats["percentiles"], NAN)
        if one["id"] == ONE_BAND_EMPTY:
            stats["noDataCount"] = stats["sampleCount"]
        upload(ready, f"{task.url.split('/', 3)[3]}/{task.id}/{one['id']}.json", json.dumps(one).encode())


def statuses_of(files: Sequence[Json]) -> dict[str, str | None]:
    """
    Return the status of each response by identifier; ``None`` for a file with an error instead.

    :param files: What was downloaded.
    """
    return {each["identifier"]: (each.get("response") or {}).get("status") for each in files}


def ran(sim: Simulator) -> tuple[Task, list[Json]]:
    """
    Run the task with the public client.

    :param sim: The simulator, with :data:`SCRIPT` in force.
    :returns: The task, and its files.
    """
    client = PublicClient(sim)
    task = client.start(request(sim.ready))
    client.monitor(task)
    client.finish(task)
    change_by_hand(sim.ready, task, client.download(task, [NOT_A_NUMBER, ONE_BAND_EMPTY]))
    return task, client.download(task)


def _print(found: Difference, files: Sequence[Json]) -> None:
    rows = found.rows + sum(map(len, found.dropped.values()))
    answered = {each["identifier"] for each in files}
    print(f"{len(PARCELS)} features, {len(files)} files, {rows} rows in ours")
    print(f"features with a row: {len(answered)} in ours, {len(found.features)} in theirs")
    print(f"rows in both: {found.rows}, with {found.cells} values; unequal: {len(found.unequal)}")
    print(f"values that are NaN in ours and the text 'NaN' in theirs: {found.nan_as_text}")
    print(f"values in theirs alone: {len(found.only_theirs)}")
    print(f"{'rows in ours alone, because ...':{_WIDE}} rows features  e.g.")
    for why, dropped in found.dropped.items():
        features = len({row["feature_id"] for row in dropped})
        print(f"  {why:{_WIDE - 2}} {len(dropped):4} {features:8}  {_shown(dropped[0])}")
    for text in (*found.unequal, *found.only_theirs):
        print(text)


def _shown(row: Json) -> str:
    week = "" if row["interval_from"] is None else f", {row['interval_from']:%Y-%m-%d}"
    return f"feature {row['feature_id']}{week}" + (f", {row['error']}" if row["error"] else "")


def main() -> int:
    """Print the comparison; 1 where a value differs."""
    os.environ["TQDM_DISABLE"] = "1"
    warnings.simplefilter("ignore")
    with Simulator.start(speed=600, script=SCRIPT, quick=True) as sim:
        os.environ.update(environment(sim.ready))
        task, files = ran(sim)
        found = compare(frame_of(files), table_of(sim.ready, task).to_pylist(), statuses_of(files))
        _print(found, files)
        sim.set_script(STOPPED_MIDWAY)
        client = PublicClient(sim)
        task = client.start(request(sim.ready))
        try:
            print(f"a task stopped midway: their monitor ends with {client.monitor(task)}")
        except StillWaitingError as error:
            status = client.client.get_status(task.handle)
            print(f"a task stopped midway ({status['completionPercentage']:g} %): their monitor {error}")
    return 1 if found.unequal or found.only_theirs else 0


if __name__ == "__main__":
    sys.exit(main())
