"""The Airflow and the simulated service that are harmed, with gates between them and whatever they talk to."""

from __future__ import annotations

import contextlib
import json
import re
import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Self, TypeVar

from airflow_provider_sentinelhub.simulator.process import Simulator
from airflow_provider_sentinelhub.simulator.sample import sample_parcels, upload
from devtools.chaos_airflow import ChaosAirflow
from devtools.chaos_gate import Call, Gate, Trap
from devtools.chaos_harm import Harmer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

    from devtools.airflow_api import AirflowApi
    from devtools.chaos_steps import Step

T = TypeVar("T")
NAIVE = "SENTINELHUB_CHAOS_NAIVE"
SPEED = 60
# Six seconds of analysis and sixteen of processing: long enough for whoever replaces a killed one to see them.
# What was just created is unknown for most of a second, and a status is shown half a second late.
TIMING: dict[str, Any] = {
    "analysis_seconds": 360,
    "feature_seconds": 960,
    "visible_after_seconds": 45,
    "status_lag_seconds": 30,
}
# In the tasks themselves, and not in the restarts, whose tag goes on.
_ORIGINAL = r"_restart/.*~\d+$"
SCRIPT = {
    "timing": TIMING,
    "features": [{"outcome": "fatal", "indexes": [0], "task": _ORIGINAL}],
    "intervals": [{"outcome": "TIMEOUT", "indexes": [1], "intervals": [1, 2], "task": _ORIGINAL}],
}
# Remote tasks that never end by themselves, and whose lock after a stop is over after ten seconds.
ENDLESS: dict[str, Any] = {
    "timing": {"analysis_seconds": 60, "feature_seconds": 1_000_000, "restart_lock_seconds": 600}
}
# Remote tasks that end ten seconds after their start, some of them badly: where it is the first one of a run that is
# named after it, for a clear raises the number at the end of the tag.
ENDING: dict[str, Any] = {
    "timing": {"analysis_seconds": 60, "feature_seconds": 600},
    "features": [{"outcome": "fatal", "indexes": [0], "task": r"/clear-partial-\d+/.*~30$"}],
    "tasks": [{"match": r"/clear-failed-\d+/.*~30$", "analysis_error": "The area of interest has no tiles."}],
}
# The statistical DAGs take their features from there.
_PARCELS = ("chaos/parcels.gpkg", [f"parcel-{number}" for number in range(1, 5)])
_RUN_CALL = re.compile(r"^/execution/task-instances/([0-9a-f-]{36})/run$")


class Lane:
    """
    One run after the other goes along a lane, with connections of its own to the service and to the bucket.

    :param number: Its number.
    :param service: The gate to the service.
    :param bucket: The gate to the bucket.
    """

    def __init__(self, number: int, service: Gate, bucket: Gate) -> None:
        self.number = number
        self.service = service
        self.bucket = bucket

    @property
    def gates(self) -> list[Gate]:
        """Both gates."""
        return [self.service, self.bucket]

    def mend(self) -> None:
        """Undo all harm."""
        for gate in self.gates:
            gate.mend()


class ChaosStack:
    """
    Everything that takes part, as a context manager.

    :param lanes: How many runs go on at the same time.
    :param naive: Run the batches without record and search.
    """

    def __init__(self, lanes: int, *, naive: bool = False) -> None:
        self._count = lanes
        self._naive = naive
        self._exits = ExitStack()
        self._run_of: dict[str, str] = {}
        self._writing = threading.Lock()
        self._neighbour: ChaosAirflow | None = None
        self.no_kills = threading.Lock()
        self.lanes: list[Lane] = []

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._exits.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._exits.__exit__(kind, error, tb)

    def _start(self) -> None:
        self.sim = self._exits.enter_context(Simulator.start(speed=SPEED, script=SCRIPT))
        key, names = _PARCELS
        upload(self.sim.ready, key, sample_parcels(names))
        # Where users find it does not say which Airflow it is: two may have none, or the same behind two proxies.
        env: dict[str, str] = {"AIRFLOW__API__BASE_URL": "http://localhost:8080"}
        for number in range(self._count):
            lane = Lane(number, self._gate(self.sim.ready.base_url), self._gate(self.sim.ready.s3_endpoint))
            self.lanes.append(lane)
            env.update(self._connections(lane))
        if self._naive:
            env[NAIVE] = "1"
        self._env = dict(env)
        self.airflow = ChaosAirflow(env, 2 * self._count)
        self.harmer = Harmer(self.airflow)
        # Also what tasks say to Airflow itself goes through a gate.
        self.execution = self._gate(self.airflow.execution_url)
        self.execution.observers.append(self._learn)
        self.airflow.env["AIRFLOW__CORE__EXECUTION_API_SERVER_URL"] = f"{self.execution.url}/execution/"
        self._exits.enter_context(self.airflow)

    @property
    def neighbour(self) -> ChaosAirflow:
        """A second Airflow with the same DAGs and the same account, which is not harmed."""
        with self._writing:
            if self._neighbour is None:
                self._neighbour = self._exits.enter_context(ChaosAirflow(self._env, self._count))
            return self._neighbour

    def _gate(self, address: str) -> Gate:
        return self._exits.enter_context(Gate(address))

    def _connections(self, lane: Lane) -> Mapping[str, str]:
        known = self.sim.ready.airflow_connections()
        service = json.loads(known["AIRFLOW_CONN_SENTINELHUB_DEFAULT"])
        service["host"] = lane.service.url
        service["extra"]["token_url"] = service["extra"]["token_url"].replace(self.sim.ready.base_url, lane.service.url)
        bucket = json.loads(known["AIRFLOW_CONN_AWS_DEFAULT"])
        bucket["extra"]["endpoint_url"] = lane.bucket.url
        return {
            f"AIRFLOW_CONN_LANE{lane.number}": json.dumps(service),
            f"AIRFLOW_CONN_BUCKET{lane.number}": json.dumps(bucket),
        }

    def _learn(self, call: Call) -> None:
        started = _RUN_CALL.match(call.path)
        if started and call.reply is not None:
            with contextlib.suppress(ValueError, KeyError, TypeError):
                self._run_of[started[1]] = json.loads(call.reply.body)["dag_run"]["run_id"]

    def run_of(self, call: Call) -> str | None:
        """
        Return the run whose task makes a call to Airflow's own API.

        :param call: The call.
        """
        return next((self._run_of[part] for part in call.path.split("/") if part in self._run_of), None)

    def trap(self, lane: Lane, run_id: str, step: Step) -> Trap:
        """
        Set a trap for the call by which a run's task takes a step.

        :param lane: The run's lane.
        :param run_id: The run.
        :param step: The step.
        """
        gate = self.gate_of(lane, step)

        def wanted(call: Call) -> bool:
            # A lane's own gates see this run alone.
            return step.marks(call) and (gate is not self.execution or self.run_of(call) == run_id)

        trap = Trap(wanted)
        gate.set_trap(trap)
        return trap

    def drop_trap(self, lane: Lane, trap: Trap) -> None:
        """
        Take a trap away, and let go what is in it.

        :param lane: The lane it was set for.
        :param trap: The trap.
        """
        for gate in (*lane.gates, self.execution):
            gate.remove_trap(trap)
        trap.release(verdict=True)

    def gate_of(self, lane: Lane, step: Step) -> Gate:
        """
        Return the gate through which the call goes that marks a step.

        :param lane: The run's lane.
        :param step: The step.
        """
        return {"service": lane.service, "bucket": lane.bucket, "airflow": self.execution}[step.place]

    def act(self, action: Callable[[AirflowApi], T]) -> T:
        """
        Do what a user does; one at a time, see :meth:`ChaosAirflow.start`.

        :param action: What to do, given the API of the first Airflow.
        """
        with self._writing:
            return action(self.airflow.api)
