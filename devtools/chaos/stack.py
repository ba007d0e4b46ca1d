"""The Airflow and the simulated service of an experiment, with proxies between them."""

from __future__ import annotations

import contextlib
import json
import re
import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Self, TypeVar

from airflow_provider_sentinelhub.simulator.process import Simulator
from airflow_provider_sentinelhub.simulator.sample import sample_parcels, upload
from devtools.chaos.airflow import ChaosAirflow
from devtools.chaos.faults import FaultInjector
from devtools.chaos.proxy import Call, Interceptor, Proxy

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

    from devtools.airflow_api import AirflowApi
    from devtools.chaos.steps import ChaosStep

T = TypeVar("T")
NAIVE = "SENTINELHUB_CHAOS_NAIVE"
SPEED = 60
# Six seconds of analysis and sixteen of processing: long enough for the next attempt to see them. A new task is unknown
# for most of a second, and a status is shown half a second late.
TIMING: dict[str, Any] = {
    "analysis_seconds": 360,
    "feature_seconds": 960,
    "visible_after_seconds": 45,
    "status_lag_seconds": 30,
    "async_seconds": 960,
    "async_lag_seconds": 60,
}
# Original tasks only; the tag of a rerun continues after this.
_ORIGINAL = r"_rerun/.*~\d+$"
SCRIPT = {
    "timing": TIMING,
    "features": [
        {"outcome": "fatal", "indexes": [0], "task": _ORIGINAL},
        {"outcome": "fatal", "indexes": [0], "task": "_restart/", "first_attempts": 1},
        {"outcome": "fatal", "indexes": [1], "task": "_restart/", "first_attempts": 2},
        {"outcome": "fatal", "indexes": [1], "task": "_restart_hopeless/"},
    ],
    "intervals": [{"outcome": "TIMEOUT", "indexes": [1], "intervals": [1, 2], "task": _ORIGINAL}],
}
# Remote tasks that never end by themselves, and that can be started again ten seconds after a stop.
ENDLESS: dict[str, Any] = {
    "timing": {"analysis_seconds": 60, "feature_seconds": 1_000_000, "restart_lock_seconds": 600}
}
# Remote tasks that end ten seconds after their start. The first one of some runs fails, by the name of the run; a clear
# raises the number at the end of the tag.
ENDING: dict[str, Any] = {
    "timing": {"analysis_seconds": 60, "feature_seconds": 600},
    "features": [{"outcome": "fatal", "indexes": [0], "task": r"/clear-partial-\d+/.*~30$", "first_attempts": 1}],
    "tasks": [{"match": r"/clear-failed-\d+/.*~30$", "analysis_error": "The area of interest has no tiles."}],
}
# Three of four features fail once: the remote task ends after forty seconds, and its restart takes thirty more.
RESTARTING: dict[str, Any] = {
    "timing": {"analysis_seconds": 60, "feature_seconds": 2400},
    "features": [{"outcome": "fatal", "indexes": [0, 1, 2], "first_attempts": 1}],
}
# The features of the statistical DAGs.
_PARCELS = ("chaos/parcels.gpkg", [f"parcel-{number}" for number in range(1, 5)])
_RUN_CALL = re.compile(r"^/execution/task-instances/([0-9a-f-]{36})/run$")


class Lane:
    """
    Runs one run or scenario at a time, with connections of its own to the service and to the bucket.

    :param number: Its number.
    :param service: The proxy to the service.
    :param bucket: The proxy to the bucket.
    """

    def __init__(self, number: int, service: Proxy, bucket: Proxy) -> None:
        self.number = number
        self.service = service
        self.bucket = bucket
        self._seen: list[str] = []
        service.observers.append(lambda call: self._seen.append(call.path))

    @property
    def proxies(self) -> list[Proxy]:
        """Both proxies."""
        return [self.service, self.bucket]

    def has_seen(self, path: re.Pattern[str]) -> bool:
        """
        Whether the service has got such a call since the last :meth:`restore`.

        :param path: Pattern of its path.
        """
        return any(path.search(each) for each in self._seen)

    def restore(self) -> None:
        """End all faults, before the next run."""
        self._seen.clear()
        for proxy in self.proxies:
            proxy.restore()


class ChaosStack:
    """
    Airflow, service and proxies, as a context manager.

    :param lanes: How many runs go on in parallel.
    :param naive: Run the batches without record and search.
    """

    def __init__(self, lanes: int, *, naive: bool = False) -> None:
        self._count = lanes
        self._naive = naive
        self._exits = ExitStack()
        self._run_of: dict[str, str] = {}
        self._writing = threading.Lock()
        self._second_airflow: ChaosAirflow | None = None
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
        # The base URL does not identify an Airflow: two may have none, or the same one behind two proxies.
        env: dict[str, str] = {"AIRFLOW__API__BASE_URL": "http://localhost:8080"}
        for number in range(self._count):
            lane = Lane(number, self._proxy(self.sim.ready.base_url), self._proxy(self.sim.ready.s3_endpoint))
            self.lanes.append(lane)
            env.update(self._connections(lane))
        if self._naive:
            env[NAIVE] = "1"
        self._env = dict(env)
        self.airflow = ChaosAirflow(env, 2 * self._count)
        self.injector = FaultInjector(self.airflow)
        # Calls of tasks to Airflow itself go through a proxy, too.
        self.execution = self._proxy(self.airflow.execution_url)
        self.execution.observers.append(self._learn)
        self.airflow.env["AIRFLOW__CORE__EXECUTION_API_SERVER_URL"] = f"{self.execution.url}/execution/"
        self._exits.enter_context(self.airflow)

    @property
    def second_airflow(self) -> ChaosAirflow:
        """A second Airflow with the same DAGs and the same account, into which no faults are injected."""
        with self._writing:
            if self._second_airflow is None:
                self._second_airflow = self._exits.enter_context(ChaosAirflow(self._env, self._count))
            return self._second_airflow

    def _proxy(self, address: str) -> Proxy:
        return self._exits.enter_context(Proxy(address))

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

    def intercept(self, lane: Lane, run_id: str, step: ChaosStep) -> Interceptor:
        """
        Hold the call that marks a step of a run.

        :param lane: The run's lane.
        :param run_id: The run.
        :param step: The step.
        """
        proxy = self.proxy_of(lane, step)

        def wanted(call: Call) -> bool:
            # A lane's own proxies see the calls of this run only.
            if step.follows is not None and not lane.has_seen(step.follows):
                return False
            return step.marks(call) and (proxy is not self.execution or self.run_of(call) == run_id)

        interceptor = Interceptor(wanted)
        proxy.add_interceptor(interceptor)
        return interceptor

    def drop_interceptor(self, lane: Lane, interceptor: Interceptor) -> None:
        """
        Remove an interceptor, and release the call it holds.

        :param lane: Its lane.
        :param interceptor: The interceptor.
        """
        for proxy in (*lane.proxies, self.execution):
            proxy.remove_interceptor(interceptor)
        interceptor.release(verdict=True)

    def proxy_of(self, lane: Lane, step: ChaosStep) -> Proxy:
        """
        Return the proxy of the calls that mark a step.

        :param lane: The run's lane.
        :param step: The step.
        """
        return {"service": lane.service, "bucket": lane.bucket, "airflow": self.execution}[step.receiver]

    def act(self, action: Callable[[AirflowApi], T]) -> T:
        """
        Perform a user's action; one at a time, see :meth:`ChaosAirflow.start`.

        :param action: The action, given the API of the first Airflow.
        """
        with self._writing:
            return action(self.airflow.api)
