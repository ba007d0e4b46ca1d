"""What each asynchronous API takes as its features, checked before a task is created."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_provider_sentinelhub.artifacts.feature_check import check_geopackage
from airflow_provider_sentinelhub.artifacts.feature_problems import EXAMPLES, MAX_SAMPLES, Findings, Problem, Rule
from airflow_provider_sentinelhub.artifacts.feature_tables import feature_name, feature_tables
from airflow_provider_sentinelhub.artifacts.feature_writer import Size, pixels
from airflow_provider_sentinelhub.artifacts.geopackage import WHAT
from airflow_provider_sentinelhub.artifacts.input_size import InputSize, input_size
from airflow_provider_sentinelhub.artifacts.sqlite_file import open_sqlite, quoted
from airflow_provider_sentinelhub.artifacts.statistics.outcomes import geometry_extent

if TYPE_CHECKING:
    from airflow_provider_sentinelhub.client.batch import BatchApi

# Statistics tell features by the number of their row, and take their size from the request.
_NAMES = frozenset({Rule.IDENTIFIER, Rule.IDENTIFIER_COLUMN, Rule.IDENTIFIER_PATH, Rule.IDENTIFIER_UNIQUE})
_RASTERS_ONLY = frozenset({Rule.ID_COLUMN, Rule.IDENTIFIER_TEXT})


def check_input_features(api: BatchApi, path: Path, body: Mapping[str, Any]) -> tuple[Problem, ...]:
    """
    Find everything that is wrong with the GeoPackage a request takes its features from.

    :param api: The API.
    :param path: The file.
    :param body: The request.
    :returns: What is wrong; empty where the service will take it.
    :raises StorageUnavailable: This machine has no room to read it.
    """
    return _CHECKS[api.key](path, body)


def measure_input_features(api: BatchApi, path: Path, body: Mapping[str, Any]) -> InputSize:
    """
    Measure the features a request takes from a GeoPackage.

    :param api: The API.
    :param path: The file, in which nothing is wrong.
    :param body: The request.
    """
    if api.key == "batch-v2":
        return input_size(path, defaults=_raster_size(body))
    aggregation = body["aggregation"]
    size = Size(aggregation.get("width", 256), aggregation.get("height", 256))
    if "resx" in aggregation:
        size = Size(resolution=math.sqrt(aggregation["resx"] * aggregation["resy"]))
    return input_size(path, defaults=size, own_sizes=False)


def _raster_size(body: Mapping[str, Any]) -> Size:
    # A width and height win over a resolution; the request may hold both.
    defaults = body["input"].get("defaults", {})
    width, height = defaults.get("width"), defaults.get("height")
    return Size(width, height, None if width else defaults.get("resolution"))


def _for_rasters(path: Path, body: Mapping[str, Any]) -> tuple[Problem, ...]:
    return check_geopackage(path, defaults=_raster_size(body))


def _for_statistics(path: Path, body: Mapping[str, Any]) -> tuple[Problem, ...]:
    """
    Check features for statistics: of a single CRS, told apart by the number of their row, sized by the request.

    Source: https://documentation.dataspace.copernicus.eu/APIs/SentinelHub/BatchStatistical.html (GeoPackage).
    """
    aggregation = body["aggregation"]
    steps = (aggregation["resx"], aggregation["resy"]) if "resx" in aggregation else None
    # The coarser of the two is what makes a feature less than a pixel in both directions.
    size = Size(resolution=max(steps)) if steps else Size(1, 1)
    by_identifier = "<IDENTIFIER>" in body["output"]["s3"]["url"]
    ignored = _RASTERS_ONLY if by_identifier else _RASTERS_ONLY | _NAMES
    # The sizes of this API are the request's, whatever columns there are for images.
    problems = check_geopackage(path, defaults=size, own_sizes=False)
    found = [problem for problem in problems if problem.rule not in ignored]
    if not any(problem.rule is Rule.IS_GEOPACKAGE for problem in found):
        with open_sqlite(path, WHAT) as connection:
            names = [table.name for table in feature_tables(connection)]
        if len(names) > 1:
            found.insert(0, Problem(Rule.ONE_TABLE, len(names), tuple(names[:EXAMPLES])))
        elif steps:
            found += _too_large(path, steps)
    return tuple(found)


def _too_large(path: Path, steps: tuple[float, float]) -> tuple[Problem, ...]:
    findings = Findings()
    with open_sqlite(path, WHAT) as connection:
        for table in (table for table in feature_tables(connection) if table.geometry.lower() in table.columns):
            query = f"SELECT {table.key}, {table.column(table.geometry.lower())} FROM {quoted(table.name)}"  # noqa: S608 - quoted
            for rowid, blob in connection.execute(query):
                if (extent := geometry_extent(blob)) is None:
                    continue
                west, south, east, north = extent
                across, down = pixels(east - west, steps[0]), pixels(north - south, steps[1])
                if max(across, down) > MAX_SAMPLES:
                    rows = (feature_name(connection, table, row) for row in (rowid,))
                    findings.add(Rule.SAMPLES, (f"{name} ({across} x {down})" for name in rows))
    return findings.problems()


_CHECKS: dict[str, Callable[[Path, Mapping[str, Any]], tuple[Problem, ...]]] = {
    "batch-v2": _for_rasters,
    "batch-statistical": _for_statistics,
}
