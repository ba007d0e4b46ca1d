"""
Stands in for Airflow's side of a task, and for nothing else: the service is the simulator.

``Comms`` answers what a task asks its supervisor and keeps everything that was said.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_sentinelhub.simulator.ready import Ready

CRS84 = "http://www.opengis.net/def/crs/OGC/1.3/CRS84"
# Around the corner that four tiles of the 20 km grid share.
BBOX = [9.21, 42.07, 9.27, 42.11]
EVALSCRIPT = """//VERSION=3
function setup() { return {input: ["B04"], output: {bands: 1, sampleType: "UINT8"}}; }
const T = {{a: 1}}; // {% raw %} {# not a comment #}
function evaluatePixel(s) { return [s.B04]; }
""".replace("{{a: 1}}", "[{b: {a: 1}}, `{{ ds }}`]")


def request(ready: Ready, **changes: Any) -> dict[str, Any]:
    """A request of four features; ``changes`` replace its parts by dotted path, ``__`` for the dot."""
    body: dict[str, Any] = {
        "processRequest": {
            "input": {
                "bounds": {"bbox": list(BBOX), "properties": {"crs": CRS84}},
                "data": [{"type": "sentinel-2-l2a"}],
            },
            "output": {"responses": [{"identifier": "default", "format": {"type": "image/tiff"}}]},
            "evalscript": EVALSCRIPT,
        },
        "input": {"type": "tiling-grid", "id": 0, "resolution": 60},
        "output": {"type": "raster", "delivery": {"s3": {"url": f"s3://{ready.bucket}/{uuid.uuid4()}"}}},
    }
    for path, value in changes.items():
        *parents, last = path.split("__")
        place = body
        for parent in parents:
            place = place[parent]
        if value is None:
            del place[last]
        else:
            place[last] = value
    return body


@dataclass
class Comms:
    """Answers what a task asks its supervisor, and keeps everything that was said."""

    state: dict[str, Any] = field(default_factory=dict)
    xcoms: dict[str, Any] = field(default_factory=dict)
    ti_states: dict[str, str] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=lambda: {"sentinelhub_installation:0a1b2c3d": ""})
    sent: list[Any] = field(default_factory=list)

    def send(self, msg: Any) -> Any:  # noqa: PLR0911, C901 - one answer a message
        from airflow.sdk.exceptions import ErrorType
        from airflow.sdk.execution_time import comms

        message = msg
        self.sent.append(message)
        if "Variable" in type(message).__name__:
            return self._about_variables(message)
        match type(message).__name__:
            case "GetTaskStateStore":
                if message.key in self.state:
                    return comms.TaskStateStoreResult(value=self.state[message.key])
                return comms.ErrorResponse(error=ErrorType.TASK_STORE_NOT_FOUND)
            case "SetTaskStateStore":
                self.state[message.key] = message.value
                return comms.OKResponse(ok=True)
            case "SetXCom":
                self.xcoms[message.key] = message.value
            case "GetXCom":
                return comms.XComResult(key=message.key, value=self.xcoms.get(message.key))
            case "GetXComSequenceSlice":
                found = self.xcoms.get(message.key)
                return comms.XComSequenceSliceResult(root=[] if found is None else [found])
            case "GetTaskStates":
                return comms.TaskStatesResult(task_states={run: dict(self.ti_states) for run in message.run_ids})
            case "ValidateInletsAndOutlets":
                return comms.InactiveAssetsResult(inactive_assets=[])
            case "GetConnection":
                return comms.ErrorResponse(error=ErrorType.CONNECTION_NOT_FOUND)
        return None

    def _about_variables(self, message: Any) -> Any:
        from airflow.sdk.exceptions import ErrorType
        from airflow.sdk.execution_time import comms

        match type(message).__name__:
            case "GetVariable":
                if message.key in self.variables:
                    return comms.VariableResult(key=message.key, value=self.variables[message.key])
                return comms.ErrorResponse(error=ErrorType.VARIABLE_NOT_FOUND)
            case "GetVariableKeys":
                keys = [key for key in self.variables if key.startswith(message.prefix or "")]
                return comms.VariableKeysResult(keys=keys, total_entries=len(keys))
            case "PutVariable":
                self.variables[message.key] = message.value
            case "DeleteVariable":
                self.variables.pop(message.key, None)
        return comms.OKResponse(ok=True)

    async def asend(self, msg: Any) -> Any:
        return self.send(msg)

    def said(self) -> str:
        """Everything the task told Airflow, as text."""
        return "\n".join(repr(m.model_dump()) for m in self.sent if type(m).__name__ != "MaskSecret")


@dataclass
class Run:
    """What became of one execution of a task."""

    state: str
    message: Any
    error: BaseException | None
    ti: Any

    @property
    def trigger(self) -> Any:
        """The trigger a task deferred to, as the triggerer makes it."""
        from airflow.sdk._shared.module_loading import import_string
        from airflow.sdk.serde import deserialize

        kwargs: Any = deserialize(self.message.trigger_kwargs)
        return import_string(self.message.classpath)(**kwargs)


RunTask = Callable[..., Run]


async def first_event(trigger: Any, comms: Comms, ti: Any = None) -> dict[str, Any]:
    """Run a trigger until it yields, and return its payload."""
    from types import SimpleNamespace

    trigger.task_instance = ti or SimpleNamespace(dag_id="unit", task_id="t", run_id="r", map_index=-1)
    async for event in trigger.run():
        payload: dict[str, Any] = event.payload
        return payload
    raise AssertionError("the trigger ended without an event")
