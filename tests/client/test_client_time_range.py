from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_sentinelhub.client.apis.batch_v2.calls import check
from airflow_provider_sentinelhub.client.apis.statistical import calls as statistical
from airflow_provider_sentinelhub.client.errors import InvalidParameter
from tests.client.client_harness import statistical_document


def sent(data_filter: Any) -> Any:
    body = check(
        {
            "processRequest": {
                "input": {
                    "bounds": {"bbox": [8, 41, 9, 42]},
                    "data": [{"type": "sentinel-2-l2a", "dataFilter": data_filter}],
                },
                "evalscript": "//VERSION=3",
            },
            "input": {"type": "tiling-grid", "id": 0, "resolution": 60},
            "output": {"type": "raster", "delivery": {"s3": {"url": "s3://my-bucket/x"}}},
        }
    )
    return body["processRequest"]["input"]["data"][0]["dataFilter"]


@pytest.mark.parametrize(
    "start",
    [
        "2019-04-01T00:00:00Z",
        "2019-04-01 00:00:00+00:00",
        "2019-04-01T02:00:00+02:00",
        datetime(2019, 4, 1, tzinfo=UTC),
    ],
)
def test_what_airflow_makes_of_a_date_is_understood(start: Any) -> None:
    found = sent({"timeRange": {"from": start, "to": "2019-06-30T23:59:59.500Z"}, "maxCloudCoverage": 70})
    assert found == {
        "timeRange": {"from": "2019-04-01T00:00:00Z", "to": "2019-06-30T23:59:59.500Z"},
        "maxCloudCoverage": 70,
    }


@pytest.mark.parametrize(
    ("data_filter", "message"),
    [
        (
            {"timeRange": {"from": "2019-13-01T00:00:00Z"}},
            "dataFilter.timeRange.from = '2019-13-01T00:00:00Z': is not a date and time. Write",
        ),
        (
            {"timeRange": {"to": "2019-04-30T24:00:00Z"}},
            "dataFilter.timeRange.to = '2019-04-30T24:00:00Z': is not a date and time. Hours go from 00 to 23. ",
        ),
        (
            {"timeRange": {"to": "2019-04-01"}},
            "dataFilter.timeRange.to = '2019-04-01': is a date without a time. Write",
        ),
        (
            {"timeRange": {"from": "2020-01-01T00:00:00Z", "to": "2019-01-01T00:00:00Z"}},
            "timeRange.from is after timeRange.to. Swap the two.",
        ),
        (
            {"maxCloudCoverage": 100.5},
            "dataFilter.maxCloudCoverage = 100.5: must be a number from 0 to 100, in percent",
        ),
        ({"maxCloudCoverage": -1}, "dataFilter.maxCloudCoverage = -1: must be a number from 0 to 100"),
        ({"maxCloudCoverage": "low"}, "dataFilter.maxCloudCoverage = 'low': must be a number from 0 to 100"),
        ({"maxCloudCoverage": True}, "dataFilter.maxCloudCoverage = True: must be a number from 0 to 100"),
        ({"mosaickingOrder": "best"}, "'best': must be one of mostRecent, leastRecent, leastCC. Choose one"),
        ({"mosaickingOrder": ["leastCC"]}, "['leastCC']: must be one of mostRecent, leastRecent, leastCC"),
        ("cloudless", "dataFilter = 'cloudless': must be a JSON object. Write an object with the fields in it."),
        ({"timeRange": "last week"}, "dataFilter.timeRange = 'last week': must be a JSON object. Write"),
    ],
)
def test_what_is_wrong_with_a_period_is_told(data_filter: Any, message: str) -> None:
    with pytest.raises(InvalidParameter) as caught:
        sent(data_filter)
    assert message in str(caught.value)


def test_a_moment_is_a_period_of_images_and_none_of_statistics() -> None:
    moment = {"from": "2026-11-01T00:00:00Z", "to": "2026-11-01T00:00:00Z"}
    assert sent({"timeRange": moment}) == {"timeRange": moment}
    with pytest.raises(InvalidParameter, match=r"timeRange\.from is not before timeRange\.to\. If the schedule has no"):
        statistical.check(statistical_document(aggregation__timeRange=moment))


def test_both_dates_and_all_else_are_named_at_once() -> None:
    with pytest.raises(InvalidParameter) as caught:
        sent({"timeRange": {"from": "yesterday", "to": "2019-04-01"}, "maxCloudCoverage": 101, "mosaickingOrder": "x"})
    path = "processRequest.input.data.0.dataFilter"
    assert [each.field for each in (caught.value, *caught.value.others)] == [
        f"{path}.timeRange.from",
        f"{path}.timeRange.to",
        f"{path}.maxCloudCoverage",
        f"{path}.mosaickingOrder",
    ]


def test_what_templating_made_of_a_filter_is_sent_as_the_service_wants_it() -> None:
    found = sent(
        '{"timeRange": {"from": "2019-04-01T00:00:00"}, "maxCloudCoverage": "30", "mosaickingOrder": "leastCC"}'
    )
    assert found == {
        "timeRange": {"from": "2019-04-01T00:00:00Z"},
        "maxCloudCoverage": 30.0,
        "mosaickingOrder": "leastCC",
    }


@pytest.mark.parametrize("percent", [0, 100, 33.3])
def test_a_cloud_cover_in_percent_is_sent_as_it_was_written(percent: float) -> None:
    found = sent({"maxCloudCoverage": percent, "mosaickingOrder": None})
    assert found == {"maxCloudCoverage": percent}
    assert type(found["maxCloudCoverage"]) is type(percent)


def test_filters_of_other_collections_pass() -> None:
    assert sent({"polarization": "DV", "orbitDirection": "ASCENDING"}) == {
        "polarization": "DV",
        "orbitDirection": "ASCENDING",
    }


@given(
    st.integers(0, 1_600_000_000),
    st.timedeltas(timedelta(seconds=1), timedelta(days=900)),
    st.integers(-12, 12),
)
def test_a_moment_stays_the_same_moment(start: int, length: timedelta, offset: int) -> None:
    zone = timezone(timedelta(hours=offset))
    first = datetime(1990, 1, 1, tzinfo=UTC) + timedelta(seconds=start)
    last = first + timedelta(seconds=int(length.total_seconds()))
    found = sent({"timeRange": {"from": str(first.astimezone(zone)), "to": str(last.astimezone(zone))}})
    assert datetime.fromisoformat(found["timeRange"]["from"]) == first
    assert datetime.fromisoformat(found["timeRange"]["to"]) == last
