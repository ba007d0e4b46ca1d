"""Owed stops in the triggerer: tried until they are done, even after the trigger that owed them has ended."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from airflow_provider_sentinelhub.hooks.owed_stops import (
    DESCRIPTION,
    GONE,
    IS_AT_IT,
    TASK_ID_XCOM,
    Claim,
    OwedStop,
    claim_of,
    key_of,
    names_of,
    prefix_of,
    sentence,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

log = logging.getLogger(__name__)

_STOP_S = 900.0
_ASK_S = 300.0
# An attempt after a clear pushes the id of its remote task within this time, unless it is queued.
_COMES_WITHIN_S = 120.0
_LOOK_EVERY_S = 60.0
_PAUSE_S = 5.0
_LONGEST_PAUSE_S = 60.0
_MOST = 1000


@dataclass(slots=True)
class _Kept:
    """State of one event loop: a triggerer has one."""

    payers: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    looked_at: dict[str, float] = field(default_factory=dict)
    # Stops that could not be stored.
    unwritten: dict[str, OwedStop] = field(default_factory=dict)
    # Remote tasks, and the task instances whose triggers wait for them.
    awaited: Counter[tuple[object, ...]] = field(default_factory=Counter)


_kept_by: WeakKeyDictionary[asyncio.AbstractEventLoop, _Kept] = WeakKeyDictionary()


def _kept() -> _Kept:
    return _kept_by.setdefault(asyncio.get_running_loop(), _Kept())


@contextmanager
def awaited(batch_task_id: str, task_instance: Any) -> Iterator[None]:
    """
    Register that a task instance's trigger waits for a remote task.

    :param batch_task_id: Id of the remote task.
    :param task_instance: The task instance.
    """
    key = (batch_task_id, *names_of(task_instance))
    waiting = _kept().awaited
    waiting[key] += 1
    try:
        yield
    finally:
        waiting[key] -= 1
        if not waiting[key]:
            del waiting[key]


async def stop_if_unwanted(stop: OwedStop) -> None:
    """
    Stop a remote task whose trigger was cancelled, unless another trigger waits for it.

    Airflow 3.3 also calls ``on_kill`` when a stalled triggerer wakes up and another one has taken over its triggers
    (apache/airflow#73454); and after a clear, the new attempt may continue with the same remote task.

    :param stop: The stop.
    """
    # Before anything else, because the triggerer may be killed meanwhile.
    await _write(stop)
    if not await _is_settled(stop):
        log.error("%s", sentence(stop.text))
        _start_payer(stop.sentinelhub_conn_id)


async def stop_or_owe(stop: OwedStop, *, patience_s: float) -> str:
    """
    Stop a remote task; if that fails, it is tried again until it succeeds, also by other processes.

    :param stop: The stop.
    :param patience_s: Seconds after which to return that it is owed.
    :returns: Empty if it is stopped; otherwise a sentence that it is owed.
    """
    # The Airflow task waits until the event, and fails then.
    stop = replace(stop, once_ended=True)
    await _write(stop)
    try:
        async with asyncio.timeout(patience_s):
            await _stop(stop)
    except Exception as error:  # noqa: BLE001 - whatever it is, the remote task still runs
        log.error("Could not stop task %s: %s", stop.batch_task_id, str(error) or type(error).__name__)  # noqa: TRY400 - the trace says nothing more
        log.error("%s", sentence(stop.text))  # noqa: TRY400 - as above
        _start_payer(stop.sentinelhub_conn_id)
        return stop.text
    await _cross_out(stop)
    return ""


async def hand_over(stop: OwedStop) -> None:
    """
    Make sure that a running remote task is stopped if the resumed Airflow task never takes it over.

    :param stop: The stop.
    """
    await _write(replace(stop, once_ended=True))
    _start_payer(stop.sentinelhub_conn_id)


async def take_over(sentinelhub_conn_id: str, batch_task_id: str) -> bool:
    """
    Delete the owed stop of a remote task that a trigger now waits for.

    :param sentinelhub_conn_id: The connection.
    :param batch_task_id: Id of the remote task.
    :returns: Whether that succeeded.
    """
    from airflow.sdk.execution_time.comms import DeleteVariable

    try:
        await _asked(DeleteVariable(key=key_of(sentinelhub_conn_id, batch_task_id)))
    except Exception as error:  # noqa: BLE001 - it is tried again at the next poll
        log.warning("Could not delete the Variable of task %s: %s", batch_task_id, error)
        return False
    return True


def look_for_owed(sentinelhub_conn_id: str) -> None:
    """
    Try the owed stops of a connection in the background, at most once a minute.

    :param sentinelhub_conn_id: The connection.
    """
    looked_at = _kept().looked_at
    if time.monotonic() - looked_at.get(sentinelhub_conn_id, -_LOOK_EVERY_S) >= _LOOK_EVERY_S:
        looked_at[sentinelhub_conn_id] = time.monotonic()
        _start_payer(sentinelhub_conn_id)


def _start_payer(sentinelhub_conn_id: str) -> None:
    payers = _kept().payers
    if sentinelhub_conn_id not in payers:
        # Not part of a trigger's context or log: triggers end before owed stops are done.
        payer = asyncio.create_task(_pay(sentinelhub_conn_id), context=contextvars.Context())
        payers[sentinelhub_conn_id] = payer
        payer.add_done_callback(lambda _: payers.pop(sentinelhub_conn_id, None))


async def _pay(sentinelhub_conn_id: str) -> None:
    pause = _PAUSE_S
    while True:
        try:
            owed = await _owed_to(sentinelhub_conn_id)
            if not owed:
                return
            settled = await asyncio.gather(*(_is_settled(stop) for stop in owed))
        except Exception as error:  # noqa: BLE001 - it is tried again
            log.warning("Could not look for owed stops: %s", str(error) or type(error).__name__)
            settled = [False]
        if not all(settled):
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE_S)


async def _is_settled(stop: OwedStop) -> bool:
    """Stop what nobody needs, delete stops that are done or no longer needed; return whether it is settled."""
    try:
        claim = await _claim_on(stop)
        if claim is Claim.OPEN and (stop.once_ended or not await _is_owed(stop)):
            return not stop.once_ended
        if claim is Claim.WANTED:
            if stop.once_ended:
                # Taking it over deletes it.
                return False
            log.info("Task %s is still waited for: left running", stop.batch_task_id)
        else:
            log.info("%s: stopping task %s", stop.why, stop.batch_task_id)
            async with asyncio.timeout(_STOP_S):
                await _stop(stop)
        await _cross_out(stop)
    except Exception as error:  # noqa: BLE001 - it is tried again
        log.error("Could not stop task %s: %s", stop.batch_task_id, str(error) or type(error).__name__)  # noqa: TRY400 - the trace says nothing more
        return False
    return True


async def _claim_on(stop: OwedStop) -> Claim:
    """
    Return whether a remote task is still needed; wait a little for an attempt that has just started.

    :raises TimeoutError: Airflow does not answer.
    """
    give_up_at = time.monotonic() + (0.0 if stop.once_ended else _COMES_WITHIN_S)
    async with asyncio.timeout(_ASK_S):
        while True:
            if _kept().awaited[stop.batch_task_id, *names_of(stop)]:
                return Claim.WANTED
            try:
                claim = claim_of(*(await _said_by(stop)), stop.batch_task_id)
            except Exception as e:  # noqa: BLE001 - without an answer nothing may be stopped, so try again
                log.warning("Could not read the Airflow task's state; asking again: %s", e)
            else:
                if claim is not Claim.OPEN or time.monotonic() > give_up_at:
                    return claim
            await asyncio.sleep(1.0)


async def _stop(stop: OwedStop) -> None:
    from airflow_provider_sentinelhub.client.apis.registry import TASK_APIS
    from airflow_provider_sentinelhub.client.errors import AuthenticationError
    from airflow_provider_sentinelhub.client.lifecycle.procedures import stop as stopping
    from airflow_provider_sentinelhub.hooks.sentinel_hub import forget_shared_sender, shared_async_sender

    try:
        async with shared_async_sender(stop.sentinelhub_conn_id) as sender:
            await sender.run(stopping(TASK_APIS[stop.api], stop.batch_task_id))
    except AuthenticationError:
        # A user may be changing the secret in the connection.
        forget_shared_sender(stop.sentinelhub_conn_id)
        raise


# ------------------------------------------------------------------------------------------------------ Airflow itself


async def _asked(message: Any) -> Any:
    from airflow.sdk.exceptions import AirflowRuntimeError
    from airflow.sdk.execution_time import task_runner
    from airflow.sdk.execution_time.comms import ErrorResponse

    answer = await task_runner.SUPERVISOR_COMMS.asend(message)
    if isinstance(answer, ErrorResponse):
        raise AirflowRuntimeError(answer)
    return answer


async def _said_by(stop: OwedStop) -> tuple[str | None, object]:
    """Return the state of a task instance, and the id of the remote task it works on, if that can be read."""
    from airflow.sdk.exceptions import AirflowRuntimeError
    from airflow.sdk.execution_time.comms import GetTaskStates
    from airflow.sdk.execution_time.xcom import XCom

    if not stop.dag_id:
        return GONE, None
    mapped = stop.map_index >= 0
    answer = await _asked(
        GetTaskStates(
            dag_id=stop.dag_id,
            task_ids=[stop.task_id],
            run_ids=[stop.run_id],
            map_index=stop.map_index if mapped else None,
        )
    )
    key = f"{stop.task_id}_{stop.map_index}" if mapped else stop.task_id
    state = answer.task_states.get(stop.run_id, {}).get(key, GONE)
    if state not in IS_AT_IT:
        return state, None
    try:
        works_on = await XCom.aget_one(
            key=TASK_ID_XCOM, dag_id=stop.dag_id, task_id=stop.task_id, run_id=stop.run_id, map_index=stop.map_index
        )
    except AirflowRuntimeError as error:
        # Airflow 3.4 does not let a trigger read XComs after its task was cleared.
        if (error.error.detail or {}).get("status_code") != HTTPStatus.FORBIDDEN:
            raise
        works_on = None
    return state, works_on


async def _is_owed(stop: OwedStop) -> bool:
    """Return whether nobody has deleted it meanwhile."""
    return any(other.key == stop.key for other in await _owed_to(stop.sentinelhub_conn_id))


async def _owed_to(sentinelhub_conn_id: str) -> list[OwedStop]:
    from airflow.sdk.execution_time.comms import GetVariable, GetVariableKeys

    found = [stop for stop in _kept().unwritten.values() if stop.sentinelhub_conn_id == sentinelhub_conn_id]
    listed = await _asked(GetVariableKeys(prefix=prefix_of(sentinelhub_conn_id), limit=_MOST, offset=0))
    for key in listed.keys:
        stop = OwedStop.read((await _asked(GetVariable(key=key))).value)
        if stop is not None and stop.sentinelhub_conn_id == sentinelhub_conn_id:
            found.append(stop)
    return found


async def _write(stop: OwedStop) -> None:
    from airflow.sdk.execution_time.comms import PutVariable

    try:
        await _asked(PutVariable(key=stop.key, value=stop.value, description=DESCRIPTION))
    except Exception as error:  # noqa: BLE001 - then this process keeps it
        log.warning("Could not store that task %s must be stopped: %s", stop.batch_task_id, error)
        _kept().unwritten[stop.key] = stop


async def _cross_out(stop: OwedStop) -> None:
    from airflow.sdk.execution_time.comms import DeleteVariable

    _kept().unwritten.pop(stop.key, None)
    await _asked(DeleteVariable(key=stop.key))
