"""Requests of Batch Processing V1 as requests of V2, and the rules of V1."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_sentinelhub.client.apis.batch_v1.convert import convert_to_v2, in_v2_form, rewritten
from airflow_provider_sentinelhub.client.apis.batch_v1.rules import RULES
from airflow_provider_sentinelhub.client.apis.batch_v1.spec import BATCH_V1
from airflow_provider_sentinelhub.client.apis.batch_v2.spec import BATCH_V2
from airflow_provider_sentinelhub.client.errors import InvalidParameter
from airflow_provider_sentinelhub.client.http.deployments import DEPLOYMENTS, Deployment
from airflow_provider_sentinelhub.client.lifecycle.intent import Intent
from airflow_provider_sentinelhub.client.preflight.examine import examine
from airflow_provider_sentinelhub.client.requests.findings import Advice, Findings, each_of
from tests.client.v1_requests import COLLECTION, DONE_ANSWER, LAEA, SCRIPT, TWO, v1_request, v1_requests

EU, CDSE = DEPLOYMENTS["aws-eu-central-1"], DEPLOYMENTS["cdse"]
REQUESTS = v1_requests()
PATH = "output.defaultTilePath"
CORSICA = [8.44, 41.31, 9.66, 43.1]


def errors_of(request: Any, **options: Any) -> list[str]:
    with pytest.raises(InvalidParameter) as caught:
        convert_to_v2(request, **options)
    return [str(error) for error in each_of(caught.value)]


# ------------------------------------------------------------------------------------------------------ the conversion


@pytest.mark.parametrize("kind", REQUESTS)
def test_v2_has_nothing_against_a_converted_request(kind: str) -> None:
    before = copy.deepcopy(REQUESTS[kind])
    found = convert_to_v2(REQUESTS[kind])
    assert REQUESTS[kind] == before
    assert BATCH_V2.check(found.request) == found.request
    assert examine(found.request, BATCH_V2.check, BATCH_V2.rules, EU).findings.errors == ()
    assert found.request["processRequest"] == before["processRequest"]
    assert found.request.get("description") == before.get("description")
    assert convert_to_v2(json.dumps(before)) == found
    assert all(note.endswith(".") for note in found.notes)
    assert "aws_conn_id" in found.notes[0]


def test_what_becomes_of_each_field() -> None:
    converted = {kind: convert_to_v2(request, region="eu-west-1").request for kind, request in REQUESTS.items()}
    assert {kind: each["input"] for kind, each in converted.items()} == {
        **{kind: {"type": "tiling-grid", "id": 0, "resolution": 60} for kind in converted},
        "buffers": {"type": "tiling-grid", "id": 0, "resolution": 60, "bufferX": 10, "bufferY": 5},
        "zarr": {"type": "tiling-grid", **LAEA},
    }
    urls = {kind: each["output"]["delivery"]["s3"].pop("url") for kind, each in converted.items()}
    assert urls["bucket name"] == "s3://my-bucket"
    assert urls["template"] == REQUESTS["template"]["output"]["defaultTilePath"]
    assert urls["zarr"] == "s3://my-bucket/v1/zarr/<requestId>"
    assert urls["numbers of tiles"] == "s3://my-bucket/v1/b/<requestId>/<tileName>.tif"
    assert all(each["output"].pop("delivery") == {"s3": {"region": "eu-west-1"}} for each in converted.values())
    cog = {"cogOutput": True, "cogParameters": {"blockxsize": 512, "blockysize": 512}}
    zarr = {name: value for name, value in REQUESTS["zarr"]["zarrOutput"].items() if name != "path"}
    assert {kind: each["output"] for kind, each in converted.items()} == {
        **{kind: {"type": "raster"} for kind in converted},
        "cog": {"type": "raster", **cog},
        "collection": {"type": "raster", "cogOutput": True, "createCollection": True},
        "skipped": {"type": "raster", "overwrite": True, "skipExisting": True},
        "answer": {"type": "raster", "overwrite": False},
        "zarr": {"type": "zarr", **zarr},
    }
    assert {name for each in converted.values() for name in each} <= {
        "processRequest",
        "input",
        "output",
        "description",
    }


def test_what_has_no_equal_is_told_where_it_matters() -> None:
    notes = {kind: " ".join(convert_to_v2(request).notes[1:]) for kind, request in REQUESTS.items()}
    assert [kind for kind, text in notes.items() if text] == ["numbers of tiles", "collection", "answer"]
    assert "<tileId> is now <tileName>" in notes["numbers of tiles"]
    assert "makes a BYOC collection in V2, not a batch collection" in notes["collection"]
    assert "blocks of 1024" in notes["collection"]
    for said in (", ".join(DONE_ANSWER), "SentinelHubEstimateBatchProcessOperator", "userId", "on_partial='rerun'"):
        assert said in notes["answer"]
    collected = v1_request(
        output={"defaultTilePath": "s3://my-bucket/x", "cogOutput": True, "collectionId": COLLECTION}
    )
    found = convert_to_v2(collected)
    assert found.request["output"]["collectionId"] == COLLECTION
    assert "is a batch collection of V1" in " ".join(found.notes)
    assert "V1 cancelled" in convert_to_v2(v1_request(bucketName="my-bucket", status="CANCELED")).notes[-1]
    paths = {"defaultTilePath": "s3://my-bucket/x", "responses": [{"tilePath": "s3://my-bucket/x"}]}
    assert "output.responses is left out" in convert_to_v2(v1_request(output=paths)).notes[1]
    paths = {"responses": [{"identifier": "default", "tilePath": "s3://my-bucket/x"}]}
    assert convert_to_v2(v1_request(output=paths)).request["output"]["delivery"] == {"s3": {"url": "s3://my-bucket/x"}}


def test_an_answer_of_the_service_may_say_the_grid_twice() -> None:
    request = {**REQUESTS["answer"], "tilingGridId": 0, "resolution": 60, "zarrOutput": None, "bucketName": None}
    assert convert_to_v2(request).request == convert_to_v2(REQUESTS["answer"]).request


def test_the_tag_of_another_remote_task_is_removed() -> None:
    body = BATCH_V2.tagged({"description": "NDVI"}, Intent("dag", "run", "task", -1, "0" * 16, 0).tag)
    assert body["description"] != "NDVI"
    assert convert_to_v2(v1_request(bucketName="my-bucket", **body)).request["description"] == "NDVI"


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        ([], ["request = []: must be a JSON object."]),
        ("text", ["request = 'text': must be a JSON object."]),
        ({}, ["tilingGrid = None: is required.", "must have exactly one of bucketName, output and zarrOutput"]),
        (v1_request(), ["must have exactly one of bucketName, output and zarrOutput, and has none."]),
        (v1_request(bucketName="b", output={}), ["and has bucketName and output."]),
        (v1_request(bucketName="s3://my-bucket"), ["bucketName = 's3://my-bucket': must be the name of a bucket"]),
        (v1_request(output={}), [f"{PATH} = None: is required."]),
        (v1_request(output={"defaultTilePath": 5}), [f"{PATH} = 5: must be a text."]),
        (v1_request(output="s3://b/x"), ["output = 's3://b/x': must be a JSON object."]),
        (v1_request(bucketName="my-bucket", tilingGird=1), ["tilingGird = 1: is not a field of a request of Batch"]),
        (v1_request(bucketName="my-bucket", tilingGrid={"id": 5, "resolution": 60}), ["tilingGrid.id = 5: is not the"]),
        (v1_request(bucketName="my-bucket", tilingGridId=0), ["resolution = None: is required."]),
        (v1_request(bucketName="my-bucket", tilingGridId=9, resolution=60), ["tilingGridId = 9: is not the id"]),
        (v1_request(bucketName="my-bucket", resolution=10), ["resolution = 10: is not tilingGrid.resolution, 60,"]),
        (v1_request(output={"defaultTilePath": "s3://my-bucket/x", "overwrte": 1}), ["output.overwrte = 1: is not a"]),
        (
            v1_request(output={"defaultTilePath": "s3://b/x", "responses": [{"tilePath": "s3://b/y"}]}),
            ["output.responses.0.tilePath = 's3://b/y': has no equal in Batch Processing V2"],
        ),
        (
            v1_request(zarrOutput={"path": "s3://my-bucket/x", "group": {"zarr_format": 3}}),
            ["zarrOutput.group.zarr_format = 3: "],
        ),
        (v1_request(zarrOutput={"group": {"zarr_format": 2}}), ["zarrOutput.path = None: is required."]),
        (convert_to_v2(REQUESTS["cog"]).request, ["is a request of Batch Processing V2 already"]),
    ],
)
def test_what_is_wrong_is_said_with_the_fields_of_v1(request_: Any, said: list[str]) -> None:
    found = errors_of(request_)
    assert len(found) == len(said), found
    assert all(part in error for part, error in zip(said, found, strict=True)), found


def test_a_region_that_is_none() -> None:
    assert errors_of(REQUESTS["cog"], region="EU West")[0].startswith("region = 'EU West': is not the name of a region")


def test_templates_stay_where_the_result_is_not_checked() -> None:
    templated = v1_request(bucketName="{{ params.bucket }}", tilingGrid={"id": "{{ params.grid }}", "resolution": 60})
    found = rewritten(templated).request
    assert found["input"]["id"] == "{{ params.grid }}"
    assert found["output"]["delivery"] == {"s3": {"url": "s3://{{ params.bucket }}"}}


FIELDS = [
    "processRequest",
    "tilingGrid",
    "tilingGridId",
    "bucketName",
    "output",
    "zarrOutput",
    "description",
    "id",
    "x",
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*FIELDS, "path", "type"]), inner),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(FIELDS), JSON))
def test_no_request_makes_it_fail_in_another_way(changes: dict[str, Any]) -> None:
    for request in (changes, {**REQUESTS["cog"], **changes}):
        try:
            found = convert_to_v2(request).request
        except InvalidParameter:
            continue
        assert BATCH_V2.check(found) == found


# ----------------------------------------------------------------------------------------------------------- the rules


def findings_of(request: Any, deployment: Deployment | None = EU) -> Findings:
    """What V1's models and rules find."""
    return examine(request, BATCH_V1.check, RULES, deployment).findings


def usual(found: Findings) -> tuple[Advice, ...]:
    return (found.warnings[0], found.warnings[-1])


@pytest.mark.parametrize("kind", [kind for kind in REQUESTS if kind != "answer"])
def test_nothing_is_wrong_with_the_requests(kind: str) -> None:
    found = findings_of(REQUESTS[kind])
    assert found.errors == ()
    ended, policy = usual(found)
    assert "airflow sentinelhub convert" in str(ended)
    assert "March 2025" in str(ended)
    assert "arn:aws:iam::614251495211:root" in policy.fact
    where = {"bucket name": "bucketName", "zarr": "zarrOutput.path"}.get(kind, PATH)
    assert policy.field == where
    # Of V2's warnings, the one that skipExisting skips is all there is.
    assert len(found.warnings) == (3 if kind == "skipped" else 2)


def test_the_policy_names_the_account_of_the_deployment() -> None:
    assert "arn:aws:iam::ddf4c98b5e6647f0a246f0624c8341d9:root" in usual(findings_of(REQUESTS["cog"], CDSE))[1].fact
    assert usual(findings_of(REQUESTS["cog"], None))[1].fact.startswith("the service delivers by the policy")


def to(url: str, **fields: Any) -> dict[str, Any]:
    return v1_request(output={"defaultTilePath": url, **fields})


def area(box: Any) -> dict[str, Any]:
    request = v1_request(bucketName="my-bucket")
    request["processRequest"]["input"]["bounds"] = {"bbox": box}
    return request


ARRAY = {"dtype": "<u2", "order": "C", "chunks": [1, 500, 500], "fill_value": 0}
STORE = {"path": "s3://my-bucket/x/<requestId>", "group": {"zarr_format": 2}, "arrayParameters": ARRAY}
TIFF_STORE = {**v1_request(zarrOutput=STORE, tilingGrid=LAEA), "processRequest": v1_request()["processRequest"]}


def single(*paths: str) -> dict[str, Any]:
    """Two outputs with a path each."""
    named = zip(("red", "nir"), paths, strict=True)
    return v1_request(
        TWO, ("red", "nir"), output={"responses": [{"identifier": name, "tilePath": path} for name, path in named]}
    )


LARGE = [-10, 36, 40, 70]


def large(**output: Any) -> dict[str, Any]:
    request = v1_request(output={"defaultTilePath": "s3://my-bucket/<tileName>.tif", **output})
    request["processRequest"]["input"]["bounds"] = {"bbox": LARGE}
    return request


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        # What V2's rules find.
        (area(None), "processRequest.input.bounds = None: is required with a tiling grid."),
        (area([0, 85, 1, 86]), "tiling grid 0 (UTM 20 km) has no tiles"),
        (
            v1_request(bucketName="my-bucket", tilingGrid={"id": 0, "resolution": 30}),
            "tilingGrid.resolution = 30.0: exists on",
        ),
        (v1_request(bucketName="my-bucket", tilingGridId=0, resolution=30), "tilingGrid.resolution = 30.0: exists on"),
        (v1_request(TWO, ("red", "blue"), bucketName="my-bucket"), "'blue': is not an output of the evalscript"),
        (to("s3://my-bucket/x", cogParameters={"blockxsize": 500}), "output.cogParameters.blockxsize = 500: must be a"),
        (v1_request(zarrOutput=STORE), "tilingGrid.id = 0: is a UTM grid (UTM 20 km), but Zarr supports"),
        (v1_request(zarrOutput=STORE, tilingGridId=0, resolution=60), "tilingGrid.id = 0: is a UTM grid"),
        (
            v1_request(zarrOutput={**STORE, "arrayParameters": {**ARRAY, "chunks": [1, 7, 7]}}, tilingGrid=LAEA),
            "zarrOutput.arrayParameters.chunks = [1, 7, 7]: must divide a tile",
        ),
        (
            v1_request(zarrOutput={**STORE, "arrayOverrides": {"x": {}}}, tilingGrid=LAEA),
            "zarrOutput.arrayOverrides.x = ",
        ),
        (TIFF_STORE, "'image/tiff': cannot be written into a Zarr group"),
        # Places.
        (to("gs://my-bucket/x"), f"{PATH} = 'gs://my-bucket/x': is on Google Cloud Storage"),
        (single("s3://my-bucket/<tileId>.tif", "gs://my-bucket/x"), "responses.1.tilePath = 'gs://my-bucket/x': is on"),
        (v1_request(bucketName="my-bucket/folder"), "bucketName = 'my-bucket/folder': is not the name of a bucket"),
        # Many files.
        (large(), "the service cannot find out whether they exist. Add <requestId>"),
        (large(overwrite=True, skipExisting=True), "the service cannot find out whether they exist"),
        # Collections.
        (
            to("s3://my-bucket/x", createCollection=True),
            "output.createCollection = True: needs cloud optimised",
        ),
        (
            to("s3://my-bucket/x", cogOutput=True, createCollection=True, collectionId=COLLECTION),
            "output.createCollection = True: is a new batch collection",
        ),
        (to("s3://my-bucket/x", cogOutput=True, collectionId="batch-1"), "'batch-1': is not the id (UUID) of a batch"),
        (
            to("s3://my-bucket/x", cogOutput=True, collectionId=COLLECTION, cogParameters={"blockxsize": 256}),
            "must not be given with output.collectionId, which allows resamplingAlgorithm only",
        ),
        (
            v1_request(
                SCRIPT.format(output="{bands: 2}", result="default: [1, 2]"),
                output={"defaultTilePath": "s3://my-bucket/x", "cogOutput": True, "createCollection": True},
            ),
            "bands: 2': is too many for a batch collection",
        ),
    ],
)
def test_what_is_wrong_is_found_before_it_is_sent(request_: Any, said: str) -> None:
    (error,) = findings_of(request_).errors
    assert said in str(error)
    for other in ("input.type", "input.id", "output.type", "output.delivery"):
        assert f"{other}" not in str(error).replace("processRequest.input", "")


@pytest.mark.parametrize(
    "request_",
    [
        large(overwrite=True),
        large(overwrite=True, skipExisting=False),
        large(defaultTilePath="s3://my-bucket/x"),
        large(defaultTilePath="s3://my-bucket/<requestId>/<tileName>.tif"),
        to("s3://my-bucket/<tileName>.tif"),
    ],
)
def test_many_files_at_a_path_of_their_own(request_: Any) -> None:
    assert findings_of(request_).errors == ()


@given(st.dictionaries(st.sampled_from(FIELDS), JSON))
def test_the_rules_can_be_asked_about_anything(changes: dict[str, Any]) -> None:
    def refuse(_: Any) -> dict[str, Any]:
        raise InvalidParameter("id", 1, "is wrong", "Correct it.")

    examine({**REQUESTS["cog"], **changes}, refuse, RULES, EU)
    assert isinstance(in_v2_form(changes), dict)
