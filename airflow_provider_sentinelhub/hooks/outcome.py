"""The outcome of a task: a result, or an error that says why there is none."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_sentinelhub.client.costs.amounts import pu_text
from airflow_provider_sentinelhub.client.errors import (
    ApiError,
    ArtifactError,
    ArtifactMissing,
    FeaturesFailed,
    NotFound,
    TaskError,
    TaskFailed,
    TaskStopped,
)
from airflow_provider_sentinelhub.hooks.owed_stops import why_stopped_here

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow_provider_sentinelhub.artifacts.report.report import FeatureReport
    from airflow_provider_sentinelhub.client.lifecycle.tasks import BatchTask
    from airflow_provider_sentinelhub.hooks.batch import SentinelHubBatchHook

log = logging.getLogger(__name__)

DELETED = "DELETED"
"""Status that this package gives to a task that the service has deleted."""

# Why a task was stopped, and what to do then.
_STOPPED_BECAUSE = {
    "USER_ACTION": (
        "by a user",
        "It can be started again after 30 minutes.",
    ),
    "OUT_OF_PU": (
        "by the service, because the account ran out of processing units",
        (
            "It can be started again after 60 minutes, when units are back; on_out_of_pu='wait' and, up to "
            "max_reruns times, on_partial='rerun' wait for both."
        ),
    ),
    "UNHEALTHY": (
        "by the service, because too many features failed",
        (
            "It can be started again when the service's lock is over; on_partial='rerun' does so, up to "
            "max_reruns times."
        ),
    ),
}
_STOPPED_FOR_GOOD = (
    "by a user",
    "It cannot be started again: clear the Airflow task for a new one, which pays for everything again.",
)
_LOCKED = "It can be started again when the service's lock is over."
_NAMED = 10


@dataclass(frozen=True, slots=True)
class Advice:
    """
    What the user can still do, as sentences at the end of a message.

    :param failed: About failed features.
    :param stopped: About a task that was stopped.
    :param accepted: About failed features, if the Airflow task succeeds without them.
    """

    failed: str = ""
    stopped: str = ""
    accepted: str = ""


LOOKING = Advice(
    failed="{operator} runs them again, and on_partial='warn' accepts what was delivered.",
    stopped="{operator} starts it again.",
    accepted="{operator} runs them again.",
)
"""Advice of operators and sensors that only read the results."""

_FAIL_AGAIN = (
    "They would fail again: correct what the messages name. A changed request creates a new task, and "
    "on_clear='new' runs the same request again."
)


@dataclass(frozen=True, slots=True)
class GivenUp:
    """
    A rerun that was given up.

    :param task_id: Its id.
    :param why: Why it was given up.
    """

    task_id: str
    why: str


def get_even_deleted(
    hook: SentinelHubBatchHook, task_id: str, delivery_url: str | None, features_url: str | None
) -> BatchTask:
    """
    Read a task; if the service has deleted it, return enough to read its results.

    The service deletes inactive Batch Statistical tasks: CREATED ones after 7 days, FAILED ones after 15, others
    after 30. The results stay in the bucket.

    Source: https://docs.planet.com/develop/apis/batch-statistical/

    :param hook: Sends the requests.
    :param task_id: Id of the task.
    :param delivery_url: Where it delivered: ``output.s3.url`` of its request.
    :param features_url: Its input features: ``input.features.s3.url`` of its request.
    :returns: The task; its status is DELETED if the service has deleted it.
    :raises NotFound: The service does not know it, and no ``delivery_url`` was given.
    """
    from airflow_provider_sentinelhub.client.lifecycle.tasks import BatchTask

    try:
        return hook.get(task_id)
    except NotFound as e:
        if delivery_url is None:
            raise NotFound(
                f"{e}\nThe service deletes inactive tasks: CREATED ones after 7 days, FAILED ones after "
                "15, others after 30. The results stay in the bucket: to read them, give its delivery_url and the "
                "features_url of its GeoPackage.",
                status=e.status,
                code=e.code,
            ) from None
        log.warning("The service does not know task %s and may have deleted it: reading %s", task_id, delivery_url)
        features = {"features": {"s3": {"url": features_url}}} if features_url else {}
        return BatchTask(
            id=task_id, status=DELETED, request={"input": features, "output": {"s3": {"url": delivery_url}}}
        )


def with_reruns(hook: SentinelHubBatchHook, task: BatchTask) -> tuple[BatchTask, ...]:
    """
    Return a task and its reruns, in order: a report covers all of them.

    :param hook: Sends the requests.
    :param task: The task.
    """
    if task.status not in hook.api.answered or task.status == DELETED or hook.api.restartable:
        return (task,)
    return (task, *(each for each in hook.reruns_of(task) if each.status in hook.api.answered))


def conclude(
    hook: SentinelHubBatchHook,
    tasks: Sequence[BatchTask],
    *,
    on_partial: str,
    given_up: GivenUp | None = None,
    advice: Advice = LOOKING,
) -> dict[str, Any]:
    """
    Return the result of a task and its reruns, or fail with the reasons.

    :param hook: Reads the bucket.
    :param tasks: The original task and its reruns, in order.
    :param on_partial: ``fail`` or ``warn`` if the task is DONE but some features failed. No further rerun follows, so
        ``rerun`` is ``fail`` here, and ``rerun_then_warn`` is ``warn``; likewise ``restart``.
    :param given_up: A further rerun that was given up; features it delivered count.
    :param advice: What the user can still do.
    :returns: ``task_id`` of the original, ``task_ids`` of all, ``outcome``, ``status``, ``cost_pu``, ``collection_id``
        and ``data_type`` of the collection that the results are added to, if there is one, and the fields of
        :meth:`~airflow_provider_sentinelhub.artifacts.report.report.FeatureReport.to_dict`.
    :raises TaskFailed: The task failed. The ``result`` of this error and the next two is what would have been
        returned.
    :raises TaskStopped: It was stopped.
    :raises FeaturesFailed: Some features failed, and ``on_partial`` is ``fail``; or all did.
    """
    from airflow_provider_sentinelhub.artifacts.report.report import Outcome, outcome_of

    tasks, task = list(tasks), tasks[-1]
    if task.was_skipped:
        return _result(hook, tasks, Outcome.DONE, hook.report(tasks[0], tasks[1:]))
    if given_up is not None:
        tasks.append(hook.get(given_up.task_id))
    report = _report(hook, tasks, is_answered=task.status in hook.api.answered)
    if report is not None:
        log.info("Task %s is %s\n%s", task.id, task.status, report.text())
    try:
        check_not_failed(hook, task, report, advice)
    except TaskError as error:
        error.result = _result(hook, tasks, outcome_of(task.status, report), report)
        raise
    if not hook.api.is_over(task):
        if report is None:
            log.info("Task %s is %s: there is nothing to report on yet", task.id, task.status)
        return _result(hook, tasks, task.status, report)
    outcome = outcome_of(task.status, report)
    if report is not None and outcome is not Outcome.DONE:
        # A template of an attempt that waited during an upgrade may render to a choice that is no longer one.
        fails = on_partial not in {"warn", "rerun_then_warn", "restart_then_warn"} or outcome is Outcome.FAILED
        said = _naming(hook, advice.failed if fails else advice.accepted)
        message = _features_message(tasks, report, given_up, said)
        if fails:
            failed = FeaturesFailed(message)
            failed.result = _result(hook, tasks, outcome, report)
            raise failed
        log.warning(message)
    return _result(hook, tasks, outcome, report)


def check_not_failed(
    hook: SentinelHubBatchHook, task: BatchTask, report: FeatureReport | None = None, advice: Advice = LOOKING
) -> None:
    """
    Fail if a task has failed or was stopped.

    :param hook: Of the task's API.
    :param task: The task.
    :param report: The report on its features, if there is one.
    :param advice: What the user can still do.
    :raises TaskFailed: It failed.
    :raises TaskStopped: It was stopped.
    """
    if task.status == "FAILED":
        reason = (task.error or "the service gave no reason").rstrip(".")
        then = "Correct the request and clear the Airflow task; the same request would fail again."
        if report is not None and report.failed and not _fails_again(report):
            then = (
                f"{report.failed} of {report.total} features failed.\n{_groups(report)}\n"
                "Clear the Airflow task for a new task when the cause has passed."
            )
        raise TaskFailed(f"Task {task.id} FAILED: {reason}. {then}")
    if hook.api.is_stopped(task):
        moment = task.user_action_updated or task.last_updated
        unknown = (f"({task.stopped_status_reason})", _LOCKED)
        because, then = _STOPPED_BECAUSE.get(task.stopped_status_reason or "", unknown)
        if not hook.api.can.resume:
            because, then = _STOPPED_FOR_GOOD
        if (why := why_stopped_here(task.id)) and because == "by a user":
            because = f"by Airflow ({why[:1].lower()}{why[1:]})"
        when = f" at {moment:%Y-%m-%d %H:%M:%S %Z}" if moment is not None else ""
        spent = f", after {pu_text(task.cost_pu)}" if task.cost_pu is not None else ""
        groups = f"\n{_groups(report)}" if report is not None and report.error_groups else ""
        # What cannot be started again is started again by nobody.
        more = f" {_naming(hook, advice.stopped)}".rstrip() if hook.api.can.resume else ""
        raise TaskStopped(f"Task {task.id} was {task.status} {because}{when}{spent}. {then}{more}{groups}")


def _report(hook: SentinelHubBatchHook, tasks: list[BatchTask], *, is_answered: bool) -> FeatureReport | None:
    try:
        return hook.report(tasks[0], tasks[1:])
    except (ArtifactError, ApiError) as e:
        # Only DONE promises results: a task that failed or was stopped early has none.
        if is_answered or (isinstance(e, ApiError) and not hook.api.is_over(tasks[-1])):
            raise
        if not isinstance(e, ArtifactMissing):
            log.warning("There is no report on its features: %s", e)
        return None


def _naming(hook: SentinelHubBatchHook, advice: str) -> str:
    return advice.replace("{operator}", hook.api.start_operator)


def _features_message(tasks: list[BatchTask], report: FeatureReport, given_up: GivenUp | None, advice: str) -> str:
    lost = report.total - report.delivered - report.no_data
    names = ", ".join(report.failed_names[:_NAMED])
    more = f" and {report.failed - _NAMED} more" if report.failed > _NAMED else ""
    count = len(tasks) - 1
    reruns = f" after {count} rerun{'s' * (count > 1)}" if count else ""
    said = _FAIL_AGAIN if report.failed == lost and _fails_again(report) else advice
    fix = f" {said}" if said else ""
    if given_up is not None:
        fix = f"\nThe last rerun was given up: {given_up.why}\nAn operator that reruns continues from there."
    but = ":" if tasks[0].status == "PARTIAL" else ", but"
    return (
        f"Task {tasks[0].id} is {tasks[0].status}{but}{reruns} {lost} of {report.total} features were not delivered "
        f"({report.failed} failed, {report.undelivered} undelivered, {report.pending} pending, "
        f"{report.unknown} unknown){': ' + names + more if names else ''}.\n{_groups(report)}\n"
        f"All features: {report.report_url}.{fix}"
    )


def _fails_again(report: FeatureReport) -> bool:
    from airflow_provider_sentinelhub.artifacts.report.causes import CauseKind

    return all(group.kind is CauseKind.PERMANENT for group in report.error_groups)


def _groups(report: FeatureReport) -> str:
    return "\n".join(
        f"  {group.count} x {group.message} (e.g. {', '.join(group.examples)}). {group.hint}".rstrip()
        for group in report.error_groups
    )


def result_so_far(task: BatchTask) -> dict[str, Any]:
    """
    Return the result of a task that has not ended, without numbers of features.

    :param task: The task.
    """
    return {"task_id": task.id, "task_ids": [task.id], "status": task.status, "cost_pu": task.cost_pu}


def counts_in(result: Mapping[str, Any]) -> dict[str, int]:
    """
    Return the numbers of features, all and by outcome, that a result holds.

    :param result: What :func:`conclude` returned.
    """
    from airflow_provider_sentinelhub.artifacts.report.report import COUNTS

    return {name: result[name] for name in COUNTS if name in result}


def _collection(data_type: str) -> dict[str, str]:
    return {"collection_id": data_type.partition("-")[2], "data_type": data_type} if data_type else {}


def _result(
    hook: SentinelHubBatchHook, tasks: list[BatchTask], outcome: str, report: FeatureReport | None
) -> dict[str, Any]:
    costs = [task.cost_pu for task in tasks if task.cost_pu is not None]
    about = {
        "task_id": tasks[0].id,
        "task_ids": [task.id for task in tasks],
        "outcome": str(outcome),
        "status": tasks[-1].status,
        "cost_pu": sum(costs) if costs else None,
        **_collection(hook.api.data_type(tasks[0].request)),
    }
    # The report knows the cost where the tasks do not tell it.
    return {**about, **(report.to_dict() if report is not None else {})}
