"""DAGs and their runs over Airflow's REST API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from devtools.airflow_http import AirflowHttp
from devtools.airflow_names import Run, TaskInstance, quoted, run_path

if TYPE_CHECKING:
    from collections.abc import Mapping

FINISHED_RUN = frozenset({"success", "failed"})


class AirflowRuns(AirflowHttp):
    """DAGs and their runs."""

    def import_errors(self) -> dict[str, str]:
        """Return the stack trace of every DAG file that cannot be imported."""
        answer = self.call("GET", "/importErrors")
        return {error["filename"]: error["stack_trace"] for error in answer["import_errors"]}

    def has_dag(self, dag_id: str) -> bool:
        """
        Say whether Airflow knows a DAG.

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
        # A DAG with a schedule must not start by itself only because somebody looks at another one.
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
