"""What statistics cost, by the same rules as images, but for what the service says of them."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_sentinelhub.client.apis.registry import request_type
from airflow_provider_sentinelhub.client.costs.estimate import Estimate, PixelCounts
from airflow_provider_sentinelhub.client.costs.factors import Factor
from airflow_provider_sentinelhub.client.http.deployments import DEPLOYMENTS
from tests.client.client_harness import NDVI, batch_statistical_document, statistical_document

# A thousand features of one processing unit each, before anything else is multiplied.
THOUSAND = [(512, 512, 1000)]
WEEKS = 26
NDVI_BANDS = 2 / 3
ORBIT = NDVI.replace("output:", 'mosaicking: "ORBIT", output:')
TILE = NDVI.replace("output:", 'mosaicking: "TILE", output:')
INTEGERS = NDVI.replace("FLOAT32", "UINT8")


def estimate_of(document: Any, groups: PixelCounts) -> Estimate:
    return request_type(document).estimate(document, groups)


def factor(estimate: Estimate, name: str) -> Factor:
    return next(each for each in estimate.factors if each.name == name)


@pytest.mark.parametrize("document", [statistical_document, batch_statistical_document])
def test_every_interval_is_a_sample_and_nothing_is_cheaper(document: Any) -> None:
    estimate = estimate_of(document(), THOUSAND)
    assert estimate.pu == pytest.approx(1000 * NDVI_BANDS * WEEKS)
    assert factor(estimate, "batch").value == 1
    assert factor(estimate, "samples per pixel")[1:] == (WEEKS, "SIMPLE mosaicking of 26 intervals", 0, WEEKS)
    # 32-bit floats count twice in a TIFF; whether they do here is not said.
    assert estimate.high_pu == pytest.approx(2 * estimate.pu)
    assert any("0 to 26 possible" in each for each in estimate.assumptions)


def test_whole_numbers_cost_no_more_than_that() -> None:
    estimate = estimate_of(batch_statistical_document(aggregation__evalscript=INTEGERS), THOUSAND)
    assert estimate.high_pu == pytest.approx(estimate.pu)


@pytest.mark.parametrize(
    ("script", "interval", "expected"),
    [
        (ORBIT, {"of": "P1M"}, (153 / 3, 153)),  # SKIP leaves September out, which ends on its last day
        (ORBIT, {"of": "P1M", "lastIntervalBehavior": "SHORTEN"}, (182 / 3, 182)),
        (ORBIT, {"of": "P1M", "lastIntervalBehavior": "EXTEND"}, (183 / 3, 183)),
        (TILE, {"of": "P7D"}, (182 / 3, 4 * 182)),
        (NDVI, {"of": "P1Y"}, (0, 0)),
        (NDVI, {"of": "P1Y", "lastIntervalBehavior": "SHORTEN"}, (1, 1)),
        (NDVI, {"of": "a week"}, (1, None)),
    ],
)
def test_samples_follow_mosaicking_and_intervals(script: str, interval: Any, expected: Any) -> None:
    request = batch_statistical_document(aggregation__evalscript=script, aggregation__aggregationInterval=interval)
    found = factor(estimate_of(request, THOUSAND), "samples per pixel")
    assert found.value == pytest.approx(expected[0])
    assert (found.low, found.high) == (0, expected[1])


def test_a_task_has_the_minimum_of_a_batch_and_a_request_its_own() -> None:
    few = [(20, 20, 10)]
    one = {"of": "P1Y", "lastIntervalBehavior": "SHORTEN"}
    batch = estimate_of(batch_statistical_document(aggregation__aggregationInterval=one), few)
    assert batch.pu == 100
    single = estimate_of(statistical_document(aggregation__aggregationInterval=one), few)
    assert single.pu == pytest.approx(10 * 0.01)
    assert single.assumptions[0] == "The requests cost at least 0.1 PU: that is more than this one's 0.06667."
    assert estimate_of(statistical_document(), []).pu == 0


def test_only_a_batch_delivers() -> None:
    said = "\n".join(estimate_of(batch_statistical_document(), THOUSAND).assumptions)
    assert "Delivery is free: the bucket is in the region of the deployment" in said
    said = "\n".join(estimate_of(statistical_document(), THOUSAND).assumptions)
    assert "Delivery" not in said
    assert "All requests succeed" in said


@pytest.mark.parametrize(
    ("calculations", "high_mb"),
    [
        ({}, 0.2 + 26 * 0.4 + 4.096),
        ({"ndvi": {"statistics": {"B0": {"percentiles": {"k": [5, 50]}}}}}, 0.2 + 26 * 0.47 + 4.096),
        ({"ndvi": {"histograms": {"default": {"nBins": 10}}}}, 0.2 + 26 * 1.2 + 4.096),
        ({"ndvi": {"histograms": {"B0": {"binWidth": 0.1, "lowEdge": 0, "highEdge": 1}}}}, 0.2 + 26 * 1.2 + 4.096),
        ({"ndvi": {"histograms": {"B0": {"bins": [0.0, 0.5, 1.0]}}}}, 0.2 + 26 * 0.64 + 4.096),
        ({"ndvi": {"histograms": {"B0": {"binWidth": 0.1}}}}, None),
    ],
)
def test_delivery_of_statistics_to_another_region_is_added(calculations: Any, high_mb: float | None) -> None:
    elsewhere = {"s3": {"url": "s3://bucket/f", "region": "us-east-1"}}
    request = batch_statistical_document(output=elsewhere, calculations=calculations)
    found = request_type(request).estimate(request, THOUSAND, DEPLOYMENTS["aws-eu-central-1"])
    assert found.surcharge.high_pu == (None if high_mb is None else pytest.approx(0.03 * high_mb))
    assert found.pu == pytest.approx(1000 * NDVI_BANDS * WEEKS + found.surcharge.pu)
    assert (found.high_pu is None) == (high_mb is None)


def test_remote_data_count_twice_where_they_are_allowed() -> None:
    sources = [{"type": "sentinel-2-l2a"}, {"type": "landsat-ot-l2"}]
    fusion = factor(estimate_of(statistical_document(input__data=sources), THOUSAND), "data fusion")
    assert (fusion.value, fusion.high) == (2, 4)
    fusion = factor(estimate_of(batch_statistical_document(input__data=sources), THOUSAND), "data fusion")
    assert (fusion.value, fusion.high) == (2, 2)


def test_a_script_in_a_bucket_leaves_the_upper_end_open() -> None:
    place = {"s3": {"url": "s3://b/x.js"}}
    request = batch_statistical_document(aggregation__evalscript=..., aggregation__evalscriptReference=place)
    estimate = estimate_of(request, THOUSAND)
    assert estimate.high_pu is None
    assert estimate.text()


def test_the_request_is_not_changed() -> None:
    request = statistical_document()
    before = copy.deepcopy(request)
    estimate_of(request, THOUSAND)
    assert request == before


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=4) | st.sampled_from(["P1D", "2024-01-01T00:00Z", NDVI]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


@given(
    path=st.sampled_from(
        [
            "input",
            "input__data",
            "aggregation",
            "aggregation__timeRange",
            "aggregation__aggregationInterval",
            "calculations",
        ]
    ),
    value=JSON,
)
def test_no_request_makes_it_raise(path: str, value: Any) -> None:
    assert estimate_of(statistical_document(**{path: value}), [(10, 10, 3)]).text()
