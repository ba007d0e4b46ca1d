"""Requests to the Statistical APIs, the Calls they become, and answers."""

from __future__ import annotations

import copy
import json
import math
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_sentinelhub.client.apis.batch_statistical import calls as batch_statistical
from airflow_provider_sentinelhub.client.apis.statistical import calls as statistical
from airflow_provider_sentinelhub.client.apis.statistical.answers import StatisticalAnswer
from airflow_provider_sentinelhub.client.errors import InvalidParameter
from airflow_provider_sentinelhub.client.http.call import Call, Repeat
from airflow_provider_sentinelhub.client.http.deployments import PathLayout
from airflow_provider_sentinelhub.client.lifecycle.intent import Intent
from airflow_provider_sentinelhub.client.lifecycle.spec import Rerun
from airflow_provider_sentinelhub.client.lifecycle.tasks import BatchTask
from airflow_provider_sentinelhub.client.requests.intervals import Period, intervals, read_range
from tests.client.client_harness import batch_statistical_document, statistical_document

if TYPE_CHECKING:
    from collections.abc import Callable

CHECKS: list[tuple[Callable[[Any], dict[str, Any]], Callable[..., dict[str, Any]]]] = [
    (statistical.check, statistical_document),
    (batch_statistical.check, batch_statistical_document),
]
both = pytest.mark.parametrize(("check", "document"), CHECKS, ids=["statistical", "batch"])


def refusal(check: Callable[[Any], Any], request: Any) -> str:
    with pytest.raises(InvalidParameter) as caught:
        check(request)
    return str(caught.value)


@both
def test_a_request_is_sent_as_it_is_written(check: Any, document: Any) -> None:
    written = document()
    assert check(written) == written
    assert check(json.dumps(written)) == written


@both
def test_whole_numbers_stay_whole(check: Any, document: Any) -> None:
    histogram = {"nBins": 5, "lowEdge": 0, "highEdge": 1.0}
    sent = check(document(calculations={"default": {"histograms": {"default": histogram}}}))
    found = sent["calculations"]["default"]["histograms"]["default"]
    assert [type(found[name]) for name in ("nBins", "lowEdge", "highEdge")] == [int, int, float]


@both
def test_what_templating_made_text_of_is_read(check: Any, document: Any) -> None:
    written = document()
    templated = copy.deepcopy(written)
    aggregation = templated["aggregation"]
    aggregation["resx"] = str(aggregation["resx"])
    aggregation["timeRange"] = str(aggregation["timeRange"])
    calculations = templated["calculations"]["ndvi"]
    calculations["statistics"]["default"]["percentiles"]["k"] = "[5, 50, 95]"
    calculations["histograms"]["default"] = "{'nBins': '10', 'lowEdge': '-1', 'highEdge': '1.0'}"
    assert check(templated) == written


@both
@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"aggregation__timeRange": {"from": "2024-04-01T00:00:00Z"}},
            "aggregation.timeRange = {'from': '2024-04-01T00:00:00Z'}: needs from and to. Write ",
        ),
        (
            {"aggregation__timeRange__to": "2024-01-01"},
            "aggregation.timeRange.to = '2024-01-01': is a date without a time. Write it like",
        ),
        (
            {"aggregation__timeRange__to": "2023-01-01T00:00:00Z"},
            "timeRange.from is not before timeRange.to",
        ),
        ({"aggregation__timeRange": ...}, "aggregation.timeRange = None: is required. Add it."),
        (
            {"aggregation__aggregationInterval__of": "P1DT6H"},
            "aggregation.aggregationInterval.of = 'P1DT6H': is not a duration this API accepts",
        ),
        (
            {"aggregation__aggregationInterval__of": "PT12H"},
            "aggregation.aggregationInterval.of = 'PT12H': is less than a day, the shortest interval allowed",
        ),
        (
            {"aggregation__aggregationInterval__lastIntervalBehavior": "KEEP"},
            "aggregation.aggregationInterval.lastIntervalBehavior = 'KEEP': input should be 'SKIP', 'SHORTEN' or",
        ),
        ({"aggregation__width": 2501}, "aggregation.width = 2501: input should be less than or equal to 2500"),
        ({"aggregation__width": 100}, "holds both a size in pixels and a resolution. Give width and height, or resx"),
        ({"aggregation__resx": 0}, "aggregation.resx = 0: input should be greater than 0"),
        ({"aggregation__resy": ...}, ": resx and resy must be given together. Give both."),
        ({"aggregation__evalscript": " "}, "aggregation.evalscript = ' ': is empty. Give the script's text"),
        (
            {"calculations__ndvi__histograms__default__bins": [0, 1]},
            "holds bins and nBins, and takes exactly one of bins, binWidth, nBins. Choose one.",
        ),
        (
            {"calculations__ndvi__histograms__default": {"lowEdge": 0}},
            "calculations.ndvi.histograms.default = {'lowEdge': 0}: does not define its bins, and takes exactly one of",
        ),
        (
            {"calculations__ndvi__histograms__default": {"bins": [0, 2, 1]}},
            "calculations.ndvi.histograms.default.bins = [0, 2, 1]: must be two edges or more, in ascending",
        ),
        (
            {"calculations__ndvi__histograms__default": {"binWidth": -0.1}},
            "calculations.ndvi.histograms.default.binWidth = -0.1: must be more than 0. Write e.g. 0.05.",
        ),
        (
            {"calculations__ndvi__histograms__default__highEdge": "much"},
            "calculations.ndvi.histograms.default.highEdge = 'much': must be a number. Write e.g. 0.2, or a whole",
        ),
        (
            {"calculations__ndvi__histograms__default__lowEdge": 1},
            "lowEdge is not below highEdge. Swap the two, or correct them.",
        ),
        (
            {"calculations__ndvi__statistics__default__percentiles__k": [50, 101]},
            "calculations.ndvi.statistics.default.percentiles.k = [50, 101]: must be numbers from 0 to 100, in percent",
        ),
        (
            {"calculations__ndvi__statistics__default__percentiles__k": []},
            "calculations.ndvi.statistics.default.percentiles.k = []: must be numbers from 0 to 100, in percent",
        ),
        ({"calculations__ndvi__histogram": {}}, "calculations.ndvi.histogram = {}: is not a field of this part"),
        ({"input__data": []}, "input.data = []: value should have at least 1 item"),
        ({"description": "x"}, "description = 'x': is not a field of this part of the request. Check the spelling."),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_sent(
    check: Any, document: Any, changes: dict[str, Any], said: str
) -> None:
    assert said in refusal(check, document(**changes))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"aggregation__evalscript": ...},
            "must hold either evalscript or evalscriptReference. Give the script's text",
        ),
        (
            {"aggregation__evalscriptReference": {"s3": {"url": "s3://b/x.js"}}},
            "must hold either evalscript or evalscriptReference. Give the script's text, or its URL.",
        ),
        (
            {"output": {"gs": {"url": "gs://b/x"}}},
            "is on Google Cloud Storage, but this API reads and writes on S3 only",
        ),
        (
            {"input__bounds": {"bbox": [1, 2, 3, 4]}},
            "a Batch Statistical request has no bounds. Remove them: the geometries come from",
        ),
        ({"input__features": ...}, "input.features = None: is required. Add it."),
    ],
)
def test_what_a_batch_cannot_take(changes: dict[str, Any], said: str) -> None:
    assert said in refusal(batch_statistical.check, batch_statistical_document(**changes))


def test_a_script_may_lie_in_a_bucket() -> None:
    place = {"s3": {"url": "s3://b/x.js", "region": "eu-central-1"}}
    request = batch_statistical_document(aggregation__evalscript=..., aggregation__evalscriptReference=place)
    assert batch_statistical.check(request) == request
    written = statistical_document(aggregation__evalscriptReference=place)
    assert "aggregation.evalscriptReference = " in refusal(statistical.check, written)


def url(call: Call[Any], layout: PathLayout) -> str:
    return call.service.prefix(layout) + call.path


@pytest.mark.parametrize(
    ("call", "method", "new"),
    [
        (batch_statistical.TASKS.create({}), "POST", "/statistics/batch/v1"),
        (batch_statistical.TASKS.page(), "GET", "/statistics/batch/v1"),
        (batch_statistical.TASKS.get("t-1"), "GET", "/statistics/batch/v1/t-1"),
        (batch_statistical.TASKS.analyse("t-1"), "POST", "/statistics/batch/v1/t-1/analyse"),
        (batch_statistical.TASKS.start("t-1"), "POST", "/statistics/batch/v1/t-1/start"),
        (batch_statistical.TASKS.stop("t-1"), "POST", "/statistics/batch/v1/t-1/stop"),
        (statistical.statistics({}), "POST", "/statistics/v1"),
    ],
    ids=lambda each: each.what if isinstance(each, Call) else "",
)
def test_both_layouts_of_every_path(call: Call[Any], method: str, new: str) -> None:
    assert call.method == method
    assert url(call, PathLayout.NEW) == new
    legacy = new.replace("/statistics/batch/v1", "/api/v1/statistics/batch").replace(
        "/statistics/v1", "/api/v1/statistics"
    )
    assert url(call, PathLayout.LEGACY) == legacy


def test_only_a_create_is_never_repeated() -> None:
    assert batch_statistical.TASKS.create({}).repeat is Repeat.NEVER
    assert statistical.statistics({}).repeat is Repeat.ALWAYS
    assert batch_statistical.TASKS.start("t-1").repeat is Repeat.ALWAYS


def test_a_page_is_asked_for() -> None:
    assert batch_statistical.TASKS.page().query == {"sort": "created:desc"}
    assert batch_statistical.TASKS.page("abc").query == {"sort": "created:desc", "viewtoken": "abc"}


@pytest.mark.parametrize("wrong", ["", "None", "a/b", "x?y"])
def test_what_is_no_id_reaches_nobody(wrong: str) -> None:
    for call in (
        batch_statistical.TASKS.get,
        batch_statistical.TASKS.start,
        batch_statistical.TASKS.stop,
    ):
        with pytest.raises(InvalidParameter, match="is not the id of a batch task"):
            call(wrong)


def test_a_retry_asks_for_the_same_of_fewer_features() -> None:
    place = {"url": "s3://in/all.gpkg", "accessKey": "*****", "secretAccessKey": "*****", "region": "waw3-1"}
    out = {"url": "s3://out/r/<ID>.json", "accessKey": "*****", "secretAccessKey": "*****", "region": "eu-central-1"}
    original = batch_statistical_document(input__features={"s3": place}, output={"s3": out})
    before = copy.deepcopy(original)
    again = batch_statistical.rerun(original, Rerun("s3://out/r/retry.gpkg", "s3://out/r/2"))
    assert original == before
    assert again == {
        **original,
        "input": {
            "features": {"s3": {"url": "s3://out/r/retry.gpkg", "region": "eu-central-1"}},
            "data": original["input"]["data"],
        },
        "output": {"s3": {"url": "s3://out/r/2", "region": "eu-central-1"}},
    }
    assert batch_statistical.check(again) == again


Span = tuple[datetime, datetime]


def span_of(text: str) -> Span:
    start, end = (datetime.fromisoformat(each).replace(tzinfo=UTC) for each in text.split("/"))
    return start, end


def asked_again(whole: Span, of: str, last: str, failed: Span) -> Span:
    """Return the period a retry asks for where others failed in a period."""
    body = batch_statistical_document(
        aggregation__timeRange={"from": whole[0].isoformat(), "to": whole[1].isoformat()},
        aggregation__aggregationInterval={"of": of, "lastIntervalBehavior": last},
    )
    again = batch_statistical.check(batch_statistical.rerun(body, Rerun("s3://b/retry.gpkg", "s3://b/2", failed)))
    found = read_range(again["aggregation"]["timeRange"])
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("whole", "of", "last", "failed", "is_shorter"),
    [
        # Nothing is special about the 29th, where intervals are days.
        ("2024-04-01/2024-10-01", "P7D", "SKIP", "2024-04-29/2024-05-13", True),
        ("2024-04-01/2024-10-01", "P1M", "SKIP", "2024-06-01/2024-07-01", True),
        # Alone, these would end on the 28th, on the 28th, and not at all.
        ("2025-01-31/2025-07-31", "P1M", "SKIP", "2025-02-28/2025-03-31", False),
        ("2025-01-29/2025-07-29", "P1M", "SKIP", "2025-02-28/2025-03-29", False),
        ("2025-01-28/2025-07-28", "P1M1D", "SKIP", "2025-03-01/2025-03-30", False),
        # Milliseconds count.
        ("2024-04-01/2024-04-24T12:00:00.250", "P7D", "SHORTEN", "2024-04-22/2024-04-24T12:00:00.250", True),
        ("2024-04-01T00:00:00.500/2024-06-01", "P7D", "SKIP", "2024-04-01T00:00:00.500/2024-04-08T00:00:00.500", True),
        # None of our intervals, whoever cut it: who knows how a shorter period would be cut.
        ("2024-04-01/2024-10-01", "P7D", "SKIP", "2024-04-10/2024-04-17", False),
    ],
)
def test_a_retry_asks_for_the_intervals_that_failed(
    whole: str, of: str, last: str, failed: str, is_shorter: bool
) -> None:
    expected = span_of(failed if is_shorter else whole)
    assert asked_again(span_of(whole), of, last, span_of(failed)) == expected


@given(
    of=st.sampled_from(["P1D", "P7D", "P1M", "P1M1D", "P3M", "PT36H", "P1Y"]),
    last=st.sampled_from(["SKIP", "SHORTEN", "EXTEND"]),
    start=st.integers(0, 700).map(lambda day: datetime(2020, 1, 1, tzinfo=UTC) + timedelta(days=day)),
    fraction=st.sampled_from([0, 1, 500, 86_399_999]),
    days=st.integers(1, 500),
    failed=st.tuples(st.integers(0, 10), st.integers(0, 10)),
)
def test_a_retry_asks_for_intervals_of_the_whole_and_for_all_that_failed(
    of: str, last: str, start: datetime, fraction: int, days: int, failed: tuple[int, int]
) -> None:
    start += timedelta(milliseconds=fraction)
    end = start + timedelta(days=days, milliseconds=fraction)
    whole = list(intervals(start, end, Period.parse(of), last))
    lost = whole[failed[0] :][: failed[1] + 1]
    if not lost:
        return
    asked = asked_again((start, end), of, last, (lost[0][0], lost[-1][1]))
    again = list(intervals(*asked, Period.parse(of), last))
    first = whole.index(again[0])
    assert again == whole[first : first + len(again)]
    assert set(lost) <= set(again)
    if of in {"P1D", "P7D", "PT36H"}:
        assert again == lost


def test_what_an_answer_does_not_hold_may_be_null() -> None:
    band = {"stats": {"mean": 1, "percentiles": None}, "histogram": {"bins": None}}
    entries = [
        {"interval": None, "outputs": None, "error": {"type": "TIMEOUT"}},
        {"outputs": {"ndvi": {"bands": {"B0": band}}, "other": {"bands": None}}},
    ]
    lost, found = StatisticalAnswer.model_validate({"data": entries, "status": "PARTIAL"}).data or []
    assert (lost.interval, lost.outputs) == (None, {})
    (said,) = found.outputs["ndvi"].bands.values()
    assert said.stats is not None
    assert said.histogram is not None
    assert (said.stats.percentiles, said.histogram.bins, found.outputs["other"].bands) == ({}, [], {})


def test_what_is_no_number_is_kept_wherever_it_stands() -> None:
    bins = [{"lowEdge": "NaN", "highEdge": "Infinity", "count": 0, "later": float("nan")}]
    band = {"stats": {"mean": "NaN"}, "histogram": {"bins": bins, "later": float("nan")}}
    interval = {"from": "2024-04-01T00:00:00Z", "to": "2024-04-08T00:00:00Z"}
    answer = {"data": [{"interval": interval, "outputs": {"ndvi": {"bands": {"B0": band}}}}], "status": "OK"}
    kept = StatisticalAnswer.model_validate(answer).model_dump_json(by_alias=True, exclude_unset=True)
    (entry,) = StatisticalAnswer.model_validate_json(kept).data or []
    histogram = entry.outputs["ndvi"].bands["B0"].histogram
    assert histogram is not None
    assert (math.isnan(histogram.bins[0].low_edge), histogram.bins[0].high_edge) == (True, math.inf)
    assert json.loads(kept)["data"][0]["outputs"]["ndvi"]["bands"]["B0"]["histogram"]["later"] == "NaN"


TAG = "airflow:9f8e7d6c/parcels/manual__2025/weekly.ndvi/3#1a2b3c4d5e6f7a8b~2^1:0b1c"


def test_the_tag_is_the_last_line_of_the_script() -> None:
    body = batch_statistical_document()
    tagged = batch_statistical.tagged(body, TAG)
    assert tagged["aggregation"]["evalscript"] == f"{body['aggregation']['evalscript'].rstrip()}\n// {TAG}"
    assert Intent.found_in(batch_statistical.tag_of(tagged)) == Intent.found_in(TAG) is not None
    assert batch_statistical.untagged(tagged)["aggregation"]["evalscript"] == body["aggregation"]["evalscript"].rstrip()
    assert batch_statistical.untagged(body) == body
    assert batch_statistical.check(tagged) == tagged


@pytest.mark.parametrize("added", ["\n// mine", "\nfunction more() {}\n", " ", "\r\n", "\n// airflow: not one"])
def test_what_is_written_after_the_tag_does_not_hide_it(added: str) -> None:
    body = batch_statistical_document()
    script = body["aggregation"]["evalscript"].rstrip()
    tagged = batch_statistical.tagged(body, TAG)
    tagged["aggregation"]["evalscript"] += added
    assert Intent.found_in(batch_statistical.tag_of(tagged)) == Intent.found_in(TAG)
    left = batch_statistical.untagged(tagged)["aggregation"]["evalscript"]
    assert left.startswith(script)
    assert left.rstrip() == f"{script}{added}".rstrip()


@pytest.mark.parametrize("odd", [None, [], 5, "x", {"evalscript": None}, {"evalscriptReference": {"s3": None}}])
def test_a_request_of_any_shape_can_be_looked_at(odd: object) -> None:
    request = {"aggregation": odd, "output": odd, "input": odd}
    assert Intent.found_in(batch_statistical.tag_of(request)) is None
    assert batch_statistical.untagged(request) == request
    assert batch_statistical.delivery_url(request) == ""
    assert batch_statistical.features_url(request) is None


def test_the_tag_is_in_the_name_of_a_long_script() -> None:
    name = batch_statistical.script_name(TAG)
    assert re.fullmatch("[A-Za-z0-9_.-]+", name)
    place = {"s3": {"url": f"s3://bucket/evalscripts/{name}"}}
    body = batch_statistical_document(aggregation__evalscript=..., aggregation__evalscriptReference=place)
    assert batch_statistical.tagged(body, TAG) == body
    assert batch_statistical.tag_of(body) == TAG


@pytest.mark.parametrize("url", ["s3://bucket/mine.js", "s3://bucket/airflow-x.js", "s3://bucket/airflow-_____.js"])
def test_other_scripts_have_no_tag(url: str) -> None:
    body = batch_statistical_document(
        aggregation__evalscript=..., aggregation__evalscriptReference={"s3": {"url": url}}
    )
    assert Intent.found_in(batch_statistical.tag_of(body)) is None


def test_where_a_task_takes_its_features_from() -> None:
    assert batch_statistical.features_url(batch_statistical_document()) == "s3://bucket/parcels.gpkg"
    assert batch_statistical.features_url({}) is None


@pytest.mark.parametrize("spelling", ["costPU", "costPu"])
def test_the_cost_by_both_spellings(spelling: str) -> None:
    task = BatchTask.model_validate({"id": "t", "status": "DONE", spelling: 6.5})
    assert task.cost_pu == 6.5


INTERVAL = {"from": "2020-06-07T00:00:00Z", "to": "2020-06-08T00:00:00Z"}


def test_an_answer_is_read() -> None:
    stats = {
        "min": "NaN", "max": 1, "mean": 0.5, "stDev": 0.1, "sampleCount": 112, "noDataCount": 3,
        "percentiles": {"50.0": 0.4}, "later": 1,
    }  # fmt: skip
    histogram = {"bins": [{"lowEdge": -1.0, "highEdge": -0.8, "count": 2}], "overflowCount": 1, "underflowCount": 0}
    band = {"stats": stats, "histogram": histogram}
    answer = StatisticalAnswer.model_validate(
        {
            "data": [
                {"interval": INTERVAL, "outputs": {"ndvi": {"bands": {"B0": band}}}},
                {"interval": INTERVAL, "error": {"type": "TIMEOUT"}},
                {"interval": INTERVAL, "error": "EXECUTION_ERROR"},
            ],
            "status": "PARTIAL",
            "geometryPixelCount": 112,
        }
    )
    good, *failed = answer.data or []
    found = good.outputs["ndvi"].bands["B0"]
    assert found.stats is not None
    assert found.histogram is not None
    assert found.stats.minimum is not None
    assert math.isnan(found.stats.minimum)
    assert (found.stats.sample_count, found.stats.percentiles) == (112, {"50.0": 0.4})
    assert (found.histogram.overflow_count, found.histogram.bins[0].count) == (1, 2)
    assert answer.failed == tuple(failed)
    assert answer.geometry_pixel_count == 112
    assert [each.error.type for each in answer.failed if each.error] == ["TIMEOUT", "EXECUTION_ERROR"]


# As the service writes it where there is no image in the whole period.
EMPTY: dict[str, Any] = {"data": [], "status": "OK", "geometryPixelCount": None}


@pytest.mark.parametrize("body", [{"data": None, "status": "FAILED"}, {"error": "COMMON_BAD_PAYLOAD"}, EMPTY])
def test_an_answer_without_intervals_is_read(body: dict[str, Any]) -> None:
    answer = StatisticalAnswer.model_validate(body)
    assert answer.failed == ()
    assert answer.error is None or answer.error.type == "COMMON_BAD_PAYLOAD"
