"""Where Batch Processing V1 may deliver, as everything that is known before a request is sent says it."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_sentinelhub.artifacts.results.preflight import examine
from airflow_provider_sentinelhub.client.apis.batch_v1.spec import BATCH_V1
from tests.client.v1_requests import LAEA, TWO, v1_request, v1_requests

STORE = {"group": {"zarr_format": 2}, "arrayParameters": {"dtype": "<u2", "order": "C", "fill_value": 0}}
PATH = "output.defaultTilePath"


def two(*paths: str, **output: Any) -> dict[str, Any]:
    """Two outputs, of which the first may have paths of their own."""
    own = [{"identifier": name, "tilePath": path} for name, path in zip(("red", "nir"), paths, strict=False)]
    return v1_request(TWO, ("red", "nir"), output={**output, **({"responses": own} if own else {})})


def errors_of(request: dict[str, Any]) -> list[str]:
    return [f"{each.field}: {each.rule}" for each in examine(BATCH_V1, request).findings.errors]


@pytest.mark.parametrize("kind", [kind for kind in v1_requests() if kind != "answer"])
def test_nothing_is_wrong_with_requests_of_all_kinds(kind: str) -> None:
    assert errors_of(v1_requests()[kind]) == []


@pytest.mark.parametrize(
    "request_",
    [
        two(defaultTilePath="s3://my-bucket/<requestId>/<tileId>/<outputId>.<format>"),
        two("s3://my-bucket/<tileName>.tif", "s3://my-bucket/nir/<tileId>.tif"),
        two("s3://my-bucket/red/<tileName>.tif", defaultTilePath="s3://my-bucket/nir/<tileName>.tif"),
    ],
)
def test_templates_that_tell_tiles_and_outputs_apart(request_: dict[str, Any]) -> None:
    assert errors_of(request_) == []


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        (two(defaultTilePath="s3://my-bucket/<requestId>"), f"{PATH}: a template must hold <tileName>"),
        (
            two(defaultTilePath="s3://my-bucket/<tileName>.tif"),
            f"{PATH}: with 2 outputs a template must hold",
        ),
        (two(defaultTilePath="s3://my-bucket/<taskId>/<tileName>"), f"{PATH}: <taskId> is not a placeholder"),
        (
            two("s3://my-bucket/<outputId>.tif", defaultTilePath="s3://my-bucket/x"),
            "output.responses.0.tilePath: a temp",
        ),
        (
            v1_request(zarrOutput={**STORE, "path": "s3://my-bucket/<tileName>"}, tilingGrid=LAEA),
            "zarrOutput.path: a Zarr path may hold <requestId> only",
        ),
    ],
)
def test_templates_by_which_files_would_overwrite_each_other(request_: dict[str, Any], said: str) -> None:
    assert said in errors_of(request_)[0]


def test_a_path_of_an_unknown_output_is_refused() -> None:
    request = two("s3://my-bucket/red/<tileName>.tif", defaultTilePath="s3://my-bucket/nir/<tileName>.tif")
    request["output"]["responses"][0]["identifier"] = "blue"
    assert any(said.startswith("output.responses.0.identifier: is not an output") for said in errors_of(request))
