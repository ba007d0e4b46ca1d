"""
Which files and functions a request passes on its way, and whether a call ever points upwards.

Usage: ``python -m devtools.trace [--root <checkout>] [--moves] [--json]``. ``--root`` traces another checkout of this
project, e.g. an older one, so that before and after stand side by side; ``--moves`` lists every move.

The operators run as Airflow's task runner runs them, with a real context, against the simulator. Five ways are traced:

- operator to create: from ``execute`` of the operator to the POST that creates the remote task
- search and create: the last part of it, after all checks: from the search for the task of an intent to that POST
- check of a request: ``hook.prepare`` alone
- report to XCom: from the end of the wait to the value that ``execute`` returns
- statistics to table: the same for Batch Statistical, from the files to the table and the report

What is counted:

- A *function* is one that the way enters, once however often; what an import runs is not counted. A *file* holds one
  of them.
- A *move* is a pair of functions in two files of which one calls the other; again each pair once.
- An *upward move* is one from a lower layer into a higher one, where the lower function names what it calls. What it
  was handed is none: a function that is data (``call.parse(answer)``, ``spec.estimate(body)``) or a parameter, what a
  library calls (a validator of a pydantic model), a method of an interface that the lower room declares itself, and
  the first step of a generator or coroutine, which runs when its driver asks for it: the sender drives the procedures
  of the layers above it. These are counted as *handed down*, and ``--moves`` names them.

A call through a library, e.g. from a thread pool or a context manager of ``contextlib``, is one by the nearest
function of the package below it.
"""

from __future__ import annotations

import argparse
import inspect
import json
import logging
import os
import re
import subprocess
import sys
import tempfile
import threading
import tomllib
import uuid
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import CodeType, FrameType
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE: Final = "airflow_provider_sentinelhub"
# Highest first. What is inside follows from the checkout's own contracts.
_ROOMS: Final = (
    ("operators", "sensors"),
    ("triggers",),
    ("hooks",),
    ("artifacts",),
    ("client",),
)
_SUSPENDS: Final = inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR

_GRID_REQUEST: Final[dict[str, Any]] = {
    "processRequest": {
        "input": {
            "bounds": {
                "bbox": [9.21, 42.07, 9.27, 42.11],
                "properties": {"crs": "http://www.opengis.net/def/crs/OGC/1.3/CRS84"},
            },
            "data": [{"type": "sentinel-2-l2a"}],
        },
        "output": {"responses": [{"identifier": "default", "format": {"type": "image/tiff"}}]},
        "evalscript": """//VERSION=3
function setup() { return {input: ["B04"], output: {bands: 1, sampleType: "UINT8"}}; }
function evaluatePixel(s) { return [s.B04]; }
""",
    },
    "input": {"type": "tiling-grid", "id": 0, "resolution": 60},
}
_STATISTICS_REQUEST: Final[dict[str, Any]] = {
    "input": {"data": [{"type": "sentinel-2-l2a"}]},
    "aggregation": {
        "timeRange": {"from": "2025-05-05T00:00:00Z", "to": "2025-06-02T00:00:00Z"},
        "aggregationInterval": {"of": "P7D"},
        "resx": 10,
        "resy": 10,
        "evalscript": """//VERSION=3
function setup() {
  return {
    input: ["B04", "B08", "dataMask"],
    output: [{id: "ndvi", bands: 1, sampleType: "FLOAT32"}, {id: "dataMask", bands: 1}],
  };
}
function evaluatePixel(s) { return {ndvi: [(s.B08 - s.B04) / (s.B08 + s.B04)], dataMask: [s.dataMask]}; }
""",
    },
    "calculations": {"default": {"statistics": {"default": {"percentiles": {"k": [50]}}}}},
}
_PARCELS: Final = {
    f"parcel-{number}": f"POLYGON (({east} 5150000, {east} 5150100, {east + 100} 5150100, {east + 100} 5150000, "
    f"{east} 5150000))"
    for number, east in enumerate((500000, 500150, 500300), start=1)
}


# ------------------------------------------------------------------------------------------------------ what is counted


@dataclass(frozen=True, slots=True)
class Function:
    """
    A function of the package.

    :param file: Its file, below the package.
    :param name: Its qualified name.
    """

    file: str
    name: str

    @property
    def text(self) -> str:
        """Both, for people."""
        return f"{self.file}:{self.name}"


class Layers:
    """
    Which files are above which.

    :param package: Folder of the package.
    """

    def __init__(self, package: Path) -> None:
        # An older checkout has no contracts inside of a layer.
        contracts = tomllib.loads((package.parent / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
        self._inside = {
            layer: tuple(tuple(re.split(" [|:] ", rooms)) for rooms in contract["layers"])
            for contract in contracts
            for _, _, layer in (name.partition(".") for name in contract.get("containers", ()))
        }

    def of(self, file: str) -> tuple[int, int] | None:
        """
        Return the place of a file, the smaller the higher; ``None`` for one that belongs to no layer.

        :param file: The file, below the package.
        """
        parts = file.removesuffix(".py").split("/")
        layer = _index(_ROOMS, parts[0])
        if layer is None:
            return None
        inside = self._inside.get(parts[0])
        # Without a default: a room that no contract knows must not count as the highest one.
        return layer, 0 if inside is None else next(at for at, rooms in enumerate(inside) if parts[1] in rooms)

    def is_upward(self, caller: str, callee: str) -> bool:
        """
        Whether a call points upwards.

        :param caller: The file that calls.
        :param callee: The file that is called.
        """
        below, above = self.of(caller), self.of(callee)
        return below is not None and above is not None and above < below


def _index(rooms: tuple[tuple[str, ...], ...], name: str) -> int | None:
    return next((place for place, names in enumerate(rooms) if name in names), None)


@dataclass(slots=True)
class Way:
    """
    What one way has passed.

    :param functions: The functions it entered.
    :param moves: Which function called which, in another file.
    :param handed: Those of the moves whose callee was given as data, or is driven.
    """

    functions: set[Function] = field(default_factory=set)
    moves: set[tuple[Function, Function]] = field(default_factory=set)
    handed: set[tuple[Function, Function]] = field(default_factory=set)

    def figures(self, layers: Layers) -> dict[str, Any]:
        """
        Return the figures of this way.

        :param layers: Which files are above which.
        """
        rising = {(a, b) for a, b in self.moves if layers.is_upward(a.file, b.file)}
        return {
            "files": len({function.file for function in self.functions}),
            "functions": len(self.functions),
            "moves": len(self.moves),
            "upward": len(rising - self.handed),
            "handed down": len(rising & self.handed),
            "upward moves": sorted(f"{a.text} -> {b.text}" for a, b in rising - self.handed),
            "moves handed down": sorted(f"{a.text} -> {b.text}" for a, b in rising & self.handed),
            "all moves": sorted(f"{a.text} -> {b.text}" for a, b in self.moves),
        }


class Tracer:
    """
    Watches every call in every thread while it is on.

    :param package: Folder of the package.
    """

    def __init__(self, package: Path) -> None:
        self._package = f"{package}{os.sep}"
        self._known: dict[CodeType, Function | None] = {}
        self._way: Way | None = None

    @contextmanager
    def on(self, way: Way) -> Iterator[None]:
        """
        Watch within a ``with`` block.

        :param way: Takes what is seen.
        """
        self.start(way)
        try:
            yield
        finally:
            self.stop()

    def start(self, way: Way) -> None:
        """
        Watch from now on.

        :param way: Takes what is seen.
        """
        self._way = way
        threading.setprofile(self._see)
        sys.setprofile(self._see)

    def stop(self) -> None:
        """Watch no longer."""
        self._way = None
        sys.setprofile(None)
        threading.setprofile(None)

    def _see(self, frame: FrameType, event: str, _: Any) -> None:
        way = self._way
        if event != "call" or way is None or (callee := self._function(frame.f_code)) is None:
            return
        caller_frame = self._caller(frame)
        if caller_frame is not None and caller_frame.f_code.co_name == "<module>":
            return
        way.functions.add(callee)
        caller = None if caller_frame is None else self._function(caller_frame.f_code)
        if caller_frame is None or caller is None or caller.file == callee.file:
            return
        way.moves.add((caller, callee))
        if frame.f_code.co_flags & _SUSPENDS or not _is_named(caller_frame, frame):
            way.handed.add((caller, callee))

    def _caller(self, frame: FrameType) -> FrameType | None:
        """Return the nearest frame of the package, or of a module that is being imported."""
        caller = frame.f_back
        while caller is not None:
            code = caller.f_code
            if code.co_filename.startswith(self._package) and (code.co_name == "<module>" or self._function(code)):
                return caller
            caller = caller.f_back
        return None

    def _function(self, code: CodeType) -> Function | None:
        if code not in self._known:
            file, name = code.co_filename, code.co_qualname
            is_ours = file.startswith(self._package) and not name.startswith("<")
            # Class bodies are run by imports; comprehensions and lambdas belong to the function around them.
            function = Function(file.removeprefix(self._package), name.split(".<locals>")[0])
            self._known[code] = function if is_ours and code.co_flags & inspect.CO_OPTIMIZED else None
        return self._known[code]


def _is_named(caller: FrameType, callee: FrameType) -> bool:
    """
    Whether a function names what it calls: as a global, as something it imported, or as a method.

    Not named are what was passed to it, what an attribute holds as data, and what a library calls for it.
    """
    code, parameters = callee.f_code, _parameters(caller.f_code)
    variables = {**caller.f_globals, **caller.f_locals}
    for name in (*caller.f_code.co_names, *caller.f_code.co_varnames, *caller.f_code.co_freevars):
        value = variables.get(name)
        # A bound method in a variable was handed over, too.
        if name not in parameters and inspect.isfunction(value) and value.__code__ is code:
            return True
    if not (code.co_varnames[:1] in {("self",), ("cls",)} and code.co_argcount):
        return any(_holds(value, code) for value in variables.values() if inspect.ismodule(value))
    owner = callee.f_locals[code.co_varnames[0]]
    owner = owner if inspect.isclass(owner) else type(owner)
    if code.co_name.startswith("__"):
        return owner.__name__ in caller.f_code.co_names
    return code.co_name in caller.f_code.co_names and not _is_interface_of(caller, owner, code.co_name)


def _is_interface_of(caller: FrameType, owner: type, method: str) -> bool:
    """Whether the caller knows a method from a base class or a protocol that its own room declares."""
    room = str(caller.f_globals["__name__"]).rpartition(".")[0]
    return any(
        base is not owner and base.__module__.startswith(room) and hasattr(base, method) for base in owner.__mro__
    )


def _holds(module: object, code: CodeType) -> bool:
    return getattr(getattr(module, code.co_name, None), "__code__", None) is code


def _parameters(code: CodeType) -> frozenset[str]:
    return frozenset(code.co_varnames[: code.co_argcount + code.co_kwonlyargcount])


# ------------------------------------------------------------------------------------------------ what Airflow would do


class Supervisor:
    """What a task instance talks to in place of Airflow's API server: keeps what it is told, and gives it back."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, str], Any] = {("Variable", "sentinelhub_installation:0a1b2c3d"): ""}

    def send(self, msg: Any) -> Any:  # noqa: PLR0911 - one answer a message
        """
        Answer a message.

        :param msg: The message.
        """
        from airflow.sdk.exceptions import ErrorType
        from airflow.sdk.execution_time import comms

        match type(msg).__name__:
            case "GetTaskStateStore":
                if ("state", msg.key) in self._kept:
                    return comms.TaskStateStoreResult(value=self._kept["state", msg.key])
                return comms.ErrorResponse(error=ErrorType.TASK_STORE_NOT_FOUND)
            case "SetTaskStateStore":
                self._kept["state", msg.key] = msg.value
            case "GetVariableKeys":
                keys = [key for kind, key in self._kept if kind == "Variable" and key.startswith(msg.prefix or "")]
                return comms.VariableKeysResult(keys=keys, total_entries=len(keys))
            case "GetVariable":
                return comms.ErrorResponse(error=ErrorType.VARIABLE_NOT_FOUND)
            case "GetXCom":
                return comms.XComResult(key=msg.key, value=None)
            case "GetXComSequenceSlice":
                return comms.XComSequenceSliceResult(root=[])
            case "GetTaskStates":
                return comms.TaskStatesResult(task_states={run: {} for run in msg.run_ids})
            case "GetConnection":
                return comms.ErrorResponse(error=ErrorType.CONNECTION_NOT_FOUND)
        return comms.OKResponse(ok=True)


def context_of(operator: Any) -> Any:
    """
    Return the context in which Airflow would run an operator.

    :param operator: The operator.
    """
    from airflow.sdk import DAG
    from airflow.sdk.api.datamodels._generated import DagRun, DagRunState, DagRunType, TIRunContext
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    now = datetime.now(UTC)
    DAG("trace", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)).add_task(operator)
    run: dict[str, Any] = {"dag_id": "trace", "run_id": f"run-{uuid.uuid4()}", "start_date": now}
    dates: dict[str, Any] = dict.fromkeys(
        ("logical_date", "data_interval_start", "data_interval_end", "run_after"), now
    )
    empty: dict[str, Any] = dict.fromkeys(
        ("end_date", "triggering_user_name", "partition_key", "partition_date", "note", "team_name"), None
    )
    dag_run = DagRun.model_construct(
        **run,
        **dates,
        **empty,
        clear_number=0,
        conf={},
        consumed_asset_events=[],
        run_type=DagRunType.MANUAL,
        state=DagRunState.RUNNING,
    )
    told = TIRunContext.model_construct(
        dag_run=dag_run,
        task_reschedule_count=0,
        max_tries=0,
        variables=[],
        connections=[],
        xcom_keys_to_clear=[],
        should_retry=False,
    )
    instance = RuntimeTaskInstance.model_construct(
        **run,
        id=uuid.uuid4(),
        task_id=operator.task_id,
        try_number=1,
        map_index=-1,
        dag_version_id=uuid.uuid4(),
        task=operator,
        max_tries=0,
        hostname="here",
        queue="default",
        _ti_context_from_server=told,
        bundle_instance=None,  # type: ignore[arg-type]  # looked at by nothing here
    )
    context = instance.get_template_context()
    operator.render_template_fields(context)
    return context


# ----------------------------------------------------------------------------------------------------------- the ways


class _CreatedError(Exception):
    """Ends a way: what it leads to has been reached."""


def ways(tracer: Tracer, bucket: str) -> dict[str, Way]:
    """
    Take all ways, one after the other.

    :param tracer: Watches.
    :param bucket: A bucket of the simulator.
    """
    hook = _public("hooks", "SentinelHubBatchHook")
    images = _public("operators", "SentinelHubBatchProcessOperator")
    statistics = _public("operators", "SentinelHubBatchStatisticalOperator")
    checked = Way()
    with tracer.on(checked):
        hook("batch-v2").prepare(_images(bucket))
    parcels = f"s3://{bucket}/{uuid.uuid4()}/parcels.gpkg"
    _execute(
        _public("operators", "SentinelHubInputFeaturesOperator")(
            task_id="parcels", url=parcels, geometries=_PARCELS, epsg=32632, resolution=10
        )
    )
    request = {**_STATISTICS_REQUEST, "output": {"s3": {"url": f"s3://{bucket}/{uuid.uuid4()}"}}}
    request["input"] = {**_STATISTICS_REQUEST["input"], "features": {"s3": {"url": parcels}}}
    return {
        "operator to create": _to_create(tracer, images, _images(bucket)),
        "search and create": _to_create(tracer, images, _images(bucket), hook=hook),
        "check of a request": checked,
        "report to XCom": _from_report(tracer, images, _images(bucket), hook),
        "statistics to table": _from_report(tracer, statistics, request, hook),
    }


def _images(bucket: str) -> dict[str, Any]:
    delivery = {"s3": {"url": f"s3://{bucket}/{uuid.uuid4()}"}}
    return {**_GRID_REQUEST, "output": {"type": "raster", "delivery": delivery}}


def _execute(operator: Any) -> Any:
    return operator.execute(context_of(operator))


def _to_create(tracer: Tracer, operator_class: Any, request: dict[str, Any], *, hook: Any = None) -> Way:
    """
    Stop at the POST that creates a remote task: the first POST that does not request a token.

    With a hook, begin where the operator calls it to search for the task; older checkouts call this ``obtain``.
    """
    import requests

    way = Way()
    send = requests.adapters.HTTPAdapter.send

    def stop_at_create(adapter: Any, prepared: requests.PreparedRequest, *args: Any, **kwargs: Any) -> Any:
        if prepared.method == "POST" and str(prepared.url).endswith("/batch/v2/process"):
            raise _CreatedError
        return send(adapter, prepared, *args, **kwargs)

    operator = operator_class(task_id="create", request=request, deferrable=False, poll_interval=0.1)
    context = context_of(operator)
    first = "search" if hasattr(hook, "search") else "obtain"
    search: Any = getattr(hook, first, None)

    def begin(*args: Any, **kwargs: Any) -> Any:
        tracer.start(way)
        return search(*args, **kwargs)

    requests.adapters.HTTPAdapter.send = stop_at_create  # type: ignore[method-assign, assignment]
    try:
        if hook is None:
            tracer.start(way)
        else:
            setattr(hook, first, begin)
        operator.execute(context)
    except _CreatedError:
        return way
    finally:
        tracer.stop()
        requests.adapters.HTTPAdapter.send = send  # type: ignore[method-assign]
        if hook is not None:
            setattr(hook, first, search)
    raise SystemExit("the operator returned without a POST that creates a task")


def _from_report(tracer: Tracer, operator_class: Any, request: dict[str, Any], hook: Any) -> Way:
    """Begin where a task that has ended is reported on."""
    way = Way()
    report = hook.report

    def begin(*args: Any, **kwargs: Any) -> Any:
        tracer.start(way)
        return report(*args, **kwargs)

    operator = operator_class(
        task_id="report", request=request, deferrable=False, poll_interval=0.1, progress_interval=0
    )
    context = context_of(operator)
    hook.report = begin
    try:
        operator.execute(context)
    finally:
        tracer.stop()
        hook.report = report
    if not way.functions:
        raise SystemExit("the operator returned without a report")
    return way


def _public(room: str, name: str) -> Any:
    """Return a public class, whatever its module is called in that checkout."""
    import importlib
    import pkgutil

    package = importlib.import_module(f"{PACKAGE}.{room}")
    for found in pkgutil.iter_modules(package.__path__):
        module = importlib.import_module(f"{PACKAGE}.{room}.{found.name}")
        if getattr(getattr(module, name, None), "__module__", None) == module.__name__:
            return getattr(module, name)
    raise SystemExit(f"there is no {name} in {room}")


# ---------------------------------------------------------------------------------------------------------- the program


def _trace_here(root: Path, bucket: str) -> dict[str, dict[str, Any]]:
    """Trace the checkout that this process imports the package from."""
    import structlog
    from airflow.sdk.execution_time import task_runner

    import airflow_provider_sentinelhub

    package = root / PACKAGE
    if Path(str(airflow_provider_sentinelhub.__file__)).resolve().parent != package:
        raise SystemExit(f"{PACKAGE} was not imported from {root}")
    logging.disable(logging.CRITICAL)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    task_runner.SUPERVISOR_COMMS = Supervisor()  # type: ignore[assignment]  # the part of it that is used
    layers = Layers(package)
    return {name: way.figures(layers) for name, way in ways(Tracer(package), bucket).items()}


def trace(root: Path) -> dict[str, dict[str, Any]]:
    """
    Trace a checkout, in a process of its own with a simulator of its own.

    :param root: Folder of the checkout.
    """
    with tempfile.TemporaryDirectory(prefix="trace-") as home:
        environment = {
            **os.environ,
            "PYTHONPATH": str(root),
            "AIRFLOW_HOME": home,
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "_AIRFLOW_PROCESS_CONTEXT": "client",
        }
        simulator = subprocess.Popen(
            [sys.executable, "-m", f"{PACKAGE}.simulator", "--exit-with-stdin", "--speed", "3600", "--pixels", "quick"],
            cwd=home,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        try:
            assert simulator.stdout is not None  # noqa: S101 - it is a pipe
            ready = json.loads(simulator.stdout.readline())
            done = subprocess.run(
                [sys.executable, "-P", str(Path(__file__).resolve()), "--here", str(root), ready["bucket"]],
                cwd=home,
                env={**environment, **_connections(ready)},
                stdout=subprocess.PIPE,
                check=True,
            )
        finally:
            simulator.terminate()
            simulator.wait()
    traced: dict[str, dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    return traced


def _connections(ready: dict[str, Any]) -> dict[str, str]:
    sentinelhub = {
        "conn_type": "sentinelhub",
        "login": ready["client_id"],
        "password": ready["client_secret"],
        "host": ready["base_url"],
        "extra": {"deployment": "custom", "token_url": ready["token_url"], "path_layout": "new"},
    }
    aws = {
        "conn_type": "aws",
        "login": ready["access_key_id"],
        "password": ready["secret_access_key"],
        "extra": {"region_name": ready["region"], "endpoint_url": ready["s3_endpoint"]},
    }
    return {
        "AIRFLOW_CONN_SENTINELHUB_DEFAULT": json.dumps(sentinelhub),
        "AIRFLOW_CONN_AWS_DEFAULT": json.dumps(aws),
    }


def main() -> None:
    """Trace a checkout and print the figures."""
    if sys.argv[1:2] == ["--here"]:
        print(json.dumps(_trace_here(Path(sys.argv[2]), sys.argv[3])))
        return
    parser = argparse.ArgumentParser(description="Files and functions that a request passes.")
    parser.add_argument("--root", type=Path, default=Path(__file__).parents[1], help="the checkout to trace")
    parser.add_argument("--moves", action="store_true", help="list every move")
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    options = parser.parse_args()
    traced = trace(options.root.resolve())
    if options.json:
        print(json.dumps(traced, indent=2))
        return
    columns = ("files", "functions", "moves", "upward", "handed down")
    print(f"{'':22}" + "".join(f"{column:>12}" for column in columns))
    for name, figures in traced.items():
        print(f"{name:22}" + "".join(f"{figures[column]:12}" for column in columns))
    for name, figures in traced.items():
        shown = ["upward moves", *(["moves handed down", "all moves"] if options.moves else [])]
        for title in shown:
            if figures[title]:
                print(f"\n{name}, {title}:\n  " + "\n  ".join(figures[title]))


if __name__ == "__main__":
    main()
