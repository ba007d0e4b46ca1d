"""The part of Airflow's REST API that a demo, a test or a chaos experiment needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from devtools.airflow_http import AirflowHttp
from devtools.airflow_names import Run, Task, TaskInstance, quoted, run_path, task_path

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

FINISHED_RUN = frozenset({"success", "failed"})
FINISHED_TASK = frozenset({"success", "failed", "skipped", "upstream_failed", "removed"})


def _instance_path(task: Task) -> str:
    return task_path(task) if task.map_index < 0 else f"{task_path(task)}/{task.map_index}"


def _line(message: Mapping[str, Any]) -> str:
    level = str(message.get("level", "")).upper()
    text = f"{level}: {message['event']}" if level else str(message["event"])
    causes = message.get("error_detail") or ()
    return "\n".join([text, *(f"{cause['exc_type']}: {cause['exc_value']}" for cause in causes)])


class AirflowApi(AirflowHttp):
    """DAGs, runs, task instances, pools and connections of a running Airflow."""

    def import_errors(self) -> dict[str, str]:
        """Return the stack trace of every DAG file that cannot be imported."""
        answer = self.call("GET", "/importErrors")
        return {error["filename"]: error["stack_trace"] for error in answer["import_errors"]}

    def has_dag(self, dag_id: str) -> bool:
        """
        Return whether Airflow knows a DAG.

        :param dag_id: The DAG.
        """
        return self.get(f"/dags/{quoted(dag_id)}") is not None

    def wait_for_dag(self, dag_id: str, timeout: float = 60) -> None:
        """
        Wait until Airflow knows a DAG; a file that cannot be imported ends the wait.

        :param dag_id: The DAG.
        :param timeout: Seconds after which to give up.
        """
        known, errors = self.until(
            lambda: (self.has_dag(dag_id), self.import_errors()),
            lambda seen: seen[0] or bool(seen[1]),
            timeout,
            f"DAG {dag_id}",
        )
        if not known:
            traces = "\n".join(f"{name}:\n{trace}" for name, trace in errors.items())
            raise RuntimeError(f"DAG {dag_id} is not known to Airflow, and these files cannot be imported:\n{traces}")

    def trigger(self, dag_id: str, conf: Mapping[str, Any] | None = None, run_id: str | None = None) -> Run:
        """
        Start a run, after allowing the DAG to run at all.

        :param dag_id: The DAG.
        :param conf: Values of its params.
        :param run_id: Name of the run; Airflow invents one by default.
        """
        # Unpausing all DAGs would start those with a schedule.
        self.call("PATCH", f"/dags/{quoted(dag_id)}", {"is_paused": False})
        body = {"logical_date": None, "conf": dict(conf or {}), "dag_run_id": run_id}
        answer = self.call("POST", f"/dags/{quoted(dag_id)}/dagRuns", body)
        return Run(dag_id, answer["dag_run_id"])

    def run_state(self, run: Run) -> str:
        """
        Return the state of a run.

        :param run: The run.
        """
        state: str = self.call("GET", run_path(run))["state"]
        return state

    def wait_for_run(self, run: Run, timeout: float = 120) -> str:
        """
        Wait until a run has finished and return its state.

        :param run: The run.
        :param timeout: Seconds after which to give up.
        """
        try:
            return self.until(
                lambda: self.run_state(run), FINISHED_RUN.__contains__, timeout, f"{run.dag_id}/{run.run_id}"
            )
        except TimeoutError as error:
            tasks = ", ".join(f"{ti.task_id}[{ti.map_index}] {ti.state}" for ti in self.task_instances(run))
            raise TimeoutError(f"{error}; its tasks: {tasks}") from None

    def fail_run(self, run: Run) -> None:
        """
        Mark a run as failed, which also ends its tasks.

        :param run: The run.
        """
        self.call("PATCH", run_path(run), {"state": "failed"})

    def delete_run(self, run: Run) -> None:
        """
        Delete a run with everything Airflow knows of it.

        :param run: The run.
        """
        self.call("DELETE", run_path(run))

    def task_instances(self, run: Run, task_id: str | None = None) -> list[TaskInstance]:
        """
        Return the task instances of a run, the mapped ones included.

        :param run: The run.
        :param task_id: Only those of this task.
        """
        found: list[TaskInstance] = []
        while True:
            page = self.call("GET", f"{run_path(run)}/taskInstances", limit=100, offset=len(found), order_by="id")
            found += [TaskInstance.parse(entry) for entry in page["task_instances"]]
            if not page["task_instances"] or len(found) >= page["total_entries"]:
                break
        if task_id is not None:
            found = [entry for entry in found if entry.task_id == task_id]
        return sorted(found, key=lambda entry: (entry.task_id, entry.map_index))

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

    def pool(self, name: str = "default_pool") -> dict[str, Any]:
        """
        Return a pool, e.g. its ``open_slots``, ``occupied_slots``, ``running_slots`` and ``deferred_slots``.

        :param name: Its name.
        """
        pool: dict[str, Any] = self.call("GET", f"/pools/{quoted(name)}")
        return pool

    def create_pool(self, name: str, slots: int, *, include_deferred: bool = False) -> None:
        """
        Create a pool.

        :param name: Its name.
        :param slots: Its slots.
        :param include_deferred: Whether a deferred task holds its slot.
        """
        self.call("POST", "/pools", {"name": name, "slots": slots, "include_deferred": include_deferred})

    def create_connection(self, conn_id: str, conn_type: str, **fields: object) -> None:
        """
        Create a connection.

        :param conn_id: Its id.
        :param conn_type: Its type.
        :param fields: ``host``, ``login``, ``password``, and ``extra`` as a JSON text.
        """
        self.call("POST", "/connections", {"connection_id": conn_id, "conn_type": conn_type, **fields})
