"""
Runs a job on a real Airflow and prints its report: ``python -m devtools.demo``, or ``make demo``.

Without credentials it simulates Sentinel Hub and the bucket on this machine; with them it uses the real service.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import time
import urllib.parse
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_provider_sentinelhub.simulator.__main__ import positive
from devtools.airflow_api import FINISHED_RUN
from devtools.airflow_http import AirflowApiError
from devtools.airflow_stack import AirflowStack, StackError
from devtools.arguments import some_of
from devtools.demo_jobs import APIS, Job, script
from devtools.demo_screen import Screen, duration, progress_text
from devtools.demo_service import Service, complaints, is_configured, real_service, simulated_service
from devtools.processes import Guard
from devtools.state_folder import state_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import FrameType

    from devtools.airflow_names import Run, Task, TaskInstance

DAGS = Path(__file__).resolve().parent.parent / "dags_examples"
PROGRESS = "sentinelhub_progress"

_LOSSES = ("fatal", "no_data", "fatal_once", "fatal_twice")
OK, FAILED, REFUSED, INTERRUPTED = 0, 1, 2, 130
_LOOK_EVERY_S = 0.5
_STOP_TIMEOUT_S = 30.0
# The last line of a trigger's log in Airflow.
_TRIGGER_ENDED = "trigger completed"

_SIMULATED = """\
No credentials in the environment, so Sentinel Hub is SIMULATED on this machine: no account, no cost, no network.
Requests, states, prices and failures behave as the service's do; the pixel values are synthetic."""
_REAL = """\
Using the REAL Sentinel Hub with the credentials in the environment: this costs processing units of your account,
about {pu}, and the results stay in {url}."""
_WAITING = {
    "queued": "waiting for a worker",
    "running": "a worker is creating the batch",
    "deferred": "the batch is on its way; no worker is held while waiting",
}


def arguments(given: Sequence[str] | None) -> argparse.Namespace:
    """
    Read the command line.

    :param given: Arguments. Default: those of the process.
    """
    parser = argparse.ArgumentParser(prog="python -m devtools.demo", description="A job on a real Airflow.")
    every = sorted({name for jobs in APIS.values() for name in jobs})
    parser.add_argument("job", nargs="?", choices=every, default="corsica", help="the job (default: corsica)")
    parser.add_argument("--api", choices=APIS, default="v2", help="the version of Batch Processing (default: v2)")
    parser.add_argument("--ui", action="store_true", help="keep the Airflow UI running afterwards, until Ctrl-C")
    parser.add_argument(
        "--on-partial",
        choices=sorted({choice for jobs in APIS.values() for job in jobs.values() for choice in job.choices}),
        help="if only some features fail (default: warn; rerun_then_warn for statistics; restart with V1)",
    )
    simulator = parser.add_argument_group("simulated service only")
    simulator.add_argument("--fatal", metavar="N|NAMES", help="how many features fail, or which (a,b,c)")
    simulator.add_argument("--fatal-once", metavar="N|NAMES", help="the same, but in the first task only")
    simulator.add_argument("--fatal-twice", metavar="N|NAMES", help="the same, but in the first two tasks only")
    simulator.add_argument("--no-data", metavar="N|NAMES", help="how many features have no data, or which")
    simulator.add_argument("--speed", type=positive, help="simulated seconds per real second (default: 100, or 300)")
    options = parser.parse_args(given)
    jobs = APIS[options.api]
    if options.job not in jobs:
        parser.error(f"there is no job {options.job} with --api {options.api}, only {', '.join(jobs)}")
    job = jobs[options.job]
    if options.on_partial not in {None, *job.choices}:
        parser.error(f"--on-partial {options.on_partial}: with --api {options.api}, choose {', '.join(job.choices)}")
    try:
        _check_losses(options, job.features)
    except argparse.ArgumentTypeError as error:
        parser.error(str(error))
    return options


def _check_losses(options: argparse.Namespace, features: Callable[[], list[str]]) -> None:
    """
    Check that the features exist that are to fail.

    :raises ArgumentTypeError: They do not, or not so many.
    """
    given = {
        f"--{name.replace('_', '-')} {which}": which
        for name, which in zip(_LOSSES, _wrong(options), strict=True)
        if which is not None
    }
    if not given:
        return
    known, total = features(), 0
    for argument, which in given.items():
        if which.isascii() and which.isdecimal():
            total += int(which)
            continue
        try:
            total += len(some_of(known)(which))
        except argparse.ArgumentTypeError as error:
            raise argparse.ArgumentTypeError(
                f"{argument}: give a number from 0 to {len(known)}, or names of features (a,b,c): {error}"
            ) from None
    if total > len(known):
        raise argparse.ArgumentTypeError(f"{', '.join(given)}: that is {total} features, and the job has {len(known)}")


def main(given: Sequence[str] | None = None) -> int:
    """
    Run the demo.

    :param given: Arguments. Default: those of the process.
    :returns: Exit status: 0 only if the DAG run succeeded.
    """
    options = arguments(given)
    real = is_configured(os.environ)
    refused = complaints(os.environ) if real else []
    if real and any(which is not None for which in (*_wrong(options), options.speed)):
        refused.append("--fatal..., --no-data and --speed are for the simulated service; the real one decides itself.")
    if refused:
        for sentence in refused:
            print(sentence, file=sys.stderr)
        print("To have the service simulated instead, unset all SENTINELHUB_* variables.", file=sys.stderr)
        return REFUSED
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # Also when a shell has started this in the background, with SIGINT ignored.
        signal.signal(number, _interrupt)
    screen = Screen()
    try:
        return _run(screen, options, APIS[options.api][options.job], real=real)
    except KeyboardInterrupt:
        screen.say("Interrupted; nothing is left running.")
        return INTERRUPTED
    except (StackError, RuntimeError, AirflowApiError, OSError) as error:
        screen.say(f"The demo could not continue: {error}")
        return FAILED


def _wrong(options: argparse.Namespace) -> tuple[str | None, ...]:
    return tuple(getattr(options, name) for name in _LOSSES)


def _interrupt(number: int, _frame: FrameType | None) -> None:
    # A second signal must not interrupt the cleanup.
    signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def _run(screen: Screen, options: argparse.Namespace, job: Job, *, real: bool) -> int:
    screen.say(job.title)
    screen.say()
    with ExitStack() as stack:
        if real:
            service = real_service(os.environ, job.folder)
            screen.say(_REAL.format(url=service.delivery_url, pu=job.pu))
        else:
            screen.say(_SIMULATED)
            fatal, no_data, once, twice = (
                job.losses.get(name, "0") if which is None else which
                for name, which in zip(_LOSSES, _wrong(options), strict=True)
            )
            instructions = script(
                job, [("fatal", None, fatal), ("no_data", None, no_data), ("fatal", 1, once), ("fatal", 2, twice)]
            )
            guard = stack.enter_context(Guard())
            with screen.begin("Starting a simulated Sentinel Hub"):
                service = simulated_service(guard, options.speed or job.speed, instructions, job.folder)
        airflow = AirflowStack([DAGS], env=service.env, dag_processor=True)
        with screen.begin("Starting Airflow (API server, scheduler, triggerer, DAG processor)"):
            stack.enter_context(airflow)
            airflow.api.wait_for_dag(job.dag_id)
        if options.ui:
            screen.say(f"  Airflow's UI: {airflow.api.base_url} (no login needed)")
        succeeded = _job(screen, options, job, airflow, service)
        if options.ui:
            _keep_up(screen, airflow)
    screen.say("Nothing is left running.")
    if not real and not any(_wrong(options)):
        for hint in job.hints:
            screen.say(hint)
    return OK if succeeded else FAILED


def _job(screen: Screen, options: argparse.Namespace, job: Job, airflow: AirflowStack, service: Service) -> bool:
    conf = {
        "delivery_url": service.delivery_url,
        "on_partial": options.on_partial or job.on_partial,
        "poll_interval": service.poll_interval,
        **job.conf(Path(tempfile.mkdtemp(prefix="input-", dir=state_folder()))),
    }
    began = time.monotonic()
    run = airflow.api.trigger(job.dag_id, conf)
    screen.say(f"Running DAG {job.dag_id} ...")
    if options.ui:
        screen.say(f"  see {airflow.api.base_url}/dags/{job.dag_id}/runs/{urllib.parse.quote(run.run_id)}")
    try:
        _watch(screen, airflow, run.task(job.task_id), run)
    except KeyboardInterrupt:
        _stop(screen, airflow, run.task(job.task_id), run)
        raise
    took = time.monotonic() - began
    task = run.task(job.task_id)
    result = airflow.api.xcom(task)
    if airflow.api.run_state(run) == "success" and result:
        screen.say(f"The run SUCCEEDED after {duration(took)}.")
        _report(screen, result, service)
        return True
    screen.say(f"The run FAILED after {duration(took)}:")
    screen.say(airflow.api.error(task) or f"no error is in its log:\n{airflow.api.log(task)}")
    if service.buckets:
        screen.say(f"The simulated bucket is on this machine: {service.buckets}")
    return False


def _watch(screen: Screen, airflow: AirflowStack, task: Task, run: Run) -> None:
    while airflow.api.run_state(run) not in FINISHED_RUN:
        instance = airflow.api.task_instance(task)
        progress = airflow.api.xcom(task, PROGRESS)
        screen.progress(progress_text(_waiting_for(instance), progress))
        time.sleep(_LOOK_EVERY_S)


def _waiting_for(instance: TaskInstance) -> str:
    text = _WAITING.get(instance.state or "", "waiting for the scheduler")
    return text if instance.try_number <= 1 else f"attempt {instance.try_number}: {text}"


def _stop(screen: Screen, airflow: AirflowStack, task: Task, run: Run) -> None:
    """Have Airflow stop the batch, so that the rest of it is not charged."""
    # The trigger stops the batch, or before the deferral the process of the task.
    holders: dict[str | None, Callable[[], bool]] = {
        "deferred": lambda: _TRIGGER_ENDED in airflow.api.log(task),
        "running": lambda: airflow.task_process(task) is None,
    }
    stopped = holders.get(airflow.api.task_instance(task).state, lambda: True)
    screen.say("Interrupted: marking the run as failed, so that the batch is stopped ...")
    airflow.api.fail_run(run)
    deadline = time.monotonic() + _STOP_TIMEOUT_S
    while time.monotonic() < deadline:
        if stopped():
            return
        time.sleep(_LOOK_EVERY_S)
    batch = airflow.api.xcom(task, "sentinelhub_task_id")
    screen.say(f"Could not verify that the batch was stopped. It may still be running: {batch}")


def _report(screen: Screen, result: dict[str, Any], service: Service) -> None:
    from airflow_provider_sentinelhub.artifacts.report.report import FeatureReport
    from airflow_provider_sentinelhub.client.costs.amounts import pu_text

    screen.say()
    for line in FeatureReport.from_dict(result).text().splitlines():
        screen.say(f"  {line}")
    simulated = " (simulated; the pixel values are synthetic)" if service.buckets else ""
    cost = "cost not known" if result["cost_pu"] is None else pu_text(result["cost_pu"])
    screen.say(f"  {result['outcome']}: batch {result['task_id']}, {cost}{simulated}")
    for name in ("report_url", "statistics_url"):
        if result.get(name) and (file := service.local(result[name])):
            screen.say(f"  on this machine: {file}")
    screen.say()


def _keep_up(screen: Screen, airflow: AirflowStack) -> None:
    screen.say(f"Airflow's UI is up: {airflow.api.base_url} (no login needed). Ctrl-C ends it.")
    with suppress(KeyboardInterrupt):
        while True:
            time.sleep(3600)


if __name__ == "__main__":
    sys.exit(main())
