from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from devtools.airflow_stack import AirflowStack
from devtools.processes import process_table

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.integration

START_AND_TELL = """
import sys, time
from pathlib import Path
from devtools.airflow_stack import AirflowStack

stack = AirflowStack([Path(sys.argv[1])])
stack.start()
print(stack.home, *stack.processes(), flush=True)
time.sleep(600)
"""


def gone(pids: set[int], within: float = 10) -> bool:
    deadline = time.monotonic() + within
    while pids & process_table().keys():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def test_a_run_succeeds_and_can_be_looked_at(airflow: AirflowStack) -> None:
    run = airflow.api.trigger("stack_check", {"name": "Corsica"})

    assert airflow.api.wait_for_run(run) == "success"

    assert airflow.api.xcom(run.task("greet")) == "Hello Corsica"
    assert airflow.api.xcom(run.task("greet"), "no such key") is None
    assert [airflow.api.xcom(run.task("measure", index)) for index in (0, 1)] == [1, 2]
    assert "INFO: Saying: Hello Corsica" in airflow.api.log(run.task("greet"))
    states = {(ti.task_id, ti.map_index): ti.state for ti in airflow.api.task_instances(run)}
    assert states == {("greet", -1): "success", ("measure", 0): "success", ("measure", 1): "success"}


def test_a_deferred_task_survives_the_loss_of_its_triggerer(airflow: AirflowStack) -> None:
    run = airflow.api.trigger("stack_check_deferred", {"seconds": 8})
    airflow.api.wait_for_task(run.task("wait"), {"deferred"})
    assert airflow.api.pool()["deferred_slots"] == 1

    airflow.kill("triggerer")
    assert not airflow.alive("triggerer")
    airflow.restart("triggerer")

    assert airflow.api.wait_for_run(run) == "success"
    assert airflow.api.xcom(run.task("wait")) == "waited 8 s"


def test_a_paused_triggerer_goes_on(airflow: AirflowStack) -> None:
    airflow.pause("triggerer")
    run = airflow.api.trigger("stack_check_deferred", {"seconds": 1})
    airflow.api.wait_for_task(run.task("wait"), {"deferred"})
    time.sleep(2)
    assert airflow.api.run_state(run) == "running"

    airflow.resume("triggerer")

    assert airflow.api.wait_for_run(run) == "success"


def test_a_killed_task_is_tried_again(airflow: AirflowStack) -> None:
    run = airflow.api.trigger("stack_check_busy")
    task = run.task("sleep_once")
    airflow.api.wait_for_task(task, {"running"})

    airflow.kill_task(task)

    assert airflow.api.wait_for_run(run) == "success"
    assert airflow.api.xcom(task) == 2
    assert airflow.task_process(task) is None


def test_a_restarted_scheduler_and_api_server_work(airflow: AirflowStack) -> None:
    airflow.kill("scheduler")
    airflow.restart("api-server")
    run = airflow.api.trigger("stack_check")
    airflow.restart("scheduler")

    assert airflow.api.wait_for_run(run) == "success"


def test_what_a_user_can_do(airflow: AirflowStack) -> None:
    run = airflow.api.trigger("stack_check_deferred", {"seconds": 600})
    task = run.task("wait")
    airflow.api.wait_for_task(task, {"deferred"})

    airflow.api.set_state(task, "failed")
    assert airflow.api.wait_for_run(run) == "failed"

    airflow.api.set_task_state(task, "job", {"id": 7})
    assert airflow.api.task_state(task) == {"job": {"id": 7}}
    airflow.api.clear_task_state(task)
    assert airflow.api.task_state(task) == {}

    airflow.api.clear(task)
    assert airflow.api.wait_for_task(task, {"deferred"}).try_number == 2
    airflow.api.fail_run(run)
    assert airflow.api.wait_for_run(run) == "failed"
    airflow.api.delete_run(run)
    assert airflow.api.task_instance_or_none(task) is None


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_nothing_outlives_the_python_that_started_it(tmp_path: Path, end: signal.Signals) -> None:
    starter = subprocess.Popen(
        [sys.executable, "-c", START_AND_TELL, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "HOME": ""},
    )
    assert starter.stdout is not None
    with starter:
        home, *numbers = starter.stdout.readline().split()
        pids = {int(number) for number in numbers}
        assert len(pids) >= 5
        starter.send_signal(end)

    assert gone(pids)
    shutil.rmtree(home)


def test_stop_leaves_nothing_behind(tmp_path: Path) -> None:
    stack = AirflowStack([tmp_path], dag_processor=True)
    with stack:
        pids = stack.processes()
        assert len(pids) >= 6

    assert not pids & process_table().keys()
    assert not stack.home.exists()
