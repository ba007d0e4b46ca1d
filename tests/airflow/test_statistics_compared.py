"""The public client reads the same task: what both keep is equal, and what it drops and never ends is known."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from airflow_provider_sentinelhub.hooks.batch import SentinelHubBatchHook
from airflow_provider_sentinelhub.operators.batch_statistical import (
    SentinelHubBatchStatisticalOperator,
    SentinelHubBatchStatisticalReportOperator,
)
from airflow_provider_sentinelhub.sensors.batch_statistical import SentinelHubBatchStatisticalSensor
from airflow_provider_sentinelhub.simulator.process import Simulator
from devtools.public_client import PATIENCE, PublicClient, StillWaitingError, Task, environment, frame_of
from devtools.statistics_compare import (
    ABSENT,
    ALL_LOST,
    EMPTY,
    FAILED,
    FATAL,
    FILELESS,
    NOT_A_NUMBER,
    ONE_BAND_EMPTY,
    ONE_LOST,
    PARCELS,
    SCRIPT,
    STOPPED_MIDWAY,
    TWO_LOST,
    ran,
    request,
    statuses_of,
)
from devtools.statistics_difference import Dropped, compare
from tests.airflow.airflow_harness import Comms, RunTask
from tests.airflow.statistical_harness import parcels, statistical_request

if TYPE_CHECKING:
    from collections.abc import Iterator

WEEKS, BANDS = 12, 4


Json = dict[str, Any]


@pytest.fixture(scope="module")
def public(session_simulator: Simulator) -> Iterator[PublicClient]:
    with pytest.MonkeyPatch.context() as patched:
        for name, value in environment(session_simulator.ready).items():
            patched.setenv(name, value)
        yield PublicClient(session_simulator)


@pytest.fixture(scope="module")
def done(public: PublicClient) -> tuple[Task, list[Json]]:
    """A task of theirs with files of every shape, and what they read of it."""
    public.sim.set_script(SCRIPT)
    return ran(public.sim)


@pytest.fixture
def report(sim: Simulator, run_task: RunTask, comms: Comms) -> Any:
    """Reports on a task; returns the result and the table it published."""

    def made(task: Task) -> tuple[dict[str, Any], pa.Table]:
        run = run_task(SentinelHubBatchStatisticalReportOperator(task_id="t", batch_task_id=task.id, on_partial="warn"))
        assert run.state == "success", run.error
        result = comms.xcoms["return_value"]
        return result, SentinelHubBatchHook("batch-statistical").statistics(result["statistics_url"])

    return made


def test_what_both_keep_is_equal_and_what_theirs_drops_is_in_ours(done: tuple[Task, list[Json]], report: Any) -> None:
    task, files = done
    result, table = report(task)
    found = compare(frame_of(files), table.to_pylist(), statuses_of(files))
    assert (found.unequal, found.only_theirs) == ([], [])
    assert not [column for column in frame_of(files).columns if "flow" in column or column == "id"]

    # Everything the files hold is a row of ours, and every row is either in both or was dropped for a reason we know.
    rows = {why: [row["feature_id"] for row in dropped] for why, dropped in found.dropped.items()}
    assert set(rows[Dropped.FEATURE]) == {FAILED, FATAL}
    assert rows[Dropped.INTERVAL] == [ONE_LOST] + 2 * [TWO_LOST] + WEEKS * [ALL_LOST]
    assert rows[Dropped.PARTIAL] == (WEEKS - 1) * BANDS * [ONE_LOST] + (WEEKS - 2) * BANDS * [TWO_LOST]
    assert rows[Dropped.BEHIND] == [ONE_BAND_EMPTY]
    assert rows[Dropped.NO_DATA].count(EMPTY) == WEEKS * BANDS
    entries = [entry for each in files for entry in (each.get("response") or {}).get("data") or [] if "error" in entry]
    bands = [
        band["stats"]
        for each in files
        if (each.get("response") or {}).get("status") == "OK"
        for entry in each["response"]["data"]
        for output in entry["outputs"].values()
        for band in output["bands"].values()
    ]
    empty = [stats for stats in bands if stats["sampleCount"] == stats["noDataCount"]]
    assert len(rows[Dropped.INTERVAL]) == len(entries)
    assert len(rows[Dropped.NO_DATA]) == len(empty)
    assert found.rows == len(bands) - len(empty) - 1

    # Only that which had data counts as NaN: four statistics and three percentiles of one band.
    assert found.nan_as_text == 7
    lost = {FAILED, FATAL, EMPTY, FILELESS, ONE_LOST, TWO_LOST, ALL_LOST}
    assert found.features == set(PARCELS) - {PARCELS[number - 1] for number in lost}
    assert PARCELS[ABSENT - 1] in found.features
    # Without a file there is no row in ours either, but the report has it.
    assert (result["total"], result["pending"]) == (len(PARCELS), 1)
    assert len(files) == len(PARCELS) - 1


def test_nan_is_a_number_in_ours_and_makes_a_column_of_theirs_text(done: tuple[Task, list[Json]], report: Any) -> None:
    task, files = done
    mean = frame_of(files)["index_ndvi_mean"]
    assert list(mean[mean == "NaN"]) == ["NaN"]
    with pytest.raises(TypeError):
        mean.mean()
    _, table = report(task)
    [row] = [each for each in table.to_pylist() if each["mean"] is not None and math.isnan(each["mean"])]
    assert (row["feature_id"], row["output"], row["band"]) == (NOT_A_NUMBER, "index", "ndvi")
    assert table["mean"].type == pa.float64()


def test_the_comparison_sees_what_differs(done: tuple[Task, list[Json]], report: Any) -> None:
    task, files = done
    rows = report(task)[1].to_pylist()
    changed, gone = [row for row in rows if row["output"] == "index" and row["mean"] is not None][:2]
    changed["mean"] += 1e-9
    changed["histogram"][1]["count"] += 1
    rows.remove(gone)
    found = compare(frame_of(files), rows, statuses_of(files))
    assert [text.rpartition(") ")[2].partition(":")[0] for text in found.unequal] == [
        f"index_{changed['band']}_mean",
        f"index_{changed['band']}_counts",
    ]
    assert len(found.only_theirs) == 6 + 3 + 2


def test_their_monitor_never_ends_when_a_task_stops_midway_and_ours_does(
    sim: Simulator, public: PublicClient, run_task: RunTask
) -> None:
    sim.set_script(STOPPED_MIDWAY)
    task = public.start(request(sim.ready))
    with pytest.raises(StillWaitingError, match=f"looked {PATIENCE} times at a task that was STOPPED"):
        public.monitor(task)
    assert public.client.get_status(task.handle)["status"] == "STOPPED"

    run = run_task(SentinelHubBatchStatisticalSensor(task_id="s", batch_task_id=task.id))
    assert run.state == "failed"
    assert "was STOPPED by the service, because too many features failed" in str(run.error)
    body = statistical_request(sim, parcels(sim))
    run = run_task(SentinelHubBatchStatisticalOperator(task_id="t", request=body, poll_interval=0.1))
    assert run.state == "failed"
    assert "was STOPPED by the service, because too many features failed" in str(run.error)


def test_theirs_cannot_read_templated_names(sim: Simulator, public: PublicClient, report: Any) -> None:
    task = public.start(request(sim.ready, "/<REQUEST_ID>/<IDENTIFIER>.json"))
    public.monitor(task)
    public.finish(task)
    with pytest.raises(KeyError, match="Contents"):
        public.download(task)
    result, table = report(task)
    assert result["delivered"] + result["no_data"] == len(PARCELS)
    assert set(table["identifier"].to_pylist()) == set(PARCELS)
