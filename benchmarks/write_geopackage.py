"""
What writing an input GeoPackage costs: CPU as a ratio to pyogrio with its spatial index in the same run.

Usage: ``python benchmarks/write_geopackage.py [features]`` (default 700,000, the service's limit for one task).

Both start from the same names and shapely polygons in memory. Needs geopandas and pyogrio, ``pip install geopandas
pyogrio``; without them only ours runs, and a bare copy of its rows by SQLite as the floor.

Every measurement runs in a process of its own; CPU is the median of three runs, imports and data excluded. Rows are
compared one by one: identifier, resolution and the bytes of the geometry's WKB.
"""

from __future__ import annotations

import sqlite3
import sys
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

from feature_data import EPSG, measured, parcels, show

RESOLUTION = 10.0
BATCH = 2_000


def in_memory(folder: Path, count: int) -> Any:  # noqa: ARG001 - as the others are called
    """Make up the features, and import what writes them."""
    import airflow_provider_sentinelhub.artifacts.features.writer  # noqa: F401

    return parcels(count)


def ours(features: Any, folder: Path) -> None:
    """Write them as the operator does."""
    from airflow_provider_sentinelhub.artifacts.features.features import Batch
    from airflow_provider_sentinelhub.artifacts.features.writer import Size, write_geopackages

    names, polygons = features
    batches = (
        Batch(EPSG, polygons[start : start + BATCH], names[start : start + BATCH])
        for start in range(0, len(names), BATCH)
    )
    write_geopackages(batches, folder / "ours.gpkg", size=Size(resolution=RESOLUTION))


def as_frame(folder: Path, count: int) -> Any:  # noqa: ARG001 - as the others are called
    """Make up the features as a GeoDataFrame."""
    import geopandas  # type: ignore[import-not-found,import-untyped,unused-ignore]
    import pyogrio  # type: ignore[import-not-found,import-untyped,unused-ignore]  # noqa: F401

    names, polygons = parcels(count)
    return geopandas.GeoDataFrame({"identifier": names, "resolution": RESOLUTION}, geometry=polygons, crs=EPSG)


def with_pyogrio(frame: Any, folder: Path) -> None:
    """Write them as GDAL does, with a spatial index, its default."""
    import pyogrio

    pyogrio.write_dataframe(frame, folder / "theirs.gpkg", layer=f"features_{EPSG}", promote_to_multi=False)


def nothing(folder: Path, count: int) -> Any:
    """Need no data: the rows are in the file already."""


def copy(nothing_at_all: Any, folder: Path) -> None:  # noqa: ARG001 - as the others are called
    """Copy the rows with SQLite's own code, and index the names."""
    (folder / "copy.gpkg").unlink(missing_ok=True)
    with closing(sqlite3.connect(folder / "copy.gpkg")) as database:
        database.execute("PRAGMA journal_mode=OFF")
        database.execute("PRAGMA synchronous=OFF")
        database.execute("ATTACH ? AS ours", (str(folder / "ours.gpkg"),))
        database.execute(f"CREATE TABLE features AS SELECT * FROM ours.features_{EPSG}")  # noqa: S608 - a number
        database.execute("CREATE UNIQUE INDEX names ON features (identifier)")
        database.commit()


def compared(folder: Path) -> str:
    """Compare what both wrote, row by row."""
    from airflow_provider_sentinelhub.artifacts.geopackage.blobs import geometry_wkb

    found = []
    for name, geometry in (("ours", "geometry"), ("theirs", "geom")):
        with closing(sqlite3.connect(folder / f"{name}.gpkg")) as database:
            query = f"SELECT identifier, resolution, {geometry} FROM features_{EPSG} ORDER BY rowid"  # noqa: S608
            found.append([(*row, geometry_wkb(blob)) for *row, blob in database.execute(query)])
    if found[0] != found[1]:
        raise SystemExit(f"ours has {len(found[0])} rows, pyogrio's {len(found[1])}, and they differ")
    return f"{len(found[0]):,} rows compared with pyogrio's one by one: equal"


def main() -> None:
    """Print the figures."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 700_000
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        print(f"{count:,} polygons")
        found = {"ours": measured(in_memory, ours, folder, count), "copy by SQLite": measured(nothing, copy, folder, 0)}
        try:
            import geopandas  # noqa: F401
            import pyogrio  # noqa: F401
        except ImportError:
            print("geopandas and pyogrio are not installed: not compared")
            show(found, "copy by SQLite")
        else:
            found["pyogrio with index"] = measured(as_frame, with_pyogrio, folder, count)
            show(found, "pyogrio with index")
            print(compared(folder))


if __name__ == "__main__":
    main()
