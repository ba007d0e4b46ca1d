"""Task instances, their logs, XComs and state over Airflow's REST API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from devtools.airflow_http import AirflowHttp
from devtools.airflow_names import Task, TaskInstance, quoted, task_path

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

FINISHED_TASK = frozenset({"success", "failed", "skipped", "upstream_failed", "removed"})


def _instance_path(task: Task) -> str:
    return task_path(task) if task.map_index < 0 else f"{task_path(task)}/{task.map_index}"


def _line(message: Mapping[str, Any]) -> str:
    level = str(message.get("level", "")).upper()
    text = f"{level}: {message['event']}" if level else str(message["event"])
    causes = message.get("error_detail") or ()
    return "\n".join([text, *(f"{cause['exc_type']}: {cause['exc_value']}" for cause in causes)])


class AirflowTasks(AirflowHttp):
    """Task instances, their logs, XComs and state."""

    def task_instance(self, task: Task) -> TaskInstance:
        """
        Return one task instance.

        :param task: The task instance.
        """
        return TaskInstance.parse(self.call("GET", _instance_path(task)))

    def task_instance_or_none(self, task: Task) -> TaskInstance | None:
        """
        Return one task instance; ``None`` if it does not exist.

        :param task: The task instance.
        """
        answer = self.get(_instance_path(task))
        return None if answer is None else TaskInstance.parse(answer)

    def wait_for_task(self, task: Task, states: Collection[str] = FINISHED_TASK, timeout: float = 60) -> TaskInstance:
        """
        Wait until a task instance is in one of these states and return it.

        :param task: The task instance.
        :param states: The states; by default those in which it has finished.
        :param timeout: Seconds after which to give up.
        """
        found = self.until(
            # A mapped instance does not exist before its upstream has finished.
            lambda: self.task_instance_or_none(task),
            lambda ti: ti is not None and ti.state in states,
            timeout,
            "/".join(map(str, task)),
        )
        return cast("TaskInstance", found)

    def set_state(self, task: Task, state: str) -> None:
        """
        Mark a task instance, as a user does.

        :param task: The task instance.
        :param state: ``success``, ``failed`` or ``skipped``.
        """
        self.call("PATCH", _instance_path(task), {"new_state": state})

    def clear(self, task: Task, *, downstream: bool = False) -> None:
        """
        Clear a task instance, so that it runs again.

        :param task: The task instance.
        :param downstream: Also clear what depends on it.
        """
        body = {
            "dry_run": False,
            "only_failed": False,
            "dag_run_id": task.run_id,
            "task_ids": [task.task_id if task.map_index < 0 else [task.task_id, task.map_index]],
            "include_downstream": downstream,
        }
        self.call("POST", f"/dags/{quoted(task.dag_id)}/clearTaskInstances", body)

    def log(self, task: Task, try_number: int | None = None) -> str:
        """
        Return the log of an attempt as text; an exception is shown as its type and message.

        :param task: The task instance.
        :param try_number: The attempt; the latest by default.
        """
        return "\n".join(_line(message) for message in self._messages(task, try_number))

    def error(self, task: Task) -> str | None:
        """
        Return the message of the last exception in the log of the latest attempt.

        :param task: The task instance.
        """
        raised = [message for message in self._messages(task, None) if message.get("error_detail")]
        return raised[-1]["error_detail"][0]["exc_value"] if raised else None

    def _messages(self, task: Task, try_number: int | None) -> list[dict[str, Any]]:
        attempt = self.task_instance(task).try_number if try_number is None else try_number
        path = f"{task_path(task)}/logs/{attempt}"
        content = self.call("GET", path, map_index=task.map_index, full_content="true")["content"]
        # A log that is not made of structured messages comes as plain lines.
        return [message if isinstance(message, dict) else {"event": message} for message in content]

    def xcom(self, task: Task, key: str = "return_value") -> Any:
        """
        Return an XCom value; ``None`` if there is none.

        :param task: The task instance.
        :param key: Its key.
        """
        path = f"{task_path(task)}/xcomEntries/{quoted(key)}"
        answer = self.get(path, map_index=task.map_index, deserialize="true")
        return None if answer is None else answer["value"]

    def task_state(self, task: Task) -> dict[str, Any]:
        """
        Return what a task instance keeps in its state store.

        :param task: The task instance.
        """
        answer = self.call("GET", f"{task_path(task)}/state-store", map_index=task.map_index)
        return {entry["key"]: entry["value"] for entry in answer["task_state_store"]}

    def set_task_state(self, task: Task, key: str, value: Any) -> None:
        """
        Write into a task instance's state store.

        :param task: The task instance.
        :param key: The key.
        :param value: Its new value.
        """
        path = f"{task_path(task)}/state-store/{quoted(key)}"
        self.call("PUT", path, {"value": value}, map_index=task.map_index)

    def clear_task_state(self, task: Task) -> None:
        """
        Forget everything in a task instance's state store.

        :param task: The task instance.
        """
        self.call("DELETE", f"{task_path(task)}/state-store", map_index=task.map_index)
