"""
Repair input GeoPackages, in a copy.

Rings are closed, invalid polygons made valid, collections of polygons turned into multipolygons, missing and repeated
identifiers replaced, characters that a path cannot contain replaced, missing columns added, and features above the
limit of a file written to another one.
"""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING, Any

from airflow_provider_sentinelhub.artifacts.features.check import check_geopackage
from airflow_provider_sentinelhub.artifacts.features.geometry_check import COLLECTION, polygons_of
from airflow_provider_sentinelhub.artifacts.features.problems import MAX_NAME, error_of
from airflow_provider_sentinelhub.artifacts.features.sources import from_file
from airflow_provider_sentinelhub.artifacts.features.writer import Size, write_geopackages
from airflow_provider_sentinelhub.artifacts.geopackage.geopackage import MAX_FEATURES, WHAT
from airflow_provider_sentinelhub.artifacts.geopackage.sqlite_file import attach, detach, open_sqlite, quoted
from airflow_provider_sentinelhub.artifacts.geopackage.tables import feature_tables

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from airflow_provider_sentinelhub.artifacts.features.features import Batch
    from airflow_provider_sentinelhub.artifacts.features.writer import WrittenGeoPackage

_NO_PATH = re.compile(r"[\x00-\x1f\x7f/\\<>?#]")
# Room for a number at the end of a name.
_ROOM = 10


def repair_geopackages(
    paths: Sequence[Path], target: Path, *, size: Size | None = None, max_features: int = MAX_FEATURES
) -> tuple[WrittenGeoPackage, ...]:
    """
    Write a repaired copy of GeoPackages.

    Valid names are kept, so that outputs stay where they were delivered before. Where two features
    share a name the first keeps it, and the others are called ``name-2``, ``name-3`` and so on; features without a
    name become ``feature-1``, ``feature-2`` and so on. Characters that a path cannot contain become ``_``.

    :param paths: The GeoPackages; identifiers will be unique across all of them.
    :param target: File to write, see :func:`.write_geopackages`; none of ``paths``.
    :param size: Written for features that have no size. Default: none is written.
    :param max_features: Features in one file. Default: the service's limit of 700,000.
    :returns: The files written; they pass the check.
    :raises InvalidParameter: Everything that cannot be repaired, with names.
    :raises StorageUnavailable: This machine has no disk space left for the copy.
    """
    for path in paths:
        problems = check_geopackage(path, defaults=size)
        if beyond_repair := [problem for problem in problems if not problem.is_repairable]:
            raise error_of(path, beyond_repair)
    with closing(_taken_names(paths)) as names:
        batches = chain.from_iterable(from_file(path, close_rings=True) for path in paths)
        written = write_geopackages(_repaired(batches, names), target, size=size, max_features=max_features)
    for file in written:
        if left := check_geopackage(file.path):
            raise error_of(file.path, left, repaired=True)
    return written


def _repaired(batches: Iterable[Batch], names: sqlite3.Connection) -> Iterator[Batch]:
    for batch in batches:
        identifiers = [None] * len(batch.geometries) if batch.identifiers is None else batch.identifiers
        yield replace(
            batch, geometries=_valid(batch.geometries), identifiers=[_own_name(value, names) for value in identifiers]
        )


def _valid(shapes: Any) -> Any:
    import shapely

    collections = (shapely.get_type_id(shapes) == COLLECTION).nonzero()[0].tolist()
    if collections:
        shapes = shapes.copy()
    for row in collections:
        shapes[row] = shapely.multipolygons(polygons_of(shapes[row]))
    invalid = (~shapely.is_valid(shapes)).nonzero()[0]
    if not len(invalid):
        return shapes
    shapes = shapes.copy()
    made = shapely.make_valid(shapes[invalid], method="structure", keep_collapsed=False)
    for row, shape in zip(invalid.tolist(), made, strict=True):
        parts = [part for part in shapely.get_parts(shape).tolist() if part.geom_type in {"Polygon", "MultiPolygon"}]
        # A polygon without area stays as it is, and the check of the copy names it.
        if parts and not shape.is_empty:
            shapes[row] = parts[0] if len(parts) == 1 else shapely.union_all(parts)
    return shapes


def _taken_names(paths: Sequence[Path]) -> sqlite3.Connection:
    """List all names in a temporary file, each with how often it was assigned."""
    names = sqlite3.connect("", uri=True, isolation_level=None)
    names.execute("PRAGMA journal_mode=OFF")
    names.execute("CREATE TABLE names (name TEXT PRIMARY KEY, given INTEGER NOT NULL) WITHOUT ROWID")
    for path in paths:
        with open_sqlite(path, WHAT) as connection:
            tables = [table for table in feature_tables(connection) if "identifier" in table.columns]
        attach(names, path, "source")
        for table in tables:
            identifier = f"CAST({table.column('identifier')} AS TEXT)"
            names.execute(
                f"INSERT OR IGNORE INTO names SELECT {identifier}, 0 FROM source.{quoted(table.name)} "  # noqa: S608
                f"WHERE length({identifier}) > 0 ORDER BY 1"
            )
        detach(names, "source")
    names.execute("BEGIN")
    return names


def _own_name(value: Any, names: sqlite3.Connection) -> str:
    original = "" if value is None else str(value)
    name = _as_path(original)
    (given,) = names.execute("SELECT given FROM names WHERE name = ?", (original,)).fetchone() or (0,)
    # Another feature keeps its valid name, even if it comes later.
    is_free = name == original or names.execute("SELECT 1 FROM names WHERE name = ?", (name,)).fetchone() is None
    if name and not given and is_free:
        names.executemany("INSERT OR REPLACE INTO names VALUES (?, 1)", [(each,) for each in {name, original}])
        return name
    # Numbers tried for this name before are not tried again: a million features may share one.
    number = max(given, 1 if name else 0) + 1
    start = name[: MAX_NAME - _ROOM] or "feature"
    while not names.execute("INSERT OR IGNORE INTO names VALUES (?, 1)", (f"{start}-{number}",)).rowcount:
        number += 1
    names.execute("INSERT OR REPLACE INTO names VALUES (?, ?)", (original, number))
    return f"{start}-{number}"


def _as_path(name: str) -> str:
    if name in {".", ".."}:
        return "_" * len(name)
    name = _NO_PATH.sub("_", name)
    return name if len(name) <= MAX_NAME else name[: MAX_NAME - _ROOM]
