"""
Statistics of one geometry, with reruns of the intervals that failed.

An answer with status 200 may contain failed intervals. Those that may succeed later are requested again one by one,
each with exactly its interval as the period, so that the division into intervals stays the same.

Source: https://docs.planet.com/develop/apis/statistical/reference/ (errors of intervals)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_sentinelhub.client.apis.statistical.calls import statistics
from airflow_provider_sentinelhub.client.errors import InvalidRequest
from airflow_provider_sentinelhub.client.http.call import Pause, Procedure
from airflow_provider_sentinelhub.client.requests.intervals import DAY, written

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from airflow_provider_sentinelhub.client.apis.statistical.answers import (
        Interval,
        IntervalAnswer,
        StatisticalAnswer,
        StatisticsError,
    )

PASSING = frozenset({"EXECUTION_ERROR", "TIMEOUT"})
"""Errors that may be transient; all others, above all BAD_REQUEST, are permanent."""

_LONGEST_PAUSE = 300.0


def ask(
    body: Mapping[str, Any],
    *,
    max_reruns: int = 3,
    rerun_delay: float = 10.0,
    known: StatisticalAnswer | None = None,
) -> Procedure[StatisticalAnswer]:
    """
    Request statistics, and rerun intervals that failed and may succeed.

    :param body: The request.
    :param max_reruns: Maximum number of reruns of a failed interval.
    :param rerun_delay: Seconds before the first rerun; doubles each time, up to five minutes.
    :param known: The answer of an earlier attempt: only its failed intervals are requested.
    :raises ApiError: The service refused the whole request.
    """
    answer: StatisticalAnswer = known if known is not None else (yield statistics(body))
    for number in range(max_reruns):
        lost = [each.interval for each in answer.failed if each.interval and _may_pass(each.error)]
        if not lost and not is_lost(answer):
            break
        # After an earlier attempt enough time has passed.
        if known is None or number:
            yield Pause(min(rerun_delay * 2.0**number, _LONGEST_PAUSE))
        if is_lost(answer):
            answer = yield statistics(body)
            continue
        for each in lost:
            try:
                again: StatisticalAnswer = yield statistics(only(body, each))
            except InvalidRequest:
                continue
            answer = merged(answer, each, again)
    return answer


def is_lost(answer: StatisticalAnswer) -> bool:
    """
    Say whether an answer is empty, and another one may not be.

    :param answer: The answer.
    """
    if answer.data:
        return False
    return answer.status == "FAILED" if answer.error is None else _may_pass(answer.error)


def only(body: Mapping[str, Any], interval: Interval) -> dict[str, Any]:
    """
    Return the request for one interval of another request.

    :param body: The other request.
    :param interval: The interval, as the service returned it.
    """
    aggregation = dict(body["aggregation"])
    aggregation["timeRange"] = {"from": written(interval.start), "to": written(interval.end)}
    # With a length in whole days it is one interval with the same end, however many days its month has.
    days = -((interval.start - interval.end) // DAY)
    aggregation["aggregationInterval"] = {"of": f"P{days}D", "lastIntervalBehavior": "SHORTEN"}
    return {**body, "aggregation": aggregation}


def merged(answer: StatisticalAnswer, interval: Interval, again: StatisticalAnswer) -> StatisticalAnswer:
    """
    Return an answer with one interval replaced by its rerun.

    :param answer: The answer.
    :param interval: The interval.
    :param again: The answer to the request for :func:`only` that interval. If it succeeded without any interval, there
        is no data, and the interval is left out. If it contains other intervals only, it is ignored.
    """
    found = [each for each in again.data or () if _span(each.interval) == _span(interval)]
    if not found and (again.status == "FAILED" or again.error is not None or again.data):
        return answer
    data: list[IntervalAnswer] = []
    for each in answer.data or ():
        data += found if _span(each.interval) == _span(interval) and each.error is not None else [each]
    failed = sum(each.error is not None for each in data)
    status = "OK" if not failed else "PARTIAL" if failed < len(data) else "FAILED"
    changes: dict[str, Any] = {"data": data, "status": status}
    if answer.geometry_pixel_count is None and again.geometry_pixel_count is not None:
        changes["geometry_pixel_count"] = again.geometry_pixel_count
    return answer.model_copy(update=changes)


def _may_pass(error: StatisticsError | None) -> bool:
    return error is not None and error.type in PASSING


def _span(interval: Interval | None) -> tuple[datetime, datetime] | None:
    return None if interval is None else (interval.start, interval.end)
