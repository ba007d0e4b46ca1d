"""Operators, sensor, trigger and hook as Airflow's task runner calls them: no database, no scheduler."""

from __future__ import annotations

import os
import tempfile
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

# Airflow reads these when it is first imported.
os.environ.setdefault("AIRFLOW_HOME", tempfile.mkdtemp(prefix="airflow-unit-"))
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
os.environ["AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL"] = "0"
os.environ["_AIRFLOW_PROCESS_CONTEXT"] = "client"

import pytest

from airflow_provider_sentinelhub.simulator.process import Simulator
from tests.airflow.airflow_harness import Comms, Run, RunTask

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def session_simulator() -> Iterator[Simulator]:
    with Simulator.start(speed=1200, quick=True) as simulator:
        yield simulator


@pytest.fixture
def sim(session_simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> Simulator:
    """The shared simulator with nothing scripted, and both connections in the environment."""
    session_simulator.set_script({})
    session_simulator.admin("DELETE", "/requests")
    for name, value in session_simulator.ready.airflow_connections().items():
        monkeypatch.setenv(name, value)
    return session_simulator


@pytest.fixture
def comms(monkeypatch: pytest.MonkeyPatch) -> Comms:
    from airflow.sdk.execution_time import task_runner

    fake = Comms()
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", fake, raising=False)
    return fake


@pytest.fixture
def run_task(comms: Comms) -> RunTask:
    """Runs an operator as a worker does; ``next_method`` resumes it."""
    import structlog
    from airflow.sdk import DAG
    from airflow.sdk.api.datamodels._generated import DagRun, DagRunState, DagRunType, TIRunContext
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance, finalize, run
    from airflow.sdk.serde import serialize

    run_id = f"run-{uuid.uuid4()}"

    def execute(
        operator: Any,
        *,
        try_number: int = 1,
        max_tries: int = 0,
        next_method: str | None = None,
        next_kwargs: dict[str, Any] | None = None,
        map_index: int = -1,
        params: dict[str, Any] | None = None,
    ) -> Run:
        if not operator.has_dag():
            dag = DAG("unit", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC), params=params)
            dag.add_task(operator)
        now = datetime.now(UTC)
        dag_run = DagRun.model_construct(
            dag_id=operator.dag_id,
            run_id=run_id,
            logical_date=now,
            data_interval_start=now,
            data_interval_end=now,
            run_after=now,
            start_date=now,
            end_date=None,
            clear_number=0,
            run_type=DagRunType.MANUAL,
            state=DagRunState.RUNNING,
            conf={},
            triggering_user_name=None,
            consumed_asset_events=[],
            partition_key=None,
            partition_date=None,
            note=None,
            team_name=None,
        )
        context = TIRunContext.model_construct(
            dag_run=dag_run,
            task_reschedule_count=0,
            max_tries=max_tries,
            variables=[],
            connections=[],
            xcom_keys_to_clear=[],
            should_retry=False,
            next_method=next_method,
            next_kwargs=serialize(next_kwargs) if next_kwargs is not None else None,
        )
        ti = RuntimeTaskInstance.model_construct(
            id=uuid.uuid4(),
            task_id=operator.task_id,
            dag_id=operator.dag_id,
            run_id=run_id,
            try_number=try_number,
            map_index=map_index,
            dag_version_id=uuid.uuid4(),
            task=operator,
            max_tries=max_tries,
            start_date=now,
            hostname="here",
            _ti_context_from_server=context,
            bundle_instance=None,  # type: ignore[arg-type]  # looked at by nothing here
            queue="default",
        )
        template_context = ti.get_template_context()
        log = structlog.get_logger("test")
        state, message, error = run(ti, template_context, log)
        template_context["exception"] = error
        finalize(ti, state, template_context, log, error)
        return Run(str(state.value), message, error, ti)

    return execute
