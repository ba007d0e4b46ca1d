"""Converts a table of statistics into other forms, from bucket to bucket."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from airflow_provider_sentinelhub.client.errors import InvalidParameter

if TYPE_CHECKING:
    from airflow_provider_sentinelhub.artifacts.storage.storage import Storage


def reshape_statistics(
    storage: Storage,
    statistics_url: str,
    url: str,
    *,
    wide: bool,
    features_url: str | None,
    identifier_column: str | None = None,
) -> int:
    """
    Write a table of statistics in another form. Memory use is bounded; needs three times the table's size on disk.

    :param storage: Reads and writes the buckets.
    :param statistics_url: URL of the table, from a result.
    :param url: Where to write; ends in ``.parquet``.
    :param wide: One row for each feature and interval, one column for each number.
    :param features_url: GeoPackage of the features: writes their geometries, as GeoParquet. ``None`` for none.
    :param identifier_column: Column of the GeoPackage whose text replaces the identifiers. Default: they stay.
    :returns: Number of rows.
    :raises ArtifactMissing: The table or the GeoPackage does not exist.
    :raises InvalidParameter: There is nothing to do, a URL is invalid, or the file is something else.
    :raises StorageUnavailable: A bucket cannot be read or written.
    """
    from airflow_provider_sentinelhub.artifacts.geopackage.geopackage import MAX_BYTES
    from airflow_provider_sentinelhub.artifacts.statistics.geo import write_geoparquet
    from airflow_provider_sentinelhub.artifacts.statistics.tables import check_table_url, check_tidy
    from airflow_provider_sentinelhub.artifacts.statistics.wide import write_wide

    check_table_url(statistics_url)
    if not str(url).endswith(".parquet"):
        raise InvalidParameter("url", url, "must end in .parquet", "Write e.g. s3://bucket/ndvi-wide.parquet.")
    if url == statistics_url:
        raise InvalidParameter("url", url, "is the table itself, which is kept as it is", "Give the copy another name.")
    if not wide and features_url is None:
        raise InvalidParameter(
            "wide", wide, "without it and without features_url there is nothing to do", "Give one of them, or both."
        )
    if identifier_column is not None and features_url is None:
        rule = "is a column of the GeoPackage, and there is no features_url"
        raise InvalidParameter("identifier_column", identifier_column, rule, "Give features_url as well.")
    with tempfile.TemporaryDirectory(prefix="sentinelhub-statistics-") as name:
        table = Path(name) / "table.parquet"
        storage.download(statistics_url, table)
        check_tidy(table, statistics_url)
        rows = 0
        if wide:
            target = Path(name) / "wide.parquet"
            rows = write_wide(table, target)
            table = target
        if features_url is not None:
            features, target = Path(name) / "features.gpkg", Path(name) / "geo.parquet"
            storage.download(features_url, features, max_bytes=MAX_BYTES)
            rows = write_geoparquet(
                table, features, target, features_url=features_url, identifier_column=identifier_column
            )
            table = target
        storage.upload(table, url)
    return rows
