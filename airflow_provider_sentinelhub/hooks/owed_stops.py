"""
Stops that are owed: remote tasks that nobody waits for any more, and that could not be stopped yet.

A stop is written down before it is tried, as an Airflow Variable, and crossed out when it is done. So it outlives
whoever wanted it: triggers and tasks of the same connection try it again, and until then it stands where people look.
"""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow.sdk import Variable

from airflow_provider_sentinelhub.client.errors import SentinelHubError, ServiceUnavailable

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_sentinelhub.client.lifecycle.answers import BatchTask
    from airflow_provider_sentinelhub.hooks.batch import SentinelHubBatchHook

log = logging.getLogger(__name__)

TASK_ID_XCOM = "sentinelhub_task_id"
"""XCom in which each attempt says which remote task it works on."""

DESCRIPTION = "A Sentinel Hub task that is still to be stopped; see docs/what_happens_when.md."

_PREFIX = "sentinelhub_owed_stop:"
_MOST = 1000
_LONGEST_NAME = 150
_HAS_ENDED = frozenset({"success", "failed", "skipped", "upstream_failed", "removed"})
IS_AT_IT = frozenset({"deferred", "running"})
"""States of an Airflow task in which an attempt may say what it works on."""


class Claim(StrEnum):
    """Whether an Airflow task still wants a remote task."""

    WANTED = "wanted"
    UNWANTED = "unwanted"
    OPEN = "open"
    """An attempt is to come, or has begun, and it is not known yet which remote task it works on."""


GONE = "gone"
"""In place of a state: there is no such task instance, for its run or its DAG was deleted."""


def claim_of(state: str | None, works_on: object, batch_task_id: str) -> Claim:
    """
    Say whether an Airflow task still wants a remote task.

    The state alone does not tell: after a clear the new attempt may already wait for another one.

    :param state: The Airflow task's state.
    :param works_on: What its attempt says it works on, in :data:`TASK_ID_XCOM`.
    :param batch_task_id: Id of the remote task.
    """
    if state in _HAS_ENDED or state is GONE:
        return Claim.UNWANTED
    if state in IS_AT_IT and works_on is not None:
        return Claim.WANTED if works_on == batch_task_id else Claim.UNWANTED
    return Claim.OPEN


@dataclass(frozen=True, slots=True)
class OwedStop:
    """
    A stop that is owed.

    :param api: Key of the API, e.g. ``batch-v2``.
    :param batch_task_id: Id of the remote task.
    :param sentinelhub_conn_id: The connection it was created with.
    :param dag_id: The DAG that wanted it.
    :param run_id: The DAG run.
    :param task_id: The Airflow task.
    :param map_index: Index of a mapped task; -1 where it is not mapped.
    :param why: Why it is to be stopped.
    :param since: When that was, in ISO 8601.
    :param once_ended: Whether to stop it only once the Airflow task has ended: until then an attempt may take the
        remote task over, or is about to fail. Otherwise the attempt has ended already.
    """

    api: str
    batch_task_id: str
    sentinelhub_conn_id: str
    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    why: str
    since: str
    once_ended: bool = False

    @classmethod
    def of(cls, api: str, batch_task_id: str, sentinelhub_conn_id: str, task_instance: Any, why: str) -> OwedStop:
        """
        Make one that is owed from now on.

        :param api: Key of the API.
        :param batch_task_id: Id of the remote task.
        :param sentinelhub_conn_id: The connection.
        :param task_instance: The task instance that wanted it.
        :param why: Why it is to be stopped.
        """
        since = datetime.now(UTC).isoformat(timespec="seconds")
        return cls(api, batch_task_id, sentinelhub_conn_id, *names_of(task_instance), why, since)

    @property
    def key(self) -> str:
        """Key of the Variable."""
        return key_of(self.sentinelhub_conn_id, self.batch_task_id)

    @property
    def value(self) -> str:
        """Value of the Variable."""
        return json.dumps(asdict(self))

    @classmethod
    def read(cls, value: object) -> OwedStop | None:
        """
        Read one back; ``None`` where it is none that this version can read.

        :param value: Value of the Variable.
        """
        from airflow_provider_sentinelhub.client.apis.registry import TASK_APIS

        try:
            found = cls(**json.loads(str(value)))
        except (ValueError, TypeError):
            return None
        is_readable = found.api in TASK_APIS and isinstance(found.map_index, int)
        return found if is_readable and all(isinstance(text, str) for text in found.names) else None

    @property
    def names(self) -> tuple[str, ...]:
        """What it is about: the remote task, its connection, DAG, run and task."""
        return self.batch_task_id, self.sentinelhub_conn_id, self.dag_id, self.run_id, self.task_id

    @property
    def text(self) -> str:
        """Say for people that it is owed."""
        return (
            f"the stop of task {self.batch_task_id} is owed: it is tried again until it is done or the task has ended, "
            f"and until then the Airflow Variable {self.key!r} says so"
        )


def sentence(text: str) -> str:
    """
    Begin a text with a capital letter, and leave the rest as it is.

    :param text: The text.
    """
    return text[:1].upper() + text[1:]


def prefix_of(sentinelhub_conn_id: str) -> str:
    """
    Return what the keys of a connection's Variables begin with.

    :param sentinelhub_conn_id: The connection.
    """
    # A colon may stand in the id as well, and a key has 250 characters at most.
    name = quote(sentinelhub_conn_id, safe="")
    if len(name) > _LONGEST_NAME:
        name = hashlib.sha256(name.encode()).hexdigest()
    return f"{_PREFIX}{name}:"


def key_of(sentinelhub_conn_id: str, batch_task_id: str) -> str:
    """
    Return the key of a Variable.

    :param sentinelhub_conn_id: The connection.
    :param batch_task_id: Id of the remote task.
    """
    return f"{prefix_of(sentinelhub_conn_id)}{batch_task_id}"


def owed_to(sentinelhub_conn_id: str) -> list[OwedStop]:
    """
    Return the stops that are owed to a connection, in a task; some of them where there are very many.

    :param sentinelhub_conn_id: The connection.
    """
    keys = list(Variable.keys(prefix_of(sentinelhub_conn_id)))[:_MOST]
    found = [OwedStop.read(Variable.get(key, default=None)) for key in keys]
    return [stop for stop in found if stop is not None and stop.sentinelhub_conn_id == sentinelhub_conn_id]


@dataclass(frozen=True, slots=True)
class Stopped:
    """
    What became of a stop.

    :param task: The remote task afterwards; ``None`` where there is none, or it could not be asked.
    :param owed: Says that the stop is owed, where it is.
    """

    task: BatchTask | None
    owed: str = ""


def stop_or_owe(hook: SentinelHubBatchHook, stop: OwedStop) -> Stopped:
    """
    Stop a remote task, in a task; where that cannot be done within some seconds, owe it.

    :param hook: Of the task's API; it gives up after seconds from now on.
    :param stop: What is to be stopped.
    """
    hook.hurry()
    # Before it is tried, for whoever tries it may be killed.
    is_kept = hand_over(stop)
    try:
        task = hook.stop(stop.batch_task_id)
    except SentinelHubError as error:
        log.error("Could not stop task %s: %s", stop.batch_task_id, error)  # noqa: TRY400 - the trace says nothing more
        if is_kept:
            log.error("%s", sentence(stop.text))  # noqa: TRY400 - as above
            return Stopped(None, stop.text)
        return Stopped(None, f"task {stop.batch_task_id} may still be running: stop it in the dashboard")
    if is_kept:
        _forget(stop)
    return Stopped(task)


def pay(hook: SentinelHubBatchHook, context: Context) -> tuple[OwedStop, ...]:
    """
    Try the stops that are owed to a hook's connection; those of the task instance itself are for it to decide.

    :param hook: Of the connection.
    :param context: The task's context.
    :returns: Those of the task instance itself.
    """
    itself = names_of(context["ti"])
    own: list[OwedStop] = []
    try:
        owed = owed_to(hook.sentinelhub_conn_id)
        own = [stop for stop in owed if names_of(stop) == itself]
        for stop in owed:
            if stop not in own:
                _try(context, stop)
    except ServiceUnavailable as error:
        log.warning("Stops that are owed wait until the service answers: %s", error)
    except Exception:
        # Somebody else's debt is no reason to fail.
        log.exception("Could not look for stops that are owed")
    return tuple(own)


def names_of(task_instance: Any) -> tuple[str, str, str, int]:
    """
    Return DAG, run, task and map index of a task instance, or of one that a stop is owed for.

    :param task_instance: Anything that has these attributes.
    """
    ti = task_instance
    return ti.dag_id, ti.run_id, ti.task_id, -1 if ti.map_index is None else int(ti.map_index)


def _try(context: Context, stop: OwedStop) -> None:
    """
    Try an owed stop.

    :raises ServiceUnavailable: The service does not answer, so the others need not be tried.
    """
    from airflow_provider_sentinelhub.hooks.batch import SentinelHubBatchHook

    claim = _claim(context, stop)
    if claim is Claim.OPEN or (claim is Claim.WANTED and stop.once_ended):
        return
    if claim is Claim.UNWANTED:
        in_a_hurry = SentinelHubBatchHook(stop.api, stop.sentinelhub_conn_id)
        in_a_hurry.hurry()
        try:
            in_a_hurry.stop(stop.batch_task_id)
        except ServiceUnavailable:
            raise
        except SentinelHubError as error:
            log.warning("Could not stop task %s, which is owed since %s: %s", stop.batch_task_id, stop.since, error)
            return
        log.info("Stopped task %s, which was owed since %s: %s", stop.batch_task_id, stop.since, stop.why)
    _forget(stop)


def _claim(context: Context, stop: OwedStop) -> Claim:
    from airflow.sdk.execution_time.xcom import XCom

    mapped = stop.map_index >= 0
    states = context["ti"].get_task_states(
        dag_id=stop.dag_id,
        task_ids=[stop.task_id],
        run_ids=[stop.run_id],
        map_index=stop.map_index if mapped else None,
    )
    state = states.get(stop.run_id, {}).get(f"{stop.task_id}_{stop.map_index}" if mapped else stop.task_id, GONE)
    if state not in IS_AT_IT:
        return claim_of(state, None, stop.batch_task_id)
    works_on = XCom.get_one(
        key=TASK_ID_XCOM,
        dag_id=stop.dag_id,
        task_id=stop.task_id,
        run_id=stop.run_id,
        map_index=stop.map_index,
    )
    return claim_of(state, works_on, stop.batch_task_id)


def hand_over(stop: OwedStop) -> bool:
    """
    Write down, in a task, that a remote task which runs is to be stopped if nobody takes it over.

    :param stop: What is to be stopped then.
    :returns: Whether it is written down, and has to be crossed out by whoever takes it over.
    """
    return _kept(replace(stop, once_ended=True))


def take_over(sentinelhub_conn_id: str, batch_task_id: str) -> None:
    """
    Cross out, in a task, what may be owed of a remote task that it continues with.

    :param sentinelhub_conn_id: The connection.
    :param batch_task_id: Id of the remote task.
    """
    Variable.delete(key_of(sentinelhub_conn_id, batch_task_id))


def forget(stops: tuple[OwedStop, ...], batch_task_id: str) -> None:
    """
    Cross out what is owed of a remote task that is wanted again.

    :param stops: Stops that are owed.
    :param batch_task_id: Id of the remote task.
    """
    for stop in stops:
        if stop.batch_task_id == batch_task_id:
            _forget(stop)


def _kept(stop: OwedStop) -> bool:
    try:
        Variable.set(stop.key, stop.value, description=DESCRIPTION)
    except Exception:
        log.exception("Could not write down that task %s is to be stopped", stop.batch_task_id)
        return False
    return True


def _forget(stop: OwedStop) -> None:
    try:
        Variable.delete(stop.key)
    except Exception:
        # It is tried once more by somebody, which does no harm.
        log.exception("Could not delete the Variable %r", stop.key)
