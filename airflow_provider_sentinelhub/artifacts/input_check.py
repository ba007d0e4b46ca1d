"""What each asynchronous API takes as its features, checked before a task is created."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_provider_sentinelhub.artifacts.feature_check import check_geopackage
from airflow_provider_sentinelhub.artifacts.feature_problems import EXAMPLES, MAX_SAMPLES, Problem, Rule
from airflow_provider_sentinelhub.artifacts.feature_tables import feature_tables
from airflow_provider_sentinelhub.artifacts.feature_writer import Size
from airflow_provider_sentinelhub.artifacts.geopackage import WHAT
from airflow_provider_sentinelhub.artifacts.sqlite_file import open_sqlite
from airflow_provider_sentinelhub.artifacts.statistics.retry import pixel_counts

if TYPE_CHECKING:
    from airflow_provider_sentinelhub.client.batch import BatchApi

# Statistics tell features by the number of their row, and take their size from the request.
_NAMES = frozenset({Rule.IDENTIFIER, Rule.IDENTIFIER_COLUMN, Rule.IDENTIFIER_PATH, Rule.IDENTIFIER_UNIQUE})
_RASTERS_ONLY = frozenset(
    {Rule.ID_COLUMN, Rule.IDENTIFIER_TEXT, Rule.SIZE, Rule.SIZE_PAIR, Rule.SIZE_NUMBER, Rule.PIXELS}
)


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


def _for_rasters(path: Path, body: Mapping[str, Any]) -> tuple[Problem, ...]:
    # A width and height win over a resolution; the request may hold both.
    defaults = body["input"].get("defaults", {})
    width, height = defaults.get("width"), defaults.get("height")
    return check_geopackage(path, defaults=Size(width, height, None if width else defaults.get("resolution")))


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
    found = [problem for problem in check_geopackage(path, defaults=size) if problem.rule not in ignored]
    if not any(problem.rule is Rule.IS_GEOPACKAGE for problem in found):
        with open_sqlite(path, WHAT) as connection:
            names = [table.name for table in feature_tables(connection)]
        if len(names) > 1:
            found.insert(0, Problem(Rule.ONE_TABLE, len(names), tuple(names[:EXAMPLES])))
        elif names and steps:
            sizes = pixel_counts(path, resolution=steps)
            if large := [(max(size), count) for *size, count in sizes if max(size) > MAX_SAMPLES]:
                worst = f"up to {max(most for most, _ in large):,} pixels"
                found.append(Problem(Rule.SAMPLES, sum(count for _, count in large), (worst,)))
    return tuple(found)


_CHECKS: dict[str, Callable[[Path, Mapping[str, Any]], tuple[Problem, ...]]] = {
    "batch-v2": _for_rasters,
    "batch-statistical": _for_statistics,
}
