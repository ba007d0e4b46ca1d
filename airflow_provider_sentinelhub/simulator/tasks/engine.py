"""
The threads that move tasks from one status to the next as time passes.

One looks for tasks that something may happen to, the others do it. A task is with one of them at a time, so what takes
long, such as the analysis of a continent, holds up no other task.
"""

from __future__ import annotations

import logging
import math
import queue
import threading
import time
from typing import TYPE_CHECKING

from airflow_provider_sentinelhub.simulator.bucket.delivery import BucketFailed
from airflow_provider_sentinelhub.simulator.evalscript import require_version_first
from airflow_provider_sentinelhub.simulator.problems import AnalysisFailed
from airflow_provider_sentinelhub.simulator.tasks import execution_database
from airflow_provider_sentinelhub.simulator.tasks.api import Analysis, Work
from airflow_provider_sentinelhub.simulator.tasks.collections import Collections
from airflow_provider_sentinelhub.simulator.tasks.cost import MINIMUM_BALANCE_PU, MINIMUM_PU, transfer_pu
from airflow_provider_sentinelhub.simulator.tasks.script import Subject

if TYPE_CHECKING:
    from airflow_provider_sentinelhub.simulator.bucket.delivery import Bucket
    from airflow_provider_sentinelhub.simulator.tasks.lifecycle import Task
    from airflow_provider_sentinelhub.simulator.tasks.script import Timing
    from airflow_provider_sentinelhub.simulator.tasks.service import Service

_LOG = logging.getLogger(__name__)
TICK_S = 0.05
# Real seconds for one task before the next one.
TURN_S = 0.2
# So many tasks may be in a step that takes long before another one waits for them.
WORKERS = 8
STOP_S = 10.0
HEARTBEAT_S = 0.5


class Engine:
    """
    The threads that process tasks.

    :param service: Has the tasks.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._store = service.store
        self._stopping = threading.Event()
        self._waiting: queue.SimpleQueue[Task | None] = queue.SimpleQueue()
        self._taken: set[str] = set()
        self._threads = [
            threading.Thread(target=self._run, name="engine", daemon=True),
            *(threading.Thread(target=self._work, name=f"engine-{n}", daemon=True) for n in range(WORKERS)),
        ]
        self._buckets: dict[str, Bucket] = {}

    def start(self) -> None:
        """Start the threads."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Stop the threads after their current steps."""
        self._stopping.set()
        deadline = time.monotonic() + STOP_S
        for thread in self._threads:
            thread.join(timeout=max(0.0, deadline - time.monotonic()))
        self._store.remember("clock", self._service.clock.now())

    def _run(self) -> None:
        heartbeat = 0.0
        while not self._stopping.wait(TICK_S):
            if time.monotonic() >= heartbeat:
                self._store.remember("clock", self._service.clock.now())
                heartbeat = time.monotonic() + HEARTBEAT_S
            with self._service.lock:
                active = [task for task in self._store.tasks.values() if self._active(task)]
            for task in active:
                if task.id not in self._taken:
                    self._taken.add(task.id)
                    self._waiting.put(task)
        for _ in range(WORKERS):
            self._waiting.put(None)

    def _work(self) -> None:
        while (task := self._waiting.get()) is not None and not self._stopping.is_set():
            self._advance(task)
            self._taken.discard(task.id)

    def _active(self, task: Task) -> bool:
        return self._service.api_of(task).lifecycle.active(task)

    def _advance(self, task: Task) -> None:
        try:
            until = time.monotonic() + TURN_S
            while self._step(task) and time.monotonic() < until and not self._stopping.is_set():
                pass
        except Exception as error:  # noqa: BLE001 - see below
            # A task that silently hangs would look like a slow one: fail it instead.
            _LOG.exception("task %s cannot continue", task.id)
            with self._service.lock:
                task.error = f"Error in the simulator: {error}"
                task.execution_due = None
                self._release(task)
                task.enter("FAILED", self._service.clock.now())
                self._store.save(task)

    def _step(self, task: Task) -> bool:
        """Carry the task one step on; return whether the next step may follow right away."""
        timing = self._service.script.timing
        now = self._service.clock.now()
        if task.execution_due is not None and now >= task.execution_due:
            task.execution_due = None
            self._upload_execution(task, now, final=True)
        if task.status == "ANALYSING":
            moment = task.since + timing.analysis_seconds
            if now < moment:
                return False
            self._analyse(task, "ANALYSIS_DONE", moment)
            return True
        if task.status == "PROCESSING":
            return self._process(task, now)
        if self._service.api_of(task).lifecycle.stopping(task):
            return self._stop_when_due(task, now)
        return self._follow(task, now, timing)

    def _follow(self, task: Task, now: float, timing: Timing) -> bool:
        lifecycle = self._service.api_of(task).lifecycle
        following = lifecycle.following
        with self._service.lock:
            state = (task.status, task.user_action)
            if state not in following:
                return False
            status, delay = following[state]
            # The moment it was due, not the moment it was noticed: a clock that jumps loses nothing.
            moment = task.since + getattr(timing, delay)
            if now < moment:
                return False
            if status != "PROCESSING" or self._store.count_features(task.id)[0]:
                task.user_action = lifecycle.settled.get(task.user_action, task.user_action)
                task.enter(status, moment)
                self._store.save(task)
                return True
        # Some APIs process a task without an ANALYSING before it: find its features now.
        self._analyse(task, status, moment)
        return True

    def _bucket(self, task: Task) -> Bucket:
        if task.id not in self._buckets:
            self._buckets[task.id] = self._service.bucket(self._service.api_of(task).delivery(task.request)[1])
        return self._buckets[task.id]

    def _analyse(self, task: Task, status: str, moment: float) -> None:
        failure = None
        remaining = 0
        try:
            found = self._find(task)
            task.evalscript = found.evalscript
            for key, content in found.files.items():
                self._bucket(task).put(key, content)
            self._store.add_features(task.id, found.features, found.skipped)
            remaining = len(found.features)
        except AnalysisFailed as error:
            failure = str(error)
        except BucketFailed as error:
            failure = f"Unable to access the S3 bucket: {error}."
        with self._service.lock:
            task.error = failure
            if failure is not None:
                self._release(task)
                task.enter("FAILED", moment)
            elif remaining == 0:
                # Everything exists and may be skipped: there is nothing to process.
                self._release(task)
                task.completion = 100
                task.enter("DONE", moment)
            else:
                task.enter(status, moment)
                lifecycle = self._service.api_of(task).lifecycle
                if lifecycle.stopping(task):
                    lifecycle.stop(task, "USER_ACTION", moment)
            self._store.save(task)

    def _find(self, task: Task) -> Analysis:
        if task.rule is not None and task.rule.analysis_error is not None:
            raise AnalysisFailed(task.rule.analysis_error)
        api = self._service.api_of(task)
        sources = {parameter: self._service.bucket(access) for parameter, access in api.sources(task.request).items()}
        found = api.analyse(task, self._bucket(task), sources)
        script = found.evalscript or api.evalscript(task.request)
        if script and self._service.script.strict:
            require_version_first(script)
        return found

    def _stop_when_due(self, task: Task, now: float) -> bool:
        asked = task.user_action_updated or now
        moment = asked + self._service.script.timing.stop_seconds
        if now < moment:
            return False
        if task.status == "PROCESSING":
            self._charge_begun(task, moment)
        self._stop(task, "USER_ACTION", moment)
        return True

    def _charge_begun(self, task: Task, moment: float) -> None:
        """Charge the features that are being processed when the user stops the task; nothing is left of them."""
        timing = self._service.script.timing
        if timing.feature_seconds and moment > task.processing_since:
            api = self._service.api_of(task)
            begun = self._store.next_features(task.id, math.ceil(timing.parallel))
            task.accrued_pu += sum(api.price(task, feature) for _, feature in begun)

    def _stop(self, task: Task, reason: str, moment: float) -> None:
        if task.status == "PROCESSING":
            self._upload_execution(task, moment, final=True)
        with self._service.lock:
            self._bill(task, moment)
            self._release(task)
            self._service.api_of(task).lifecycle.stop(task, reason, moment)
            self._store.save(task)

    def _process(self, task: Task, now: float) -> bool:
        timing = self._service.script.timing
        if self._service.api_of(task).lifecycle.stopping(task) and self._stop_when_due(task, now):
            return False
        total, handled = self._store.count_features(task.id)
        if task.stop_asked is not None:
            self._stop(task, task.stop_asked, now)
            return False
        stop = task.rule.stop if task.rule else None
        if stop is not None and task.service_stops == 0 and handled >= stop.after_fraction * total:
            task.service_stops += 1
            self._stop(task, stop.reason, now)
            return False
        if handled < total and task.handled < _features_due(task, now, timing):
            self._process_next(task, now, total)
            self._keep_books(task, now)
            return True
        self._keep_books(task, now)
        if task.status == "PROCESSING" and handled == total and now >= task.handled_at + timing.finalising_seconds:
            self._finish(task, task.handled_at + timing.finalising_seconds)
        return False

    def _process_next(self, task: Task, now: float, total: int) -> None:
        upcoming = self._store.next_features(task.id, 1)
        if not upcoming:
            return
        number, feature = upcoming[0]
        api = self._service.api_of(task)
        tried = [each.status for each in self._store.attempts(task.id, [number])]
        subject = Subject(
            name=feature.name,
            index=number - 1,
            text=api.user_text(task.request),
            earlier=self._store.earlier_tasks(task.id, feature.name),
            id=feature.id,
            place=feature.centre,
            attempt=len(tried),
        )
        stuck = next((back for back, status in enumerate(reversed(tried)) if status != "PENDING"), len(tried))
        bucket = self._bucket(task)
        before = bucket.written
        row, pu = api.process(Work(task, number, feature, subject, self._service.script, bucket, stuck))
        access = api.delivery(task.request)[1]
        extra = transfer_pu(access, bucket.written - before, self._service.keys.region) if pu else 0.0
        self._store.handle_feature(task.id, row, pu + extra)
        if row.delivered and (added := api.collected(task, feature)) is not None:
            with self._service.lock:
                collections = Collections(self._service, added.kind)
                if added.collection_id in collections.all():
                    collections.deliver(added.collection_id, added.keys, added.sensed)
        timing = self._service.script.timing
        with self._service.lock:
            task.handled += 1
            each = timing.feature_seconds / timing.parallel
            task.handled_at = min(now, task.processing_since + task.handled * each)
            task.accrued_pu += pu + extra
            task.transfer_pu += extra
            done = self._store.count_features(task.id)[1]
            task.completion = round(100 * done / total, 2)
            self._store.save(task)

    def _keep_books(self, task: Task, now: float) -> None:
        timing = self._service.script.timing
        if now >= task.execution_at + timing.execution_seconds:
            self._upload_execution(task, now, final=False)
        if now >= task.billed_at + timing.billing_seconds:
            with self._service.lock:
                self._bill(task, now)
                self._store.save(task)
            if not self._service.api_of(task).reserves and self._service.balance < MINIMUM_BALANCE_PU:
                self._stop(task, "OUT_OF_PU", now)

    def _bill(self, task: Task, moment: float) -> None:
        due = max(0.0, task.accrued_pu - task.cost_pu)
        reserved = min(due, task.reserved_pu)
        task.reserved_pu -= reserved
        if due > reserved:
            self._service.balance -= due - reserved
        task.cost_pu = max(task.cost_pu, task.accrued_pu)
        task.billed_at = moment
        task.last_updated = moment

    def _release(self, task: Task) -> None:
        """Return what is left of the reserved processing units."""
        if task.reserved_pu:
            self._service.balance += task.reserved_pu
            task.reserved_pu = 0

    def _finish(self, task: Task, moment: float) -> None:
        rule = task.rule.execution_database if task.rule else None
        if rule is not None and rule.mode == "late":
            task.execution_due = moment + rule.seconds
        else:
            self._upload_execution(task, moment, final=True)
        status, error = self._service.api_of(task).final_status(task, self._store)
        with self._service.lock:
            task.error = error
            if not self._service.api_of(task).reserves:
                task.accrued_pu = max(task.accrued_pu, MINIMUM_PU + task.transfer_pu)
            self._bill(task, moment)
            self._release(task)
            task.completion = 100
            task.enter(status, moment)
            self._store.save(task)
        self._buckets.pop(task.id, None)

    def _upload_execution(self, task: Task, now: float, *, final: bool) -> None:
        task.execution_at = now
        task.execution_uploads += 1
        key = self._service.api_of(task).execution_key(task)
        if key is not None:
            self._put_execution(task, key)
        if final:
            with self._service.lock:
                self._store.save(task)

    def _put_execution(self, task: Task, key: str) -> None:
        written = execution_database.content(task, self._store.features(task.id))
        if written is None:
            return
        try:
            self._bucket(task).put(key, written)
        except BucketFailed:
            _LOG.exception("task %s: execution database not uploaded", task.id)


def _features_due(task: Task, moment: float, timing: Timing) -> int:
    # How many features should have been processed since PROCESSING began.
    if timing.feature_seconds == 0:
        return 1 << 30
    rounds = (moment - task.processing_since) / timing.feature_seconds
    return max(0, int(rounds * timing.parallel))
