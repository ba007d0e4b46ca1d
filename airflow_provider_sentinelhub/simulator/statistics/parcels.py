"""Polygons with the raster over which their statistics are computed."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any

from airflow_provider_sentinelhub.simulator.bucket import geopackage
from airflow_provider_sentinelhub.simulator.features.features import MAX_FEATURES, Feature, outline_of
from airflow_provider_sentinelhub.simulator.problems import AnalysisFailed

MAX_PIXELS = 2500
DEFAULT_PIXELS = 256
# A resolution next to nothing would make infinitely many.
TOO_MANY_PIXELS = 1_000_000_000

if TYPE_CHECKING:
    from pathlib import Path

    from shapely.geometry.base import BaseGeometry


def from_geopackage(path: Path, aggregation: dict[str, Any]) -> list[Feature]:
    """
    List the polygons of the user's GeoPackage.

    :param path: The downloaded file.
    :param aggregation: Has the size or resolution of the rasters.
    :raises AnalysisFailed: The file breaks a rule; the text says which.
    """
    try:
        return _features(path, aggregation)
    except (ValueError, sqlite3.DatabaseError) as error:
        raise AnalysisFailed(f"Invalid input GeoPackage: {error}.") from error


def _features(path: Path, aggregation: dict[str, Any]) -> list[Feature]:
    features: dict[int, Feature] = {}
    crs: int | None = None
    for row in geopackage.read_input(path, required=()):
        where = f"table '{row.table}', id {row.id}"
        if row.crs is None:
            raise ValueError(f"table '{row.table}': the CRS must be an EPSG one")
        if row.id in features:
            raise ValueError(f"{where}: the id is not unique")
        if crs not in {None, row.crs}:
            raise ValueError(f"{where}: all features must be in the same CRS")
        crs = row.crs
        features[row.id] = parcel(outline_of(row, where), row.crs, aggregation, row.id, row.identifier)
        if len(features) > MAX_FEATURES:
            raise ValueError(f"more than {MAX_FEATURES} features")
    if not features:
        raise ValueError("there are no features")
    return list(features.values())


def parcel(
    outline: BaseGeometry, crs: int, aggregation: dict[str, Any], number: int | None, identifier: object = None
) -> Feature:
    """
    Return a polygon with its raster.

    :param outline: The polygon, in the CRS.
    :param crs: EPSG code.
    :param aggregation: Has the size or resolution of the raster.
    :param number: Its number in the GeoPackage.
    :param identifier: The user's name for it; its number is used where this is not text.
    """
    west, south, east, north = outline.bounds
    width, height = _raster(aggregation, east - west, north - south)
    named = isinstance(identifier, str) and identifier != ""
    return Feature(
        name=str(identifier if named else number),
        crs=crs,
        width=width,
        height=height,
        west=west,
        north=north,
        step_x=(east - west) / width,
        step_y=(north - south) / height,
        geometry=outline,
        id=number,
        named=named,
    )


def _raster(aggregation: dict[str, Any], across: float, down: float) -> tuple[int, int]:
    if "resx" in aggregation:
        # As in the published examples, in which 544 m at 10 m are 54 pixels.
        sides = (across / aggregation["resx"], down / aggregation["resy"])
        return max(1, round(min(sides[0], TOO_MANY_PIXELS))), max(1, round(min(sides[1], TOO_MANY_PIXELS)))
    return int(aggregation.get("width", DEFAULT_PIXELS)), int(aggregation.get("height", DEFAULT_PIXELS))
