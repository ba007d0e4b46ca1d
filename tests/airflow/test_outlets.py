"""What an asset event says of a request, whatever that looks like."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_sentinelhub.operators.outlets import area_and_period

APRIL, MAY = "2019-04-01T00:00:00Z", "2019-05-01T00:00:00Z"


@pytest.mark.parametrize(
    ("filters", "time_range"),
    [
        ([{"timeRange": {"from": APRIL}}], {"from": APRIL}),
        ([{"timeRange": {"to": MAY}}, {"timeRange": {"from": APRIL, "to": APRIL}}], {"to": MAY}),
        (
            [{"timeRange": {"from": MAY, "to": MAY}}, {"timeRange": {"from": APRIL, "to": APRIL}}],
            {"from": APRIL, "to": MAY},
        ),
        ([{"timeRange": None}], None),
        ([None], None),
        ([{}], None),
    ],
)
def test_the_time_of_a_request(filters: list[Any], time_range: Any) -> None:
    data = [{"type": "dem", "dataFilter": each} for each in filters]
    assert area_and_period({"processRequest": {"input": {"data": data}}}).get("time_range") == time_range


@pytest.mark.parametrize("request_", [{}, {"processRequest": {"input": {"data": None}}}, {"aggregation": None}])
def test_a_request_that_says_nothing(request_: dict[str, Any]) -> None:
    assert area_and_period(request_) == {}
