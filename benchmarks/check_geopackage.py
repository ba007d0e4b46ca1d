"""
What checking an input GeoPackage costs: CPU and memory as ratios to geopandas in the same run.

Usage: ``python benchmarks/check_geopackage.py [features]`` (default 700,000, the service's limit for one task).

Compared with: geopandas reads the file, and looks for what is not valid, no polygon, has no name of its own, or is too
large. Needs geopandas and pyogrio, ``pip install geopandas pyogrio``; without them only ours runs, and a bare scan by
SQLite as the floor.

One polygon in a hundred crosses itself, and one in a thousand has too fine a resolution. Both must find the same. Every
measurement runs in a process of its own; CPU is the median of three runs, imports excluded.
"""

from __future__ import annotations

import json
import sqlite3
import sys
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

from feature_data import EPSG, in_process, measured, parcels, show

RESOLUTION = 10.0
TOO_FINE = 0.001
LARGEST = 3500


def write(path: Path, count: int) -> None:
    """Write a GeoPackage with some mistakes in it."""
    import numpy as np
    import shapely

    from airflow_provider_sentinelhub.artifacts.features.features import Batch
    from airflow_provider_sentinelhub.artifacts.features.writer import write_geopackages

    names, polygons = parcels(count)
    corners = shapely.get_coordinates(polygons).reshape(count, -1, 2)
    # Two corners change places.
    corners[::100, [2, 5]] = corners[::100, [5, 2]]
    resolutions = [RESOLUTION] * count
    resolutions[::1000] = [TOO_FINE] * len(resolutions[::1000])
    batch = Batch(EPSG, shapely.polygons(np.ascontiguousarray(corners)), names, resolutions=resolutions)
    write_geopackages([batch], path)


def imports(folder: Path, count: int) -> Any:  # noqa: ARG001 - as the others are called
    """Import what checks."""
    import shapely  # noqa: F401

    import airflow_provider_sentinelhub.artifacts.features.check  # noqa: F401


def imports_of_geopandas(folder: Path, count: int) -> Any:  # noqa: ARG001 - as the others are called
    """Import what checks."""
    import geopandas  # type: ignore[import-not-found,import-untyped,unused-ignore]  # noqa: F401
    import pyogrio  # type: ignore[import-not-found,import-untyped,unused-ignore]  # noqa: F401


def ours(nothing: Any, folder: Path) -> None:  # noqa: ARG001 - as the others are called
    """Check every rule."""
    from airflow_provider_sentinelhub.artifacts.features.check import check_geopackage

    found = {str(problem.rule): problem.count for problem in check_geopackage(folder / "fields.gpkg")}
    (folder / "ours.json").write_text(json.dumps(found))


def ours_by_sql(nothing: Any, folder: Path) -> None:  # noqa: ARG001 - as the others are called
    """Check what can be checked without reading geometries."""
    from airflow_provider_sentinelhub.artifacts.features.check import check_geopackage

    check_geopackage(folder / "fields.gpkg", validity=False)


def with_geopandas(nothing: Any, folder: Path) -> None:  # noqa: ARG001 - as the others are called
    """Check a few rules, as a user would."""
    import geopandas

    frame = geopandas.read_file(folder / "fields.gpkg")
    bounds = frame.bounds
    across = (bounds.maxx - bounds.minx) / frame.resolution
    down = (bounds.maxy - bounds.miny) / frame.resolution
    names = frame.identifier[frame.identifier.duplicated(keep=False)].nunique()
    found = {
        "identifier is unique": names,
        "is not too large": int(((across > LARGEST) | (down > LARGEST)).sum()),
        "is a polygon": int((~frame.geom_type.isin(["Polygon", "MultiPolygon"])).sum()),
        "is valid": int((~frame.is_valid).sum()),
    }
    (folder / "theirs.json").write_text(json.dumps({rule: count for rule, count in found.items() if count}))


def scan(nothing: Any, folder: Path) -> None:  # noqa: ARG001 - as the others are called
    """Read every column of every row, in SQLite's own code."""
    with closing(sqlite3.connect(folder / "fields.gpkg")) as database:
        columns = "max(id), max(identifier), max(width), max(height), max(resolution), max(geometry)"
        database.execute(f"SELECT {columns} FROM features_{EPSG}").fetchone()  # noqa: S608 - a number


def main() -> None:
    """Print the figures."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 700_000
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # Not here: a process hands its peak of memory on to those it starts.
        in_process(write, folder / "fields.gpkg", count)
        print(f"{count:,} polygons")
        found = {
            "scan by SQLite": measured(imports, scan, folder, count),
            "ours": measured(imports, ours, folder, count),
            "ours, without geometries": measured(imports, ours_by_sql, folder, count),
        }
        try:
            import geopandas  # noqa: F401
            import pyogrio  # noqa: F401
        except ImportError:
            print("geopandas and pyogrio are not installed: not compared")
            show(found, "scan by SQLite")
            return
        found["geopandas"] = measured(imports_of_geopandas, with_geopandas, folder, count)
        show(found, "geopandas")
        here, there = (json.loads((folder / f"{name}.json").read_text()) for name in ("ours", "theirs"))
        if here != there:
            raise SystemExit(f"ours found {here}, geopandas {there}")
        print(f"both found {here}")


if __name__ == "__main__":
    main()
