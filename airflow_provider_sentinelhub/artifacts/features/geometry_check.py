"""The check of the geometries: whether they are valid polygons, in place, and not too large."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_sentinelhub.artifacts.features.features import BATCH
from airflow_provider_sentinelhub.artifacts.features.problems import LEAST, MAX_PIXELS, MOST, ProblemCounts, Rule
from airflow_provider_sentinelhub.artifacts.features.writer import ALMOST, is_less_than_a_pixel, pixels
from airflow_provider_sentinelhub.artifacts.geopackage.blobs import ENVELOPE_BYTES, HEADER_BYTES
from airflow_provider_sentinelhub.artifacts.geopackage.sqlite_file import quoted
from airflow_provider_sentinelhub.artifacts.geopackage.tables import feature_name
from airflow_provider_sentinelhub.client.preflight.area import reach_of
from airflow_provider_sentinelhub.client.requests.crs import SUPPORTED_EPSG

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Sequence

    from airflow_provider_sentinelhub.artifacts.features.writer import Size
    from airflow_provider_sentinelhub.artifacts.geopackage.tables import FeatureTable

_WGS84 = 4326
_WORLD = (180.0, 90.0)
POLYGON, MULTIPOLYGON, COLLECTION = 3, 6, 7
# Little-endian, with a two-dimensional envelope: what nearly all programs write. SQLite cuts these, not Python.
_USUAL = b"GP\0\x03"
# Where the WKB begins, by the byte of flags; after an unknown kind of envelope nothing is read.
_START = tuple(
    HEADER_BYTES + ENVELOPE_BYTES[flags >> 1 & 0b111] if flags >> 1 & 0b111 < len(ENVELOPE_BYTES) else 1 << 40
    for flags in range(256)
)


def check_geometries(
    connection: sqlite3.Connection, table: FeatureTable, defaults: Size, findings: ProblemCounts
) -> None:
    """
    Read all geometries of a table, a batch at a time.

    :param connection: The open GeoPackage.
    :param table: The table.
    :param defaults: What features without a size get.
    :param findings: Counts the problems.
    """
    geometry = table.column(table.geometry.lower())
    width, height, resolution = (table.column(name) for name in ("width", "height", "resolution"))
    default = "NULL" if defaults.resolution is None else repr(float(defaults.resolution))
    # Width and height of a feature take precedence over its resolution, and that over any default. SQLite sorts text
    # above every number, and "+" keeps it from converting text to a number.
    step = (
        f"CASE WHEN {width} > 0 AND {height} > 0 THEN NULL "
        f"WHEN +{resolution} BETWEEN {LEAST} AND {MOST} THEN {resolution} ELSE {default} END"
    )
    query = (
        f"SELECT {table.key}, {{}}, {step} FROM {quoted(table.name)} NOT INDEXED WHERE substr({geometry}, 1, 4) {{}}"  # noqa: S608
    )
    rows = connection.execute(query.format(f"substr({geometry}, {_START[_USUAL[-1]] + 1})", f"IS x'{_USUAL.hex()}'"))
    while some := rows.fetchmany(BATCH):
        _Check(connection, table, findings, some).run([wkb for _, wkb, _ in some])
    rows = connection.execute(query.format(geometry, f"IS NOT x'{_USUAL.hex()}'"))
    while some := rows.fetchmany(BATCH):
        check = _Check(connection, table, findings, some)
        check.run([check.wkb(row, blob) for row, (_, blob, _) in enumerate(some)])


def polygons_of(collection: Any) -> list[Any]:
    """
    Return the polygons of a collection; none where it contains anything else as well.

    :param collection: A shapely geometry.
    """
    import shapely

    # Once for the collection, and once for its multipolygons.
    parts = shapely.get_parts(shapely.get_parts(collection))
    return parts.tolist() if (shapely.get_type_id(parts) == POLYGON).all() else []


@dataclass(frozen=True, slots=True)
class _Check:
    connection: sqlite3.Connection
    table: FeatureTable
    findings: ProblemCounts
    rows: list[tuple[object, object, float | None]]

    def wkb(self, row: int, blob: object) -> bytes | None:
        """Return the WKB of an unusual geometry; ``None`` where that is a problem, which is counted."""
        if not blob:
            self.findings.add(Rule.GEOMETRY, [self._name(row)])
        elif not isinstance(blob, bytes) or blob[:2] != b"GP" or len(blob) < HEADER_BYTES:
            self.findings.add(Rule.READABLE, [self._name(row)])
        else:
            return blob[_START[blob[3]] :]
        return None

    def run(self, wkbs: Sequence[bytes | None]) -> None:
        """Check all geometries except those that are ``None``."""
        import numpy as np
        import shapely

        values = np.empty(len(wkbs), dtype=object)
        values[:] = wkbs
        try:
            shapes = shapely.from_wkb(values, on_invalid="ignore")
        except NotImplementedError:
            self._take_out_curves(values)
            shapes = shapely.from_wkb(values, on_invalid="ignore")
        is_there = ~shapely.is_missing(shapes)
        if not is_there.all():
            self._unreadable(values, [row for row in np.flatnonzero(~is_there).tolist() if values[row] is not None])
        is_empty = shapely.is_empty(shapes)
        self._note(Rule.GEOMETRY, is_empty)
        is_there &= ~is_empty
        kinds = shapely.get_type_id(shapes)
        is_polygon = (kinds == POLYGON) | (kinds == MULTIPOLYGON)
        is_other = is_there & ~is_polygon
        if is_other.any():
            is_made_of_polygons = is_other & (kinds == COLLECTION)
            for row in is_made_of_polygons.nonzero()[0].tolist():
                is_made_of_polygons[row] = bool(polygons_of(shapes[row]))
            self._note(Rule.COLLECTION, is_made_of_polygons)
            self._note(Rule.POLYGON, is_other & ~is_made_of_polygons, lambda row: shapes[row].geom_type)
        is_there &= is_polygon
        self._note(Rule.VALID, is_there & ~shapely.is_valid(shapes), lambda row: shapely.is_valid_reason(shapes[row]))
        self._measure(shapely.bounds(shapes), is_there)

    def _measure(self, bounds: Any, is_there: Any) -> None:
        import numpy as np

        if self.table.epsg in SUPPORTED_EPSG:
            beyond = (np.abs(bounds) > np.array(_WORLD * 2)).any(axis=1)
            # All other systems the service knows are in metres, and none has land that near its origin.
            wrong = beyond if self.table.epsg == _WGS84 else ~beyond
            if reach := reach_of(self.table.epsg):
                wrong |= (bounds[:, :2] < reach[:2]).any(axis=1) | (bounds[:, 2:] > reach[2:]).any(axis=1)
            self._note(Rule.PLACE, is_there & wrong, lambda row: f"at {bounds[row][0]:.10g}, {bounds[row][1]:.10g}")
        # Without a resolution nothing is too large: everything is small when divided by infinity.
        step = np.array([step for _, _, step in self.rows], dtype=float)
        step[np.isnan(step) | (step == 0)] = np.inf
        if not np.isinf(step).all():
            across, down = bounds[:, 2] - bounds[:, 0], bounds[:, 3] - bounds[:, 1]
            limit = (MAX_PIXELS + ALMOST) * step
            self._note(
                Rule.PIXELS,
                is_there & ((across > limit) | (down > limit)) & ~np.isinf(step),
                lambda row: f"{pixels(across[row], step[row])} x {pixels(down[row], step[row])}",
            )
            # In both directions: a narrow parcel is a row of pixels, but metres mistaken for degrees leave nothing.
            less = is_less_than_a_pixel(across, step) & is_less_than_a_pixel(down, step)
            self._note(
                Rule.ONE_PIXEL,
                # A geometry without any area is another problem.
                is_there & less & (across > 0) & (down > 0) & ~np.isinf(step),
                lambda row: f"{across[row]:.3g} x {down[row]:.3g} at resolution {step[row]:.10g}",
            )

    def _take_out_curves(self, wkbs: Any) -> None:
        """Count geometries with curves, because a single one keeps shapely from reading the others."""
        import shapely

        for row, wkb in enumerate(wkbs):
            try:
                shapely.from_wkb(wkb, on_invalid="ignore")
            except NotImplementedError:
                self.findings.add(Rule.POLYGON, [f"{self._name(row)} (with curves)"])
                wkbs[row] = None

    def _unreadable(self, wkbs: Any, rows: Any) -> None:
        import shapely

        for row in rows:
            try:
                shapely.from_wkb(wkbs[row])
                reason = "not a geometry"
            except (shapely.errors.ShapelyError, ValueError) as error:
                reason = str(error).rpartition(": ")[2]
            is_closable = shapely.from_wkb(wkbs[row], on_invalid="fix") is not None
            self.findings.add(Rule.CLOSED if is_closable else Rule.READABLE, [f"{self._name(row)} ({reason})"])

    def _note(self, rule: Rule, is_broken: Any, found: Callable[[int], str] | None = None) -> None:
        if is_broken.any():
            rows = is_broken.nonzero()[0].tolist()
            names = (self._name(row) + (f" ({found(row)})" if found else "") for row in rows)
            self.findings.add(rule, names, len(rows))

    def _name(self, row: int) -> str:
        return feature_name(self.connection, self.table, self.rows[row][0])
