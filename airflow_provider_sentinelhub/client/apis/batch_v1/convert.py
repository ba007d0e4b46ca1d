"""
Batch Processing V1: its requests as requests of Batch Processing V2.

Source: https://documentation.dataspace.copernicus.eu/APIs/SentinelHub/BatchV2/Migration.html
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from airflow_provider_sentinelhub.client.apis.batch_v2.calls import check
from airflow_provider_sentinelhub.client.as_json import as_json
from airflow_provider_sentinelhub.client.errors import InvalidParameter
from airflow_provider_sentinelhub.client.lifecycle.description import untagged
from airflow_provider_sentinelhub.client.models import from_text, without_nulls
from airflow_provider_sentinelhub.client.requests.findings import Json, each_of, mapping, objects, part

if TYPE_CHECKING:
    from collections.abc import Iterator

GRID, BUCKET, OUTPUT, ZARR = "tilingGrid", "bucketName", "output", "zarrOutput"
_OLD_GRID: Final = {"tilingGridId": "id", "resolution": "resolution"}
_PATH: Final = {OUTPUT: "defaultTilePath", ZARR: "path"}
_WRITTEN: Final = ("processRequest", GRID, *_OLD_GRID, OUTPUT, BUCKET, ZARR, "description")
_OBJECTS: Final = ("processRequest", GRID, OUTPUT, ZARR)
_READ_ONLY: Final = (
    "id",
    "userId",
    "accountId",
    "created",
    "valueEstimate",
    "tileCount",
    "tileWidthPx",
    "tileHeightPx",
    "userAction",
    "userActionUpdated",
    "status",
    "error",
)
_BLOCKS: Final = ("blockxsize", "blockysize")
_TILE_ID, _TILE_NAME = "<tileId>", "<tileName>"


@dataclass(frozen=True, slots=True)
class Conversion:
    """
    A request of Batch Processing V1 as one of Batch Processing V2.

    :param request: The request of V2, without credentials: they are in the connection of the operator.
    :param notes: What changes with it, and what has no equal: a sentence or two each.
    """

    request: dict[str, Any]
    notes: tuple[str, ...]


def convert_to_v2(request: Any, *, region: str | None = None) -> Conversion:
    """
    Convert a request of Batch Processing V1 into one of Batch Processing V2, and check the result.

    Nothing is sent. The service's answer about a V1 request can be converted as well: what only the service sets is
    left out.

    :param request: The V1 request as a dict, or as the JSON text of one.
    :param region: Region of the bucket, e.g. ``eu-central-1``; V1 requests do not name it. Default ``None``: that of
        the deployment.
    :raises InvalidParameter: Names each field that is wrong as V1 spells it, its value, its rule and its fix.
    """
    given = _readable(request)
    found = rewritten(given, region=region)
    try:
        body = check(found.request)
    except InvalidParameter as e:
        first, *others = (renamed(given, each) for each in each_of(e))
        raise first.with_others(others) from None
    return Conversion(body, found.notes)


def rewritten(request: Any, *, region: str | None = None) -> Conversion:
    """
    Convert a request as :func:`convert_to_v2` does, without the check of the result: values may still be templates.

    :param request: The V1 request as a dict, or as the JSON text of one.
    :param region: Region of the bucket. Default ``None``: that of the deployment.
    :raises InvalidParameter: It is not a request of V1.
    """
    given = _readable(request)
    problems = list(_problems(given))
    if problems:
        raise problems[0].with_others(problems[1:])
    body = in_v2_form(given)
    if isinstance(body.get("description"), str):
        # Its tag names another remote task.
        body = untagged(body)
    bucket = body["output"]["delivery"]["s3"]
    bucket["url"] = str(bucket["url"]).replace(_TILE_ID, _TILE_NAME)
    if region is not None:
        bucket["region"] = region
    return Conversion(body, tuple(_notes(given)))


def in_v2_form(given: Json) -> dict[str, Any]:
    """
    Return a V1 request with the fields of V2, as far as it has them; nothing is checked.

    :param given: The V1 request, of any shape.
    """
    body: dict[str, Any] = {}
    if "processRequest" in given:
        body["processRequest"] = given["processRequest"]
    old = {new: given[name] for name, new in _OLD_GRID.items() if name in given}
    if grid := mapping(given, GRID) or old:
        body["input"] = {"type": "tiling-grid", **grid}
    if where := place_of(given):
        kind = ZARR if where.startswith(ZARR) else OUTPUT
        fields = {name: value for name, value in mapping(given, kind).items() if name not in {_PATH[kind], "responses"}}
        delivery = {"s3": {"url": url_of(given)}}
        body["output"] = {"type": "zarr" if kind == ZARR else "raster", "delivery": delivery, **fields}
    if "description" in given:
        body["description"] = given["description"]
    return body


def place_of(given: Json) -> str:
    """
    Return the field of a V1 request that says where results are delivered; empty if it has none.

    :param given: The V1 request, of any shape.
    """
    if given.get(BUCKET) is not None:
        return BUCKET
    named = [name for name in (ZARR, OUTPUT) if isinstance(given.get(name), Mapping)]
    return f"{named[0]}.{_PATH[named[0]]}" if named else ""


def url_of(given: Json) -> Any:
    """
    Return the URL or template that results are delivered to; ``None`` if there is none.

    ``bucketName: x`` is the same as ``output.defaultTilePath: s3://x``. If there are paths of single outputs only, it
    is the first of them.

    :param given: The V1 request, of any shape.
    """
    where = place_of(given)
    found = part(given, *where.split("."))
    if where == BUCKET:
        return f"s3://{found}"
    return part(given, OUTPUT, "responses", 0, "tilePath") if found is None and where.startswith(OUTPUT) else found


def renamed(given: Json, error: InvalidParameter) -> InvalidParameter:
    """
    Return an error about a V2 request with the field of V1 that it is about.

    :param given: The V1 request the V2 one was made of.
    :param error: The error.
    """
    return InvalidParameter(v1_field(given, error.field), error.value, error.rule, error.fix)


def v1_field(given: Json, field: str) -> str:
    """
    Return the field of a V1 request that became a field of the V2 one.

    :param given: The V1 request.
    :param field: Path of the field in the V2 request.
    """
    where = place_of(given)
    is_old = not mapping(given, GRID)
    names = {
        "output.delivery.s3.region": "region",
        "output.delivery": where,
        "output": ZARR if where.startswith(ZARR) else OUTPUT,
        **({"input.id": "tilingGridId", "input.resolution": "resolution"} if is_old else {}),
        "input": GRID,
    }
    for ours, theirs in names.items():
        if field == ours or field.startswith(f"{ours}."):
            # A URL is a field of an object in V2 and a text in V1.
            return theirs if theirs in {where, "region"} else f"{theirs}{field.removeprefix(ours)}"
    return field


def _readable(request: Any) -> dict[str, Any]:
    given = from_text(request)
    if not isinstance(given, Mapping):
        rule, fix = "must be a JSON object", "Give the request as a dict or as its JSON text."
        raise InvalidParameter("request", given, rule, fix)
    fields: dict[str, Any] = without_nulls(as_json(dict(given)))
    return {name: from_text(value) if name in _OBJECTS else value for name, value in fields.items()}


def _problems(given: Json) -> Iterator[InvalidParameter]:
    if part(given, "input", "type") is not None:
        yield InvalidParameter(
            "request", list(given), "is a request of Batch Processing V2 already: it has input.type", "Use it as it is."
        )
        return
    for name, value in given.items():
        if name not in (*_WRITTEN, *_READ_ONLY):
            rule = "is not a field of a request of Batch Processing V1"
            yield InvalidParameter(name, value, rule, "Check the spelling.")
        elif name in _OBJECTS and not isinstance(value, Mapping):
            yield InvalidParameter(name, value, "must be a JSON object", "Write an object with the fields in it.")
    yield from _grid_problems(given)
    yield from _place_problems(given)


def _grid_problems(given: Json) -> Iterator[InvalidParameter]:
    grid, example = part(given, GRID), 'Write "tilingGrid": {"id": 0, "resolution": 60}.'
    if grid is None and "tilingGridId" not in given:
        yield InvalidParameter(GRID, None, "is required", example)
    for old, new in _OLD_GRID.items():
        # The service's answers have both.
        if isinstance(grid, Mapping) and old in given and given[old] != grid.get(new):
            rule = f"is not tilingGrid.{new}, {grid.get(new)!r}, which has replaced it"
            yield InvalidParameter(old, given[old], rule, "Give tilingGrid alone.")


def _place_problems(given: Json) -> Iterator[InvalidParameter]:
    named = [name for name in (BUCKET, OUTPUT, ZARR) if name in given]
    if len(named) != 1:
        fix = 'Write e.g. "output": {"defaultTilePath": "s3://my-bucket/folder"}.'
        rule = f"must have exactly one of {BUCKET}, {OUTPUT} and {ZARR}, and has {' and '.join(named) or 'none'}"
        yield InvalidParameter("request", list(given), rule, fix)
        return
    where, url = place_of(given), url_of(given)
    if where == BUCKET and (not isinstance(given[BUCKET], str) or "/" in given[BUCKET]):
        rule = "must be the name of a bucket, without s3:// and without a folder"
        fix = "Write output.defaultTilePath for a folder in a bucket."
        yield InvalidParameter(BUCKET, given[BUCKET], rule, fix)
    elif where and not isinstance(url, str):
        rule = "is required" if url is None else "must be a text"
        yield InvalidParameter(where, url, rule, "Write e.g. s3://my-bucket/folder.")
    for number, response in enumerate(objects(given, OUTPUT, "responses")):
        path = response.get("tilePath")
        if path is not None and path != url:
            rule = "has no equal in Batch Processing V2, which has one delivery URL for all outputs"
            fix = "Remove it, and write <outputId> in output.defaultTilePath."
            yield InvalidParameter(f"output.responses.{number}.tilePath", path, rule, fix)


def _notes(given: Json) -> Iterator[str]:
    yield (
        "The bucket's policy no longer lets the service deliver: V2 delivers with the role or the keys of the "
        "operator's connection to the bucket (aws_conn_id)."
    )
    if _TILE_ID in str(url_of(given)):
        yield f"{_TILE_ID} is now {_TILE_NAME}: V2 names files by the name of the tile, so the files have other names."
    if part(given, OUTPUT, "responses"):
        yield "output.responses is left out: V2 has one delivery URL for all outputs."
    yield from _collection_notes(mapping(given, OUTPUT))
    yield from _answer_notes(given)


def _collection_notes(output: Json) -> Iterator[str]:
    if output.get("createCollection") is True:
        yield (
            "output.createCollection makes a BYOC collection in V2, not a batch collection: scripts read it as "
            "byoc-<id>, and a policy of the bucket must let the service read the files."
        )
    if output.get("collectionId"):
        yield (
            f"output.collectionId = {output['collectionId']!r} is a batch collection of V1, and V2 adds results to "
            "BYOC collections only. Create one with the same bands and write its id."
        )
    if output.get("cogOutput") is True and not mapping(output, "cogParameters").keys() & set(_BLOCKS):
        yield (
            "output.cogParameters has no size of blocks: by their references V1 writes blocks of 1024 pixels, and V2 "
            "on AWS blocks of 256. Set blockxsize and blockysize to 1024 to keep them."
        )


def _answer_notes(given: Json) -> Iterator[str]:
    dropped = [name for name in _READ_ONLY if name in given]
    if not dropped:
        return
    yield f"Left out, because only the service sets them: {', '.join(dropped)}."
    if "valueEstimate" in given:
        yield "V2 has no valueEstimate: SentinelHubEstimateBatchProcessOperator estimates the cost after the analysis."
    if "userId" in given:
        yield "V2 cannot list the requests of one user by userId."
    if "tileCount" in given:
        yield (
            "V2 lists no tiles: SentinelHubBatchReportOperator tells what became of each one, from the files in "
            "the bucket."
        )
    if given.get("status") == "PARTIAL":
        yield (
            "V2 has no status PARTIAL and no restart of failed tiles: the operator's outcome is PARTIAL instead, and "
            "on_partial='rerun' runs the failed tiles again."
        )
    if given.get("userAction") == "CANCEL" or given.get("status") == "CANCELED":
        yield "V2 stops a task and can start it again; V1 cancelled it for good."
