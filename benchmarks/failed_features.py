"""
What it takes to answer "which features failed, why, and where do they lie?" for a large task.

Usage: ``python benchmarks/failed_features.py [features]`` (default 700,000, the service's limit for one task).

CPU as a ratio to a bare SQLite scan of the same two files in the same run, and memory over the interpreter; every
measurement in a process of its own, median of three. Where geopandas is installed (it is no dependency) it does the
same from the two files, and all must name the same features with the same messages, sizes, systems and bounds.

* *failed features, listed*: from the report's Parquet table, as a follow-up task would.
* *lost features, joined and written*: execution database and manifest joined to a GeoPackage, as before a rerun.
"""

from __future__ import annotations

import json
import sqlite3
import struct
import sys
import tempfile
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from report_summary import measured, rows, write_execution_db

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Found = dict[str, tuple[Any, ...]]


def squares(count: int) -> Iterator[tuple[str, str, bytes]]:
    """Make up a square for each feature of the execution database."""
    for number, row in enumerate(rows(count, all_failed=False)):
        x, y = 400_000.0 + 100 * (number % 1000), 5_000_000.0 + 100 * (number // 1000)
        east, north = x + 100, y + 100
        ring = struct.pack("<10d", x, y, east, y, east, north, x, north, x, y)
        header = struct.pack("<2sBBi4d", b"GP", 0, 3, 32633, x, east, y, north)
        yield row[1], f"s3://bucket/f/{row[1]}/default.tif", header + struct.pack("<BIII", 1, 3, 1, 5) + ring


def write_manifest(path: Path, count: int) -> None:
    """Write a feature manifest that GDAL opens as well."""
    with closing(sqlite3.connect(path)) as database:
        database.executescript(
            "PRAGMA application_id = 0x47504B47; PRAGMA user_version = 10300;"
            "CREATE TABLE gpkg_spatial_ref_sys (srs_name TEXT NOT NULL, srs_id INTEGER PRIMARY KEY, organization TEXT "
            "NOT NULL, organization_coordsys_id INTEGER NOT NULL, definition TEXT NOT NULL, description TEXT);"
            "CREATE TABLE gpkg_contents (table_name TEXT NOT NULL PRIMARY KEY, data_type TEXT NOT NULL, identifier "
            "TEXT UNIQUE, description TEXT, last_change DATETIME, min_x DOUBLE, min_y DOUBLE, max_x DOUBLE, max_y "
            "DOUBLE, srs_id INTEGER);"
            "CREATE TABLE gpkg_geometry_columns (table_name TEXT NOT NULL, column_name TEXT NOT NULL, "
            "geometry_type_name TEXT NOT NULL, srs_id INTEGER NOT NULL, z TINYINT NOT NULL, m TINYINT NOT NULL);"
            "INSERT INTO gpkg_spatial_ref_sys VALUES ('UTM 33N', 32633, 'EPSG', 32633, 'undefined', NULL);"
            "INSERT INTO gpkg_contents (table_name, data_type, srs_id) VALUES ('feature_32633', 'features', 32633);"
            "INSERT INTO gpkg_geometry_columns VALUES ('feature_32633', 'geometry', 'POLYGON', 32633, 0, 0);"
            "CREATE TABLE feature_32633 (fid INTEGER PRIMARY KEY AUTOINCREMENT, outputId TEXT, identifier TEXT, "
            "path TEXT, width INTEGER, height INTEGER, geometry POLYGON);"
        )
        insert = "INSERT INTO feature_32633 VALUES (NULL, 'default', ?, ?, 20, 30, ?)"
        database.executemany(insert, squares(count))
        database.commit()


def scan(folder: Path) -> None:
    """Read every column of every row of both files, in SQLite's own code."""
    with closing(sqlite3.connect(folder / "execution.sqlite")) as database:
        database.execute("SELECT max(id), max(name), max(status), max(error), max(delivered) FROM features").fetchone()
    with closing(sqlite3.connect(folder / "manifest.gpkg")) as database:
        database.execute(
            "SELECT max(fid), max(outputId), max(identifier), max(path), max(width), max(height), max(geometry) "
            "FROM feature_32633"
        ).fetchone()


def listed(folder: Path) -> list[dict[str, Any]]:
    """List from the table of all features."""
    from airflow_provider_sentinelhub.artifacts.report.failed import failed_features
    from airflow_provider_sentinelhub.artifacts.storage.storage import Storage

    return failed_features(Storage(), (folder / "report.parquet").as_uri(), limit=sys.maxsize)


def comparable(features: list[dict[str, Any]]) -> Found:
    """Bring a list into the form in which answers are compared."""
    keys = ("error", "epsg", "width", "height")
    return {row["name"]: (*(row[key] for key in keys), tuple(row["bbox"])) for row in features}


def retried(folder: Path) -> None:
    """Join what was lost with the manifest, and write it as a GeoPackage."""
    from airflow_provider_sentinelhub.artifacts.rerun.geopackage import write_rerun_geopackage

    write_rerun_geopackage(
        folder / "execution.sqlite", folder / "manifest.gpkg", folder / "retry.gpkg", is_permanent=lambda _: False
    )


def with_geopandas(folder: Path) -> Found:
    """Join as a user would with geopandas."""
    import geopandas  # type: ignore[import-not-found,import-untyped,unused-ignore]
    import pandas as pd  # type: ignore[import-untyped,unused-ignore]

    with closing(sqlite3.connect(folder / "execution.sqlite")) as database:
        executed = pd.read_sql("SELECT * FROM features", database)
    planned = geopandas.read_file(folder / "manifest.gpkg")
    joined = planned.merge(executed, left_on="identifier", right_on="name")
    failed = joined[joined.status == "FATAL"]
    epsg = planned.crs.to_epsg()
    bounds = failed.geometry.bounds.itertuples(index=False, name=None)
    columns = zip(failed.name, failed.error, failed.width, failed.height, bounds, strict=True)
    return {name: (error, epsg, width, height, box) for name, error, width, height, box in columns}


def written(folder: Path) -> Found:
    """Read back what a rerun would be given."""
    with closing(sqlite3.connect(folder / "execution.sqlite")) as database:
        errors = dict(database.execute("SELECT name, error FROM features WHERE status = 'FATAL'"))
    import shapely

    from airflow_provider_sentinelhub.artifacts.geopackage.blobs import geometry_wkb

    with closing(sqlite3.connect(folder / "retry.gpkg")) as database:
        ((layer, epsg),) = database.execute("SELECT table_name, srs_id FROM gpkg_geometry_columns")
        found = database.execute(f'SELECT identifier, width, height, geometry FROM "{layer}"').fetchall()  # noqa: S608
    return {
        name: (errors[name], epsg, width, height, shapely.from_wkb(geometry_wkb(blob)).bounds)
        for name, width, height, blob in found
        if name in errors
    }


def main() -> None:
    """Print the figures."""
    from airflow_provider_sentinelhub.artifacts.report.table import write_parquet

    count = int(sys.argv[1]) if len(sys.argv) > 1 else 700_000
    results = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_execution_db(folder / "execution.sqlite", count)
        write_manifest(folder / "manifest.gpkg", count)
        write_parquet(folder / "execution.sqlite", folder / "manifest.gpkg", folder / "report.parquet")
        floor, _ = measured(scan, folder)
        # Arrow imports pandas at the first comparison, where it is installed.
        arrow = ("pyarrow.parquet", "pyarrow.compute", "pandas")
        imports: tuple[str, ...] = (*arrow, "shapely", "airflow_provider_sentinelhub.artifacts.report.failed")
        jobs: list[tuple[str, Callable[[Path], Any]]] = [
            ("failed features, listed from the table", listed),
            ("lost features, joined and written", retried),
        ]
        found = comparable(listed(folder))
        retried(folder)
        if written(folder) != found:
            raise SystemExit("The table and the GeoPackage for a rerun do not agree")
        try:
            import geopandas  # noqa: F401
        except ImportError:
            print("geopandas is not installed: not compared")
        else:
            if with_geopandas(folder) != found:
                raise SystemExit("This package and geopandas do not agree")
            jobs.append(("geopandas: read, merge, filter", with_geopandas))
            imports += ("geopandas",)
        print(f"{count:,} features, {len(found):,} failed; bare scan of both files {floor:.3f} s of CPU")
        print(f"{'':<42}{'CPU s':>8}{'x scan':>8}{'MB over start':>15}")
        for title, action in jobs:
            spent, memory = measured(action, folder, 3, imports)
            results[title] = {"ratio": round(spent / floor, 2), "memory_mb": round(memory, 1)}
            print(f"{title:<42}{spent:>8.3f}{spent / floor:>8.2f}{memory:>15.1f}")
    print(json.dumps(results))


if __name__ == "__main__":
    main()
