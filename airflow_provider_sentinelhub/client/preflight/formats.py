"""
Rules on output formats: COG and collections, and Zarr.

Sources: https://docs.planet.com/develop/apis/batch-processing/reference/ (raster output, Zarr output),
https://docs.planet.com/develop/apis/batch-processing/ (ingesting results into BYOC) and
https://documentation.dataspace.copernicus.eu/APIs/SentinelHub/Byoc.html (constraints)
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_sentinelhub.client.errors import InvalidParameter
from airflow_provider_sentinelhub.client.preflight.area import grid_of
from airflow_provider_sentinelhub.client.preflight.outputs import EVALSCRIPT, RESPONSES, TIFF, ZARR, Asked
from airflow_provider_sentinelhub.client.requests.delivery import NO_NUMBERS
from airflow_provider_sentinelhub.client.requests.findings import Advice, Finding, Json, is_number, mapping, part
from airflow_provider_sentinelhub.client.requests.tiling_grids import TILING_GRIDS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_sentinelhub.client.evalscript import Output
    from airflow_provider_sentinelhub.client.http.deployments import Deployment

TIFF_BLOCK = 16
_COLLECTION_BLOCKS = (256, 2048)
_LAST_SUFFIX = 99
COLLECTION_ID = "output.collectionId"
_COLLECTION_BANDS = 100
_BAND_NAME = re.compile(r"(?:[^\W\d]|\$)[\w$]*")
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


def makes_collection(body: Json) -> str:
    """
    Return the field of a request that adds its results to a BYOC collection; empty if it does not.

    :param body: The request.
    """
    if part(body, "output", "createCollection") is True:
        return "output.createCollection"
    return COLLECTION_ID if part(body, *COLLECTION_ID.split(".")) else ""


def check_raster(body: Json, deployment: Deployment | None) -> Iterator[Finding]:
    """
    Find what COGs and collections do not allow.

    :param body: The request.
    :param deployment: Where it will be sent; ``None`` if that is not known.
    """
    if part(body, "output", "type") != "raster":
        return
    asked = Asked(body)
    if part(body, "output", "overwrite") is True and part(body, "output", "skipExisting") is True:
        fact = "has no effect on features whose results all exist: output.skipExisting skips them"
        yield Advice("output.overwrite", fact, "To write everything again, remove skipExisting.")
    if part(body, "output", "cogOutput") is True:
        yield from _check_cog(asked)
    elif mapping(body, "output", "cogParameters"):
        fact = "is ignored, because output.cogOutput is not true"
        yield Advice("output.cogParameters", fact, "Set output.cogOutput to true, or remove it.")
    for name in ("blockxsize", "blockysize"):
        size = part(body, "output", "cogParameters", name)
        if isinstance(size, int) and (size < TIFF_BLOCK or size % TIFF_BLOCK):
            rule = f"must be a multiple of {TIFF_BLOCK}, as TIFF requires"
            yield InvalidParameter(f"output.cogParameters.{name}", size, rule, "Write e.g. 256, 512 or 1024.")
    if field := makes_collection(body):
        yield from _check_collection(asked, field)
        yield from _advise_on_collection(asked, field, deployment)


def _check_cog(asked: Asked) -> Iterator[Finding]:
    for each in asked.outputs:
        if each.sample_type == "INT8":
            rule = f"is not allowed with output.cogOutput; it is that of output {each.id} in setup()"
            yield InvalidParameter(EVALSCRIPT, "sampleType: INT8", rule, "Use INT16, or remove cogOutput.")


def _check_collection(asked: Asked, field: str) -> Iterator[Finding]:
    value = part(asked.body, *field.split("."))
    if part(asked.body, "output", "cogOutput") is not True:
        rule = "needs cloud optimised GeoTIFFs"
        yield InvalidParameter(field, value, rule, "Set output.cogOutput to true.")
    number = part(asked.body, *COLLECTION_ID.split("."))
    if isinstance(number, str) and not _UUID.fullmatch(number):
        fix = "Write the id without the prefix byoc-."
        yield InvalidParameter(COLLECTION_ID, number, "is not the id (UUID) of a collection", fix)
    if mapping(asked.body, "output", "delivery", "gs"):
        rule = "needs a bucket on S3, in the region of the deployment"
        yield InvalidParameter(field, value, rule, "Deliver to output.delivery.s3.")
    if TIFF not in asked.formats.values():
        rule = f"has no response of the format {TIFF}, of which {field} makes a collection"
        yield InvalidParameter(RESPONSES, ", ".join(asked.formats), rule, "Add one for an output of the evalscript.")
    least, most = _COLLECTION_BLOCKS
    for name in ("blockxsize", "blockysize"):
        size = part(asked.body, "output", "cogParameters", name)
        if isinstance(size, int) and not least <= size <= most:
            rule = f"must be {least} to {most} in a collection"
            yield InvalidParameter(f"output.cogParameters.{name}", size, rule, "Write e.g. 256, 512 or 1024.")
    too_many = list(_check_band_count(asked))
    # Millions of bands have no names to compare.
    yield from too_many or _check_band_names(asked, field)


def _check_band_count(asked: Asked) -> Iterator[Finding]:
    """Find more bands than a collection has names for: ``result``, ``result2`` to ``result99``."""
    written = [each for each in asked.outputs if each.bands is not None]
    for each in written:
        if (each.bands or 0) > _LAST_SUFFIX:
            rule = f"is too many for a collection: its bands are named {each.id}, {each.id}2 to {each.id}{_LAST_SUFFIX}"
            fix = f"Write outputs of at most {_LAST_SUFFIX} bands."
            yield InvalidParameter(EVALSCRIPT, f"bands: {each.bands}", rule, fix)
    total = sum(each.bands or 0 for each in written)
    if total > _COLLECTION_BANDS and all((each.bands or 0) <= _LAST_SUFFIX for each in written):
        rule = f"are too many for a collection, which has at most {_COLLECTION_BANDS}"
        yield InvalidParameter(EVALSCRIPT, f"bands: {total} in all outputs", rule, "Write fewer bands.")


def _advise_on_collection(asked: Asked, field: str, deployment: Deployment | None) -> Iterator[Finding]:
    for each in asked.outputs:
        if each.id is not None and not _BAND_NAME.fullmatch(each.id):
            fact = f"the output {each.id} becomes a band of the collection, and its name is not a JavaScript identifier"
            yield Advice(EVALSCRIPT, fact, "Name it with letters, digits and _, so that evalscripts can read it.")
    if part(asked.body, *COLLECTION_ID.split(".")):
        bands = ", ".join(map(_told, asked.outputs)) or "those of the outputs"
        fix = "The collection must have them; that is checked when a task is to be created."
        yield Advice(COLLECTION_ID, f"the results are its bands {bands}", fix)
    account = deployment.account if deployment else ""
    who = f"the service (arn:aws:iam::{account}:root)" if account else "the service"
    fact = f"{who} reads the files of a collection by the policy of the bucket, whatever credentials it has besides"
    fix = "Let that policy allow it s3:GetBucketLocation, s3:ListBucket and s3:GetObject."
    yield Advice(field, fact, fix)


def bands_of(output: Output) -> Iterator[tuple[str, str | None]]:
    """
    Return the bands that an output becomes in a collection, each with its sample type: result, result2, result3.

    :param output: An output of ``setup()``.
    """
    for band in range(1, min(output.bands or 0, _LAST_SUFFIX) + 1):
        yield str(output.id) if band == 1 else f"{output.id}{band}", output.sample_type


def _told(output: Output) -> str:
    last = f" to {output.id}{output.bands}" if (output.bands or 1) > 1 else ""
    return f"{output.id}{last} ({output.sample_type or 'of a sample type that cannot be read'})"


def _check_band_names(asked: Asked, field: str) -> Iterator[Finding]:
    """
    Find bands with the same name: the bands of an output ``result`` are named result, result2, result3.

    The analysis looks at all outputs of the script, also at those without a response.
    """
    owner: dict[str, str] = {}
    for each in asked.setup.outputs or ():
        if each.id is None or each.bands is None:
            continue
        for band in range(1, each.bands + 1):
            name = each.id if band == 1 else f"{each.id}{band}"
            if owner.setdefault(name, each.id) != each.id:
                rule = f"would have the band {name} twice: of output {owner[name]} and of output {each.id}"
                yield InvalidParameter(field, part(asked.body, *field.split(".")), rule, "Rename one of the outputs.")


_GRIDS = tuple(grid.id for grid in TILING_GRIDS.values() if grid.crs != "UTM")
_REQUIRED = ("dtype", "order", "chunks", "fill_value")
_ANY = frozenset({"AUTO", "INT8", "UINT8", "INT16", "UINT16", "FLOAT32"})


@dataclass(frozen=True, slots=True)
class _Dtype:
    """
    The values an array of one type can contain.

    :param sample_types: Sample types of an evalscript that fit.
    :param low: Smallest integer; ``None`` for floats.
    :param high: Largest integer; ``None`` for floats.
    """

    sample_types: frozenset[str] = _ANY
    low: int | None = None
    high: int | None = None


_UINT8, _INT8 = _Dtype(frozenset({"UINT8", "AUTO"}), 0, 255), _Dtype(frozenset({"INT8"}), -128, 127)
_UINT16 = _Dtype(frozenset({"UINT16", "UINT8", "AUTO"}), 0, 65535)
_INT16 = _Dtype(frozenset({"INT16", "UINT8", "INT8", "AUTO"}), -32768, 32767)
DTYPES = {
    "|u1": _UINT8, "|i1": _INT8, "<u2": _UINT16, ">u2": _UINT16, "<i2": _INT16, ">i2": _INT16,
    "<f4": _Dtype(), ">f4": _Dtype(), "<f8": _Dtype(), ">f8": _Dtype(),
}  # fmt: skip


def check_zarr(body: Json, deployment: Deployment | None) -> Iterator[Finding]:  # noqa: ARG001 - a Rule
    """
    Find errors in Zarr output.

    :param body: The request.
    :param deployment: Not used.
    """
    if part(body, "output", "type") != "zarr":
        return
    asked = Asked(body)
    yield from _check_grid(body)
    for each in asked.outputs:
        if each.bands is not None and each.bands > 1:
            rule = f"is too many for Zarr, which has one band per output; it belongs to output {each.id} in setup()"
            yield InvalidParameter(EVALSCRIPT, f"bands: {each.bands}", rule, "Write an output for each band.")
    for name in mapping(body, "output", "arrayOverrides"):
        if name not in asked.formats:
            rule = f"is not the identifier of a response: {', '.join(asked.formats)}"
            yield InvalidParameter(f"output.arrayOverrides.{name}", name, rule, "Correct the name.")
    yield from _check_arrays(asked)


def _check_grid(body: Json) -> Iterator[Finding]:
    known = ", ".join(f"{number} ({TILING_GRIDS[number].title})" for number in _GRIDS)
    if part(body, "input", "type") == "geopackage":
        rule = "cannot be written as Zarr, which supports the service's WGS84 and LAEA grids only"
        yield InvalidParameter("input.type", "geopackage", rule, f"Use one of the grids {known}, or deliver rasters.")
    grid = grid_of(body)
    if grid is not None and grid.id not in _GRIDS:
        rule = f"is a UTM grid ({grid.title}), but Zarr supports WGS84 and LAEA grids only"
        yield InvalidParameter("input.id", grid.id, rule, f"Choose one of {known}, or deliver rasters.")


def _check_arrays(asked: Asked) -> Iterator[Finding]:
    common = mapping(asked.body, "output", "arrayParameters")
    yield from _check_array(asked, "output.arrayParameters", common)
    for name, array in mapping(asked.body, "output", "arrayOverrides").items():
        yield from _check_array(asked, f"output.arrayOverrides.{name}", mapping(array), common.get("dtype"))
    sample_types = {each.id: each.sample_type for each in asked.outputs}
    for name in (name for name, kind in asked.formats.items() if kind == ZARR):
        own = mapping(asked.body, "output", "arrayOverrides", name)
        array = {**common, **own}
        missing = [field for field in _REQUIRED if array.get(field) is None]
        if missing:
            rule = f"lacks {', '.join(missing)} for the output {name}"
            fix = 'Write e.g. {"dtype": "<f4", "order": "C", "chunks": [1, 1000, 1000], "fill_value": 0}.'
            yield InvalidParameter("output.arrayParameters", dict(common) or None, rule, fix)
        kind, sample_type = array.get("dtype"), sample_types.get(name)
        fitting = DTYPES[kind].sample_types if isinstance(kind, str) and kind in DTYPES else _ANY
        if sample_type in _ANY and sample_type not in fitting:
            place = f"output.arrayOverrides.{name}" if "dtype" in own else "output.arrayParameters"
            good = ", ".join(each for each, dtype in DTYPES.items() if sample_type in dtype.sample_types)
            rule = f"cannot hold the sampleType {sample_type} of output {name}"
            yield InvalidParameter(f"{place}.dtype", kind, rule, f"Choose one of {good}.")


def _check_array(asked: Asked, field: str, array: Json, usual: Any = None) -> Iterator[Finding]:
    kind, fill = array.get("dtype"), array.get("fill_value")
    if isinstance(kind, str) and kind not in DTYPES:
        rule = "is not a type the service writes"
        yield InvalidParameter(f"{field}.dtype", kind, rule, f"Choose one of {', '.join(DTYPES)}.")
    stored = usual if kind is None else kind
    if isinstance(stored, str) and stored in DTYPES and not _holds(DTYPES[stored], fill):
        rule = f"cannot be stored as {stored}"
        yield InvalidParameter(f"{field}.fill_value", fill, rule, "Choose a value of that type.")
    grid, resolution, chunks = grid_of(asked.body), part(asked.body, "input", "resolution"), array.get("chunks")
    buffered = part(asked.body, "input", "bufferX") or part(asked.body, "input", "bufferY")
    if grid is None or grid.id not in _GRIDS or resolution not in grid.resolutions or buffered:
        return
    pixels, sides = grid.tile_pixels(resolution), chunks[1:] if isinstance(chunks, list) else []
    if any(isinstance(each, int) and each > 0 and pixels % each for each in sides):
        rule = f"must divide a tile, which has {pixels} x {pixels} pixels at this resolution"
        yield InvalidParameter(f"{field}.chunks", chunks, rule, f"Write e.g. {_good_chunks(pixels)}.")


def _holds(dtype: _Dtype, value: Any) -> bool:
    if dtype.low is None or dtype.high is None:
        return True
    if not is_number(value):
        return value not in NO_NUMBERS
    return dtype.low <= value <= dtype.high and float(value).is_integer()


def _good_chunks(pixels: int) -> list[int]:
    side = max(each for each in range(1, 1001) if pixels % each == 0)
    return [1, side, side]
