"""What can be known offline about requests for statistics."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_sentinelhub.client.apis.async_process.spec import ASYNC_PROCESS
from airflow_provider_sentinelhub.client.apis.batch_statistical.spec import BATCH_STATISTICAL
from airflow_provider_sentinelhub.client.apis.batch_v2.spec import BATCH_V2
from airflow_provider_sentinelhub.client.apis.process.spec import PROCESS
from airflow_provider_sentinelhub.client.apis.registry import other_request_type, request_type
from airflow_provider_sentinelhub.client.apis.statistical.spec import STATISTICAL
from airflow_provider_sentinelhub.client.http.deployments import DEPLOYMENTS
from airflow_provider_sentinelhub.client.lifecycle.spec import ApiSpec
from airflow_provider_sentinelhub.client.preflight.examine import examine
from airflow_provider_sentinelhub.client.requests.findings import Findings
from airflow_provider_sentinelhub.simulator.apis.batch_statistical import BatchStatistical
from airflow_provider_sentinelhub.simulator.problems import AnalysisFailed, Problem
from airflow_provider_sentinelhub.simulator.statistics.answers import Plan
from tests.client.client_harness import (
    NDVI,
    batch_statistical_document,
    build_document,
    everything_said,
    statistical_document,
)

EU, US, CDSE = (DEPLOYMENTS[key] for key in ("aws-eu-central-1", "aws-us-west-2", "cdse"))
WGS84: dict[str, Any] = {"bbox": [14.0, 45.0, 14.005, 45.005]}
KINDS: list[tuple[ApiSpec, Any]] = [
    (STATISTICAL, statistical_document),
    (BATCH_STATISTICAL, batch_statistical_document),
]
both = pytest.mark.parametrize(("kind", "document"), KINDS, ids=["statistical", "batch"])
BOW_TIE = [[0, 0], [1, 1], [1, 0], [0, 1], [0, 0]]
HISTOGRAM = "calculations__ndvi__histograms__default"


def look(document: Any, deployment: Any = None) -> Findings:
    kind = request_type(document)
    return examine(document, kind.check, kind.rules, deployment).findings


def script(output: str, bands: str = '"B04", "dataMask"') -> str:
    return f"""//VERSION=3
function setup() {{ return {{input: [{{bands: [{bands}]}}], output: {output}}}; }}
function evaluatePixel(s) {{ return {{ndvi: [s.B04], dataMask: [s.dataMask]}}; }}
"""


MASKED = '[{id: "ndvi", bands: %s}, {id: "dataMask", bands: 1}]'


@pytest.mark.parametrize(
    ("document", "kind"),
    [
        (statistical_document(), STATISTICAL),
        (batch_statistical_document(), BATCH_STATISTICAL),
        (batch_statistical_document(input__features=...), BATCH_STATISTICAL),
        (build_document(), BATCH_V2),
        ({}, BATCH_V2),
        ([], BATCH_V2),
        ({"aggregation": {}, "input": None}, STATISTICAL),
        ({"agregation": {}, "input": {"data": []}}, STATISTICAL),
        ({"agregation": {}, "input": {"data": []}, "output": {}}, BATCH_STATISTICAL),
        ({"input": {"data": []}, "evalscript": "", "output": {}}, PROCESS),
        ({"input": {"data": []}, "evalscript": "", "output": {"delivery": {}}}, ASYNC_PROCESS),
    ],
)
def test_the_kind_of_a_request_is_told_from_it(document: Any, kind: ApiSpec) -> None:
    assert request_type(document) is kind


ALL: list[tuple[ApiSpec, Any]] = [(BATCH_V2, build_document), *KINDS]


@pytest.mark.parametrize(("kind", "document"), ALL, ids=["rasters", "statistical", "batch"])
def test_a_request_of_another_api_is_told_from_a_mistake(kind: ApiSpec, document: Any) -> None:
    assert other_request_type(kind, document()) is None
    assert [other_request_type(each, document()) for each, _ in ALL if each is not kind] == [kind, kind]


def test_a_single_mistake_makes_no_other_request() -> None:
    bounds = {"input__bounds": WGS84}
    assert other_request_type(BATCH_STATISTICAL, batch_statistical_document(**bounds)) is None
    assert other_request_type(BATCH_STATISTICAL, batch_statistical_document(output=...)) is None
    assert other_request_type(STATISTICAL, statistical_document(output={})) is None
    assert other_request_type(BATCH_V2, {}) is None


@both
@pytest.mark.parametrize("deployment", [None, EU, CDSE])
def test_nothing_is_wrong_with_a_good_request(kind: ApiSpec, document: Any, deployment: Any) -> None:
    written = document()
    examined = examine(written, kind.check, kind.rules, deployment)
    assert examined.findings == Findings()
    assert examined.accepted() == written


@pytest.mark.parametrize(
    ("changes", "field", "said"),
    [
        (
            {"aggregation__evalscript": script('{id: "ndvi", bands: 1}')},
            "aggregation.evalscript",
            "has no output dataMask, which the service requires to know which pixels are valid",
        ),
        (
            {"aggregation__evalscript": script('{id: "dataMask", bands: 1}'), "calculations": {}},
            "aggregation.evalscript",
            "has no output besides dataMask, so there is nothing to compute statistics of",
        ),
        ({"aggregation__evalscript": "ndvi.js"}, "aggregation.evalscript", "is the path of a file"),
        ({"aggregation__evalscript": "evalscripts/x.txt"}, "aggregation.evalscript", "only files that end in .js"),
        ({"aggregation__evalscript": NDVI.replace("=3", "=1")}, "aggregation.evalscript", "is of version 1, not"),
        ({"aggregation__evalscript": script("OUTPUTS")}, "aggregation.evalscript", "OUTPUTS is not defined"),
        ({"aggregation__evalscript": "//VERSION=3\nfunction setup() {}"}, "aggregation.evalscript", "has no function"),
        (
            {"aggregation__evalscript": script(MASKED.replace("}, {", ', sampleType: "INT64"}, {') % 1)},
            "aggregation.evalscript",
            "is not a sample type",
        ),
        (
            {"calculations": {"NDVI": {}}},
            "calculations.NDVI",
            "is not an output of the evalscript that statistics are computed of; there is ndvi. Write ndvi, or default",
        ),
        (
            {"calculations__ndvi__histograms": {"B1": {"nBins": 3}}},
            "calculations.ndvi.histograms.B1",
            "is not a band of ndvi; there is B0. Write B0, or default for all others.",
        ),
        (
            {
                "aggregation__evalscript": script(MASKED % '["red", "nir"]'),
                "calculations": {"default": {"statistics": {"B0": {"percentiles": {"k": [50]}}}}},
            },
            "calculations.default.statistics.B0",
            "is not a band of ndvi; there is red, nir",
        ),
        (
            {"aggregation__aggregationInterval__of": "P1Y"},
            "aggregation.aggregationInterval.of",
            "is longer than timeRange, 182 days: the only interval would be skipped because it is too short",
        ),
        (
            {"input__data": [{"type": "sentinel-2-l2a", "dataFilter": {"maxCloudCoverage": float("nan")}}]},
            "input.data.0.dataFilter.maxCloudCoverage",
            "cannot be written in JSON",
        ),
    ],
)
@both
def test_an_error(kind: ApiSpec, document: Any, changes: dict[str, Any], field: str, said: str) -> None:
    found = look(document(**changes))
    assert [each.field for each in found.errors] == [field]
    assert said in str(found.errors[0])


@pytest.mark.parametrize(
    ("changes", "field", "said"),
    [
        (
            {"aggregation__evalscript": script(MASKED % 1, '"B04"')},
            "aggregation.evalscript",
            "does not read the band dataMask",
        ),
        (
            {"aggregation__evalscript": script("[{id: 1, bands: 1}]")},
            "aggregation.evalscript",
            "not all outputs of setup() can be read, so it is not known whether it has the required dataMask",
        ),
        ({"aggregation__resx": ..., "aggregation__resy": ...}, "aggregation", "is sampled with 256 x 256 pixels"),
        (
            {"aggregation__resx": ..., "aggregation__resy": ..., "aggregation__width": 5},
            "aggregation.height",
            "is missing and defaults to 256, although width is given. Give both.",
        ),
        (
            {"aggregation__timeRange__to": "2024-04-29T23:59:59Z"},
            "aggregation.aggregationInterval.of",
            "leaves 24 hours at the end of timeRange, which are skipped",
        ),
        (
            {"aggregation__timeRange__to": "2024-04-30T00:00:00Z"},
            "aggregation.aggregationInterval.of",
            "leaves 1 day at the end of timeRange",
        ),
        ({HISTOGRAM: {"bins": [0, 1, 2]}}, HISTOGRAM, "uses whole numbers, which are meant for integer outputs"),
        ({HISTOGRAM: {"binWidth": 1}}, HISTOGRAM, "Write e.g. 1.0 instead of 1."),
        (
            {
                "aggregation__evalscript": script(MASKED.replace("}, {", ', sampleType: "UINT8"}, {') % 1),
                HISTOGRAM: {"binWidth": 0.5},
            },
            HISTOGRAM,
            "does not use whole numbers, but the output is UINT8",
        ),
        (
            {"calculations__ndvi__statistics__default__percentiles__k": [0.05, 0.5]},
            "calculations__ndvi__statistics__default__percentiles__k",
            "[0.05, 0.5] are in percent: 0.5 is a percentile near the minimum. Write [5.0, 50.0].",
        ),
        (
            {"calculations__dataMask": {}},
            "calculations.dataMask",
            "names dataMask, for which no statistics are computed",
        ),
        ({"input__data": [{"type": "sentinel-2-l2b"}]}, "input.data.0.type", "Write sentinel-2-l2a."),
    ],
)
@both
def test_a_warning(kind: ApiSpec, document: Any, changes: dict[str, Any], field: str, said: str) -> None:
    # A period of whole weeks, unless it is what the test is about.
    found = look(document(**{"aggregation__timeRange__to": "2024-04-29T00:00:00Z", **changes}))
    assert found.errors == ()
    (warning,) = found.warnings
    assert warning.field == field.replace("__", ".")
    assert said in str(warning)


@pytest.mark.parametrize("last", ["SHORTEN", "EXTEND"])
def test_no_interval_is_skipped_where_that_is_asked_for(last: str) -> None:
    interval = {"of": "P1Y", "lastIntervalBehavior": last}
    assert look(statistical_document(aggregation__aggregationInterval=interval)) == Findings()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"input__bounds": {}}, "input.bounds = None: is required. Add a bbox or a geometry."),
        (
            {"input__bounds": WGS84},
            "is more than the width of the geometry, 0.005 degrees; its unit is that of the CRS, degrees. Write e.g. 9",
        ),
        (
            {"aggregation__resx": 0.0001},
            "makes the width 5,440,000 pixels, and 2,500 is the most; its unit is that of the CRS, metres. Write 0.218",
        ),
        (
            {
                "input__bounds": {
                    "geometry": {"type": "Polygon", "coordinates": [[[0, 0], [1, 1], [1, 0], [0, 1], [0, 0]]]}
                }
            },
            "is not a valid polygon: Self-intersection",
        ),
        (
            {"input__bounds__properties": {"crs": "http://www.opengis.net/def/crs/EPSG/0/2056"}},
            "input.bounds.properties.crs = 'http://www.opengis.net/def/crs/EPSG/0/2056': is not a coordinate reference",
        ),
    ],
)
def test_an_error_of_one_geometry(changes: dict[str, Any], said: str) -> None:
    assert said in "\n".join(map(str, look(statistical_document(**changes)).errors))


def test_a_small_field_is_less_than_a_pixel() -> None:
    document = statistical_document(input__bounds__bbox=[414315, 4958219, 414323, 4958819])
    (error, *_) = [each for each in look(document).warnings if each.field == "aggregation.resx"]
    assert "10 is more than the width of the geometry, 8 metres: less than one pixel" in str(error)


def test_the_largest_geometry_is_allowed() -> None:
    box = [400000, 4900000, 425000, 4925000]
    assert look(statistical_document(input__bounds__bbox=box)).errors == ()
    box[2] += 10
    assert [each.field for each in look(statistical_document(input__bounds__bbox=box)).errors] == ["aggregation.resx"]


def test_the_api_is_not_everywhere() -> None:
    (error,) = look(batch_statistical_document(input__data=[{"type": "landsat-ot-l1"}]), US).errors
    assert str(error) == (
        "deployment = 'AWS US (Oregon)': has no Batch Statistical API. Use a connection to AWS EU (Frankfurt) or "
        "Copernicus Data Space Ecosystem."
    )
    assert look(statistical_document(input__data=[{"type": "landsat-ot-l1"}]), US).errors == ()


def test_where_results_cost_more() -> None:
    output = {"s3": {"url": "s3://b/f", "region": "us-west-2"}}
    found = [each for each in look(batch_statistical_document(output=output), EU).warnings if "region" in each.field]
    assert [each.field for each in found] == ["output.s3.region"]
    assert "it charges 0.03 PU for each MB" in str(found[0])


@both
def test_where_data_are(kind: ApiSpec, document: Any) -> None:
    found = look(document(input__data=[{"type": "modis"}]), EU)
    errors, warnings = ([str(each) for each in all_ if "type" in each.field] for all_ in (found.errors, found.warnings))
    if kind is BATCH_STATISTICAL:
        said = "is documented for AWS US (Oregon), not for AWS EU (Frankfurt); a batch can only read data of its own"
        fix = "Send the request with a connection to AWS US (Oregon)."
        assert errors == [f"input.data.0.type = 'modis': {said} deployment. {fix}"]
        assert warnings == []
    else:
        assert "modis is documented for AWS US (Oregon), not for AWS EU (Frankfurt). Send" in warnings[0]
        assert errors == []


def test_bands_that_the_script_adds_later_are_not_judged() -> None:
    wanted = {"default": {"statistics": {"B7": {"percentiles": {"k": [50]}}}}}
    assert [each.field for each in look(batch_statistical_document(calculations=wanted)).errors] == [
        "calculations.default.statistics.B7"
    ]
    resizes = (
        NDVI + "const updateOutput = (outputs, collections) => { outputs.ndvi.bands = collections.scenes.length };"
    )
    assert look(batch_statistical_document(calculations=wanted, aggregation__evalscript=resizes)).errors == ()


def test_a_script_in_a_bucket_is_not_judged() -> None:
    place = {"s3": {"url": "s3://b/x.js"}}
    changes: dict[str, Any] = {"aggregation__evalscript": ..., "aggregation__evalscriptReference": place}
    calculations = {"anything": {"statistics": {"any band": {"percentiles": {"k": [50]}}}}}
    assert look(batch_statistical_document(**changes, calculations=calculations)).errors == ()


MUTATIONS: dict[str, list[Any]] = {
    "aggregation__timeRange": [
        {"from": "2024-01-01T00:00:00Z"},
        {"from": "2024-02-01T00:00Z", "to": "2024-01-01T00:00Z"},
    ],
    "aggregation__aggregationInterval__of": ["P1D", "P1M", "PT36H", "PT1H", "P1DT1H", "", "day", 7],
    "aggregation__aggregationInterval__lastIntervalBehavior": ["SKIP", "SHORTEN", "skip"],
    "aggregation__width": [1, 2500, 2501, 0],
    "aggregation__resx": [..., 0, -1, 10],
    "aggregation__resy": [..., 5],
    "aggregation__evalscript": [
        ...,
        "",
        NDVI.replace("setup", "start"),
        NDVI.replace('dataMask", bands', 'mask", bands'),
        script('{id: "dataMask", bands: 1}'),
        script('[{id: "ndvi", bands: ["a", "b"]}, {id: "dataMask", bands: 1}]'),
    ],
    "calculations": [
        {},
        {"default": {}},
        {"ndwi": {}},
        {"ndvi": {"statistics": {"B1": {"percentiles": {"k": [50]}}}}},
        {"ndvi": {"statistics": {"a": {"percentiles": {"k": [0, 100]}}}}},
        {"ndvi": {"statistics": {"default": {"percentiles": {"k": []}}}}},
        {"ndvi": {"statistics": {"default": {"percentiles": {"k": [-1]}}}}},
        *({"ndvi": {"histograms": {"default": each}}} for each in (
            {}, {"nBins": 0}, {"nBins": 3, "bins": [1, 2]}, {"binWidth": 0}, {"bins": [1]}, {"bins": [2, 1]},
            {"nBins": 2, "lowEdge": 1, "highEdge": 1}, {"nBins": 1.5}, {"binWidth": "wide"}, {"bins": [0, 1.5, 3]},
        )),
    ],
    "input__features": [..., {}, {"s3": {}}, {"gs": {"url": "gs://bucket/a.gpkg"}}],
    "input__data": [[], [{}], [{"type": "dem"}]],
    "output": [..., {}, {"s3": {"url": "s3://bucket/f"}}],
}  # fmt: skip


def simulator_refuses(document: dict[str, Any]) -> bool:
    """Whether the service, as far as the simulator knows it, would refuse a request or fail it for its evalscript."""
    document = copy.deepcopy(document)
    for place in (document.get("output"), document["input"].get("features")):
        if isinstance(place, dict) and isinstance(place.get("s3"), dict):
            place["s3"]["iamRoleARN"] = "arn:aws:iam::123456789012:role/somebody"
    try:
        filled = BatchStatistical().check(document)
        Plan.of(filled, filled["aggregation"]["evalscript"])
    except (Problem, AnalysisFailed):
        return True
    return False


@given(
    st.lists(
        st.sampled_from(sorted(MUTATIONS)).flatmap(
            lambda path: st.tuples(st.just(path), st.sampled_from(MUTATIONS[path]))
        ),
        max_size=3,
        unique_by=lambda change: change[0],
    )
)
def test_what_the_simulator_refuses_is_found_before(changes: list[tuple[str, Any]]) -> None:
    document = batch_statistical_document(**dict(sorted(changes)))
    if simulator_refuses(document):
        assert look(document).errors


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["P1D", "2024-01-01T00:00:00Z", NDVI]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
PATHS = [
    "input", "input__data", "input__bounds", "aggregation", "aggregation__timeRange",
    "aggregation__aggregationInterval", "aggregation__evalscript", "aggregation__resx", "calculations",
    "calculations__ndvi", HISTOGRAM,
    "calculations__ndvi__statistics__default__percentiles__k",
]  # fmt: skip


@given(path=st.sampled_from(PATHS), value=JSON)
def test_no_request_breaks_a_rule(path: str, value: Any) -> None:
    document = statistical_document()
    target: Any = document
    *steps, last = path.split("__")
    for step in steps:
        target = target[step]
    target[last] = value
    found = examine(document, STATISTICAL.check, STATISTICAL.rules, EU).findings
    for error in found.errors:
        assert everything_said(error)
