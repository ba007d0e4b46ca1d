"""
What a GeoPackage of the features to try again costs: CPU as a ratio to geopandas doing the same in the same run.

Usage: ``python benchmarks/rerun_geopackage.py [features]`` (default 700,000, of which 3 % are lost: 20,000).

Compared with: pandas reads the execution database, geopandas the manifest, both find what failed and what is missing,
and geopandas writes it. Needs geopandas and pyogrio, ``pip install geopandas pyogrio``; without them only ours runs.

Every measurement runs in a process of its own; CPU is the median of three runs, imports excluded. Rows are compared
one by one: identifier, width, height and the bytes of the geometry's WKB.
"""

from __future__ import annotations

import random
import sqlite3
import struct
import sys
import tempfile
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from feature_data import in_process, measured, show

if TYPE_CHECKING:
    from collections.abc import Iterator

CORNERS = 10
FORBIDDEN = "no such band"


def rows(count: int) -> Iterator[tuple[Any, ...]]:
    """Make up features: 3 % to be tried again, 1 % that would fail again, the rest delivered; names in random order."""
    chance = random.Random(1)
    for number in range(count):
        name = f"parcel-{chance.randrange(1 << 40):011x}-{number:06d}"
        kind = chance.random()
        if kind < 0.03:
            yield number, name, "FATAL", f"Timeout after {chance.randrange(600)} s", 0
        elif kind < 0.04:
            yield number, name, "FATAL", FORBIDDEN, 0
        else:
            yield number, name, "DONE", None, 1


def write_execution_db(path: Path, count: int) -> None:
    """Write an execution database."""
    with closing(sqlite3.connect(path)) as database:
        database.execute(
            "CREATE TABLE features (id INTEGER PRIMARY KEY, name TEXT, status TEXT, error TEXT, delivered BOOLEAN)"
        )
        database.executemany("INSERT INTO features VALUES (?, ?, ?, ?, ?)", rows(count))
        database.commit()


def write_manifest(path: Path, count: int) -> None:
    """Write a feature manifest of the same features, each with its own polygon."""
    from airflow_provider_sentinelhub.artifacts.geopackage.geopackage import add_layer, new_geopackage

    with new_geopackage(path) as database:
        # The header tables of ours, and the feature table the service writes.
        add_layer(database, 32633)
        database.execute("DROP TABLE features_32633")
        for table in ("gpkg_contents", "gpkg_geometry_columns"):
            database.execute(f"UPDATE {table} SET table_name = 'feature_32633'")  # noqa: S608 - one of two
        database.execute("UPDATE gpkg_contents SET identifier = 'feature_32633'")
        database.execute(
            "CREATE TABLE feature_32633 (fid INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, outputId TEXT, "
            "identifier TEXT, path TEXT, width INTEGER, height INTEGER, geometry GEOMETRY)"
        )
        database.executemany(
            "INSERT INTO feature_32633 VALUES (NULL, 'default', ?, ?, 20, 30, ?)",
            ((row[1], f"s3://bucket/f/{row[1]}/default.tif", polygon(row[0])) for row in rows(count)),
        )


def polygon(number: int) -> bytes:
    """Return a polygon of ten corners, as a GeoPackage geometry."""
    x, y = 300_000.0 + number % 1000 * 300, 4_000_000.0 + number // 1000 * 300
    ring = [(x + 20 * corner, y + corner * (CORNERS - corner) * 5) for corner in range(CORNERS)]
    points = struct.pack(f"<{2 * CORNERS + 2}d", *(value for point in [*ring, ring[0]] for value in point))
    xs, ys = [point[0] for point in ring], [point[1] for point in ring]
    envelope = struct.pack("<4d", min(xs), max(xs), min(ys), max(ys))
    return struct.pack("<2sBBi", b"GP", 0, 3, 32633) + envelope + struct.pack("<BIII", 1, 3, 1, CORNERS + 1) + points


def is_permanent(message: str) -> bool:
    """Say whether another try would fail as well."""
    return message == FORBIDDEN


def ours(nothing: None, folder: Path) -> None:  # noqa: ARG001 - as others are called
    """Write the GeoPackage, looking for duplicates and for what only the manifest lists."""
    from airflow_provider_sentinelhub.artifacts.rerun.geopackage import write_rerun_geopackage

    write_rerun_geopackage(folder / "e.sqlite", folder / "m.gpkg", folder / "ours.gpkg", is_permanent=is_permanent)


def scan(nothing: None, folder: Path) -> None:  # noqa: ARG001 - as others are called
    """Read every column of both files, in SQLite's own code."""
    with closing(sqlite3.connect(folder / "e.sqlite")) as database:
        database.execute("SELECT max(id), max(name), max(status), max(error), max(delivered) FROM features").fetchone()
    with closing(sqlite3.connect(folder / "m.gpkg")) as database:
        columns = ", ".join(
            f"max({name})" for name in ("outputId", "identifier", "path", "width", "height", "geometry")
        )
        database.execute(f"SELECT {columns} FROM feature_32633").fetchone()  # noqa: S608 - named above


def with_geopandas(nothing: None, folder: Path) -> None:  # noqa: ARG001 - as others are called
    """Do the same as a user would with geopandas."""
    import geopandas  # type: ignore[import-not-found,import-untyped,unused-ignore]
    import pandas as pd  # type: ignore[import-untyped,unused-ignore]

    with closing(sqlite3.connect(folder / "e.sqlite")) as database:
        executed = pd.read_sql("SELECT * FROM features", database)
    listed = geopandas.read_file(folder / "m.gpkg", layer="feature_32633").drop_duplicates("identifier")
    fatal = executed[(executed.status == "FATAL") & (executed.error != FORBIDDEN)]
    lost = listed[listed.identifier.isin(fatal.name) | ~listed.identifier.isin(executed.name)]
    chosen = lost[["identifier", "width", "height", "geometry"]]
    chosen.to_file(folder / "theirs.gpkg", layer="features_32633", driver="GPKG", promote_to_multi=False)


def compared(folder: Path) -> str:
    """Compare what both wrote, row by row."""
    from airflow_provider_sentinelhub.artifacts.geopackage.blobs import geometry_wkb

    found = []
    for name, geometry in (("ours", "geometry"), ("theirs", "geom")):
        with closing(sqlite3.connect(folder / f"{name}.gpkg")) as database:
            query = f"SELECT identifier, width, height, {geometry} FROM features_32633 ORDER BY identifier"  # noqa: S608
            found.append([(*row, geometry_wkb(blob)) for *row, blob in database.execute(query)])
    if found[0] != found[1]:
        raise SystemExit(f"ours has {len(found[0])} rows, geopandas {len(found[1])}, and they differ")
    return f"{len(found[0]):,} rows compared with geopandas' one by one: equal"


def imports(folder: Path, count: int) -> None:  # noqa: ARG001 - as others are called
    """Import what is needed."""
    import shapely  # noqa: F401

    import airflow_provider_sentinelhub.artifacts.rerun.geopackage  # noqa: F401


def imports_of_geopandas(folder: Path, count: int) -> None:  # noqa: ARG001 - as others are called
    """Import what is needed."""
    import geopandas  # noqa: F401
    import pyogrio  # type: ignore[import-not-found,import-untyped,unused-ignore]  # noqa: F401


def main() -> None:
    """Print the figures."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 700_000
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # Not here: a process hands its peak of memory on to those it starts.
        in_process(write_execution_db, folder / "e.sqlite", count)
        in_process(write_manifest, folder / "m.gpkg", count)
        print(f"{count:,} features")
        found = {
            "scan by SQLite": measured(imports, scan, folder, count),
            "ours": measured(imports, ours, folder, count),
        }
        try:
            import geopandas  # noqa: F401
            import pyogrio  # noqa: F401
        except ImportError:
            print("geopandas and pyogrio are not installed: not compared")
            show(found, "scan by SQLite")
        else:
            found["geopandas"] = measured(imports_of_geopandas, with_geopandas, folder, count)
            show(found, "geopandas")
            print(compared(folder))


if __name__ == "__main__":
    main()
