"""
The client against the service's own documents: its OpenAPI description, and answers it really gave.

They are not ours to distribute: name a folder that holds them in ``SENTINELHUB_CONTRACT_DIR``.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_sentinelhub.client import errors
from airflow_provider_sentinelhub.client.apis.batch_v2 import calls as batch_v2
from airflow_provider_sentinelhub.client.apis.batch_v2 import models
from airflow_provider_sentinelhub.client.apis.batch_v2.spec import BATCH_V2
from airflow_provider_sentinelhub.client.http.deployments import DEPLOYMENTS
from airflow_provider_sentinelhub.client.http.policy import Attempt, Done, RetryLimits, decide
from airflow_provider_sentinelhub.client.http.problems import Reply
from airflow_provider_sentinelhub.client.lifecycle import description, tasks, tiling_grids
from airflow_provider_sentinelhub.client.preflight.examine import examine
from airflow_provider_sentinelhub.client.requests import bounds, delivery, process
from airflow_provider_sentinelhub.client.requests.tiling_grids import TILING_GRIDS

if TYPE_CHECKING:
    from pydantic import BaseModel

FOLDER = Path(os.environ.get("SENTINELHUB_CONTRACT_DIR") or Path(__file__).parents[2].parent / "shared" / "contract")
DOCUMENT = FOLDER / "sentinel_hub_cdse_openapi.yaml"
FIXTURES = FOLDER / "fixtures"

pytestmark = pytest.mark.skipif(
    not (DOCUMENT.is_file() and FIXTURES.is_dir()),
    reason=f"no contract at {FOLDER}: name a folder with the OpenAPI document in SENTINELHUB_CONTRACT_DIR",
)

LIMITS = RetryLimits(attempts=1)


@pytest.fixture(scope="module")
def schemas() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(DOCUMENT.read_text(encoding="utf-8"))["components"]["schemas"]
    return found


def fields_of(model: type[BaseModel]) -> set[str]:
    return {info.alias or name for name, info in model.model_fields.items()}


def properties(schemas: dict[str, Any], path: str) -> set[str]:
    name, *steps = path.split("/")
    schema = schemas[name]
    for step in steps:
        schema = schema["properties"][step]
    return set(schema["properties"])


# What the document spells wrong, or leaves out although the service takes it: ours without theirs, theirs without ours.
KNOWN: dict[str, tuple[set[str], set[str]]] = {
    # "regin" is a typing error in the document: answers of the service say "region". Roles exist on the AWS
    # deployments, which this document does not describe.
    "S3BucketInfo": ({"region", "iamRoleARN"}, {"regin"}),
    # Google Cloud Storage, too, exists on the AWS deployments only.
    "ObjectStorageInfo": ({"gs"}, set()),
    # Described in the text of the documentation, absent from this document.
    "BatchV2GeoPackageInput": ({"defaults"}, set()),
    # One model serves the parameters of all arrays and the overrides of one; only the latter have attributes.
    "BatchV2ZarrOutputArrayParameters": ({"customAttributes"}, set()),
}


@pytest.mark.parametrize(
    ("path", "model"),
    [
        ("BatchV2ProcessRequest", models.BatchV2Request),
        ("BatchV2TilingGridInput", models.TilingGridInput),
        ("BatchV2GeoPackageInput", models.GeoPackageInput),
        ("ObjectStorageInfo", delivery.ObjectStorage),
        ("S3BucketInfo", delivery.S3Bucket),
        ("BatchV2RasterOutput", models.RasterOutput),
        ("BatchV2CogParameters", delivery.CogParameters),
        ("BatchV2ZarrOutput", models.ZarrOutput),
        ("BatchV2ZarrOutputGroup", delivery.ZarrGroup),
        ("BatchV2ZarrOutputGroup/coordinates", delivery.ZarrCoordinates),
        ("BatchV2ZarrOutputArrayParameters", delivery.ZarrArray),
        ("ProcessRequestForBatchV2", process.ProcessRequest),
        ("ProcessRequestOutputForBatchV2", process.ProcessOutput),
        ("ProcessRequestOutputBatchV2Response", process.OutputResponse),
        ("ProcessRequestInput", process.ProcessInput),
        ("ProcessRequestInputBounds", bounds.Bounds),
        ("ProcessRequestInputBoundsProperties", bounds.BoundsProperties),
    ],
)
def test_a_request_has_the_fields_of_the_document(path: str, model: type[BaseModel], schemas: dict[str, Any]) -> None:
    ours, theirs = fields_of(model), properties(schemas, path)
    only_ours, only_theirs = KNOWN.get(path, (set(), set()))
    assert ours - theirs == only_ours
    assert theirs - ours == only_theirs


@pytest.mark.parametrize(
    ("path", "model", "passed_on"),
    [
        # The account is nothing we act upon; it is kept like every field we do not name.
        ("BatchV2ProcessTask", tasks.BatchTask, {"domainAccountId"}),
        ("BatchV2TilingGridDescriptor", tiling_grids.GridDescription, set()),
        ("BatchV2TilingGridDescriptorProperties", tiling_grids.GridProperties, set()),
    ],
)
def test_an_answer_has_the_fields_of_the_document(
    path: str, model: type[BaseModel], passed_on: set[str], schemas: dict[str, Any]
) -> None:
    theirs = properties(schemas, path)
    assert fields_of(model) <= theirs
    assert theirs - fields_of(model) == passed_on
    assert model.model_config["extra"] == "allow"


def test_values_are_those_of_the_document(schemas: dict[str, Any]) -> None:
    from airflow_provider_sentinelhub.client.apis.batch_v2.spec import BATCH_V2

    statuses = set(schemas["BatchV2ProcessTask"]["properties"]["status"]["enum"])
    assert BATCH_V2.terminal < BATCH_V2.analysed < statuses
    algorithms = schemas["BatchV2CogParameters"]["properties"]["resamplingAlgorithm"]["enum"]
    for algorithm in algorithms:
        written = delivery.CogParameters.model_validate({"resamplingAlgorithm": algorithm})
        assert written.resampling_algorithm == algorithm


# --- what we send ----------------------------------------------------------------------------------------------------


def mended(schemas: dict[str, Any]) -> dict[str, Any]:
    """The document without the errors that would refuse what the service takes."""
    copy: dict[str, Any] = json.loads(json.dumps(schemas, default=str))
    # "group" belongs to Zarr; no raster has one.
    copy["BatchV2RasterOutput"]["required"].remove("group")
    # "uuid" is no type, but a format of a string.
    copy["BatchV2RasterOutput"]["properties"]["collectionId"] = {"type": "string"}
    # The enumeration is an example: the identifier is any output of the evalscript.
    del copy["ProcessRequestOutputBatchV2Response"]["properties"]["identifier"]["enum"]
    # "Overrides" would otherwise have to repeat all that they do not override.
    copy["BatchV2ArrayOverride"]["allOf"] = copy["BatchV2ArrayOverride"]["allOf"][1:]
    for name in ("ObjectStorageInfo", "S3BucketInfo"):
        copy[name]["required"] = sorted(set(copy[name]["required"]))
    return copy


@pytest.fixture(scope="module")
def validator(schemas: dict[str, Any]) -> Any:
    document = {"$ref": "#/components/schemas/BatchV2ProcessRequest", "components": {"schemas": mended(schemas)}}
    return jsonschema.Draft4Validator(document)


def request(source: Any, output: Any, kind: str, **more: Any) -> dict[str, Any]:
    return {
        "processRequest": {
            "input": {
                "bounds": {
                    "bbox": [8.5, 41.3, 9.6, 43.1],
                    "properties": {"crs": "http://www.opengis.net/def/crs/OGC/1.3/CRS84"},
                },
                "data": [{"type": "sentinel-2-l2a", "dataFilter": {"mosaickingOrder": "leastCC"}}],
            },
            "output": {"responses": [{"identifier": "ndvi", "format": {"type": kind}}]},
            "evalscript": "//VERSION=3",
        },
        "input": source,
        "output": output,
        **more,
    }


S3 = {"s3": {"url": "s3://bucket/folder", "accessKey": "k", "secretAccessKey": "s", "region": "eu-central-1"}}
GRID = {"type": "tiling-grid", "id": 6, "resolution": 50.0}
GEOPACKAGE = {"type": "geopackage", "features": S3}
cogs = st.fixed_dictionaries(
    {},
    optional={
        "overviewLevels": st.lists(st.integers(1, 64), max_size=3),
        "overviewMinSize": st.integers(1, 512),
        "resamplingAlgorithm": st.sampled_from(["nearest", "average", "gauss", "mode"]),
        "blockxsize": st.integers(16, 4096),
        "usePredictor": st.booleans(),
    },
)
rasters = st.fixed_dictionaries(
    {"type": st.just("raster"), "delivery": st.just(S3)},
    optional={
        "overwrite": st.booleans(),
        "skipExisting": st.booleans(),
        "cogOutput": st.booleans(),
        "cogParameters": cogs,
        "createCollection": st.booleans(),
        "collectionId": st.uuids().map(str),
    },
)
arrays = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(["<f4", "|u1"]),
        "order": st.just("C"),
        "chunks": st.just([1, 1000, 1000]),
        "fill_value": st.floats(allow_nan=False, allow_infinity=False),
    },
    optional={"compressor": st.just({"id": "blosc", "clevel": 5})},
)
zarrs = st.fixed_dictionaries(
    {
        "type": st.just("zarr"),
        "delivery": st.just(S3),
        "group": st.just({"zarr_format": 2, "coordinates": {"origin": "bottomLeft"}, "customAttributes": {"by": "us"}}),
        "arrayParameters": arrays,
    },
    optional={"arrayOverrides": st.just({"ndvi": {"dtype": "<u2", "customAttributes": {"units": "1"}}})},
)
requests = st.builds(
    request,
    st.sampled_from([GRID, {**GRID, "bufferX": 5, "bufferY": 0}, GEOPACKAGE]),
    rasters,
    st.sampled_from(["image/tiff", "application/json"]),
    description=st.text(max_size=20),
) | st.builds(request, st.just(GRID), zarrs, st.just("zarr/array"), instanceType=st.sampled_from(["normal", "large"]))


@given(document=requests)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40, database=None)
def test_what_we_send_is_what_the_document_asks_for(document: dict[str, Any], validator: Any) -> None:
    validator.validate(json.loads(json.dumps(batch_v2.check(document))))


# --- what the service really answered --------------------------------------------------------------------------------


def fixture(name: str) -> bytes:
    return (FIXTURES / name).read_bytes()


def test_a_real_task() -> None:
    result = decide(batch_v2.TASKS.get("t"), Attempt(), Reply(200, {}, fixture("batchv2_task_done.json")), LIMITS)
    assert isinstance(result, Done)
    task: tasks.BatchTask = result.value
    assert (task.id, task.status, task.user_action) == ("6aa8765a-e9eb-4dd0-a567-b86cfdb840e0", "DONE", "START")
    assert (task.completion_percentage, task.cost_pu) == (100.0, 9006.923884650554)
    assert task.error is task.stopped_status_reason is None
    assert description.tag_of(task.request) == "card4l-test card4lId: 170fde91-7f25-43f3-a447-9631c65f59c6"
    assert batch_v2.delivery_url(task.request).startswith(
        "s3://deafrica-sentinel-1/card4l_grid2/s1_rtc/<tileName>/2021/08/14/"
    )
    assert task.created is not None
    assert task.created.isoformat() == "2021-08-17T12:02:12.306339+00:00"
    assert task.model_dump(by_alias=True, exclude_unset=True, mode="json") == json.loads(
        fixture("batchv2_task_done.json")
    ) | {"completionPercentage": 100.0}


def test_the_request_in_a_real_task_could_be_sent_again() -> None:
    echoed = json.loads(fixture("batchv2_task_done.json"))["request"]
    assert batch_v2.check(echoed) == echoed
    # The text of the script was left out where the answer was kept.
    echoed["processRequest"]["evalscript"] = "//VERSION=3\nfunction setup() { return made(); }\nevaluatePixel = made();"
    assert examine(echoed, BATCH_V2.check, BATCH_V2.rules, DEPLOYMENTS["aws-eu-central-1"]).findings.errors == ()


@pytest.mark.parametrize("grid_id", [2, 3])
def test_a_real_tiling_grid(grid_id: int) -> None:
    body = fixture(f"batchv2_tilinggrid_{grid_id}.json")
    described = tiling_grids.GridDescription.model_validate_json(body)
    known = TILING_GRIDS[grid_id]
    assert described.id == known.id
    assert described.properties.tile_width == described.properties.tile_height == known.tile_size
    # Ours may know more: some resolutions exist on one deployment only.
    assert set(described.properties.resolutions) <= set(known.resolutions)
    assert described.properties.unit == ("DEGREE" if known.crs == "EPSG:4326" else "METRE")


@pytest.mark.parametrize(
    ("name", "kind", "code"),
    [
        ("error_400_illegal_user_action.json", errors.IllegalAction, "COMMON_BAD_PAYLOAD"),
        ("error_400_parameter_violation.json", errors.InvalidRequest, "COMMON_BAD_PAYLOAD"),
        ("error_400_restartpartial.json", errors.IllegalAction, "COMMON_BAD_PAYLOAD"),
        ("error_403_permissions.json", errors.PermissionDenied, "COMMON_INSUFFICIENT_PERMISSIONS"),
        ("error_403_pu.json", errors.InsufficientProcessingUnits, "ACCESS_INSUFFICIENT_PROCESSING_UNITS"),
        ("error_429.json", errors.RateLimited, "RATE_LIMIT_EXCEEDED"),
    ],
)
def test_a_real_refusal(name: str, kind: type[errors.ApiError], code: str) -> None:
    status = int(name.split("_")[1].removesuffix(".json"))
    with pytest.raises(errors.ApiError) as caught:
        decide(batch_v2.TASKS.stop("t"), Attempt(), Reply(status, {}, fixture(name)), LIMITS)
    assert type(caught.value) is kind
    assert (caught.value.status, caught.value.code) == (status, code)
    said = json.loads(fixture(name))["error"]["message"].strip().rstrip(".")
    assert f"answered {status}: {said}." in str(caught.value)


def test_a_real_violation_is_named() -> None:
    with pytest.raises(errors.InvalidRequest) as caught:
        decide(
            batch_v2.TASKS.create({}), Attempt(), Reply(400, {}, fixture("error_400_parameter_violation.json")), LIMITS
        )
    (violation,) = caught.value.violations
    assert violation.parameter == "output->resx"
    assert violation.violation == "`width = 2624`, calculated from resx, is larger than allowed 2500."
