"""Stops that are owed, in the triggerer: tried until they are done, whatever becomes of the trigger that owed them."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import time
from typing import Any

from airflow_provider_sentinelhub.hooks.owed_stops import (
    DESCRIPTION,
    TASK_ID_XCOM,
    Claim,
    OwedStop,
    claim_of,
    prefix_of,
    sentence,
)

log = logging.getLogger(__name__)

_STOP_S = 900.0
_ASK_S = 120.0
# An attempt that a clear has ordered says within so long which remote task it works on, unless it has to wait.
_COMES_WITHIN_S = 30.0
_LOOK_EVERY_S = 60.0
_PAUSE_S = 5.0
_LONGEST_PAUSE_S = 60.0
_MOST = 100

_payers: dict[tuple[int, str], asyncio.Task[None]] = {}
_looked_at: dict[tuple[int, str], float] = {}
# Those that could not be written down.
_unwritten: dict[str, OwedStop] = {}


async def stop_or_owe(stop: OwedStop, *, patience_s: float | None = None) -> str:
    """
    Stop a remote task; what cannot be stopped now is tried again for as long as it takes, and by others.

    :param stop: What is to be stopped.
    :param patience_s: Seconds after which the caller is told that it is owed. Default: 900, for many may be killed at
        once, and the service may be slow to take up a start that has to be stopped.
    :returns: Nothing where it is stopped; otherwise that it is owed.
    """
    # Before it is tried, for the triggerer may be killed meanwhile.
    await _write(stop)
    try:
        async with asyncio.timeout(patience_s or _STOP_S):
            await _stop(stop)
    except Exception as error:  # noqa: BLE001 - whatever it is, the remote task runs on
        log.error("Could not stop task %s: %s", stop.batch_task_id, str(error) or type(error).__name__)  # noqa: TRY400 - the trace says nothing more
        log.error("%s", sentence(stop.text))  # noqa: TRY400 - as above
        _start_payer(stop.sentinelhub_conn_id)
        return stop.text
    await _cross_out(stop)
    return ""


def owe(stop: OwedStop) -> None:
    """
    Owe a stop of which Airflow cannot be asked whether it is wanted: it is asked again, and then it is carried out.

    :param stop: What is to be stopped, if nobody waits for it.
    """
    _unwritten[stop.key] = stop
    _start_payer(stop.sentinelhub_conn_id)


async def claim_on(task_instance: Any, batch_task_id: str) -> Claim:
    """
    Say whether an Airflow task still wants a remote task; wait a little for an attempt that is about to say so.

    :param task_instance: The task instance.
    :param batch_task_id: Id of the remote task.
    :raises TimeoutError: Airflow does not answer.
    """
    give_up_at = time.monotonic() + _COMES_WITHIN_S
    async with asyncio.timeout(_ASK_S):
        while True:
            try:
                claim = claim_of(*(await _said_by(task_instance)), batch_task_id)
            except Exception as e:  # noqa: BLE001 - without an answer nothing may be stopped, so it is asked again
                log.warning("Could not read the Airflow task's state; asking again: %s", e)
            else:
                if claim is not Claim.OPEN or time.monotonic() > give_up_at:
                    return claim
            await asyncio.sleep(1.0)


def look_for_owed(sentinelhub_conn_id: str) -> None:
    """
    See to it that stops are tried that are owed to a connection; it is looked for them now and then.

    :param sentinelhub_conn_id: The connection.
    """
    key = (id(asyncio.get_running_loop()), sentinelhub_conn_id)
    if time.monotonic() - _looked_at.get(key, -_LOOK_EVERY_S) >= _LOOK_EVERY_S:
        _looked_at[key] = time.monotonic()
        _start_payer(sentinelhub_conn_id)


def _start_payer(sentinelhub_conn_id: str) -> None:
    key = (id(asyncio.get_running_loop()), sentinelhub_conn_id)
    if key not in _payers:
        # Part of no trigger, neither its life nor its log: those end, and what is owed stays owed.
        _payers[key] = asyncio.create_task(_pay(sentinelhub_conn_id), context=contextvars.Context())
        _payers[key].add_done_callback(lambda _: _payers.pop(key, None))


async def _pay(sentinelhub_conn_id: str) -> None:
    pause = _PAUSE_S
    while True:
        try:
            owed = await _owed_to(sentinelhub_conn_id)
            if not owed:
                return
            is_paid = await asyncio.gather(*(_is_paid(stop) for stop in owed))
        except Exception as error:  # noqa: BLE001 - what is owed stays owed
            log.warning("Could not look for stops that are owed: %s", str(error) or type(error).__name__)
            is_paid = [False]
        if not all(is_paid):
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE_S)


async def _is_paid(stop: OwedStop) -> bool:
    try:
        if await claim_on(stop, stop.batch_task_id) is Claim.WANTED:
            log.info("Task %s is waited for again: it is not stopped", stop.batch_task_id)
        else:
            async with asyncio.timeout(_STOP_S):
                await _stop(stop)
            log.warning("Stopped task %s, which was owed since %s: %s", stop.batch_task_id, stop.since, stop.why)
        await _cross_out(stop)
    except Exception as error:  # noqa: BLE001 - it is tried again
        log.warning("Could not stop task %s yet: %s", stop.batch_task_id, str(error) or type(error).__name__)
        return False
    return True


async def _stop(stop: OwedStop) -> None:
    from airflow_provider_sentinelhub.client.batch import APIS
    from airflow_provider_sentinelhub.client.errors import AuthenticationError
    from airflow_provider_sentinelhub.client.procedures import stop as stopping
    from airflow_provider_sentinelhub.hooks.sentinel_hub import forget_shared_sender, shared_async_sender

    try:
        async with shared_async_sender(stop.sentinelhub_conn_id) as sender:
            await sender.run(stopping(APIS[stop.api], stop.batch_task_id))
    except AuthenticationError:
        # Somebody may be entering a new secret in the connection just now.
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


async def _said_by(task_instance: Any) -> tuple[str | None, object]:
    """Return the state of a task instance, and what its attempt says it works on."""
    from airflow.sdk.execution_time.comms import GetTaskStates
    from airflow.sdk.execution_time.xcom import XCom

    ti = task_instance
    mapped = ti.map_index is not None and ti.map_index >= 0
    answer = await _asked(
        GetTaskStates(
            dag_id=ti.dag_id,
            task_ids=[ti.task_id],
            run_ids=[ti.run_id],
            map_index=ti.map_index if mapped else None,
        )
    )
    state = answer.task_states.get(ti.run_id, {}).get(f"{ti.task_id}_{ti.map_index}" if mapped else ti.task_id)
    works_on = await XCom.aget_one(
        key=TASK_ID_XCOM, dag_id=ti.dag_id, task_id=ti.task_id, run_id=ti.run_id, map_index=ti.map_index
    )
    return state, works_on


async def _owed_to(sentinelhub_conn_id: str) -> list[OwedStop]:
    from airflow.sdk.execution_time.comms import GetVariable, GetVariableKeys

    found = [stop for stop in _unwritten.values() if stop.sentinelhub_conn_id == sentinelhub_conn_id]
    listed = await _asked(GetVariableKeys(prefix=prefix_of(sentinelhub_conn_id), limit=_MOST, offset=0))
    for key in listed.keys:
        stop = OwedStop.read((await _asked(GetVariable(key=key))).value)
        if stop is not None:
            found.append(stop)
    return found


async def _write(stop: OwedStop) -> None:
    from airflow.sdk.execution_time.comms import PutVariable

    try:
        await _asked(PutVariable(key=stop.key, value=stop.value, description=DESCRIPTION))
    except Exception as error:  # noqa: BLE001 - then this process remembers it
        log.warning("Could not write down that task %s is to be stopped: %s", stop.batch_task_id, error)
        _unwritten[stop.key] = stop


async def _cross_out(stop: OwedStop) -> None:
    from airflow.sdk.execution_time.comms import DeleteVariable

    _unwritten.pop(stop.key, None)
    await _asked(DeleteVariable(key=stop.key))
