"""Zarr output in requests, whichever API they are for."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, Field

from airflow_provider_sentinelhub.simulator.features.grids import GRIDS
from airflow_provider_sentinelhub.simulator.validation.shapes import Json, Shape

if TYPE_CHECKING:
    from airflow_provider_sentinelhub.simulator.validation.findings import Findings

INTEGERS = {
    "|u1": (0, 255), "|i1": (-128, 127), "<u2": (0, 65_535), ">u2": (0, 65_535), "<i2": (-32_768, 32_767),
    ">i2": (-32_768, 32_767),
}  # fmt: skip
REQUIRED_OF_ARRAYS = frozenset({"dtype", "order", "chunks", "fill_value"})
NO_NUMBERS = ("NaN", "Infinity", "-Infinity")


class CoordinatesShape(Shape):
    """Order of the rows."""

    origin: Literal["topLeft", "bottomLeft"] = "topLeft"


class GroupShape(Shape):
    """Parameters of the group."""

    zarr_format: Annotated[Literal[2], Field(alias="zarr_format")]
    coordinates: CoordinatesShape | None = None
    custom_attributes: Json | None = None


def _fill_value(value: Any) -> Any:
    if isinstance(value, bool) or not (isinstance(value, int | float) or value in NO_NUMBERS):
        raise ValueError(f"must be a number or one of {', '.join(NO_NUMBERS)}")
    return value


class ArrayShape(Shape):
    """Parameters of all arrays."""

    dtype: Literal["|u1", "|i1", "<u2", ">u2", "<i2", ">i2", "<f4", ">f4", "<f8", ">f8"] = "<f4"
    order: Literal["C"] = "C"
    chunks: Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=3, max_length=3)] | None = None
    fill_value: Annotated[Any, AfterValidator(_fill_value), Field(alias="fill_value")] = 0
    compressor: Json | None = None


class NamedArrayShape(ArrayShape):
    """Parameters of one array."""

    custom_attributes: Json | None = None


def check_zarr_path(url: str, path: str, findings: Findings) -> None:
    """
    Check where a Zarr goes.

    :param url: Its folder.
    :param path: Path of that in the request.
    :param findings: Takes the violations.
    """
    if set(re.findall(r"<([^<>]*)>", url)) - {"requestId"} or set("<>") & set(url.replace("<requestId>", "")):
        findings.add(path, "the path of a Zarr may contain <requestId> only")


def check_zarr(
    part: dict[str, Any],
    path: str,
    grid_part: tuple[str, dict[str, Any] | None],
    outputs: list[str],
    findings: Findings,
) -> None:
    """
    Check the parameters of a Zarr.

    :param part: Has ``arrayParameters`` and ``arrayOverrides``.
    :param path: Path of it in the request.
    :param grid_part: Where the request has its tiling grid, and that: ``id``, ``resolution`` and buffers; ``None``
        without one.
    :param outputs: Identifiers of the outputs.
    :param findings: Takes the violations.
    """
    source_path, source = grid_part
    grid = GRIDS[source["id"]] if source else None
    if grid is None or grid.crs is None:
        findings.add(source_path, "Zarr output is supported for WGS84 and LAEA tiling grids only")
    usual, own = part.get("arrayParameters", {}), part.get("arrayOverrides", {})
    for name in own.keys() - set(outputs):
        findings.add(f"{path}->arrayOverrides->{name}", f"there is no output {name}")
    for output in outputs:
        if missing := REQUIRED_OF_ARRAYS - usual.keys() - own.get(output, {}).keys():
            findings.add(f"{path}->arrayParameters", f"{', '.join(sorted(missing))} must be set for output {output}")
    for name, array in (("arrayParameters", usual), *((f"arrayOverrides->{each}", own[each]) for each in own)):
        chunks = array.get("chunks", [1, 1, 1])
        # Nothing is documented about a tile that is wider by a buffer.
        buffered = source is not None and (source.get("bufferX") or source.get("bufferY"))
        pixels = 0 if grid is None or source is None or buffered else round(grid.size / source["resolution"])
        stored = INTEGERS.get(array.get("dtype", usual.get("dtype", "")))
        fill = array.get("fill_value", 0)
        if stored is not None and (fill in NO_NUMBERS or fill != int(fill) or not stored[0] <= fill <= stored[1]):
            findings.add(f"{path}->{name}->fill_value", f"fill_value {fill} is not a value of the dtype")
        if chunks[0] != 1:
            findings.add(f"{path}->{name}->chunks", "chunks must be three numbers, the first of them 1")
        elif any(pixels % each for each in chunks[1:]):
            findings.add(f"{path}->{name}->chunks", "chunks must divide the tile evenly")
