"""Names of runs and task instances, and their paths in Airflow's REST API."""

from __future__ import annotations

import urllib.parse
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping


class Task(NamedTuple):
    """
    Names one task instance.

    :param dag_id: Its DAG.
    :param run_id: Its run.
    :param task_id: Its task.
    :param map_index: Its index where the task is mapped, else -1.
    """

    dag_id: str
    run_id: str
    task_id: str
    map_index: int = -1


class Run(NamedTuple):
    """
    Names one DAG run.

    :param dag_id: Its DAG.
    :param run_id: Its id.
    """

    dag_id: str
    run_id: str

    def task(self, task_id: str, map_index: int = -1) -> Task:
        """
        Name a task instance of this run.

        :param task_id: The task.
        :param map_index: Its index where the task is mapped, else -1.
        """
        return Task(self.dag_id, self.run_id, task_id, map_index)


@dataclass(frozen=True, slots=True)
class TaskInstance:
    """
    A task instance as Airflow describes it.

    :param task_id: Its task.
    :param map_index: Its index where the task is mapped, else -1.
    :param state: Its state; ``None`` before it is scheduled.
    :param try_number: Its latest attempt; 0 before the first.
    :param max_tries: How many attempts Airflow has planned for, minus one.
    :param id: Its id, which changes with every attempt.
    """

    task_id: str
    map_index: int
    state: str | None
    try_number: int
    max_tries: int
    id: str

    @classmethod
    def parse(cls, answer: Mapping[str, Any]) -> TaskInstance:
        """
        Read one from an answer.

        :param answer: The JSON object.
        """
        return cls(**{name: answer[name] for name in cls.__slots__})


def quoted(part: str) -> str:
    """
    Return a name as part of a path.

    :param part: The name.
    """
    return urllib.parse.quote(part, safe="")


def run_path(run: Run | Task) -> str:
    """
    Return the path of a run, or of the run a task instance belongs to.

    :param run: The run or task instance.
    """
    return f"/dags/{quoted(run.dag_id)}/dagRuns/{quoted(run.run_id)}"


def task_path(task: Task) -> str:
    """
    Return the path of a task within a run, without its map index, whose place differs between endpoints.

    :param task: The task instance.
    """
    return f"{run_path(task)}/taskInstances/{quoted(task.task_id)}"
