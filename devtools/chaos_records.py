"""What the service's own records say about a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_sentinelhub.client.apis.registry import TASK_APIS
from airflow_provider_sentinelhub.client.lifecycle.intent import Intent
from devtools.airflow_http import AirflowApiError

if TYPE_CHECKING:
    from devtools.airflow_names import Run
    from devtools.chaos_stack import ChaosStack


def started(task: dict[str, Any]) -> int:
    """
    Return how often the service was made to start a task.

    :param task: The task with its history, from the simulator's own records.
    """
    return sum(entry["event"] == "user START" for entry in task["history"])


def stopped(task: dict[str, Any]) -> int:
    """
    Return how often a task has come to a stop.

    :param task: The task with its history.
    """
    return sum(entry["event"] == "status STOPPED" for entry in task["history"])


def is_running(task: dict[str, Any]) -> bool:
    """
    Whether a task was started and has not ended.

    :param task: The task with its history.
    """
    return started(task) > 0 and task["status"] not in TASK_APIS[task["api"]].terminal


def tasks_of(stack: ChaosStack, run: Run) -> list[tuple[Intent, dict[str, Any]]]:
    """
    Return all tasks the service has for a run, with their intents.

    :param stack: Knows the simulator.
    :param run: The run.
    """
    found = [(_intent_of(task), task) for task in stack.sim.tasks()]
    return [
        (intent, task)
        for intent, task in found
        if intent is not None and (intent.dag_id, intent.run_id) == (run.dag_id, run.run_id)
    ]


def _intent_of(task: dict[str, Any]) -> Intent | None:
    # The records hold a user's words alone; where in a request they stood is for the API to say.
    words = task["description"]
    script = {"evalscript": words, "evalscriptReference": {"s3": {"url": words}}}
    return Intent.found_in(TASK_APIS[task["api"]].tag_of({"description": words, "aggregation": script}))


def evidence(stack: ChaosStack, run: Run) -> str:
    """
    Return all there is to know of a run: its attempts' logs and the service's history of its tasks.

    :param stack: What was harmed.
    :param run: The run.
    """
    lines = []
    for intent, task in tasks_of(stack, run):
        lines += ["", f"{task['id']} {intent.tag} {task['status']}"]
        lines += [f"  {entry['at']} {entry['event']}" for entry in task["history"]]
    api = stack.airflow.api
    try:
        for ti in api.task_instances(run):
            lines += ["", f"{ti}"]
            for attempt in range(1, ti.try_number + 1):
                log = api.log(run.task(ti.task_id, ti.map_index), attempt)
                lines += [f"----- attempt {attempt}", log]
    except (OSError, AirflowApiError) as error:
        lines.append(f"no more to learn: {error}")
    return "\n".join(lines)
