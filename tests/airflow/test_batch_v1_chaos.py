"""What the chaos experiments have found in Batch Processing V1, each in its smallest form."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_sentinelhub.client.apis.batch_v1.spec import BATCH_V1
from airflow_provider_sentinelhub.client.http.call import Pause
from airflow_provider_sentinelhub.client.lifecycle.procedures import stop
from airflow_provider_sentinelhub.hooks.batch import SentinelHubBatchHook
from tests.airflow.test_batch_v1 import PROCESS, operator, run_through

if TYPE_CHECKING:
    from airflow_provider_sentinelhub.simulator.process import Simulator
    from tests.airflow.airflow_harness import Comms, RunTask

FAILS_ONCE = [{"outcome": "fatal", "indexes": [0], "first_attempts": 1}]


@pytest.fixture
def partial(sim: Simulator, run_task: RunTask, comms: Comms) -> str:
    """A task of which one tile has failed."""
    sim.set_script({"features": FAILS_ONCE})
    assert run_through(run_task, comms, operator(sim, on_partial="warn")).state == "success"
    result: dict[str, Any] = comms.xcoms["return_value"]
    assert result["status"] == "PARTIAL"
    return str(result["task_id"])


def stopped_while_a_restart_is_on_its_way(sim: Simulator, task_id: str, arrives_at: int) -> list[str]:
    """Stop a task; the restart arrives in the given pause. Return the task's history."""
    hook = SentinelHubBatchHook("batch-v1")
    procedure = stop(BATCH_V1, task_id, action_on_its_way=True)
    pauses = 0
    wanted = next(procedure)
    try:
        while True:
            if isinstance(wanted, Pause):
                pauses += 1
                if pauses == arrives_at:
                    sim.call("POST", f"{PROCESS.split()[1]}/{task_id}/restartpartial")
                wanted = procedure.send(None)
            else:
                wanted = procedure.send(hook.send(wanted))
    except StopIteration:
        return [entry["event"] for entry in sim.task(task_id)["history"]]


@pytest.mark.parametrize("arrives_at", [1, 3])
def test_a_restart_that_arrives_after_a_kill_is_stopped(sim: Simulator, partial: str, arrives_at: int) -> None:
    # Nothing ends by itself any more.
    sim.set_script({"timing": {"restart_seconds": 1e6, "stop_seconds": 0}})
    events = stopped_while_a_restart_is_on_its_way(sim, partial, arrives_at)
    assert events.index("user RESTART") < events.index("user CANCEL")


def test_a_restart_that_never_arrives_is_waited_for_and_then_given_up(sim: Simulator, partial: str) -> None:
    events = stopped_while_a_restart_is_on_its_way(sim, partial, arrives_at=0)
    assert "user RESTART" not in events
    assert events[-1] == "status PARTIAL"
