"""
Statistics of one geometry, with the intervals that failed asked for again.

An answer with 200 may hold intervals that failed. Those that may succeed later are asked for one by one, each with a
period that is exactly that interval, so that the grid of intervals stays what it was.

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
"""Errors that may not come again; any other, BAD_REQUEST above all, would."""

_LONGEST_PAUSE = 300.0


def ask(
    body: Mapping[str, Any],
    *,
    max_reruns: int = 3,
    rerun_delay: float = 10.0,
    known: StatisticalAnswer | None = None,
) -> Procedure[StatisticalAnswer]:
    """
    Ask for statistics, and again for those intervals that failed and may succeed.

    :param body: The request.
    :param max_reruns: How often a failed interval is asked for again at most.
    :param rerun_delay: Seconds before the first time; doubles each time, up to five minutes.
    :param known: What an earlier attempt was answered: only what failed in it is asked for.
    :raises ApiError: The service said no to the whole request.
    """
    answer: StatisticalAnswer = known if known is not None else (yield statistics(body))
    for number in range(max_reruns):
        lost = [each.interval for each in answer.failed if each.interval and _may_pass(each.error)]
        if not lost and not is_lost(answer):
            break
        # What was known from an earlier attempt has waited long enough.
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
    Say whether an answer holds nothing, and may hold something when it is asked for again.

    :param answer: The answer.
    """
    if answer.data:
        return False
    return answer.status == "FAILED" if answer.error is None else _may_pass(answer.error)


def only(body: Mapping[str, Any], interval: Interval) -> dict[str, Any]:
    """
    Return the request for one interval of another request.

    :param body: The other request.
    :param interval: The interval, as the service gave it.
    """
    aggregation = dict(body["aggregation"])
    aggregation["timeRange"] = {"from": written(interval.start), "to": written(interval.end)}
    # In whole days that are enough it is one interval, however many days its month has, and ends when it ended.
    days = -((interval.start - interval.end) // DAY)
    aggregation["aggregationInterval"] = {"of": f"P{days}D", "lastIntervalBehavior": "SHORTEN"}
    return {**body, "aggregation": aggregation}


def merged(answer: StatisticalAnswer, interval: Interval, again: StatisticalAnswer) -> StatisticalAnswer:
    """
    Return an answer in which one interval is what it was answered later.

    :param answer: The answer.
    :param interval: The interval.
    :param again: The answer to :func:`only` that interval. Where it succeeded and speaks of no interval, there are no
        data for it, and the interval is left out, as it would have been at first. Where it speaks of others, it says
        nothing of this one.
    """
    found = [each for each in again.data or () if _span(each.interval) == _span(interval)]
    if not found and (again.status == "FAILED" or again.error is not None or again.data):
        return answer
    data: list[IntervalAnswer] = []
    for each in answer.data or ():
        data += found if _span(each.interval) == _span(interval) and each.error is not None else [each]
    failed = sum(each.error is not None for each in data)
    status = "OK" if not failed else "PARTIAL" if failed < len(data) else "FAILED"
    return answer.model_copy(update={"data": data, "status": status})


def _may_pass(error: StatisticsError | None) -> bool:
    return error is not None and error.type in PASSING


def _span(interval: Interval | None) -> tuple[datetime, datetime] | None:
    return None if interval is None else (interval.start, interval.end)
