"""
Requests for images of the tiles of a grid, with the bucket in the request and its policy in the bucket.

Source: https://documentation.dataspace.copernicus.eu/APIs/SentinelHub/Batch.html
"""

from __future__ import annotations

import copy
from typing import Annotated, Any

from pydantic import Field

from airflow_provider_sentinelhub.simulator.bucket.delivery import EXTENSIONS, Template
from airflow_provider_sentinelhub.simulator.problems import Problem, violations
from airflow_provider_sentinelhub.simulator.validation.findings import Findings, check_body, check_shape, check_url
from airflow_provider_sentinelhub.simulator.validation.images import (
    check_grid,
    check_process_request,
    check_template,
    fill_process_request,
)
from airflow_provider_sentinelhub.simulator.validation.shapes import (
    CogShape,
    Filled,
    ProcessRequestShape,
    Shape,
    Uuid,
)
from airflow_provider_sentinelhub.simulator.validation.zarr import (
    ArrayShape,
    GroupShape,
    NamedArrayShape,
    check_zarr,
    check_zarr_path,
)

# Existing files are only looked for below this number of files.
MAX_CHECKED_FILES = 5000
DELIVERIES = ("bucketName", "output", "zarrOutput")


def check(payload: Any) -> dict[str, Any]:
    """
    Check the body of a create call and fill in the defaults.

    :param payload: Parsed body.
    :raises Problem: 400 with all violations found.
    """
    request = _without_null(payload)
    check_body(request, _Request, _check_parts)
    return _with_defaults(request)


def check_update(payload: Any) -> dict[str, Any]:
    """
    Check the body of an update.

    :param payload: Parsed body.
    :raises Problem: 400 with all violations found.
    """
    changes = _without_null(payload)
    findings = Findings()
    check_shape(_Update, changes, "", findings)
    if findings.found:
        raise violations(findings.found)
    checked: dict[str, Any] = changes
    return checked


def place(request: dict[str, Any]) -> tuple[str, str]:
    """
    Return the parameter that says where results go, and their URL.

    :param request: A request with exactly one delivery.
    """
    if "bucketName" in request:
        return "bucketName", f"s3://{request['bucketName']}"
    if "zarrOutput" in request:
        return "zarrOutput->path", request["zarrOutput"]["path"]
    return "output->defaultTilePath", request["output"].get("defaultTilePath", "")


def check_number_of_files(request: dict[str, Any], tiles: int) -> None:
    """
    Refuse a request whose files are too many to look for existing ones, and that asks for it.

    :param request: A checked request.
    :param tiles: Number of its tiles.
    :raises Problem: 400.
    """
    output = request.get("output")
    files = tiles * len(request["processRequest"]["output"]["responses"])
    if output is None or files < MAX_CHECKED_FILES or (output["overwrite"] and not output["skipExisting"]):
        return
    paths = [output["defaultTilePath"], *(each["tilePath"] for each in output.get("responses", []))]
    if any("<" in path and "<requestId>" not in path for path in paths):
        raise violation(
            "output",
            f"{files} files are too many to look for existing ones: the paths must contain <requestId>, or overwrite "
            "must be true and skipExisting false",
        )


def violation(parameter: str, text: str) -> Problem:
    """
    Return the 400 of a single violation.

    :param parameter: Path in the request.
    :param text: What is wrong.
    """
    return violations([{"parameter": parameter, "violation": text}])


Buffer = Annotated[int, Field(ge=0, lt=1 << 15)]


class _Grid(Shape):
    id: int
    resolution: float
    buffer_x: Buffer = 0
    buffer_y: Buffer = 0


class _Path(Shape):
    identifier: Filled = "default"
    tile_path: str


class _Output(Shape):
    default_tile_path: str = ""
    overwrite: bool = False
    skip_existing: bool = False
    cog_output: bool = False
    cog_parameters: CogShape | None = None
    create_collection: bool = False
    collection_id: Uuid = ""
    responses: list[_Path] | None = None


class _Zarr(Shape):
    path: str
    group: GroupShape
    array_parameters: ArrayShape | None = None
    array_overrides: dict[str, NamedArrayShape] | None = None


class _Request(Shape):
    process_request: ProcessRequestShape
    tiling_grid: _Grid | None = None
    tiling_grid_id: int = 0
    resolution: float = 0
    bucket_name: str = ""
    output: _Output | None = None
    zarr_output: _Zarr | None = None
    description: str = ""


class _Link(Shape):
    collection_id: Uuid = ""


class _Update(Shape):
    description: str = ""
    output: _Link = _Link()


def _without_null(payload: Any) -> Any:
    # The only field that may be null: no collection.
    changed = copy.deepcopy(payload)
    if isinstance(changed, dict) and isinstance(changed.get("output"), dict):
        output = changed["output"]
        if output.get("collectionId", "") is None:
            del output["collectionId"]
    return changed


def _check_parts(request: dict[str, Any], findings: Findings) -> None:
    grid = _grid(request, findings)
    given = [name for name in DELIVERIES if name in request]
    if len(given) != 1:
        findings.add("output", f"exactly one of {', '.join(DELIVERIES)} must be set")
    zarr = "zarrOutput" in request
    formats = {"zarr/array"} if zarr else set(EXTENSIONS)
    check_process_request(request["processRequest"], findings, formats=formats, on_grid=True)
    if findings.found:
        return
    responses = request["processRequest"].get("output", {}).get("responses", [])
    names = [each.get("identifier", "default") for each in responses] or ["default"]
    parameter, url = place(request)
    check_url(url, parameter, findings)
    if zarr:
        check_zarr_path(url, parameter, findings)
        check_zarr(request["zarrOutput"], "zarrOutput", ("tilingGrid", grid), names, findings)
    else:
        output = request.get("output", {})
        own = {each.get("identifier", "default") for each in output.get("responses", [])}
        check_template(url, parameter, len({*names} - own), findings)
        _check_output(output, names, findings)
        _check_cog(output, {each["format"]["type"] for each in responses}, findings)


def _grid(request: dict[str, Any], findings: Findings) -> dict[str, Any]:
    older = {"tilingGridId", "resolution"} & request.keys()
    if "tilingGrid" in request:
        if older:
            findings.add("tilingGrid", f"{', '.join(sorted(older))} must not be set beside tilingGrid")
        grid: dict[str, Any] = request["tilingGrid"]
        check_grid(grid, "tilingGrid", findings)
        return grid
    if len(older) < 2:  # noqa: PLR2004 - both of them
        findings.add("tilingGrid", "tilingGrid must not be null")
        return {}
    grid = {"id": request["tilingGridId"], "resolution": request["resolution"]}
    check_grid(grid, "tilingGrid", findings)
    return grid


def _check_output(output: dict[str, Any], names: list[str], findings: Findings) -> None:
    paths = output.get("responses", [])
    for number, each in enumerate(paths):
        where = f"output->responses[{number}]"
        if each.get("identifier", "default") not in names:
            findings.add(f"{where}->identifier", f"there is no output {each.get('identifier', 'default')}")
        check_url(each["tilePath"], f"{where}->tilePath", findings)
        check_template(each["tilePath"], f"{where}->tilePath", 1, findings)
        if Template.of(each["tilePath"], "").bucket != Template.of(output.get("defaultTilePath", ""), "").bucket:
            findings.add(f"{where}->tilePath", "the simulator delivers to one bucket only: that of defaultTilePath")


def _check_cog(output: dict[str, Any], formats: set[str], findings: Findings) -> None:
    if output.get("cogOutput") and formats - {"image/tiff"}:
        findings.add("output->cogOutput", "all outputs must have the format image/tiff")
    wanted = [name for name in ("createCollection", "collectionId") if output.get(name)]
    if len(wanted) > 1:
        findings.add("output", "only one of createCollection and collectionId may be set")
    for name in wanted:
        if not output.get("cogOutput"):
            findings.add(f"output->{name}", "cogOutput must be true for a collection")
        for parameter in output.get("cogParameters", {}).keys() - {"resamplingAlgorithm"}:
            findings.add(f"output->cogParameters->{parameter}", f"{parameter} must not be set for a collection")


def _with_defaults(request: dict[str, Any]) -> dict[str, Any]:
    filled = {name: each for name, each in request.items() if name not in {"tilingGridId", "resolution"}}
    fill_process_request(filled["processRequest"], "zarr/array" if "zarrOutput" in filled else "image/tiff")
    grid = filled.setdefault("tilingGrid", {"id": request.get("tilingGridId"), "resolution": request.get("resolution")})
    grid["resolution"] = float(grid["resolution"])
    if "output" in filled:
        for name in ("overwrite", "skipExisting", "cogOutput", "createCollection"):
            filled["output"].setdefault(name, False)
    return filled
