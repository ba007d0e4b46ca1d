"""The hook for the Statistical API, used by the operator and in Python tasks: one geometry, or many in parallel."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any

from airflow_provider_sentinelhub.client.errors import InvalidParameter, InvalidRequest
from airflow_provider_sentinelhub.hooks.sentinel_hub import SentinelHubHook

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Mapping, Sequence

    from airflow_provider_sentinelhub.artifacts.results.statistical import StatisticalRun
    from airflow_provider_sentinelhub.artifacts.statistics.geometries import Place
    from airflow_provider_sentinelhub.client.apis.statistical.answers import StatisticalAnswer
    from airflow_provider_sentinelhub.client.http.transport import Sender
    from airflow_provider_sentinelhub.client.lifecycle.spec import ApiSpec

log = logging.getLogger(__name__)

# So many refusals without any success mean that the request is invalid, not the geometries.
_HOPELESS = 20
_LOOK_S = 1.0
_NEWS = 100


@dataclass(frozen=True, slots=True)
class Reruns:
    """
    How failed intervals are requested again.

    :param most: Maximum number of reruns.
    :param delay: Seconds before the first rerun; doubles each time.
    """

    most: int = 3
    delay: float = 10.0


class SentinelHubStatisticalHook(SentinelHubHook):
    """
    Interact with the Statistical API.

    :param sentinelhub_conn_id: The connection.
    """

    @property
    def api(self) -> ApiSpec:
        """The API."""
        from airflow_provider_sentinelhub.client.apis.statistical.spec import STATISTICAL

        return STATISTICAL

    def statistics(self, request: Any, *, max_reruns: int = 3, rerun_delay: float = 10.0) -> StatisticalAnswer:
        """
        Return the statistics of one geometry; failed intervals are requested again.

        Intervals that still failed are in :attr:`StatisticalAnswer.failed`: check it before you use the rest.

        :param request: The service's own request as a dict, or as JSON text.
        :param max_reruns: Maximum number of reruns of a failed interval.
        :param rerun_delay: Seconds before the first rerun; doubles each time.
        :raises InvalidParameter: Names each invalid field, its value, the rule and the fix.
        :raises ApiError: The service refused the request.
        """
        from airflow_provider_sentinelhub.client.apis.statistical.ask import ask

        body = self.prepare(request)
        return self.sender.run(ask(body, max_reruns=max_reruns, rerun_delay=rerun_delay))

    def prepare(self, request: Any) -> dict[str, Any]:
        """
        Check a request locally and return the JSON to send.

        Needs no network. Warnings are logged.

        :param request: The service's own request as a dict, or as JSON text.
        :raises InvalidParameter: Names each invalid field, its value, the rule and the fix.
        """
        from airflow_provider_sentinelhub.hooks.preflight import check_request

        return check_request(self.api, request, self.address.deployment)

    def check_budget(self, body: Mapping[str, Any], places: Sequence[Place], max_pu: float | str | None) -> None:
        """
        Fail if statistics of geometries would cost too much; log their estimated cost and their area.

        :param body: A request.
        :param places: The geometries.
        :param max_pu: Maximum cost in processing units; ``None`` for the connection's or, if it has none, for anything
            that is not unusually large.
        :raises BudgetExceeded: Nothing was requested.
        """
        from airflow_provider_sentinelhub.hooks.budget import check_budget_of_places

        check_budget_of_places(self, self.api, body, places, max_pu)

    def tell_kept(self, body: Mapping[str, Any], places: Sequence[Place], finished: Container[int]) -> None:
        """
        Log how many geometries were answered before and are not paid for again.

        :param body: A request.
        :param places: The geometries.
        :param finished: Ids of those that were answered.
        """
        from airflow_provider_sentinelhub.artifacts.statistics.geometries import pixel_counts

        kept = [place for place in places if place.feature_id in finished]
        pu = self.api.estimate(body, pixel_counts(body, kept)).pu if kept else 0.0
        log.info("%d of %d geometries were answered before, which saves about %.4g PU", len(kept), len(places), pu)

    def ask_for_all(
        self,
        run: StatisticalRun,
        body: Mapping[str, Any],
        places: Sequence[Place],
        *,
        concurrency: int,
        reruns: Reruns,
        has_answers: bool,
        stop: threading.Event,
    ) -> None:
        """
        Request the statistics of geometries in parallel, and store each answer as soon as it arrives.

        If the service refuses a geometry, the others continue; if it refuses all of them, this fails.

        :param run: Stores the answers.
        :param body: The request, for any geometry.
        :param places: The geometries.
        :param concurrency: Maximum number of parallel requests.
        :param reruns: How failed intervals are requested again.
        :param has_answers: Whether an earlier attempt may have stored answers with failed intervals.
        :param stop: Set to send no further requests.
        :raises ApiError: The service refused all of them.
        :raises StorageUnavailable: An answer could not be stored.
        """
        workers = _Workers(run, body, reruns, self._new_sender(), has_answers=has_answers)
        waiting, done = iter(places), 0
        running: set[Future[None]] = set()
        pool = ThreadPoolExecutor(concurrency, thread_name_prefix="statistics")
        try:
            while not stop.is_set():
                running |= {pool.submit(workers.work, place) for place in islice(waiting, concurrency - len(running))}
                if not running:
                    return
                ended, running = wait(running, timeout=_LOOK_S, return_when=FIRST_COMPLETED)
                for each in ended:
                    each.result()
                    done += 1
                    if done % _NEWS == 0:
                        log.info("%d of %d geometries", done, len(places))
        finally:
            # Answers that still arrive are stored; nobody waits for them.
            pool.shutdown(wait=False, cancel_futures=True)

    def _new_sender(self) -> Callable[[], Sender]:
        """Read the connection in this thread, which can ask Airflow, and return a factory of senders for others."""
        from airflow_provider_sentinelhub.client.http.auth import token_source
        from airflow_provider_sentinelhub.client.http.transport import Sender
        from airflow_provider_sentinelhub.hooks.connections import client_credentials

        address = self.address
        tokens = token_source(client_credentials(self.facts, address))
        return lambda: Sender(address, tokens)


def choose_run(of: Callable[[int], StatisticalRun], generation: int, on_clear: str) -> StatisticalRun:
    """
    Return the run that an attempt continues: its own, or one of an earlier generation.

    It is looked up in the bucket, because Airflow may keep no state across a clear.

    :param of: Returns the run of a generation.
    :param generation: ``max_tries`` of the task instance: a user's clear raises it, an automatic retry does not.
    :param on_clear: ``resume`` to continue a run that has not succeeded, ``adopt`` to also take the answers of one that
        has, ``new`` for neither.
    :raises StorageUnavailable: The bucket cannot be read.
    """
    own = of(generation)
    if on_clear == "new" or own.has_begun():
        return own
    older = next((run for number in reversed(range(generation)) if (run := of(number)).has_begun()), None)
    if older is None:
        return own
    ended = older.succeeded_in()
    if ended is None:
        log.info("Run %s has not succeeded: continuing it. To start over, clear with on_clear='new'", older.run_id)
        return older
    # A retry of the attempt that ended it is not a clear.
    if ended == generation or on_clear == "adopt":
        log.info("Run %s has succeeded: using its answers", older.run_id)
        return older
    log.info(
        "Run %s has succeeded, and the task was cleared: starting over. To use its answers, clear with "
        "on_clear='adopt'",
        older.run_id,
    )
    return own


def check_places(body: Mapping[str, Any], places: Sequence[Place]) -> None:
    """
    Check all geometries of a request.

    :param body: The request.
    :param places: The geometries.
    :raises InvalidParameter: Names each invalid one, its value, the rule and the fix.
    """
    from airflow_provider_sentinelhub.client.apis.statistical.rules import check_geometry
    from airflow_provider_sentinelhub.client.models import validated
    from airflow_provider_sentinelhub.client.requests.bounds import Bounds
    from airflow_provider_sentinelhub.client.requests.findings import Findings, each_of

    problems: list[InvalidParameter] = []
    for place in places:
        try:
            validated(Bounds, place.bounds, "input.bounds")
        except InvalidParameter as e:
            found = each_of(e)
        else:
            found = Findings.of(check_geometry(place.request(body), None)).errors
        problems += [_named(place, each) for each in found]
    if problems:
        raise problems[0].with_others(problems[1:_HOPELESS])


def _named(place: Place, error: InvalidParameter) -> InvalidParameter:
    return InvalidParameter(f"{error.field} of geometry {place.label}", error.value, error.rule, error.fix)


@dataclass(slots=True)
class _Workers:
    """State shared by the threads: each has its own connections, all share one token and one throttle."""

    run: StatisticalRun
    body: Mapping[str, Any]
    reruns: Reruns
    new_sender: Callable[[], Sender]
    has_answers: bool = field(kw_only=True)
    answered: int = 0
    refused: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _local: threading.local = field(default_factory=threading.local)

    def work(self, place: Place) -> None:
        """Request the statistics of one geometry and store the answer."""
        from airflow_provider_sentinelhub.client.apis.statistical.ask import ask

        known = self.run.known(place) if self.has_answers else None
        body = place.request(self.body)
        question = ask(body, max_reruns=self.reruns.most, rerun_delay=self.reruns.delay, known=known)
        try:
            answer = self._sender().run(question)
        except InvalidRequest as e:
            self._refused(place, e)
            return
        self.run.keep(place, answer)
        with self._lock:
            self.answered += 1
        if answer.failed:
            count = len(answer.failed)
            log.warning("Geometry %s: %d interval%s failed", place.label, count, "s" * (count > 1))

    def _refused(self, place: Place, error: InvalidRequest) -> None:
        log.warning("Geometry %s: %s", place.label, error)
        with self._lock:
            self.refused += 1
            is_hopeless = self.refused >= _HOPELESS and not self.answered
        if is_hopeless:
            raise error
        self.run.keep_refusal(place, str(error))

    def _sender(self) -> Sender:
        found: Sender | None = getattr(self._local, "sender", None)
        if found is None:
            found = self._local.sender = self.new_sender()
        return found
