"""
The features a task lost, as a GeoPackage with which a new task makes up for them.

A task that is DONE has no way back, so what it failed to deliver needs a task of its own. Geometry, size and
coordinate reference system come from the feature manifest, so that the pixels are those the first task would have
written. A size that came from a ``resolution`` is not in the manifest: then the input of the first task is needed too.

Source: https://docs.planet.com/develop/apis/batch-processing/ (states, feature manifest, input GeoPackage).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from airflow_provider_sentinelhub.artifacts.execution_db import OUTCOMES, FeaturesTable
from airflow_provider_sentinelhub.artifacts.execution_db import WHAT as EXECUTION_DB
from airflow_provider_sentinelhub.artifacts.geopackage import (
    WHAT,
    Extent,
    Layer,
    add_layer,
    blob_extent,
    blob_of_crs,
    finish_layer,
    geometry_blob,
    joined,
    new_geopackage,
)
from airflow_provider_sentinelhub.artifacts.manifest import WHAT as MANIFEST
from airflow_provider_sentinelhub.artifacts.manifest import attach, geometry_wkb
from airflow_provider_sentinelhub.artifacts.report import FeatureOutcome
from airflow_provider_sentinelhub.artifacts.retry_sources import Source, key_of, manifest_sources, original_sources
from airflow_provider_sentinelhub.artifacts.sqlite_file import open_sqlite

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from airflow_provider_sentinelhub.artifacts.report import FeatureReport

_FATAL = OUTCOMES.index(FeatureOutcome.FAILED)
_LOST = (_FATAL, OUTCOMES.index(FeatureOutcome.UNDELIVERED), OUTCOMES.index(FeatureOutcome.PENDING))
_KEPT = (OUTCOMES.index(FeatureOutcome.DELIVERED), OUTCOMES.index(FeatureOutcome.NO_DATA))
_MESSAGES_REMEMBERED = 4096
# Room for the keys of some 100,000 lost features; beyond it SQLite uses the disk.
_CACHE_KIB = 16 * 1024


@dataclass(frozen=True, slots=True)
class RetryFeatures:
    """
    What a retry GeoPackage holds.

    :param features: Lost features written to it.
    :param permanent: Lost features left out because another try would fail as the first did.
    :param unknown: Lost features of which neither file knows geometry, size and coordinate reference system.
    :param layers: EPSG codes of its layers, in ascending order.
    """

    features: int
    permanent: int
    unknown: int
    layers: tuple[int, ...]


def write_retry_geopackage(
    execution_db: Path,
    manifest: Path,
    target: Path,
    *,
    is_permanent: Callable[[str], bool],
    original: Path | None = None,
    report: FeatureReport | None = None,
    skips_existing: bool = False,
) -> RetryFeatures:
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
    :param report: What was read of the same two files: where it counts no duplicates, and none that only the manifest
        lists, neither is looked for again, which is most of the work. Default: both are looked for.
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
    with open_sqlite(manifest, MANIFEST) as connection:
        of_manifest = manifest_sources(connection, manifest)
        sources += of_manifest
        with new_geopackage(target) as output:
            attach(output, manifest, "manifest")
            attach(output, execution_db, "execution")
            if original is not None:
                attach(output, original, "original")
            output.execute(f"PRAGMA temp.cache_size=-{_CACHE_KIB}")
            nameless = _find_lost(output, features, is_permanent)
            if not (features.unique or (report and not report.duplicates)):
                _forget_kept(output, features)
            if not skips_existing and not (report and not report.unlisted):
                _find_unlisted(output, features, of_manifest)
            _pick(output, features, sources)
            written, layers = _write(output, sources)
            lost, permanent = output.execute("SELECT count(*), coalesce(sum(permanent), 0) FROM lost").fetchone()
    return RetryFeatures(written, permanent, lost - permanent - written + nameless, layers)


def _find_lost(output: sqlite3.Connection, features: FeaturesTable, is_permanent: Callable[[str], bool]) -> int:
    """List what the execution database calls lost, and return how many of them have no name to go by."""
    nameless = 0
    judge = lru_cache(_MESSAGES_REMEMBERED)(is_permanent)

    def rows() -> Iterator[tuple[bytes, bool, int]]:
        nonlocal nameless
        query = (
            f"SELECT {key_of('{name}')}, {{outcome}}, {{error_text}}, rowid FROM execution.{{table}} NOT INDEXED "  # noqa: S608
            f"WHERE NOT {{plain}} AND {{outcome}} IN {_LOST}"
        )
        for key, outcome, error, place in output.execute(features.sql(query)):
            if key:
                yield key, outcome == _FATAL and judge(error or ""), place
            else:
                nameless += 1

    output.execute(
        "CREATE TEMP TABLE lost (key BLOB PRIMARY KEY, permanent INTEGER NOT NULL, place INTEGER) WITHOUT ROWID"
    )
    output.executemany(
        "INSERT INTO lost VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET permanent = min(permanent, excluded.permanent)",
        rows(),
    )
    return nameless


def _forget_kept(output: sqlite3.Connection, features: FeaturesTable) -> None:
    query = (
        f"SELECT {key_of('{name}')} FROM execution.{{table}} NOT INDEXED WHERE ({{plain}} OR {{outcome}} IN {_KEPT}) "  # noqa: S608
        f"AND EXISTS (SELECT 1 FROM lost WHERE key = {key_of('{name}')})"
    )
    # Collected first: a statement must not delete what another one is looking through.
    output.executemany("DELETE FROM lost WHERE key = ?", output.execute(features.sql(query)).fetchall())


def _find_unlisted(output: sqlite3.Connection, features: FeaturesTable, sources: list[Source]) -> None:
    if all(_is_in_step(output, features, source) for source in sources):
        return
    names = [f"SELECT {key_of(source.identifier)}, 0 FROM {source.table}" for source in sources]  # noqa: S608
    names.append(f"SELECT {key_of(features.names['name'])}, 1 FROM execution.{features.table}")  # noqa: S608
    # Grouping sorts both lists together; looking each name up would fill an index in random order, far more slowly.
    output.execute(
        "INSERT INTO lost SELECT key, 0, NULL FROM (SELECT NULL AS key, NULL AS executed WHERE 0 "  # noqa: S608
        f"UNION ALL {' UNION ALL '.join(names)}) WHERE length(key) > 0 GROUP BY key HAVING max(executed) = 0"
    )


def _pick(output: sqlite3.Connection, features: FeaturesTable, sources: list[Source]) -> None:
    """Choose one row for each feature: it has one for each output, and the original's comes before the manifest's."""
    output.execute("CREATE TEMP TABLE picked (key BLOB PRIMARY KEY, source INTEGER, place INTEGER)")
    if all(source.is_sized for source in sources):
        for number, source in enumerate(sources):
            _pick_in_step(output, features, number, source)
    (wanted,) = output.execute("SELECT count(*) FROM lost WHERE NOT permanent").fetchone()
    for number, source in enumerate(sources):
        (found,) = output.execute("SELECT count(*) FROM picked").fetchone()
        if found == wanted:
            break
        key = key_of(source.identifier)
        output.execute(
            f"INSERT OR IGNORE INTO picked SELECT {key}, ?, rowid FROM {source.table} NOT INDEXED "  # noqa: S608
            f"WHERE EXISTS (SELECT 1 FROM lost WHERE key = {key} AND NOT permanent)",
            (number,),
        )
    output.execute("CREATE INDEX temp.picked_in_order ON picked (source, place)")


def _pick_in_step(output: sqlite3.Connection, features: FeaturesTable, number: int, source: Source) -> None:
    """Look for features where they are if both files are in step; those not found are looked for among all."""
    step = _step(output, features, source)
    if step:
        output.execute(
            f"INSERT OR IGNORE INTO picked SELECT lost.key, {number}, there.rowid FROM lost "  # noqa: S608
            f"CROSS JOIN {source.table} AS there ON there.rowid = (lost.place - :start) * :outputs + :first "
            f"WHERE NOT lost.permanent AND {key_of(source.of('there', source.identifier))} = lost.key",
            step,
        )


def _is_in_step(output: sqlite3.Connection, features: FeaturesTable, source: Source) -> bool:
    """Say whether every row of the manifest stands for the feature at the same place of the execution database."""
    step = _step(output, features, source)
    if step is None:
        return False
    (rows,) = output.execute(f"SELECT count(*) FROM {source.table}").fetchone()  # noqa: S608
    (found,) = output.execute(
        f"SELECT count(*) FROM {source.table} AS there CROSS JOIN execution.{features.table} AS here "  # noqa: S608
        "ON here.rowid = (there.rowid - :first) / :outputs + :start "
        f"WHERE here.{features.names['name']} = {source.of('there', source.identifier)}",
        step,
    ).fetchone()
    return bool(rows == found)


def _step(output: sqlite3.Connection, features: FeaturesTable, source: Source) -> dict[str, int] | None:
    """
    Guess how the rows of a manifest follow those of the execution database, if both list features in the same order.

    Whatever comes of it is compared by name: a wrong guess costs next to nothing, and a right one spares searching
    all names.
    """
    key = key_of(source.identifier)
    head = output.execute(f"SELECT rowid, {key} FROM {source.table} ORDER BY rowid LIMIT 100").fetchall()  # noqa: S608
    if not head:
        return None
    first, name = head[0]
    query = f"SELECT rowid FROM execution.{{table}} WHERE {key_of('{name}')} = ? LIMIT 1"  # noqa: S608
    found = output.execute(features.sql(query), (name,)).fetchone()
    outputs = sum(1 for _, each in head if each == name)
    return {"first": first, "outputs": outputs, "start": found[0]} if found else None


def _write(output: sqlite3.Connection, sources: list[Source]) -> tuple[int, tuple[int, ...]]:
    """Write what was picked, in the order of the files, and return how many it was and the EPSG codes of the layers."""
    written = 0
    layers: dict[int, Layer] = {}
    extents: dict[int, Extent] = {}
    for number, source in enumerate(sources):
        rows = output.execute(
            f"SELECT CAST({source.of('there', source.identifier)} AS TEXT), {source.of('there', source.width)}, "  # noqa: S608
            f"{source.of('there', source.height)}, {source.of('there', source.resolution)}, "
            f"{source.of('there', source.geometry)} "
            f"FROM picked CROSS JOIN {source.table} AS there ON there.rowid = picked.place "
            "WHERE picked.source = ? ORDER BY picked.place",
            (number,),
        )
        for name, width, height, resolution, geometry in rows:
            found = _geometry(geometry, source.epsg)
            if found is None or (source.is_sized and not (_is_size(width) and _is_size(height))):
                continue
            if source.epsg not in layers:
                layers[source.epsg] = add_layer(output, source.epsg)
            written += 1
            blob, extent = found
            extents[source.epsg] = joined(extents.get(source.epsg), extent)
            output.execute(layers[source.epsg].insert, (written, name, width, height, resolution, blob))
    for epsg, layer in layers.items():
        finish_layer(output, layer, extents[epsg])
    return written, tuple(sorted(layers))


def _geometry(value: object, epsg: int) -> tuple[bytes, Extent] | None:
    """Return a geometry as the GeoPackage holds it, and its bounding box; ``None`` where it is none."""
    import shapely

    if not isinstance(value, bytes):
        return None
    try:
        if value[:2] == b"GP" and (extent := blob_extent(value)):
            return blob_of_crs(value, epsg), extent
        shape = shapely.from_wkb(geometry_wkb(value) if value[:2] == b"GP" else value)
    except (ValueError, shapely.errors.ShapelyError):
        return None
    if shape.is_empty:
        return None
    if value[:2] == b"GP":
        return blob_of_crs(value, epsg), shape.bounds
    return geometry_blob(shapely.to_wkb(shape, byte_order=1, output_dimension=2), epsg, shape.bounds), shape.bounds


def _is_size(value: object) -> bool:
    return isinstance(value, int) and value > 0
