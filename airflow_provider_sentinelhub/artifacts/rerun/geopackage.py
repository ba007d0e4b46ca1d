"""
The features a task lost, as the input GeoPackage of a rerun.

A task that is DONE has no way back, so what it failed to deliver needs a task of its own. Geometry, size and
coordinate reference system come from the feature manifest, so that the pixels are those the first task would have
written. A size that came from a ``resolution`` is not in the manifest: then the input of the first task is needed too.

Source: https://docs.planet.com/develop/apis/batch-processing/ (states, feature manifest, input GeoPackage).
"""

from __future__ import annotations

import sqlite3
from dataclasses import asdict, dataclass
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING

from airflow_provider_sentinelhub.artifacts.geopackage.blobs import (
    Extent,
    blob_extent,
    blob_of_crs,
    geometry_blob,
    geometry_wkb,
    joined,
)
from airflow_provider_sentinelhub.artifacts.geopackage.geopackage import (
    WHAT,
    Layer,
    add_layer,
    finish_layer,
    new_geopackage,
)
from airflow_provider_sentinelhub.artifacts.geopackage.sqlite_file import attach, check_pages, open_sqlite
from airflow_provider_sentinelhub.artifacts.report.execution_db import OUTCOMES, FeaturesTable
from airflow_provider_sentinelhub.artifacts.report.execution_db import WHAT as EXECUTION_DB
from airflow_provider_sentinelhub.artifacts.report.manifest import WHAT as MANIFEST
from airflow_provider_sentinelhub.artifacts.report.messages import without_name
from airflow_provider_sentinelhub.artifacts.report.report import FeatureOutcome
from airflow_provider_sentinelhub.artifacts.rerun.sources import (
    Source,
    Step,
    in_step,
    key_of,
    manifest_sources,
    original_sources,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_FATAL = OUTCOMES.index(FeatureOutcome.FAILED)
_LOST = (_FATAL, OUTCOMES.index(FeatureOutcome.UNDELIVERED), OUTCOMES.index(FeatureOutcome.PENDING))
_KEPT = (OUTCOMES.index(FeatureOutcome.DELIVERED), OUTCOMES.index(FeatureOutcome.NO_DATA))
_MESSAGES_REMEMBERED = 4096
# Room for the keys of some 100,000 lost features; beyond it SQLite uses the disk. Python needs far more for a name.
_CACHE_KIB = 16 * 1024
_NAMES_IN_MEMORY = 50_000
_ROWS_AT_A_TIME = 1_000


@dataclass(frozen=True, slots=True)
class RerunFeatures:
    """
    What the GeoPackage of a rerun holds.

    :param features: Lost features written to it.
    :param permanent: Lost features left out because another try would fail as the first did.
    :param unknown: Lost features of which neither file knows geometry, size and coordinate reference system.
    :param layers: EPSG codes of its layers, in ascending order.
    """

    features: int
    permanent: int
    unknown: int
    layers: tuple[int, ...]


def write_rerun_geopackage(
    execution_db: Path,
    manifest: Path,
    target: Path,
    *,
    is_permanent: Callable[[str], bool],
    original: Path | None = None,
    skips_existing: bool = False,
) -> RerunFeatures:
    """
    Write the features a task lost into a GeoPackage the service accepts, in bounded memory.

    Lost is what is FATAL, DONE but not delivered, PENDING though the task is DONE, or listed in the manifest only.
    A name that the execution database holds twice is not lost if one of the two was delivered or has no data.
    The same files give the same GeoPackage, byte by byte, whatever order the lost features failed in.

    :param execution_db: ``execution-<id>.sqlite`` of a task that is DONE.
    :param manifest: ``featureManifest-<id>.gpkg`` of the same task.
    :param target: File to write; replaced if it exists. Where no feature is left to try, there is no file afterwards.
    :param is_permanent: Says of the message of a FATAL feature whether another try would fail as well.
    :param original: The GeoPackage that was the task's input. Its rows are taken as they are, ``resolution`` included;
        what it lacks comes from the manifest. Default: everything comes from the manifest.
    :param skips_existing: Whether the task skipped features whose results existed: those are listed in the manifest
        only, and are not lost. Default ``False``.
    :raises ArtifactCorrupt: One of the files cannot be read.
    :raises StorageUnavailable: This machine has no room to read or write them.
    """
    with open_sqlite(execution_db, EXECUTION_DB) as connection:
        features = FeaturesTable.find(connection, execution_db)
    sources = []
    if original is not None:
        with open_sqlite(original, WHAT) as connection:
            sources += original_sources(connection)
    # Everything is read within this block, so what goes wrong is reported as it is elsewhere.
    with open_sqlite(manifest, MANIFEST, is_compared=True) as connection:
        of_manifest = manifest_sources(connection, manifest)
        sources += of_manifest
        with new_geopackage(target) as output:
            attach(output, manifest, "manifest")
            attach(output, execution_db, "execution")
            if original is not None:
                attach(output, original, "original")
            output.execute(f"PRAGMA temp.cache_size=-{_CACHE_KIB}")
            nameless = _find_lost(output, features, is_permanent)
            if not features.unique:
                _forget_kept(output, features)
            steps = {} if skips_existing else _steps(output, features, of_manifest)
            if not steps or len(steps) < len(of_manifest):
                # Else every name was compared, row by row.
                check_pages(connection, manifest, MANIFEST)
                if of_manifest and not skips_existing:
                    _find_unlisted(output, features, of_manifest)
            _pick(output, sources, steps)
            written, layers = _write(output, sources)
            lost, permanent = output.execute("SELECT count(*), coalesce(sum(permanent), 0) FROM lost").fetchone()
            if written < lost - permanent:
                check_pages(connection, manifest, MANIFEST)
    return RerunFeatures(written, permanent, lost - permanent - written + nameless, layers)


def _find_lost(output: sqlite3.Connection, features: FeaturesTable, is_permanent: Callable[[str], bool]) -> int:
    """List what the execution database calls lost, and return how many of them have no name to go by."""
    raised: list[Exception] = []

    remembered = lru_cache(_MESSAGES_REMEMBERED)(is_permanent)

    def judge(error: bytes | None, name: bytes) -> bool:
        try:
            message = (error or b"").decode("utf-8", "replace")
            # As in a report's groups: otherwise the report would call permanent what is run again.
            return remembered(without_name(message, name.decode("utf-8", "replace")) if name else message)
        except Exception as problem:
            # SQLite reports only that there was an error, and the file would be blamed.
            raised.append(problem)
            raise

    output.create_function("is_permanent", 2, judge)
    output.execute(
        "CREATE TEMP TABLE lost (key BLOB PRIMARY KEY, permanent INTEGER NOT NULL, place INTEGER) WITHOUT ROWID"
    )
    # What has no name stands under its place for a moment: a number never equals a name.
    query = (
        "INSERT INTO lost SELECT CASE key WHEN x'' THEN place ELSE key END, "  # noqa: S608
        f"outcome = {_FATAL} AND is_permanent(CAST(error AS BLOB), key), place FROM ("
        f"SELECT {key_of('{name}')} AS key, {{outcome}} AS outcome, {{error_text}} AS error, rowid AS place "
        f"FROM execution.{{table}} NOT INDEXED WHERE NOT {{plain}} AND {{outcome}} IN {_LOST}) WHERE true "
        "ON CONFLICT DO UPDATE SET permanent = min(permanent, excluded.permanent)"
    )
    try:
        output.execute(features.sql(query))
    except sqlite3.OperationalError:
        for problem in raised:
            raise problem from None
        raise
    return output.execute("DELETE FROM lost WHERE typeof(key) = 'integer'").rowcount


def _forget_kept(output: sqlite3.Connection, features: FeaturesTable) -> None:
    """Remove from the list what another row of the same name calls kept."""
    key = key_of(features.names["name"])
    query = (
        f"SELECT {key} FROM execution.{{table}} NOT INDEXED "  # noqa: S608
        f"WHERE {_is_listed(output, features.names['name'], 'true')} AND ({{plain}} OR {{outcome}} IN {_KEPT})"
    )
    # Collected first: a statement must not delete what another one is looking through.
    output.executemany("DELETE FROM lost WHERE key = ?", output.execute(features.sql(query)).fetchall())


def _is_listed(output: sqlite3.Connection, column: str, which: str) -> str:
    """Return SQL that says whether a name is on the list now; a set of Python's is twice as fast as an index."""
    key = f"CAST({column} AS BLOB)"
    (count,) = output.execute("SELECT count(*) FROM lost").fetchone()
    if count > _NAMES_IN_MEMORY:
        return f"EXISTS (SELECT 1 FROM lost WHERE key = {key} AND {which})"  # noqa: S608
    listed = frozenset(each for (each,) in output.execute(f"SELECT key FROM lost WHERE {which}"))  # noqa: S608
    output.create_function("is_listed", 1, listed.__contains__)
    return f"is_listed({key})"


def _steps(output: sqlite3.Connection, features: FeaturesTable, sources: list[Source]) -> dict[Source, Step]:
    return {source: step for source in sources if (step := in_step(output, features, source))}


def _find_unlisted(output: sqlite3.Connection, features: FeaturesTable, sources: list[Source]) -> None:
    """List what the manifest has and the execution database has not."""
    names = [f"SELECT {key_of(source.identifier)} AS key, 0 AS executed FROM {source.table}" for source in sources]  # noqa: S608
    names.append(f"SELECT {key_of(features.names['name'])}, 1 FROM execution.{features.table}")  # noqa: S608
    # Grouping sorts both lists together; looking each name up would fill an index in random order, far more slowly.
    output.execute(
        f"INSERT INTO lost SELECT key, 0, NULL FROM ({' UNION ALL '.join(names)}) "  # noqa: S608
        "WHERE length(key) > 0 GROUP BY key HAVING max(executed) = 0"
    )


def _pick(output: sqlite3.Connection, sources: list[Source], steps: dict[Source, Step]) -> None:
    """Choose one row for each feature: it has one for each output, and the original's comes before the manifest's."""
    output.execute("CREATE TEMP TABLE picked (key BLOB PRIMARY KEY, source INTEGER, place INTEGER)")
    wanted = "NOT permanent AND key NOT IN (SELECT key FROM picked)"
    if all(source.is_sized for source in sources):
        for number, source in enumerate(sources):
            if source in steps:
                output.execute(
                    f"INSERT INTO picked SELECT key, {number}, (place - :start) * :outputs + :first AS there FROM lost "  # noqa: S608
                    f"WHERE {wanted} AND there BETWEEN :first AND :last",
                    asdict(steps[source]),
                )
    # What is left: all that was not in step, and names that the execution database has in another place as well.
    for number, source in enumerate(sources):
        if not output.execute(f"SELECT 1 FROM lost WHERE {wanted} LIMIT 1").fetchone():  # noqa: S608
            break
        output.execute(
            f"INSERT OR IGNORE INTO picked SELECT {key_of(source.identifier)}, {number}, rowid "  # noqa: S608
            f"FROM {source.table} NOT INDEXED WHERE {_is_listed(output, source.identifier, wanted)}"
        )
    output.execute("CREATE INDEX temp.picked_in_order ON picked (source, place)")


def _write(output: sqlite3.Connection, sources: list[Source]) -> tuple[int, tuple[int, ...]]:
    """Write what was picked, in the order of the files, and return how many it was and the EPSG codes of the layers."""
    written = 0
    layers: dict[int, Layer] = {}
    extents: dict[int, Extent] = {}
    for number, source in enumerate(sources):
        epsg, rows = source.epsg, _picked(output, number, source)
        while some := tuple(islice(rows, _ROWS_AT_A_TIME)):
            if epsg not in layers:
                layers[epsg] = add_layer(output, epsg)
            output.executemany(layers[epsg].insert, ((written + at, *row) for at, (row, _) in enumerate(some, 1)))
            written += len(some)
            wests, souths, easts, norths = zip(*(extent for _, extent in some), strict=True)
            extents[epsg] = joined(extents.get(epsg), (min(wests), min(souths), max(easts), max(norths)))
    for epsg, layer in layers.items():
        finish_layer(output, layer, extents[epsg])
    return written, tuple(sorted(layers))


def _picked(output: sqlite3.Connection, number: int, source: Source) -> Iterator[tuple[tuple[object, ...], Extent]]:
    """Yield name, width, height, resolution and geometry of what was picked of a table, and where it lies."""
    name, width, height, resolution, geometry = (
        source.of("there", column)
        for column in (source.identifier, source.width, source.height, source.resolution, source.geometry)
    )
    sized = " AND ".join(f"typeof({side}) = 'integer' AND {side} > 0" for side in (width, height))
    rows = output.execute(
        f"SELECT CAST({name} AS TEXT), {width}, {height}, {resolution}, {geometry} "  # noqa: S608
        f"FROM picked CROSS JOIN {source.table} AS there ON there.rowid = picked.place "
        f"WHERE picked.source = ? {f'AND {sized}' if source.is_sized else ''} ORDER BY picked.place",
        (number,),
    )
    for *values, value in rows:
        found = _geometry(value, source.epsg)
        if found:
            blob, extent = found
            yield (*values, blob), extent


def _geometry(value: object, epsg: int) -> tuple[bytes, Extent] | None:
    """Return a geometry as the GeoPackage holds it, and its bounding box; ``None`` if it is not a geometry."""
    if not isinstance(value, bytes):
        return None
    if value[:2] == b"GP" and (extent := blob_extent(value)):
        return blob_of_crs(value, epsg), extent
    import shapely

    try:
        shape = shapely.from_wkb(geometry_wkb(value) if value[:2] == b"GP" else value)
    except (ValueError, shapely.errors.ShapelyError):
        return None
    if shape.is_empty:
        return None
    if value[:2] == b"GP":
        return blob_of_crs(value, epsg), shape.bounds
    return geometry_blob(shapely.to_wkb(shape, byte_order=1, output_dimension=2), epsg, shape.bounds), shape.bounds
