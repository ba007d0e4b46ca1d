"""Where one feature of a report lies."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_provider_sentinelhub.client.errors import ArtifactCorrupt, InvalidParameter
from airflow_provider_sentinelhub.client.text import one_line

if TYPE_CHECKING:
    from airflow_provider_sentinelhub.artifacts.storage.storage import Storage


def box_of(storage: Storage, report_url: str, name: str) -> tuple[float, float, float, float]:
    """
    Return the bounding box of a feature: west, south, east and north in its own coordinate reference system.

    :param storage: Where the bucket is.
    :param report_url: URL of the table of all features.
    :param name: Name of the feature.
    :raises ArtifactMissing: There is no such table.
    :raises ArtifactCorrupt: It is not one of this package's tables.
    :raises InvalidParameter: It has no such feature, or not where it lies.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq
    import shapely

    with tempfile.TemporaryDirectory(prefix="sentinelhub-place-") as folder:
        path = Path(folder) / "report.parquet"
        storage.download(report_url, path)
        try:
            found: list[Any] = pq.read_table(path, columns=["geometry"], filters=[("name", "=", name)])[0].to_pylist()
        except (pa.ArrowException, KeyError) as error:
            raise ArtifactCorrupt(
                f"{report_url} is not a usable report: {one_line(error)}. Give the report_url of a task's result."
            ) from error
    if not found:
        raise InvalidParameter("feature", name, "is not in the report", "Give the name of a tile, e.g. E42N21.")
    west, south, east, north = shapely.bounds(shapely.from_wkb(found[0], on_invalid="fix")).tolist()
    if west != west:  # noqa: PLR0124 - NaN, of an outline that is missing, empty or broken
        rule = "has no outline in the report, because there was no manifest"
        raise InvalidParameter("feature", name, rule, "Select it by its coordinates.")
    return west, south, east, north
