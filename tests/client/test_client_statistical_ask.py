"""Failed intervals asked for again: a procedure, against a service that fails by plan."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_sentinelhub.client.apis.statistical.answers import StatisticalAnswer
from airflow_provider_sentinelhub.client.apis.statistical.ask import ask, merged, only
from airflow_provider_sentinelhub.client.errors import InvalidRequest, ServiceUnavailable
from airflow_provider_sentinelhub.client.http.call import Call, Pause
from airflow_provider_sentinelhub.client.requests.intervals import Period, intervals, read_range
from tests.client.client_harness import statistical_document

Spans = list[tuple[str, str]]
WEEKS = statistical_document(aggregation__timeRange={"from": "2024-04-01T00:00:00Z", "to": "2024-04-29T00:00:00Z"})
DAY_ONE = datetime(2020, 1, 1, tzinfo=UTC)
SECOND = "2024-04-08T00:00:00Z"
# How a service answers an interval: from where it begins, and how often it was asked for it before.
Plan = Callable[[str, int], str | None]


def spans_of(body: dict[str, Any]) -> Spans:
    aggregation = body["aggregation"]
    given_range = read_range(aggregation["timeRange"])
    assert given_range is not None
    interval = aggregation["aggregationInterval"]
    found = intervals(*given_range, Period.parse(interval["of"]), interval.get("lastIntervalBehavior", "SKIP"))
    return [(written(start), written(end)) for start, end in found]


def written(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


class Service:
    """Cuts periods as the service does, and fails intervals by plan: an error, ``absent``, or ``None`` for success."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.asked: list[Spans] = []
        self.pauses: list[float] = []
        self.times: dict[str, int] = {}

    def run(self, body: dict[str, Any], **more: Any) -> StatisticalAnswer:
        procedure = ask(body, **more)
        sent: Any = None
        while True:
            try:
                wanted = procedure.send(sent)
            except StopIteration as end:
                result: StatisticalAnswer = end.value
                return result
            if isinstance(wanted, Pause):
                self.pauses.append(wanted.seconds)
                sent = None
            else:
                sent = self.answer(wanted)

    def answer(self, call: Call[Any]) -> Any:
        assert call.body is not None
        spans = spans_of(dict(call.body))
        self.asked.append(spans)
        data = [entry for entry in map(self.entry, spans) if entry is not None]
        return call.parse({"data": data, "status": "PARTIAL" if any("error" in each for each in data) else "OK"})

    def entry(self, span: tuple[str, str]) -> dict[str, Any] | None:
        start, end = span
        error = self.plan(start, self.times.get(start, 0))
        self.times[start] = self.times.get(start, 0) + 1
        interval = {"interval": {"from": start, "to": end}}
        if error == "absent":
            return None
        if error:
            return {**interval, "error": {"type": error}}
        number = self.times[start]
        return {**interval, "outputs": {"ndvi": {"bands": {"B0": {"stats": {"mean": number, "sampleCount": 4}}}}}}


def errors(answer: StatisticalAnswer) -> list[str | None]:
    return [each.error.type if each.error else None for each in answer.data or ()]


def test_nothing_is_asked_for_twice_where_nothing_fails() -> None:
    service = Service(lambda _start, _times: None)
    answer = service.run(WEEKS)
    assert (errors(answer), answer.status) == ([None] * 4, "OK")
    assert (len(service.asked), service.pauses) == (1, [])


@pytest.mark.parametrize("error", ["EXECUTION_ERROR", "TIMEOUT"])
def test_only_the_failed_interval_is_asked_for_again(error: str) -> None:
    service = Service(lambda start, times: error if start == SECOND and times < 2 else None)
    answer = service.run(WEEKS, max_reruns=3, rerun_delay=10)
    assert (errors(answer), answer.status) == ([None] * 4, "OK")
    assert service.asked[1:] == [[(SECOND, "2024-04-15T00:00:00Z")]] * 2
    assert service.pauses == [10, 20]
    means = [each.outputs["ndvi"].bands["B0"].stats for each in answer.data or ()]
    assert [each.mean for each in means if each] == [1, 3, 1, 1]


def test_what_fails_for_good_stays_failed() -> None:
    service = Service(lambda start, _times: "TIMEOUT" if start == SECOND else None)
    answer = service.run(WEEKS, max_reruns=2)
    assert (errors(answer), answer.status) == ([None, "TIMEOUT", None, None], "PARTIAL")
    assert len(service.asked) == 3


def test_what_would_fail_again_is_not_asked_for() -> None:
    service = Service(lambda start, _times: "BAD_REQUEST" if start == SECOND else None)
    answer = service.run(WEEKS)
    assert errors(answer) == [None, "BAD_REQUEST", None, None]
    assert (len(service.asked), service.pauses) == (1, [])


def test_an_interval_without_data_is_left_out_as_at_first() -> None:
    service = Service(lambda start, times: ("absent" if times else "TIMEOUT") if start == SECOND else None)
    answer = service.run(WEEKS)
    assert (errors(answer), answer.status) == ([None] * 3, "OK")


def test_an_earlier_answer_is_carried_on() -> None:
    failing = Service(lambda start, _times: "TIMEOUT" if start == SECOND else None)
    known = failing.run(WEEKS, max_reruns=0)
    service = Service(lambda _start, _times: None)
    answer = service.run(WEEKS, known=known)
    assert errors(answer) == [None] * 4
    assert (service.asked, service.pauses) == ([[(SECOND, "2024-04-15T00:00:00Z")]], [])


@pytest.mark.parametrize(
    ("first", "asked"),
    [
        ({"data": [], "status": "FAILED"}, 2),
        ({"data": None, "status": "FAILED"}, 2),
        ({"error": "EXECUTION_ERROR"}, 2),
        ({"error": "BAD_REQUEST"}, 1),
        ({"data": [], "status": "OK"}, 1),
    ],
)
def test_an_answer_without_anything_is_asked_for_as_a_whole(first: dict[str, Any], asked: int) -> None:
    calls: list[Call[Any]] = []

    def answer(call: Call[Any]) -> StatisticalAnswer:
        calls.append(call)
        return StatisticalAnswer.model_validate(first if len(calls) == 1 else {"data": [], "status": "OK"})

    service = Service(lambda _start, _times: None)
    service.answer = answer  # type: ignore[method-assign]  # another plan
    service.run(WEEKS, max_reruns=1)
    assert [call.body for call in calls] == [WEEKS] * asked


def test_a_refused_interval_costs_no_other_one() -> None:
    service = Service(lambda start, _times: "TIMEOUT" if start == SECOND else None)
    procedure = ask(WEEKS, max_reruns=1)
    procedure.send(None)
    pause = procedure.send(service.answer(next(ask(WEEKS))))  # type: ignore[arg-type]  # a Call
    assert isinstance(pause, Pause)
    next(procedure)
    with pytest.raises(StopIteration) as ended:
        procedure.throw(InvalidRequest("no"))
    assert errors(ended.value.value) == [None, "TIMEOUT", None, None]


def test_a_service_that_is_not_there_ends_it() -> None:
    procedure = ask(WEEKS)
    next(procedure)
    with pytest.raises(ServiceUnavailable):
        procedure.throw(ServiceUnavailable("no"))


def test_a_shortened_last_interval_keeps_its_milliseconds() -> None:
    """It was asked for without them, and what was answered then was another interval: it got lost."""
    end = "2024-04-24T23:59:59.999Z"
    body = statistical_document(
        aggregation__timeRange={"from": "2024-04-01T00:00:00Z", "to": end},
        aggregation__aggregationInterval={"of": "P7D", "lastIntervalBehavior": "SHORTEN"},
    )
    service = Service(lambda start, times: "TIMEOUT" if start == "2024-04-22T00:00:00Z" and not times else None)
    answer = service.run(body)
    assert errors(answer) == [None] * 4
    assert [[read_range({"from": a, "to": b}) for a, b in spans] for spans in service.asked[1:]] == [
        [read_range({"from": "2024-04-22T00:00:00Z", "to": end})]
    ]


def test_an_answer_about_another_interval_is_none() -> None:
    lost = {"interval": {"from": SECOND, "to": "2024-04-15T00:00:00Z"}, "error": {"type": "TIMEOUT"}}
    other = {"interval": {"from": SECOND, "to": "2024-04-14T23:59:59Z"}, "outputs": {}}
    first, again = (StatisticalAnswer.model_validate({"data": [one], "status": "OK"}) for one in (lost, other))
    interval = first.failed[0].interval
    assert interval is not None
    assert errors(merged(first, interval, again)) == ["TIMEOUT"]


def test_what_failed_in_no_interval_that_is_said_stays_failed() -> None:
    service = Service(lambda _start, _times: None)
    known = service.run(WEEKS).model_dump(mode="json", by_alias=True)
    known["data"][1] = {"error": {"type": "TIMEOUT"}}
    answer = service.run(WEEKS, known=StatisticalAnswer.model_validate(known))
    assert (errors(answer), len(service.asked)) == ([None, "TIMEOUT", None, None], 1)


@given(
    of=st.sampled_from(["P1D", "P7D", "P1M", "P3M", "PT36H", "P1Y"]),
    last=st.sampled_from(["SKIP", "SHORTEN", "EXTEND", None]),
    start=st.integers(0, 700).map(lambda day: DAY_ONE + timedelta(days=day, minutes=7 * day)),
    days=st.integers(1, 200),
    from_ms=st.sampled_from([0, 1, 500]),
    to_ms=st.sampled_from([0, 999, 86_399_999]),
)
def test_one_interval_asked_for_alone_is_the_interval_it_was(
    of: str, last: str | None, start: datetime, days: int, from_ms: int, to_ms: int
) -> None:
    start += timedelta(milliseconds=from_ms)
    end = start + timedelta(days=days, milliseconds=to_ms)
    body = statistical_document(
        aggregation__timeRange={"from": written(start), "to": written(end)},
        aggregation__aggregationInterval={"of": of} | ({"lastIntervalBehavior": last} if last else {}),
    )
    whole = StatisticalAnswer.model_validate(
        {"data": [{"interval": {"from": a, "to": b}, "error": "TIMEOUT"} for a, b in spans_of(body)]}
    )
    for each, span in zip(whole.failed, spans_of(body), strict=True):
        assert each.interval is not None
        assert spans_of(only(body, each.interval)) == [span]
