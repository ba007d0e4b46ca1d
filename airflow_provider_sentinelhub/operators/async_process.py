"""
Operator for Async Process: one image of up to 10,000 x 10,000 pixels, delivered to a bucket.

The service starts and charges a request as it accepts it, lists none and cancels none. So an attempt writes a note into
the delivery folder before it sends a request, and a later attempt looks there before it sends another one.

Source: https://docs.planet.com/develop/apis/async-processing/
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NoReturn

from airflow.sdk.configuration import conf

from airflow_provider_sentinelhub.client.errors import (
    ArtifactMissing,
    OutcomeUnknown,
    SentinelHubError,
    StorageUnavailable,
    TaskFailed,
    TaskTimedOut,
    TooManyRunning,
)
from airflow_provider_sentinelhub.hooks import checks
from airflow_provider_sentinelhub.hooks.budget import limit_of
from airflow_provider_sentinelhub.hooks.failures import airflow_failures, published
from airflow_provider_sentinelhub.hooks.sentinel_hub import SentinelHubHook
from airflow_provider_sentinelhub.operators.outlets import add_events, area_and_period
from airflow_provider_sentinelhub.operators.record import intent_of
from airflow_provider_sentinelhub.operators.templating import RequestTemplateMixin
from airflow_provider_sentinelhub.operators.waiting import deadline_from_now

if TYPE_CHECKING:
    from datetime import timedelta

    from airflow.sdk import Context, XComArg

    from airflow_provider_sentinelhub.artifacts.results.async_process import State, Submission, Waited
    from airflow_provider_sentinelhub.client.lifecycle.watch import Watch
    from airflow_provider_sentinelhub.hooks.async_process import SentinelHubAsyncProcessHook, Work

_KEY = "sentinelhub_async"
_XCOM_BYTES = 3500
_TRIGGER_MARGIN_S = 300.0
# Between two attempts to submit while the account runs as many requests as it may: doubles up to this factor.
_MOST_PAUSES = 8


class SentinelHubAsyncProcessOperator(RequestTemplateMixin, checks.CheckedParametersMixin):
    """
    Have an image of up to 10,000 x 10,000 pixels computed, and wait until it is in the bucket.

    The service starts a request as it accepts it, and can neither list nor cancel requests. Retries, lost answers and
    killed workers do not lead to a second one, because each request has a folder of its own below the delivery URL, in
    which a later attempt finds it. A request that failed is submitted again only by a retry, and only if its error may
    pass.

    Returns a small dict: ``request_id``, ``outcome`` (DONE), ``output_urls`` (URLs by output identifier),
    ``folder_url``, and ``cost_pu``, if the service tells it.

    .. seealso:: ``docs/howto/async_process.md``

    :param request: The service's own request, as a dict, its JSON text, or the path of a ``.json`` file. It holds no
        credentials: those are taken from the connections when it is sent. An ``evalscript`` may be the path of a
        ``.js`` file; its text is sent as it is. Templated.
    :param deferrable: Run in deferrable mode: wait in the triggerer instead of holding a worker slot.
    :param poll_interval: Time in seconds between two checks of the request. Templated.
    :param timeout: How long the request may take, over all retries of the Airflow task, as a ``timedelta`` or in
        seconds. After that the Airflow task fails; the request runs on. ``None`` for no limit. Airflow's
        ``execution_timeout`` counts in the same way, also while deferred; the shorter one applies.
    :param max_pu: Maximum processing units of the request, as estimated before it is sent. Default: the limit of the
        connection; without one, 10,000 PU and 1,000,000 km2. Templated.
    :param on_clear: What to do after a user has cleared the Airflow task. ``resume``: continue with the request that
        there is, unless it failed or the Airflow task succeeded with it. ``new``: submit a new one; the one before
        runs on. ``adopt``: like ``resume``, also after a success.
    :param on_unknown: What to do if the answer to a submission was lost, and no trace of the request is in the bucket
        after ``trace_timeout``. ``fail``: fail, and submit nothing until a user decides. ``create``: submit it again;
        if the first one runs after all, both are paid for.
    :param trace_timeout: Time in seconds to wait for a trace of a request whose submission had no answer, and for the
        results of one that has ended. Templated.
    :param check_bucket: Check the bucket before a request is sent: that it can be used (a small object is written,
        read, listed and deleted), and in which region it is.
    :param sentinelhub_conn_id: The Sentinel Hub connection. Templated.
    :param aws_conn_id: The AWS connection, for buckets on Amazon S3. Templated.
    :param gcp_conn_id: The Google Cloud connection, for buckets on Google Cloud Storage. Templated.
    """

    template_fields: Sequence[str] = (
        "request",
        "poll_interval",
        "max_pu",
        "trace_timeout",
        "sentinelhub_conn_id",
        "aws_conn_id",
        "gcp_conn_id",
    )
    template_fields_renderers = {"request": "json"}  # noqa: RUF012 - Airflow's own convention
    rules: ClassVar[Mapping[str, checks.Rule]] = {
        "request": checks.request,
        "deferrable": checks.flag,
        "poll_interval": checks.SECONDS,
        "timeout": checks.limit,
        "max_pu": checks.LIMIT_IN_PU,
        "on_clear": partial(checks.one_of, choices=("resume", "new", "adopt")),
        "on_unknown": partial(checks.one_of, choices=("fail", "create")),
        "trace_timeout": checks.SECONDS,
        "check_bucket": checks.flag,
        "sentinelhub_conn_id": checks.CONNECTION,
        "aws_conn_id": checks.OPTIONAL_CONNECTION,
        "gcp_conn_id": checks.OPTIONAL_CONNECTION,
        "execution_timeout": checks.limit,
    }
    may_hold_braces = frozenset({"request"})
    ui_color = "#d4e7c5"

    def __init__(
        self,
        *,
        request: Mapping[str, Any] | str | XComArg,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poll_interval: float | str = 60.0,
        timeout: timedelta | float | None = None,
        max_pu: float | str | None = None,
        on_clear: Literal["resume", "new", "adopt"] = "resume",
        on_unknown: Literal["fail", "create"] = "fail",
        trace_timeout: float | str = 1800.0,
        check_bucket: bool = True,
        sentinelhub_conn_id: str = SentinelHubHook.default_conn_name,
        aws_conn_id: str | None = "aws_default",
        gcp_conn_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.request = request
        self.deferrable = deferrable
        self.poll_interval = poll_interval
        self.timeout = timeout
        self.max_pu = max_pu
        self.on_clear = on_clear
        self.on_unknown = on_unknown
        self.trace_timeout = trace_timeout
        self.check_bucket = check_bucket
        self.sentinelhub_conn_id = sentinelhub_conn_id
        self.aws_conn_id = aws_conn_id
        self.gcp_conn_id = gcp_conn_id
        self._request_id = ""
        self.check_parameters(parsing=True)

    @cached_property
    def hook(self) -> SentinelHubAsyncProcessHook:
        """The hook that reaches the service and the bucket."""
        from airflow_provider_sentinelhub.hooks.async_process import SentinelHubAsyncProcessHook

        return SentinelHubAsyncProcessHook(self.sentinelhub_conn_id, self.aws_conn_id, self.gcp_conn_id)

    def execute(self, context: Context) -> dict[str, Any]:
        """
        Submit the request, unless an earlier attempt did; wait for it, and return the result.

        :param context: The task's context.
        """
        with airflow_failures(), published(context):
            self.check_parameters(parsing=False)
            limit_of(self.hook, self.max_pu)
            work = self._work(context)
            last = self._last(work)
            chosen = None if last is None else self._chosen(work, last)
            if chosen is not None:
                return self._wait(work, chosen)
            self.hook.check_budget(work.body, self.max_pu)
            if self.check_bucket:
                self.hook.check_buckets(work.body)
            return self._submit(work, 1 if last is None else last.number + 1, self._new_deadline())

    def execute_complete(
        self,
        context: Context,
        event: Mapping[str, Any] | None = None,
        number: int | None = None,
        deadline: float | None = None,
        pauses: int = 0,
    ) -> dict[str, Any]:
        """
        Continue after a deferral.

        :param context: The task's context.
        :param event: The payload of the trigger's event; ``None`` if something else resumed the Airflow task.
        :param number: Number of the submission, if there was no room for it before.
        :param deadline: Its deadline.
        :param pauses: How often there was no room for it.
        """
        from airflow_provider_sentinelhub.artifacts.results.async_process import Waited

        with airflow_failures(), published(context):
            self.check_rendered()
            self.make_own()
            work = self._work(context)
            if number is not None and work.deliveries.submission(number) is None:
                return self._submit(work, number, deadline, pauses)
            last = self._last(work)
            if last is None:
                # There was no room for the first one, and the trigger crashed.
                return self._submit(work, 1, self._new_deadline())
            known = str((event or {}).get("request_id") or "")
            if not last.request_id and known:
                last = self._remember(work, last, known)
            waited = (event or {}).get("waited")
            if waited == Waited.LOST:
                self.log.error("Could not look at the request any more: %s", (event or {}).get("message"))
            return self._wait(work, last, is_gone=waited == Waited.GONE)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """
        Continue after the deferral. If the trigger crashed or never ran, wait in the worker instead of failing.

        :param next_method: The method to continue with.
        :param next_kwargs: Its arguments.
        :param context: The task's context.
        """
        from airflow.sdk.exceptions import TaskDeferralError, TaskDeferralTimeout

        try:
            return super().resume_execution(next_method, next_kwargs, context)
        except (TaskDeferralError, TaskDeferralTimeout) as e:
            self.log.warning("The trigger ended without an event (%s): waiting in the worker instead", e)
            self.deferrable = False
            return self.execute_complete(context)

    def on_kill(self) -> None:
        """Log that the request runs on: the service cannot cancel it."""
        if self._request_id:
            self.log.warning(
                "Killed. Request %s cannot be cancelled: it runs to its end, and is charged. A retry or a clear of "
                "this Airflow task continues with it",
                self._request_id,
            )

    def _work(self, context: Context) -> Work:
        from airflow_provider_sentinelhub.hooks.async_process import Work

        body = self.hook.prepare(self.with_files(self.request))
        intent = intent_of(context, body)
        return Work(context, body, intent, self.hook.deliveries(body, intent))

    def _chosen(self, work: Work, last: Submission) -> Submission | None:
        """
        Return the submission that this attempt continues with; ``None`` if a new request is needed.

        :raises TaskFailed: It failed, and would fail again.
        """
        from airflow_provider_sentinelhub.artifacts.report.causes import is_permanent
        from airflow_provider_sentinelhub.artifacts.results.async_process import Stage

        state = self.hook.look(work.deliveries, last)
        about = f"Request {state.request_id}" if state.request_id else f"A request to {self._folder(work, last)}"
        is_cleared, is_first = last.generation != work.intent.generation, work.context["ti"].try_number == 1
        if is_cleared and self.on_clear == "new":
            runs_on = "" if state.is_over else "; it cannot be cancelled, runs to its end and is charged"
            self.log.warning("Cleared: a new request replaces %s, because on_clear is 'new'%s", about, runs_on)
            return None
        if state.stage is Stage.FAILED:
            if not is_cleared and not is_first and is_permanent(state.message):
                raise self._failed(state)
            self.log.warning("%s failed, so a new one is submitted: %s", about, state.message)
            return None
        if state.stage is Stage.DELIVERED and is_cleared and last.succeeded and self.on_clear == "resume":
            self.log.warning(
                "Cleared after a success: a new request is submitted, and everything is paid for again. To continue "
                "with what there is, set on_clear='adopt'"
            )
            return None
        if state.stage is Stage.DELIVERED and not is_cleared and is_first and last.succeeded:
            # Of a run that was deleted, and created again under the same name.
            self.log.info("%s was delivered before this run: a new one is submitted", about)
            return None
        self.log.info("%s is %s: continuing with it", about, state.stage)
        if is_cleared:
            last = replace(last, generation=work.intent.generation, deadline=self._new_deadline())
            work.deliveries.save(last)
        return last

    def _submit(self, work: Work, number: int, deadline: float | None, pauses: int = 0) -> dict[str, Any]:
        """Submit the request, and wait for it; if the account has no room for it, wait for that first."""
        from airflow_provider_sentinelhub.artifacts.results.async_process import Submission

        deliveries = work.deliveries
        while True:
            note = deliveries.claim(number, work.intent.generation, deadline)
            if note is None:
                self.log.warning("Another attempt has submitted this request at the same time: continuing with that")
                return self._wait(work, self._last(work) or Submission(number, work.intent.generation, time.time()))
            try:
                accepted = self.hook.submit(work.body, deliveries.delivery_url(number))
            except OutcomeUnknown as e:
                self.log.warning("%s Looking for a trace of the request in %s", e, deliveries.folder(number))
                return self._wait(work, note)
            except TooManyRunning as e:
                deliveries.withdraw(note)
                self._wait_for_room(work, number, deadline, pauses, e)
                pauses += 1
            except SentinelHubError:
                # It was certainly not accepted.
                deliveries.withdraw(note)
                raise
            else:
                self.log.info("Submitted request %s for %s", accepted.id, work.intent.tag)
                return self._wait(work, self._remember(work, note, accepted.id), just_submitted=True)

    def _wait_for_room(
        self, work: Work, number: int, deadline: float | None, pauses: int, error: TooManyRunning
    ) -> None:
        from airflow_provider_sentinelhub.artifacts.results.async_process import Submission

        seconds = float(self.poll_interval) * min(2**pauses, _MOST_PAUSES)
        if deadline is not None:
            if time.time() >= deadline:
                raise TaskTimedOut(f"{error} The request was not submitted within {self._limit_text()}.")
            seconds = min(seconds, deadline - time.time())
        self.log.info("%s Trying again in %.0f s", error, seconds)
        if not self.deferrable:
            time.sleep(seconds)
            return
        again = {"number": number, "deadline": deadline, "pauses": pauses + 1}
        self._defer(work, Submission(number, 0), deadline, pause_until=time.time() + seconds, kwargs=again)

    def _wait(
        self, work: Work, submission: Submission, *, is_gone: bool = False, just_submitted: bool = False
    ) -> dict[str, Any]:
        """
        Wait until the request has ended, and return the result.

        :param is_gone: Whether its results were waited for in vain.
        :param just_submitted: Whether it runs for certain.
        """
        from airflow_provider_sentinelhub.artifacts.results.async_process import Patience, Stage, Waited
        from airflow_provider_sentinelhub.client.lifecycle.watch import Watch

        self._request_id = submission.request_id
        if just_submitted and self.deferrable:
            self._defer(work, submission, submission.deadline)
        watch = Watch(float(self.poll_interval), submission.deadline)
        patience = Patience(submission.at, float(self.trace_timeout))
        while True:
            try:
                state = self.hook.look(work.deliveries, submission)
            except SentinelHubError as e:
                self._say(watch.missed(e))
                if self.deferrable or watch.is_lost or watch.is_late:
                    raise
            else:
                submission = self._saw(work, watch, submission, state)
                ended = Waited.GONE if is_gone and state.stage is Stage.GONE else patience.ends_with(state)
                if ended is not None:
                    return self._after(work, submission, state, ended)
                if watch.is_late:
                    raise self._late(work, submission)
                if self.deferrable:
                    self._defer(work, submission, submission.deadline)
            time.sleep(watch.pause())

    def _saw(self, work: Work, watch: Watch, submission: Submission, state: State) -> Submission:
        from airflow_provider_sentinelhub.client.lifecycle.tasks import BatchTask

        self._say(watch.saw(BatchTask(id=state.request_id or "unknown", status=state.stage)))
        if state.request_id and not submission.request_id:
            return self._remember(work, submission, state.request_id)
        return submission

    def _say(self, line: str | None) -> None:
        if line is not None:
            self.log.info(line)

    def _after(self, work: Work, submission: Submission, state: State, ended: Waited) -> dict[str, Any]:
        from airflow_provider_sentinelhub.artifacts.results.async_process import Stage, Waited

        if ended is Waited.NO_TRACE:
            return self._without_trace(work, submission)
        if ended is Waited.GONE:
            raise self._gone(work, submission, state)
        if state.stage is Stage.FAILED:
            raise self._failed(state)
        return self._conclude(work, submission, state)

    def _defer(
        self,
        work: Work,
        submission: Submission,
        deadline: float | None,
        *,
        pause_until: float | None = None,
        kwargs: dict[str, Any] | None = None,
    ) -> NoReturn:
        from datetime import timedelta

        from airflow_provider_sentinelhub.triggers.async_process import SentinelHubAsyncProcessTrigger

        trigger = SentinelHubAsyncProcessTrigger(
            url=work.deliveries.url,
            name=work.deliveries.name,
            number=submission.number,
            formats=work.deliveries.formats,
            request_id=submission.request_id,
            since=submission.at,
            sentinelhub_conn_id=self.sentinelhub_conn_id,
            aws_conn_id=self.aws_conn_id,
            gcp_conn_id=self.gcp_conn_id,
            poll_interval=float(self.poll_interval),
            trace_timeout=float(self.trace_timeout),
            deadline=deadline,
            pause_until=pause_until,
        )
        # The trigger applies the deadline; Airflow's own timeout is for a trigger that no triggerer runs any more.
        spare = None if deadline is None else timedelta(seconds=max(0.0, deadline - time.time()) + _TRIGGER_MARGIN_S)
        self.defer(trigger=trigger, method_name="execute_complete", kwargs=kwargs, timeout=spare)

    def _conclude(self, work: Work, submission: Submission, state: State) -> dict[str, Any]:
        folder = self._folder(work, submission)
        result: dict[str, Any] = {
            "request_id": state.request_id,
            "outcome": "DONE",
            "output_urls": dict(state.urls),
            "folder_url": folder,
            "cost_pu": state.cost_pu,
        }
        while len(json.dumps(result)) > _XCOM_BYTES:
            result["output_urls"].popitem()
        if len(result["output_urls"]) < len(state.urls):
            self.log.warning("The return value does not hold the URLs of all %d outputs", len(state.urls))
        self.log.info("Request %s delivered %s", state.request_id, ", ".join(state.urls.values()))
        try:
            work.deliveries.save(replace(submission, request_id=state.request_id, succeeded=True))
        except StorageUnavailable as error:
            # A clear then continues with this request, and costs nothing.
            self.log.warning("Could not note the success in the bucket: %s", error)
        extra = {
            "request_id": state.request_id,
            "outcome": "DONE",
            "cost_pu": state.cost_pu,
            "delivered_url": folder,
            **area_and_period(work.body),
        }
        add_events(work.context, self.outlets, folder, extra)
        return result

    def _failed(self, state: State) -> TaskFailed:
        from airflow_provider_sentinelhub.artifacts.report.causes import CauseKind, cause_of

        cause = cause_of(state.message)
        then = "A retry submits a new request."
        if cause.kind is CauseKind.PERMANENT:
            then = "The same request would fail again: correct it, or clear the Airflow task to submit it again."
        message = state.message or "error.json has no message"
        error = TaskFailed(f"Request {state.request_id} failed: {message.rstrip('.')}. {cause.hint} {then}")
        error.retryable = cause.kind is not CauseKind.PERMANENT
        error.result = {"request_id": state.request_id, "outcome": "FAILED"}
        return error

    def _without_trace(self, work: Work, submission: Submission) -> dict[str, Any]:
        folder, waited = self._folder(work, submission), float(self.trace_timeout)
        if self.on_unknown == "create":
            self.log.warning(
                "The answer to a submission was lost, and %s shows no trace of a request after %.0f s: submitting it "
                "again, because on_unknown is 'create'. If the first one runs after all, both are paid for",
                folder,
                waited,
            )
            return self._submit(work, submission.number + 1, submission.deadline)
        error = OutcomeUnknown(
            f"It is not known whether the service accepted a request: the answer was lost, or the worker was killed "
            f"meanwhile, and {folder} shows no trace of a request after {waited:g} s. Nothing was submitted again, "
            "because that could be paid for twice. Look whether the account was charged, and whether something has "
            "appeared in that folder: then clear this Airflow task, which continues with it. To submit a new request, "
            "set on_clear='new' and clear it; on_unknown='create' does so automatically."
        )
        error.retryable = False
        raise error

    def _gone(self, work: Work, submission: Submission, state: State) -> ArtifactMissing:
        found = ", ".join(state.seen) or "nothing"
        error = ArtifactMissing(
            f"The service knows no request {state.request_id} any more, so it has ended; after "
            f"{float(self.trace_timeout):g} s, {self._folder(work, submission)} has neither "
            f"{' and '.join(state.missing)} nor error.json. It has: {found}. Check who may write to this folder and "
            "delete there. A clear looks again; for a new request, set on_clear='new' and clear this Airflow task."
        )
        error.retryable = False
        return error

    def _late(self, work: Work, submission: Submission) -> TaskTimedOut:
        about = submission.request_id or f"to {self._folder(work, submission)}"
        error = TaskTimedOut(
            f"Request {about} did not end within {self._limit_text()}. The service cannot cancel it, so it runs to its "
            "end and is charged. Raise the limit and clear this Airflow task to continue with it."
        )
        error.result = {"request_id": submission.request_id, "outcome": "RUNNING"}
        return error

    def _remember(self, work: Work, submission: Submission, request_id: str) -> Submission:
        """Keep the id of a request in the bucket and in Airflow: one of them is enough."""
        from airflow.sdk.execution_time.context import NEVER_EXPIRE

        self._request_id = request_id
        known = replace(submission, request_id=request_id)
        try:
            work.deliveries.save(known)
        except StorageUnavailable as error:
            self.log.warning("Could not note the id of request %s in the bucket: %s", request_id, error)
        record: Any = {
            "digest": work.intent.digest,
            "generation": known.generation,
            "number": known.number,
            "request_id": request_id,
        }
        work.context["task_state_store"].set(_KEY, record, retention=NEVER_EXPIRE)
        return known

    def _last(self, work: Work) -> Submission | None:
        """Return the last submission, by the notes in the bucket and by what Airflow knows."""
        from airflow_provider_sentinelhub.artifacts.results.async_process import Submission

        submissions = work.deliveries.submissions()
        last = submissions[-1] if submissions else None
        record: Any = work.context["task_state_store"].get(_KEY)
        if not isinstance(record, Mapping) or record.get("digest") != work.intent.digest:
            return last
        number, request_id = int(record["number"]), str(record["request_id"])
        if last is None or number > last.number:
            # Somebody has deleted its note.
            return Submission(number, int(record["generation"]), time.time(), request_id=request_id)
        is_known = number != last.number or last.request_id
        return last if is_known else replace(last, request_id=request_id)

    def _folder(self, work: Work, submission: Submission) -> str:
        return work.deliveries.folder(submission.number)

    def _new_deadline(self) -> float | None:
        return deadline_from_now(self._limits, deferrable=self.deferrable)

    @property
    def _limits(self) -> dict[str, timedelta | float]:
        given = {"timeout": self.timeout, "execution_timeout": self.execution_timeout}
        return {name: limit for name, limit in given.items() if limit is not None}

    def _limit_text(self) -> str:
        return " and ".join(f"{name} = {limit}" for name, limit in self._limits.items())
