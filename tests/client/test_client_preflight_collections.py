"""What a request must have so that its results can become a BYOC collection."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_sentinelhub.client.apis.batch_v2.collections import compare
from airflow_provider_sentinelhub.client.apis.batch_v2.spec import BATCH_V2
from airflow_provider_sentinelhub.client.http.deployments import DEPLOYMENTS, Deployment, PathLayout
from airflow_provider_sentinelhub.client.lifecycle.collections import CollectionAnswer
from airflow_provider_sentinelhub.client.preflight.examine import examine
from airflow_provider_sentinelhub.client.requests.findings import Findings
from tests.client.client_harness import build_document

EU, CDSE = DEPLOYMENTS["aws-eu-central-1"], DEPLOYMENTS["cdse"]
JSON = "application/json"
SCRIPT = """//VERSION=3
function setup() {{ return {{input: ["B04"], output: {output}}}; }}
function evaluatePixel(s) {{ return [s.B04]; }}
"""


def collected(
    output: str = '{bands: 3, sampleType: "UINT8"}',
    responses: list[tuple[str, str]] | None = None,
    deployment: Deployment | None = EU,
    **changes: Any,
) -> Findings:
    listed = [{"identifier": name, "format": {"type": kind}} for name, kind in responses or [("default", "image/tiff")]]
    document = build_document(
        processRequest__evalscript=SCRIPT.format(output=output),
        processRequest__output={"responses": listed},
        **{"output__cogOutput": True, "output__createCollection": True, **changes},
    )
    return examine(document, BATCH_V2.check, BATCH_V2.rules, deployment).findings


@pytest.mark.parametrize(
    ("responses", "is_refused"),
    [([("userdata", JSON)], True), ([("userdata", JSON), ("default", "image/tiff")], False)],
)
def test_a_collection_is_made_of_geotiffs(responses: list[tuple[str, str]], is_refused: bool) -> None:
    found = [str(error) for error in collected(responses=responses).errors]
    assert (
        found
        == [
            (
                "processRequest.output.responses = 'userdata': has no response of the format image/tiff, of which "
                "output.createCollection makes a collection. Add one for an output of the evalscript."
            )
        ]
        * is_refused
    )


@pytest.mark.parametrize(
    ("bands", "said"),
    [
        ((99,), ""),
        ((100,), "'bands: 100': is too many for a collection: its bands are named a, a2 to a99."),
        ((120,), "'bands: 120': is too many for a collection: its bands are named a, a2 to a99."),
        ((60, 40), ""),
        ((60, 41), "'bands: 101 in all outputs': are too many for a collection, which has at most 100."),
    ],
)
def test_a_collection_has_a_name_for_each_band(bands: tuple[int, ...], said: str) -> None:
    names = "ab"[: len(bands)]
    outputs = ", ".join(f'{{id: "{name}", bands: {count}}}' for name, count in zip(names, bands, strict=True))
    found = collected(f"[{outputs}]", [(name, "image/tiff") for name in names])
    assert ("".join(map(str, found.errors)) == "") == (not said)
    assert said in "".join(map(str, found.errors))
    # Files that are not added to a collection may have them.
    listed = [(name, "image/tiff") for name in names]
    assert collected(f"[{outputs}]", listed, output__createCollection=False).errors == ()


@pytest.mark.parametrize(("size", "is_refused"), [(128, True), (256, False), (2048, False), (2064, True)])
def test_blocks_of_a_collection_have_a_size(size: int, is_refused: bool) -> None:
    blocks = {"blockxsize": size, "blockysize": size}
    found = [error.field for error in collected(output__cogParameters=blocks).errors]
    assert found == ["output.cogParameters.blockxsize", "output.cogParameters.blockysize"] * is_refused
    assert collected(output__cogParameters=blocks, output__createCollection=False).errors == ()


@pytest.mark.parametrize(
    ("deployment", "who"),
    [
        (EU, "the service (arn:aws:iam::614251495211:root) reads"),
        (CDSE, "the service (arn:aws:iam::ddf4c98b5e6647f0a246f0624c8341d9:root) reads"),
        (None, "the service reads"),
    ],
)
def test_a_collection_needs_a_bucket_policy(deployment: Deployment | None, who: str) -> None:
    found = [str(each) for each in collected(deployment=deployment).warnings if each.field == "output.createCollection"]
    assert len(found) == 1
    assert who in found[0]
    assert "s3:GetBucketLocation, s3:ListBucket and s3:GetObject" in found[0]


def test_what_an_existing_collection_must_have_is_told() -> None:
    number = "017aa0ae-33a6-45d3-8548-0f7d1041b40c"
    outputs = '[{id: "result", bands: 3, sampleType: "UINT8"}, {id: "mask", bands: 1, sampleType: 7}]'
    responses = [("result", "image/tiff"), ("mask", "image/tiff")]
    found = collected(outputs, responses, output__createCollection=False, output__collectionId=number)
    assert found.errors == ()
    said = "the results are its bands result to result3 (UINT8), mask (of a sample type that cannot be read)"
    assert any(said in str(each) for each in found.warnings)


def test_a_band_of_a_collection_should_be_readable_by_evalscripts() -> None:
    output = '[{id: "ndvi-mean", bands: 1}, {id: "_größe$", bands: 1}]'
    found = collected(output, [("ndvi-mean", "image/tiff"), ("_größe$", "image/tiff")])
    assert found.errors == ()
    assert [str(each) for each in found.warnings if "JavaScript identifier" in str(each)] == [
        (
            "processRequest.evalscript: the output ndvi-mean becomes a band of the collection, and its name is not a "
            "JavaScript identifier. Name it with letters, digits and _, so that evalscripts can read it."
        )
    ]


NUMBER = "017aa0ae-33a6-45d3-8548-0f7d1041b40c"
NAMES = ("rgb", "mask")
RGB = '[{id: "rgb", bands: 3, sampleType: "UINT16"}, {id: "mask", bands: 1}]'


def band(bits: int = 16, sample_format: str | None = "UINT") -> dict[str, Any]:
    return {"source": "x", "bandIndex": 1, "bitDepth": bits, "sampleFormat": sample_format}


WHOLE = {"rgb": band(), "rgb2": band(), "rgb3": band(), "mask": band(8)}


def compared(bands: Any, outputs: str = RGB, bucket: str | None = "bucket", **changes: Any) -> list[str]:
    document = build_document(
        processRequest__evalscript=SCRIPT.format(output=outputs),
        processRequest__output={
            "responses": [{"identifier": name, "format": {"type": "image/tiff"}} for name in NAMES]
        },
        output__cogOutput=True,
        output__collectionId=NUMBER,
        **changes,
    )
    answer = {"data": {"id": NUMBER, "name": "mine", "s3Bucket": bucket, "additionalData": bands and {"bands": bands}}}
    return [str(each) for each in compare(document, CollectionAnswer.model_validate(answer).data)]


UNKNOWN = (
    "processRequest.evalscript = 'rgb3': would be bands of the collection, which has only rgb, rgb2, mask. Name the "
    "outputs like the bands of the collection."
)
WRONG_TYPE = (
    "processRequest.evalscript = 'sampleType: AUTO': is that of band mask, which has 16 bits INT in the collection. "
    "Write INT16."
)
MORE = (
    "output.collectionId: the collection also has the band clouds, which no output writes. Add an output for it, or "
    "use another collection."
)


@pytest.mark.parametrize(
    ("bands", "said"),
    [
        (WHOLE, []),
        # Nothing is configured yet: the first file decides.
        ({}, []),
        (None, []),
        # The collection does not say it.
        ({**WHOLE, "rgb": band(16, None)}, []),
        ({**WHOLE, "rgb": None}, []),
        ({name: WHOLE[name] for name in ("rgb", "rgb2", "mask")}, [UNKNOWN]),
        ({**WHOLE, "mask": band(16, "INT")}, [WRONG_TYPE]),
        ({**WHOLE, "clouds": band(8)}, [MORE]),
    ],
)
def test_results_are_compared_with_the_collection(bands: Any, said: list[str]) -> None:
    assert compared(bands) == said


@pytest.mark.parametrize("outputs", ["computed()", '[{id: "rgb", bands: n}, {id: "mask", bands: 1}]'])
def test_outputs_that_cannot_be_read_are_not_compared(outputs: str) -> None:
    assert compared({"other": band()}, outputs) == []


@pytest.mark.parametrize(
    ("url", "bucket", "is_there"),
    [
        ("s3://bucket/folder", "bucket", True),
        ("s3://tenant:bucket/folder", "bucket", True),
        ("s3://bucket/folder", "tenant:bucket", True),
        ("s3://bucket/folder", "other", False),
        ("s3://bucket/folder", None, True),
    ],
)
def test_results_must_be_in_the_bucket_of_the_collection(url: str, bucket: str | None, is_there: bool) -> None:
    said = f"output.delivery.s3.url = '{url}': is not in the bucket of the collection, {bucket}. Deliver there, or use"
    found = compared(WHOLE, bucket=bucket, output__delivery={"s3": {"url": url}})
    assert [each.startswith(said) for each in found] == [True] * (not is_there)


def test_a_collection_is_read_where_there_is_one() -> None:
    assert list(BATCH_V2.lookups(build_document())) == []
    (lookup,) = BATCH_V2.lookups(build_document(output__collectionId=NUMBER))
    assert (lookup.call.method, lookup.call.path) == ("GET", f"/collections/{NUMBER}")
    assert lookup.call.service.prefix(PathLayout.NEW) == "/byoc/v1"
    assert lookup.call.service.prefix(PathLayout.LEGACY) == "/api/v1/byoc"
