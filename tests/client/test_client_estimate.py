from __future__ import annotations

import copy
import importlib.util
import json
import math
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_sentinelhub.client.apis.batch_v2.spec import BATCH_V2
from airflow_provider_sentinelhub.client.costs.estimate import Estimate
from airflow_provider_sentinelhub.client.costs.factors import Factor
from airflow_provider_sentinelhub.client.http.deployments import DEPLOYMENTS, Deployment
from airflow_provider_sentinelhub.simulator.process import Simulator

JULY = {"from": "2021-07-01T00:00:00Z", "to": "2021-07-31T00:00:00Z"}
BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "estimate_accuracy.py"


def script(
    bands: str = '"B02", "B03", "B04"', output: str = '{bands: 3, sampleType: "UINT8"}', mosaicking: str = "SIMPLE"
) -> str:
    return (
        f"//VERSION=3\nfunction setup() {{ return {{input: [{{bands: [{bands}]}}], output: {output}, "
        f'mosaicking: "{mosaicking}"}} }}'
    )


def body(evalscript: str | None = None, *sources: dict[str, Any], **more: Any) -> dict[str, Any]:
    data = list(sources) or [{"type": "sentinel-2-l2a", "dataFilter": {"timeRange": JULY}}]
    process = {"input": {"data": data}, "evalscript": script() if evalscript is None else evalscript}
    return {"processRequest": {**process, **more}, "output": {"type": "raster"}}


# A thousand features of three processing units each, before anything else is multiplied.
THOUSAND = [(1536, 512, 1000)]


def factor(estimate: Estimate, name: str) -> Factor:
    return next(each for each in estimate.factors if each.name == name)


def relative(evalscript: str, *sources: dict[str, Any], **more: Any) -> tuple[float, float, float | None]:
    """The price as a multiple of that of a plain request: estimate, low, high."""
    plain = BATCH_V2.estimate(body(), THOUSAND).pu
    estimate = BATCH_V2.estimate(body(evalscript, *sources, **more), THOUSAND)
    high = None if estimate.high_pu is None else round(estimate.high_pu / plain, 9)
    return round(estimate.pu / plain, 9), round(estimate.low_pu / plain, 9), high


def test_a_plain_request_costs_what_the_rules_say() -> None:
    estimate = BATCH_V2.estimate(body(), THOUSAND)
    assert (estimate.pu, estimate.low_pu, estimate.high_pu) == pytest.approx((1000, 1000, 1000))
    assert (estimate.features, estimate.pixels) == (1000, 1000 * 1536 * 512)
    assert math.prod(each.value for each in estimate.factors) == pytest.approx(1000)


def test_the_published_example_of_change_detection() -> None:
    six_days = {"from": "2021-07-01T00:00:00Z", "to": "2021-07-07T00:00:00Z"}
    source = {
        "type": "sentinel-1-grd",
        "dataFilter": {"timeRange": six_days},
        "processing": {"orthorectify": True},
    }
    evalscript = script('"VV", "VH", "HH", "HV"', '{bands: 1, sampleType: "FLOAT32"}', "ORBIT")
    estimate = BATCH_V2.estimate(body(evalscript, source), [(1024, 1024, 100)])
    assert estimate.pu == pytest.approx(100 * 42.667 / 3, rel=1e-4)


def test_the_published_example_of_a_parcel() -> None:
    estimate = BATCH_V2.estimate(body(script('"B04", "B08", "dataMask"')), [(20, 20, 100_000)])
    assert estimate.pu == pytest.approx(100_000 * 0.00667, rel=1e-3)
    assert estimate.low_pu == pytest.approx(estimate.pu * (400 / 512**2) / 0.01)
    assert "100,000 features are so small" in "\n".join(estimate.assumptions)


@pytest.mark.parametrize(
    ("width", "height", "low", "pu", "high"),
    [(100, 99, 1, 1, 1), (100, 100, 1 / 3, 1 / 3, 1), (100, 101, 1 / 3, 1 / 3, 1 / 3)],
)
def test_the_discount_begins_with_ten_thousand_pixels(
    width: int, height: int, low: float, pu: float, high: float
) -> None:
    estimate = BATCH_V2.estimate(body(), [(width, height, 100_000)])
    units = 100_000 * width * height / 512**2
    assert (estimate.low_pu, estimate.pu, estimate.high_pu) == pytest.approx((low * units, pu * units, high * units))


@pytest.mark.parametrize(
    ("bands", "expected"),
    [
        ('"B04"', 1 / 3),
        ('"B02", "B03", "B04", "dataMask"', 1),
        ('"dataMask"', 1 / 3),
        ('"B04", "B04"', 1 / 3),
        (", ".join(f'"B{number}"' for number in range(12)), 4),
    ],
)
def test_input_bands_count_but_not_the_mask(bands: str, expected: float) -> None:
    assert relative(script(bands)) == pytest.approx((expected,) * 3)


TWO = '[{id: "a", bands: 1, sampleType: "FLOAT32"}, {id: "b", bands: 1, sampleType: "UINT16"}]'


@pytest.mark.parametrize(
    ("output", "responses", "expected"),
    [
        ('{bands: 1, sampleType: "FLOAT32"}', None, (2, 2, 2)),
        ("{bands: 1, sampleType: SampleType.FLOAT32}", None, (2, 2, 2)),
        ("{bands: 1}", None, (1, 1, 1)),
        ("{bands: 1, sampleType: 5}", None, (2, 1, 2)),
        (TWO, [("a", "image/tiff"), ("b", "image/tiff")], (2, 2, 2)),
        # A float output that nobody asked for should not count, but the rules do not say so.
        (TWO, [("b", "image/tiff")], (1, 1, 2)),
        (TWO, [("b", "image/tiff"), ("userdata", "application/json")], (1, 1, 2)),
        (TWO, [("a", "zarr/array"), ("b", "zarr/array")], (1, 1, 2)),
        (TWO, [("elsewhere", "image/tiff")], (2, 1, 2)),
    ],
)
def test_a_float_tiff_doubles_the_price(output: str, responses: list[tuple[str, str]] | None, expected: Any) -> None:
    listed = [{"identifier": name, "format": {"type": kind}} for name, kind in responses or ()]
    more = {"output": {"responses": listed}} if responses else {}
    assert relative(script(output=output), **more) == expected


@pytest.mark.parametrize(
    ("mosaicking", "period", "expected"),
    [
        # The first version's own example: ten samples between 1 and 31 January.
        ("ORBIT", JULY, (10, 0.1, 31)),
        ("TILE", JULY, (10, 0.1, 124)),
        ("SIMPLE", JULY, (1, 1, 1)),
        ("ORBIT", {"from": "2021-07-01T00:00:00Z", "to": "2021-07-01T23:59:59Z"}, (1, 0.1, 1)),
        ("ORBIT", {"from": "2021-07-01T23:00:00+02:00", "to": "2021-07-01T22:00:00Z"}, (1, 0.1, 1)),
        ("ORBIT", {"from": "2021-07-01", "to": "2021-07-31T00:00:00.000Z"}, (10, 0.1, 31)),
        ("ORBIT", {"from": "2021-07-31T00:00:00Z", "to": "2021-07-01T00:00:00Z"}, (1, 0.1, None)),
        ("ORBIT", {"from": "long ago"}, (1, 0.1, None)),
        ("ORBIT", {"from": "0001-01-01T00:00:00+14:00", "to": "2021-07-01T00:00:00Z"}, (1, 0.1, None)),
        ("ORBIT", None, (1, 0.1, None)),
        ("SIMPLE", None, (1, 1, 1)),
        ("COMPUTED", JULY, (10, 0.1, 124)),
    ],
)
def test_samples_follow_the_mosaicking_and_the_time_range(mosaicking: str, period: Any, expected: Any) -> None:
    source = {"type": "sentinel-2-l2a", "dataFilter": {"timeRange": period}}
    # The least is the minimum for a task: without any acquisition nothing is charged beyond it.
    assert relative(script(mosaicking=mosaicking), source) == expected


def test_the_text_says_how_wrong_it_can_be_and_why() -> None:
    text = BATCH_V2.estimate(body(script(mosaicking="ORBIT")), THOUSAND).text()
    assert "Estimated cost: 10,000 PU; at least 100 PU, at most 31,000 PU." in text
    assert "x 10 samples per pixel (0 to 31): ORBIT mosaicking of 30 days, one acquisition every 3 days assumed" in text
    assert "10 samples per pixel assumed, 0 to 31 possible" in text
    assert "1,000 features, 786,432,000 pixels" in text
    assert "Delivery is free: the bucket is in the region of the deployment" in text


ELSEWHERE = {"s3": {"url": "s3://bucket/f", "region": "us-east-1"}}
GOOGLE = {"gs": {"url": "gs://bucket/f"}}
FRANKFURT = {"s3": {"url": "s3://bucket/f", "region": "eu-central-1"}}


def delivered(place: Any, deployment: str | None, outputs: str | None = None, **output: Any) -> Estimate:
    request = body(None if outputs is None else script(output=outputs))
    request["output"] |= {"delivery": place, **output}
    return BATCH_V2.estimate(request, THOUSAND, DEPLOYMENTS[deployment] if deployment else None)


@pytest.mark.parametrize(
    ("place", "deployment", "pu", "high"),
    [
        (ELSEWHERE, "aws-eu-central-1", 0.03, 0.03),
        (FRANKFURT, "aws-us-west-2", 0.03, 0.03),
        (FRANKFURT, "aws-eu-central-1", 0, 0),
        ({"s3": {"url": "s3://bucket/f"}}, "aws-eu-central-1", 0, 0),
        (GOOGLE, "aws-eu-central-1", 0.1, 0.1),
        (GOOGLE, "custom", 0.1, 0.1),
        (GOOGLE, None, 0.1, 0.1),
        # Whether that is another region is not known there.
        (ELSEWHERE, "custom", 0, 0.03),
        (ELSEWHERE, None, 0, 0.03),
        # Announced, but not applied yet.
        ({"s3": {"url": "s3://bucket/f", "region": "waw4-1"}}, "cdse", 0, 0),
        (None, "aws-eu-central-1", 0, 0),
        ({"gs": "text", "s3": ["list"]}, "aws-eu-central-1", 0, 0),
    ],
)
def test_delivery_to_another_region_or_cloud_is_added(place: Any, deployment: str, pu: float, high: float) -> None:
    megabytes, headers = 1000 * 1536 * 512 * 3 / 1e6, 1000 * 4096 / 1e6
    estimate = delivered(place, deployment)
    assert estimate.pu == pytest.approx(1000 + pu * megabytes)
    assert estimate.low_pu == pytest.approx(1000)
    assert estimate.high_pu == pytest.approx(1000 + high * (megabytes + headers))
    assert ("PU for delivery" in estimate.text()) == bool(pu)


def test_what_a_file_holds_decides_what_its_delivery_costs() -> None:
    plain = delivered(GOOGLE, "aws-eu-central-1").surcharge
    overviews = delivered(GOOGLE, "aws-eu-central-1", cogOutput=True).surcharge
    assert plain.high_pu is not None
    assert overviews.high_pu is not None
    assert overviews.pu == plain.pu
    assert overviews.high_pu - plain.high_pu == pytest.approx(plain.pu / 3)
    floats = delivered(GOOGLE, "aws-eu-central-1", '{bands: 3, sampleType: "FLOAT32"}').surcharge
    assert floats.pu == pytest.approx(4 * plain.pu)
    unknown = delivered(GOOGLE, "aws-eu-central-1", "outputs()")
    assert unknown.surcharge.pu > plain.pu
    assert unknown.high_pu is None
    assert "if a pixel has 4 bytes" in unknown.text()


def test_a_small_task_costs_its_minimum_and_the_delivery() -> None:
    request = body()
    request["output"]["delivery"] = GOOGLE
    assert BATCH_V2.estimate(request, [(1000, 1000, 1)]).pu == pytest.approx(100 + 0.3)


def source(kind: str, **more: Any) -> dict[str, Any]:
    return {"type": kind, "dataFilter": {"timeRange": JULY}, **more}


FUSED = (
    '//VERSION=3\nfunction setup() { return {input: [{datasource: "one", bands: ["A", "dataMask"]}, '
    '{datasource: "two", bands: ["B", "C"], mosaicking: "%s"}], output: {bands: 1}} }'
)


def test_data_fusion_counts_every_source() -> None:
    two = (source("sentinel-2-l2a", id="one"), source("landsat-ot-l1", id="two"))
    assert relative(FUSED % "SIMPLE", *two) == (2, 2, 2)
    before_and_after = (source("sentinel-2-l2a", id="one"), source("sentinel-2-l2a", id="two"))
    assert relative(FUSED % "SIMPLE", *before_and_after) == (2, 1, 2)


def test_each_source_has_its_own_time_range() -> None:
    year = {"timeRange": {"from": "2021-01-01T00:00:00Z", "to": "2021-12-31T00:00:00Z"}}
    # Found by its id although it is not where the evalscript has it.
    two = (source("sentinel-2-l2a", id="two"), source("landsat-ot-l1", id="one", dataFilter=year))
    assert relative(FUSED % "ORBIT", *two) == (20, 0.1, 62)


@pytest.mark.parametrize(
    ("processing", "expected"),
    [
        ({"orthorectify": True}, 2),
        ({"orthorectify": "true"}, 2),
        ({"orthorectify": False, "backCoeff": "GAMMA0_ELLIPSOID"}, 1),
        ({"orthorectify": True, "backCoeff": "GAMMA0_TERRAIN"}, 2.5),
        ({"speckleFilter": {"type": "LEE", "windowSizeX": 3}}, 2),
        ({"speckleFilter": {"type": "NONE"}}, 1),
        ({"orthorectify": True, "backCoeff": "GAMMA0_TERRAIN", "speckleFilter": {"type": "LEE"}}, 5),
        ({"upsampling": "BILINEAR"}, 1),
        (None, 1),
    ],
)
def test_sentinel_1_processing_multiplies(processing: Any, expected: float) -> None:
    assert relative(script(), source("sentinel-1-grd", processing=processing)) == (expected,) * 3


def test_it_is_open_whether_one_source_makes_the_others_dearer() -> None:
    two = (source("sentinel-1-grd", id="one", processing={"orthorectify": True}), source("landsat-ot-l1", id="two"))
    assert relative(FUSED % "SIMPLE", *two) == (4, 3, 4)


def test_a_task_costs_at_least_the_minimum() -> None:
    estimate = BATCH_V2.estimate(body(), [(500, 500, 1)])
    assert (estimate.pu, estimate.low_pu, estimate.high_pu) == (100, 100, 100)
    assert "at least 100 PU: that is more than this one's 0.3179" in estimate.assumptions[0]


def test_nothing_to_do_costs_nothing() -> None:
    for evalscript in (script(), "unreadable"):
        estimate = BATCH_V2.estimate(body(evalscript), [])
        assert (estimate.pu, estimate.low_pu, estimate.high_pu, estimate.features) == (0, 0, 0, 0)
        assert estimate.text()


def test_what_may_be_skipped_may_cost_nothing() -> None:
    request = body()
    request["output"]["skipExisting"] = True
    estimate = BATCH_V2.estimate(request, THOUSAND)
    assert estimate.low_pu == 0
    assert estimate.pu == pytest.approx(1000)
    assert any("skipped" in each for each in estimate.assumptions)


def test_an_unreadable_evalscript_leaves_the_upper_end_open() -> None:
    estimate = BATCH_V2.estimate(body("function setup() { return build(); }"), THOUSAND)
    assert estimate.high_pu is None
    assert estimate.low_pu == 100
    assert factor(estimate, "bands").high is None
    assert "without a known upper bound" in estimate.text()
    assert any("setup()" in each for each in estimate.assumptions)


def test_a_million_groups_are_gone_through_once() -> None:
    estimate = BATCH_V2.estimate(body(), ((n, 100, 1) for n in range(1, 3001)))
    assert estimate.features == 3000


def test_the_request_is_not_changed() -> None:
    request = body()
    before = copy.deepcopy(request)
    BATCH_V2.estimate(request, THOUSAND)
    assert request == before


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just(script()),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "processRequest",
                    "input",
                    "data",
                    "output",
                    "responses",
                    "evalscript",
                    "type",
                    "id",
                    "dataFilter",
                    "timeRange",
                    "from",
                    "to",
                    "processing",
                    "backCoeff",
                    "orthorectify",
                    "speckleFilter",
                    "identifier",
                    "format",
                    "skipExisting",
                    "delivery",
                    "s3",
                    "gs",
                    "region",
                    "cogOutput",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
GROUPS = st.lists(st.tuples(st.integers(1, 3500), st.integers(1, 3500), st.integers(1, 700_000)), max_size=4)


@given(
    st.dictionaries(st.sampled_from(["processRequest", "output", "input"]), JSON),
    GROUPS,
    st.sampled_from([None, *DEPLOYMENTS.values()]),
)
def test_no_request_makes_it_raise(
    request_body: dict[str, Any], groups: list[tuple[int, int, int]], deployment: Deployment | None
) -> None:
    estimate = BATCH_V2.estimate(request_body, groups, deployment)
    assert estimate.text()
    json.dumps(estimate.factors)
    assert 0 <= estimate.low_pu <= estimate.pu
    assert estimate.high_pu is None or estimate.high_pu >= estimate.pu * (1 - 1e-9)


@given(
    GROUPS,
    st.sampled_from(["SIMPLE", "ORBIT", "TILE"]),
    st.integers(1, 15),
    st.sampled_from(["UINT8", "FLOAT32"]),
    st.integers(0, 1000),
)
def test_more_of_anything_is_never_cheaper(
    groups: list[tuple[int, int, int]], mosaicking: str, bands: int, kind: str, days: int
) -> None:
    names = [f'"B{number}"' for number in range(bands + 1)]
    period = {"from": "2020-01-01T00:00:00Z", "to": f"{2020 + days // 365}-12-31T00:00:00Z"}
    sources = source("sentinel-2-l2a", dataFilter={"timeRange": period})
    output = f'{{bands: 1, sampleType: "{kind}"}}'
    less = BATCH_V2.estimate(body(script(", ".join(names[1:]), output, mosaicking), sources), groups)
    more = BATCH_V2.estimate(body(script(", ".join(names), output, mosaicking), sources), [*groups, (600, 600, 3)])
    assert less.low_pu <= less.pu * (1 + 1e-9)
    assert less.high_pu is not None
    assert less.pu <= less.high_pu * (1 + 1e-9)
    assert less.pu <= more.pu
    assert less.low_pu <= more.low_pu


def test_the_estimate_meets_what_the_simulator_charges(sim: Simulator) -> None:
    spec = importlib.util.spec_from_file_location(BENCHMARK.stem, BENCHMARK)
    assert spec
    assert spec.loader
    benchmark = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = benchmark
    spec.loader.exec_module(benchmark)
    measured = benchmark.rows(sim)
    print(f"\n{benchmark.table(measured)}\n\n{benchmark.surcharges(measured)}")  # noqa: T201 - shown by pytest -s
    assert len(measured) == 8
    for row in measured:
        # At the minimum every estimate would be right.
        assert row.cost_pu > 100, row
        assert row.estimate.low_pu <= row.cost_pu * (1 + 1e-9), row
        assert row.estimate.high_pu >= row.cost_pu * (1 - 1e-9), row
        if row.simple:
            assert row.estimate.pu == pytest.approx(row.cost_pu, rel=0.01), row
    for row, pu_per_mb in zip(measured[-2:], (0.03, 0.1), strict=True):
        # 16 tiles of 1002 x 1002 pixels of 4 bytes.
        assert row.estimate.surcharge.pu == pytest.approx(16 * 1002**2 * 4 / 1e6 * pu_per_mb), row
        assert 0 < row.cost_pu - row.estimate.low_pu < row.estimate.surcharge.pu, row
