"""
Owed stops: remote tasks that nobody waits for any more and that could not be stopped yet.

A stop is stored as an Airflow Variable before it is tried, and the Variable is deleted when it is done. So it outlives
the process that wanted it: triggers and tasks of the same connection try it again, and users see it under Variables.
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

    from airflow_provider_sentinelhub.client.lifecycle.tasks import BatchTask
    from airflow_provider_sentinelhub.hooks.batch import SentinelHubBatchHook

log = logging.getLogger(__name__)

TASK_ID_XCOM = "sentinelhub_task_id"
"""XCom with the id of the remote task that an attempt works on."""

DESCRIPTION = "A Sentinel Hub task that is still to be stopped; see docs/what_happens_when.md."

_PREFIX = "sentinelhub_owed_stop:"
_MOST = 1000
# Why this process has stopped remote tasks. The service calls every stop a user's.
_stopped_here: dict[str, str] = {}
_LONGEST_NAME = 150
_HAS_ENDED = frozenset({"success", "failed", "skipped", "upstream_failed", "removed"})
IS_AT_IT = frozenset({"deferred", "running"})
"""States of an Airflow task in which its attempt may have pushed that XCom."""


class Claim(StrEnum):
    """Whether an Airflow task still needs a remote task."""

    WANTED = "wanted"
    UNWANTED = "unwanted"
    OPEN = "open"
    """An attempt will start or has started, and the remote task it works on is not known yet."""


GONE = "gone"
"""Instead of a state: the task instance does not exist, because its run or its DAG was deleted."""


def claim_of(state: str | None, works_on: object, batch_task_id: str) -> Claim:
    """
    Return whether an Airflow task still needs a remote task.

    The state alone is not enough: after a clear, the new attempt may already wait for another remote task.

    :param state: The Airflow task's state.
    :param works_on: The :data:`TASK_ID_XCOM` of its attempt.
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
    An owed stop.

    :param api: Key of the API.
    :param batch_task_id: Id of the remote task.
    :param sentinelhub_conn_id: The connection it was created with.
    :param dag_id: The DAG that owes it.
    :param run_id: The DAG run.
    :param task_id: The Airflow task.
    :param map_index: Index of a mapped task; -1 if it is not mapped.
    :param why: Why it must be stopped.
    :param since: Since when, in ISO 8601.
    :param once_ended: Whether to stop it only after the Airflow task has ended: until then, an attempt may take it over
        or is about to fail. Otherwise the attempt has already ended.
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
        Create one that is owed from now on.

        :param api: Key of the API.
        :param batch_task_id: Id of the remote task.
        :param sentinelhub_conn_id: The connection.
        :param task_instance: The task instance that owes it.
        :param why: Why it must be stopped.
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
        Read one; ``None`` if this version cannot read it.

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
        """Ids of the remote task, connection, DAG, run and task."""
        return self.batch_task_id, self.sentinelhub_conn_id, self.dag_id, self.run_id, self.task_id

    @property
    def text(self) -> str:
        """A sentence that says that it is owed."""
        return (
            f"the stop of task {self.batch_task_id} is owed: it is tried again until it is done or the task has ended, "
            f"and until then the Airflow Variable {self.key!r} says so"
        )


def sentence(text: str) -> str:
    """
    Capitalise the first letter of a text.

    :param text: The text.
    """
    return text[:1].upper() + text[1:]


def prefix_of(sentinelhub_conn_id: str) -> str:
    """
    Return the prefix of the keys of a connection's Variables.

    :param sentinelhub_conn_id: The connection.
    """
    # The id may contain a colon, and a key has at most 250 characters.
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
    Return the owed stops of a connection, in a task; not all of them if there are very many.

    :param sentinelhub_conn_id: The connection.
    """
    keys = list(Variable.keys(prefix_of(sentinelhub_conn_id)))[:_MOST]
    found = [OwedStop.read(Variable.get(key, default=None)) for key in keys]
    return [stop for stop in found if stop is not None and stop.sentinelhub_conn_id == sentinelhub_conn_id]


@dataclass(frozen=True, slots=True)
class Stopped:
    """
    The outcome of a stop.

    :param task: The remote task afterwards; ``None`` if it does not exist or could not be read.
    :param owed: A sentence that the stop is owed, if it is.
    """

    task: BatchTask | None
    owed: str = ""


def stop_or_owe(hook: SentinelHubBatchHook, stop: OwedStop) -> Stopped:
    """
    Stop a remote task, in a task; if that fails for some seconds, owe the stop.

    :param hook: A hook of the task's API; it gives up after seconds from now on.
    :param stop: The stop.
    """
    hook.hurry()
    # Before it is tried, because this process may be killed.
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
    if len(_stopped_here) < _MOST:
        _stopped_here[stop.batch_task_id] = stop.why
    return Stopped(task)


def why_stopped_here(batch_task_id: str) -> str | None:
    """
    Return why this process has stopped a remote task, once; ``None`` if it has not.

    :param batch_task_id: Id of the remote task.
    """
    return _stopped_here.pop(batch_task_id, None)


def pay(hook: SentinelHubBatchHook, context: Context) -> tuple[OwedStop, ...]:
    """
    Try the owed stops of a hook's connection, except those of the task instance itself.

    :param hook: A hook of the connection.
    :param context: The task's context.
    :returns: The owed stops of the task instance itself, which it decides on.
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
        log.warning("Owed stops wait until the service answers: %s", error)
    except Exception:
        # Stops of other tasks are no reason to fail.
        log.exception("Could not look for owed stops")
    return tuple(own)


def names_of(task_instance: Any) -> tuple[str, str, str, int]:
    """
    Return DAG, run, task and map index of a task instance or of an owed stop.

    :param task_instance: Any object with these attributes. ``None`` for a trigger in ``dag.test()``, which has none:
        then they are empty.
    """
    ti = task_instance
    if ti is None:
        return "", "", "", -1
    return ti.dag_id, ti.run_id, ti.task_id, -1 if ti.map_index is None else int(ti.map_index)


def _try(context: Context, stop: OwedStop) -> None:
    """
    Try an owed stop.

    :raises ServiceUnavailable: The service does not answer, so trying others is pointless.
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

    if not stop.dag_id:
        return Claim.UNWANTED
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
    Store, in a task, that a running remote task must be stopped unless an attempt takes it over.

    :param stop: The stop.
    :returns: Whether it is stored, so that taking the task over must delete it.
    """
    return _kept(replace(stop, once_ended=True))


def take_over(sentinelhub_conn_id: str, batch_task_id: str) -> None:
    """
    Delete, in a task, the owed stop of a remote task that it continues with.

    :param sentinelhub_conn_id: The connection.
    :param batch_task_id: Id of the remote task.
    """
    Variable.delete(key_of(sentinelhub_conn_id, batch_task_id))


def forget(stops: tuple[OwedStop, ...], batch_task_id: str) -> None:
    """
    Delete the owed stop of a remote task that is needed again.

    :param stops: Owed stops.
    :param batch_task_id: Id of the remote task.
    """
    for stop in stops:
        if stop.batch_task_id == batch_task_id:
            _forget(stop)


def _kept(stop: OwedStop) -> bool:
    try:
        Variable.set(stop.key, stop.value, description=DESCRIPTION)
    except Exception:
        log.exception("Could not store that task %s must be stopped", stop.batch_task_id)
        return False
    return True


def _forget(stop: OwedStop) -> None:
    try:
        Variable.delete(stop.key)
    except Exception:
        # It is tried once more, which does no harm.
        log.exception("Could not delete the Variable %r", stop.key)
