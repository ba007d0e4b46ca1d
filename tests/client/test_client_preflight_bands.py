"""Bands and units that a collection does not have are found before the service charges for looking."""

from __future__ import annotations

import json
from typing import Any

import pytest
from sentinelhub.data_collections import DataCollection

from airflow_provider_sentinelhub.artifacts.results.preflight import examine
from airflow_provider_sentinelhub.client.apis.batch_v2.spec import BATCH_V2
from airflow_provider_sentinelhub.client.apis.registry import request_type
from airflow_provider_sentinelhub.client.preflight.bands import BANDS
from airflow_provider_sentinelhub.client.preflight.data import COLLECTIONS
from airflow_provider_sentinelhub.client.requests.findings import Findings
from tests.bad_inputs.requests import request
from tests.client.client_harness import batch_statistical_document, statistical_document

L2A = "sentinel-2-l2a"


def setup(given: Any, **further: Any) -> str:
    returned = json.dumps({"input": given, "output": {"bands": 1, "sampleType": "FLOAT32"}, **further})
    return f"//VERSION=3\nfunction setup() {{ return {returned}; }}\nfunction evaluatePixel() {{ return [1]; }}"


def look(given: Any, *sources: dict[str, Any] | str, **further: Any) -> Findings:
    data = [{"type": each} if isinstance(each, str) else each for each in sources or (L2A,)]
    changes = {"processRequest__evalscript": setup(given, **further), "processRequest__input__data": data}
    return examine(BATCH_V2, request(**changes)).findings


def said(given: Any, *sources: dict[str, Any] | str, **further: Any) -> list[str]:
    return [
        str(error).removeprefix("processRequest.evalscript = ") for error in look(given, *sources, **further).errors
    ]


def test_every_public_collection_has_its_bands() -> None:
    assert set(BANDS) == set(COLLECTIONS)


@pytest.mark.parametrize("kind", BANDS)
def test_every_band_is_taken_in_each_of_its_units(kind: str) -> None:
    names = list(BANDS[kind])
    assert said(names, kind) == []
    for pick in (min, max):
        assert said([{"bands": names, "units": [pick(BANDS[kind][name]) for name in names]}], kind) == []


@pytest.mark.parametrize(
    "collection", [each for each in DataCollection if each.value.bands], ids=lambda each: each.name
)
def test_the_public_client_knows_no_others(collection: DataCollection) -> None:
    known = BANDS[collection.api_id]
    for band in (*collection.bands, *collection.metabands):
        assert {unit.value for unit in band.units} <= known[band.name], band.name


@pytest.mark.parametrize(
    ("name", "kind", "fix"),
    [
        ("B4", L2A, "Write B04."),
        ("b04", L2A, "Write B04."),
        ("B8a", L2A, "Write B8A."),
        ("B08A", L2A, "Write B8A."),
        ("datamask", L2A, "Write dataMask."),
        ("SLC", L2A, "Write SCL."),
        ("sunZenithAngle", L2A, "Write sunZenithAngles."),
        ("vv", "sentinel-1-grd", "Write VV."),
        ("NIR_narrow", "hls", "Write NIR_Narrow."),
        ("B9", "landsat-ot-l1", "Write B09."),
        ("AER_AI_340", "sentinel-5p-l2", "Write AER_AI_340_380."),
        ("B4", "S2L2A", "Write B04."),
    ],
)
def test_a_misspelt_band(name: str, kind: str, fix: str) -> None:
    (error,) = said([name, "dataMask"] if name != "datamask" else [name], kind)
    assert error == f"'bands: {name}': is not a band of {kind.replace('S2L2A', L2A)}. {fix}"


@pytest.mark.parametrize(("name", "kind"), [("B10", L2A), ("B08", "landsat-ot-l2"), ("NIR", L2A), ("VV", L2A)])
def test_a_band_of_another_collection_is_not_misspelt(name: str, kind: str) -> None:
    (error,) = said([name], kind)
    assert error.startswith(f"'bands: {name}': is not a band of {kind}. Choose from B01, B02, B03,")


@pytest.mark.parametrize(
    "given",
    [["B4"], [{"bands": ["B4"]}], {"bands": ["B4"]}, [{"bands": ["B04"]}, {"bands": ["B4"], "mosaicking": "ORBIT"}]],
)
@pytest.mark.parametrize("further", [{}, {"mosaicking": "TILE"}])
def test_every_form_of_input_is_read(given: Any, further: dict[str, Any]) -> None:
    assert said(given, **further) == ["'bands: B4': is not a band of sentinel-2-l2a. Write B04."]


@pytest.mark.parametrize(
    ("units", "bands", "error"),
    [
        ("DN", ["B04", "SCL", "dataMask"], None),
        ("reflectance", ["B04", "dataMask"], None),
        (["REFLECTANCE", "DN", "DN"], ["B04", "SCL", "dataMask"], None),
        ([], ["B04", "SCL"], None),
        (
            "REFLECTENCE",
            ["B04", "B08"],
            "is not a unit of B04, B08 of sentinel-2-l2a; there is DN, REFLECTANCE. Write REFLECTANCE.",
        ),
        ("METERS", ["B04"], "is not a unit of B04 of sentinel-2-l2a; there is DN, REFLECTANCE. Write REFLECTANCE."),
        (
            "REFLECTANCE",
            ["B04", "SCL", "dataMask"],
            "is not a unit of SCL of sentinel-2-l2a; there is DN. Write DN, in a list with one unit for each band.",
        ),
        (["DN", "METERS"], ["B04", "AOT"], "is not a unit of AOT of sentinel-2-l2a; there is DN, OPTICAL_DEPTH. Write"),
    ],
)
def test_units(units: Any, bands: list[str], error: str | None) -> None:
    errors = said([{"bands": bands, "units": units}])
    if error is None:
        assert errors == []
        return
    (found,) = errors
    assert found.partition("': ")[2].startswith(error)


def test_units_that_are_too_few_are_pointed_out() -> None:
    findings = look([{"bands": ["B04", "B08", "SCL"], "units": ["DN", "REFLECTANCE"]}])
    assert findings.errors == ()
    assert "setup() has 2 units for 3 bands of sentinel-2-l2a" in [each.fact for each in findings.warnings]


TWO = ({"type": "sentinel-1-grd", "id": "radar"}, {"type": L2A, "id": "optical"})


def test_each_input_is_compared_with_its_own_source() -> None:
    optical, radar = {"datasource": "optical", "bands": ["B04"]}, {"datasource": "radar", "bands": ["VV"]}
    assert said([optical, radar], *TWO) == []
    assert said([{"bands": ["VV"]}, {"bands": ["B04"]}], *TWO) == []
    assert said([{**optical, "bands": ["VV"]}, {**radar, "bands": ["VV", "vh"], "units": "DN"}], *TWO) == [
        f"'bands: VV': is not a band of {L2A}. Choose from {', '.join(BANDS[L2A])}.",
        "'bands: vh': is not a band of sentinel-1-grd. Write VH.",
        "'units: DN': is not a unit of VV of sentinel-1-grd; there is LINEAR_POWER. Write LINEAR_POWER.",
    ]
    (unknown,) = said([{**optical, "datasource": "optic", "bands": ["VV"]}, radar], *TWO)
    assert "datasource: optic" in unknown


@pytest.mark.parametrize(
    "source",
    ["byoc-3cb8bb6d-15d6-4f51-9a9d-2b4a9f1d1d6e", "batch-3cb8bb6d-15d6-4f51-9a9d-2b4a9f1d1d6e", "something-new"],
)
def test_other_collections_may_have_any_band(source: str) -> None:
    assert said([{"bands": ["B4", "NDVI"], "units": "POINTS"}], source) == []


@pytest.mark.parametrize(
    "returned", ["{input: NAMES, output: {bands: 1}}", "{input: [7, {bands: 7}], output: {bands: 1}}"]
)
def test_what_cannot_be_read_may_be_right(returned: str) -> None:
    # A name that is unknown here may be one of the service's own.
    text = (
        f"//VERSION=3\nconst NAMES = names();\nfunction setup() {{ return {returned}; }}\nfunction evaluatePixel() {{}}"
    )
    assert examine(BATCH_V2, request(processRequest__evalscript=text)).findings.errors == ()


@pytest.mark.parametrize("document", [statistical_document, batch_statistical_document])
def test_statistics_too(document: Any) -> None:
    body = document()
    body["aggregation"]["evalscript"] = body["aggregation"]["evalscript"].replace('"B04"', '"B4"')
    errors = examine(request_type(body), body).findings.errors
    assert [str(error) for error in errors if "bands" in str(error.value)] == [
        f"aggregation.evalscript = 'bands: B4': is not a band of {L2A}. Write B04."
    ]
