"""Requests of the Process API: what is refused before it is sent, what it would cost, and how answers are read."""

from __future__ import annotations

import io
import re
from typing import Any

import pytest

from airflow_provider_sentinelhub.artifacts.results.preflight import mistaken_request
from airflow_provider_sentinelhub.client.apis.batch_v2.spec import BATCH_V2
from airflow_provider_sentinelhub.client.apis.process.calls import TAR, image
from airflow_provider_sentinelhub.client.apis.process.spec import PROCESS, PROCESS_IN_PARTS
from airflow_provider_sentinelhub.client.apis.registry import other_request_type, request_type
from airflow_provider_sentinelhub.client.apis.statistical.spec import STATISTICAL
from airflow_provider_sentinelhub.client.http.call import Received
from airflow_provider_sentinelhub.client.http.deployments import DEPLOYMENTS
from airflow_provider_sentinelhub.client.preflight.examine import examine
from tests.client.client_harness import NDVI, build_document, image_document, statistical_document

NDVI_RESPONSE = {"identifier": "ndvi", "format": {"type": "image/tiff"}}


def document(**changes: Any) -> dict[str, Any]:
    return image_document(**{"output__responses": [NDVI_RESPONSE], **changes})


def errors(request: Any) -> list[str]:
    return [str(each) for each in examine(request, PROCESS.check, PROCESS.rules).findings.errors]


def warnings(request: Any) -> list[str]:
    return [str(each) for each in examine(request, PROCESS.check, PROCESS.rules).findings.warnings]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"output__width": 10}, "output = .*: holds both a size in pixels and a resolution"),
        ({"output__resy": ...}, "output = .*: resx and resy must be given together"),
        ({"output__resx": 0}, r"output\.resx = 0"),
        ({"output": {"width": 2501}}, r"output\.width = 2501: is more than 2,500 pixels"),
        ({"output__responses__0__format__type": "image/gif"}, "must be one of image/tiff, image/png"),
        ({"output__responses__0__identifier": "nvdi"}, "is not an output of the evalscript.* Write ndvi"),
        ({"output__responses": [NDVI_RESPONSE, NDVI_RESPONSE]}, r"output\.responses\.1\.identifier = 'ndvi': is used"),
        ({"input__bounds": {}}, r"input\.bounds = None: is required"),
        ({"evalscript": "//VERSION=3"}, r"evalscript = .*has no function setup"),
        ({"evalscript": NDVI.replace("B08", "B99")}, r"evalscript = 'bands: B99': is not a band of sentinel-2-l2a"),
        ({"input__data": []}, r"input\.data"),
    ],
)
def test_what_is_wrong_is_named_with_its_own_field(changes: dict[str, Any], said: str) -> None:
    found = errors(document(**changes))
    assert 1 <= len(found) <= 2
    assert any(re.search(said, each) for each in found), found
    assert "processRequest" not in "".join(found)


def test_a_single_image_needs_no_output() -> None:
    script = NDVI.replace('id: "ndvi", ', "").replace(', sampleType: "FLOAT32"', "")
    assert errors(image_document(output=..., evalscript=script)) == []


def test_what_a_format_has_no_room_for_is_a_warning() -> None:
    png = {"identifier": "ndvi", "format": {"type": "image/png"}}
    assert any("FLOAT32, and image/png has" in each for each in warnings(document(output__responses=[png])))
    jpeg = {"identifier": "dataMask", "format": {"type": "image/jpeg", "quality": 80}}
    two = NDVI.replace('id: "dataMask", bands: 1', 'id: "dataMask", bands: 2')
    found = warnings(document(output__responses=[jpeg], evalscript=two))
    assert any("2 bands, and image/jpeg has 1 or 3" in each for each in found)


def test_parts_may_be_larger_but_are_one_geotiff() -> None:
    large = document(output__resx=0.01, output__resy=0.01)
    assert examine(large, PROCESS_IN_PARTS.check, PROCESS_IN_PARTS.rules).findings.errors == ()
    png = document(output__responses=[{"identifier": "dataMask"}])
    (error,) = examine(png, PROCESS_IN_PARTS.check, PROCESS_IN_PARTS.rules).findings.errors
    assert "split=True writes one GeoTIFF" in str(error)
    huge = document(output__resx=0.001, output__resy=0.001)
    (error,) = examine(huge, PROCESS_IN_PARTS.check, PROCESS_IN_PARTS.rules).findings.errors
    assert "at most 10,000 are sent" in str(error)


def test_requests_of_other_apis_are_told_apart() -> None:
    assert request_type(document()) is PROCESS
    assert other_request_type(PROCESS, build_document()) is BATCH_V2
    assert other_request_type(PROCESS, statistical_document()) is STATISTICAL
    assert "SentinelHubProcessOperator" in str(mistaken_request(BATCH_V2, document()))
    assert mistaken_request(PROCESS, document()) is None
    assert "SentinelHubBatchProcessOperator" in str(mistaken_request(PROCESS, build_document()))


def test_the_cost_has_no_discount_and_a_small_minimum() -> None:
    whole = PROCESS.estimate(document(), [(512, 512, 1)])
    # Two bands of three, and 32 bits.
    assert whole.pu == whole.low_pu == whole.high_pu == pytest.approx(2 / 3 * 2)
    png = document(output__responses=[{"identifier": "dataMask"}])
    assert PROCESS.estimate(png, [(512, 512, 1)]).pu == pytest.approx(2 / 3)
    one_band = NDVI.replace('["B04", "B08", "dataMask"]', '["B04"]')
    tiny = document(output__responses=[{"identifier": "dataMask"}], evalscript=one_band)
    assert PROCESS.estimate(tiny, [(1, 1, 10)]).pu == pytest.approx(0.005 * 10)


def test_a_deployment_without_the_data_is_a_warning() -> None:
    found = examine(document(), PROCESS.check, PROCESS.rules, DEPLOYMENTS["aws-us-west-2"]).findings
    assert found.errors == ()
    assert any("is documented for" in str(each) for each in found.warnings)


@pytest.mark.parametrize(
    ("told", "pu"), [("0.25", 0.25), ("0", 0.0), ("", None), ("NaN", None), ("-1", None), ("a lot", None)]
)
def test_the_cost_is_read_from_the_header(told: str, pu: float | None) -> None:
    call = image(document(), io.BytesIO())
    answer = call.parse(Received({"x-processingunits-spent": told, "content-type": "Image/TIFF; a=b"}, 12))
    assert (answer.pu, answer.size, answer.media_type) == (pu, 12, "image/tiff")


def test_several_outputs_come_in_a_tar() -> None:
    assert image(document(), io.BytesIO()).accept == "image/tiff"
    assert image(document(), io.BytesIO(), as_tar=True).accept == TAR
    both = [NDVI_RESPONSE, {"identifier": "dataMask"}]
    assert image(document(output__responses=both), io.BytesIO()).accept == TAR
