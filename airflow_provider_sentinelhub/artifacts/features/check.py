"""
Check a GeoPackage before it is given to the service: every rule, all features, in bounded memory.

The service refuses a GeoPackage in the analysis, after the task was created, and names one problem. This check finds
all of them, and sends nothing.

Source: https://docs.planet.com/develop/apis/batch-processing/ (input GeoPackage).
"""

from __future__ import annotations

import heapq
from contextlib import ExitStack
from itertools import groupby
from typing import TYPE_CHECKING

from airflow_provider_sentinelhub.artifacts.features.geometry_check import check_geometries
from airflow_provider_sentinelhub.artifacts.features.problems import (
    EXAMPLES,
    LEAST,
    MAX_NAME,
    MAX_PIXELS,
    MOST,
    Problem,
    ProblemCounts,
    Rule,
)
from airflow_provider_sentinelhub.artifacts.features.writer import Size
from airflow_provider_sentinelhub.artifacts.geopackage.blobs import HEADER_BYTES
from airflow_provider_sentinelhub.artifacts.geopackage.geopackage import MAX_FEATURES, WHAT
from airflow_provider_sentinelhub.artifacts.geopackage.sqlite_file import (
    companions,
    found_in,
    is_in_wal_mode,
    open_sqlite,
    quoted,
)
from airflow_provider_sentinelhub.artifacts.geopackage.tables import FeatureTable, feature_name, feature_tables
from airflow_provider_sentinelhub.client.errors import ArtifactCorrupt
from airflow_provider_sentinelhub.client.requests.crs import SUPPORTED_EPSG

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence
    from pathlib import Path

# Names become part of the output path. For GLOB and length, text ends at a zero byte; for instr it does not.
_NO_PATH = f"""({{0}} IN ('.', '..') OR length({{0}}) > {MAX_NAME} OR instr({{0}}, char(0)) > 0
    OR {{0}} GLOB '*[/\\<>?#' || char(1) || '-' || char(31) || char(127) || ']*')"""
_ODD_BYTES = bytes([*range(32), 127, *b"/\\<>?#"])
_SIZES = frozenset({"width", "height", "resolution"})
_IS_NO_SIZE = "typeof({0}) NOT IN ('integer', 'null') OR coalesce({0}, 1) < 1"
# One bit for each way a row may break a rule; none of the conditions is ever NULL.
_ROW_RULES = (
    (Rule.IDENTIFIER, "({identifier} IS NULL OR {identifier} = '')"),
    (Rule.IDENTIFIER_TEXT, "typeof({identifier}) NOT IN ('text', 'null')"),
    (Rule.IDENTIFIER_ENCODING, "(typeof({identifier}) = 'text' AND NOT is_utf8(CAST({identifier} AS BLOB)))"),
    (Rule.IDENTIFIER_PATH, f"coalesce({_NO_PATH.format('{identifier}')}, 0)"),
    (Rule.SIZE, "({width} IS NULL AND {height} IS NULL AND {resolution} IS NULL AND {no_default})"),
    # One of them alone is ignored where there is a resolution.
    (Rule.SIZE_PAIR, "(({width} IS NULL) <> ({height} IS NULL) AND {resolution} IS NULL)"),
    (Rule.SIZE_NUMBER, f"({_IS_NO_SIZE.format('{width}')} OR {_IS_NO_SIZE.format('{height}')})"),
    (Rule.PIXELS, f"(typeof({{width}}) = 'integer' AND {{width}} > {MAX_PIXELS})"),
    (Rule.PIXELS, f"(typeof({{height}}) = 'integer' AND {{height}} > {MAX_PIXELS})"),
    # It is ignored beside a width and a height, whatever it is.
    (
        Rule.RESOLUTION,
        f"""({{resolution}} IS NOT NULL AND ({{width}} IS NULL OR {{height}} IS NULL)
        AND +{{resolution}} NOT BETWEEN {LEAST} AND {MOST})""",
    ),
    (Rule.GEOMETRY, "({geometry} IS NULL OR length({geometry}) = 0)"),
    (Rule.READABLE, "typeof({geometry}) NOT IN ('blob', 'null')"),
    (
        Rule.READABLE,
        "coalesce(length({geometry}) > 0 AND (length({geometry}) < 8 OR substr({geometry}, 1, 2) <> x'4750'), 0)",
    ),
)

# A cheaper condition: true for a row that breaks none of these rules, NULL or false for all others. SQLite sorts text
# above every number, and "+" keeps it from converting text to a number.
_FINE = f"""typeof({{identifier}}) = 'text' AND length({{identifier}}) BETWEEN 3 AND {MAX_NAME}
    AND is_fine(CAST({{identifier}} AS BLOB))
    AND CASE WHEN {{width}} IS NULL AND {{height}} IS NULL THEN +{{resolution}} BETWEEN {LEAST} AND {MOST}
    ELSE typeof({{width}}) = 'integer' AND {{width}} BETWEEN 1 AND {MAX_PIXELS}
        AND typeof({{height}}) = 'integer' AND {{height}} BETWEEN 1 AND {MAX_PIXELS} END"""
_FINE_GEOMETRY = f"""substr({{geometry}}, 1, 2) = x'4750' AND length({{geometry}}) >= {HEADER_BYTES}
    AND typeof({{geometry}}) = 'blob'"""


def check_geopackage(
    path: Path, *, defaults: Size | None = None, validity: bool = True, own_sizes: bool = True
) -> tuple[Problem, ...]:
    """
    Find everything that is wrong with an input GeoPackage.

    :param path: The file; it must not change meanwhile.
    :param defaults: The request's ``input.defaults``: what features without a size get. Default: nothing.
    :param validity: Whether geometries are checked as well: that they are valid polygons, within the area of their
        coordinate reference system, and not too large for their resolution. Most of the work. Default ``True``.
    :param own_sizes: Whether the size columns of the features count, or only ``defaults``. Default ``True``.
    :returns: What is wrong; empty where the service accepts the file.
    :raises StorageUnavailable: This machine has no memory or disk space left to read it.
    """
    findings = ProblemCounts()
    if not path.is_file():
        findings.add(Rule.IS_GEOPACKAGE, ["it is a folder" if path.is_dir() else "there is no such file"])
        return findings.problems()
    if is_in_wal_mode(path):
        # What else is wrong may have been changed already.
        findings.add(Rule.HAS_ALL_CHANGES, [each.name for each in companions(path)] or ["its header says so"])
        return findings.problems()
    try:
        with open_sqlite(path, WHAT) as connection:
            tables = [table if own_sizes else table.without(_SIZES) for table in feature_tables(connection)]
            _check(connection, tables, defaults or Size(), findings, validity=validity)
    except ArtifactCorrupt as error:
        findings.add(Rule.IS_GEOPACKAGE, [found_in(error)])
    return findings.problems()


def _check(
    connection: sqlite3.Connection,
    tables: list[FeatureTable],
    defaults: Size,
    findings: ProblemCounts,
    *,
    validity: bool,
) -> None:
    if not tables:
        findings.add(Rule.HAS_LAYERS, count=0)
        return
    total = 0
    for table in tables:
        if not table.columns:
            findings.add(Rule.GEOMETRY_COLUMN, [f"table {table.name!r} does not exist"])
            continue
        (rows,) = connection.execute(f"SELECT count(*) FROM {quoted(table.name)}").fetchone()  # noqa: S608 - quoted
        total += rows
        _check_crs(table, findings)
        _check_columns(connection, table, findings)
        _check_rows(connection, table, defaults, findings, geometry=not validity)
        if validity and table.geometry.lower() in table.columns:
            check_geometries(connection, table, defaults, findings)
    _check_unique(connection, [table for table in tables if "identifier" in table.columns], findings)
    if not total:
        findings.add(Rule.HAS_FEATURES, count=0)
    elif total > MAX_FEATURES:
        findings.add(Rule.AT_MOST, count=total)


def _check_crs(table: FeatureTable, findings: ProblemCounts) -> None:
    if table.epsg is None:
        found = f"{table.organization}:{table.code}" if table.organization else "none"
        findings.add(Rule.EPSG, [f"layer {table.name!r}: {found}"])
    elif table.epsg not in SUPPORTED_EPSG:
        findings.add(Rule.KNOWN_CRS, [f"layer {table.name!r}: EPSG:{table.epsg}"])


def _check_columns(connection: sqlite3.Connection, table: FeatureTable, findings: ProblemCounts) -> None:
    for name, rule in (("identifier", Rule.IDENTIFIER_COLUMN), (table.geometry.lower(), Rule.GEOMETRY_COLUMN)):
        if name not in table.columns:
            findings.add(rule, [f"layer {table.name!r} has {', '.join(list(table.columns)[:10])}"])
    if "id" in table.columns and _is_key(connection, table):
        return
    if "id" in table.columns:
        query = (
            f"SELECT 1 FROM {quoted(table.name)} GROUP BY id "  # noqa: S608 - quoted
            "HAVING count(*) > 1 OR typeof(id) <> 'integer' LIMIT 1"
        )
        if connection.execute(query).fetchone() is None:
            return
    findings.add(Rule.ID_COLUMN, [f"layer {table.name!r}"])


def _is_key(connection: sqlite3.Connection, table: FeatureTable) -> bool:
    """Return whether SQLite itself keeps the ids unique: an INTEGER PRIMARY KEY is the number of the row."""
    query = "SELECT lower(name), lower(type) FROM pragma_table_info(?) WHERE pk > 0"
    return connection.execute(query, (table.name,)).fetchall() == [("id", "integer")]


def _check_rows(
    connection: sqlite3.Connection, table: FeatureTable, defaults: Size, findings: ProblemCounts, *, geometry: bool
) -> None:
    has_default = defaults.width is not None or defaults.resolution is not None
    columns = {name: table.column(name) for name in ("identifier", "width", "height", "resolution")}
    columns |= {"geometry": table.column(table.geometry.lower()), "no_default": str(int(not has_default))}
    missing = (
        {Rule.IDENTIFIER, Rule.IDENTIFIER_TEXT, Rule.IDENTIFIER_ENCODING, Rule.IDENTIFIER_PATH}
        if columns["identifier"] == "NULL"
        else set()
    )
    # The check of the geometries finds these two as well.
    missing |= {Rule.GEOMETRY, Rule.READABLE} if not geometry or columns["geometry"] == "NULL" else set()
    rules = [(rule, condition.format(**columns)) for rule, condition in _ROW_RULES if rule not in missing]
    broken = " + ".join(f"{1 << bit} * ({condition})" for bit, (_, condition) in enumerate(rules))
    # One scan that returns only the rows that break a rule, so a valid file costs next to nothing. GLOB would look at
    # each byte of a name several times.
    connection.create_function("is_fine", 1, _is_fine)
    connection.create_function("is_utf8", 1, _is_utf8)
    fine = (f"{_FINE} AND {_FINE_GEOMETRY}" if geometry else _FINE).format(**columns)
    query = (
        f"SELECT {table.key}, {broken} AS broken FROM {quoted(table.name)} NOT INDEXED "  # noqa: S608 - quoted
        f"WHERE ({fine}) IS NOT TRUE AND broken <> 0"
    )
    for key, found in connection.execute(query):
        # Several conditions may belong to the same rule.
        for rule in {rule: None for bit, (rule, _) in enumerate(rules) if found & 1 << bit}:
            findings.add(rule, (feature_name(connection, table, row) for row in (key,)))


def _is_fine(name: bytes) -> bool:
    return name.translate(None, _ODD_BYTES) == name and (name.isascii() or _is_utf8(name))


def _is_utf8(name: bytes) -> bool:
    try:
        name.decode()
    except UnicodeDecodeError:
        return False
    return True


def _check_unique(connection: sqlite3.Connection, tables: list[FeatureTable], findings: ProblemCounts) -> None:
    if len(tables) == 1 and _names_are_unique(connection, tables[0]):
        return
    names = " UNION ALL ".join(
        f"SELECT CAST({table.column('identifier')} AS TEXT) AS name FROM {quoted(table.name)}"  # noqa: S608 - quoted
        for table in tables
    )
    # SQLite groups by sorting, mostly on disk: memory does not grow with the number of names.
    connection.execute(
        f"CREATE TEMP TABLE repeated AS SELECT name, count(*) AS times FROM ({names or 'SELECT NULL AS name'}) "  # noqa: S608
        "WHERE length(name) > 0 GROUP BY name HAVING count(*) > 1"
    )
    (count,) = connection.execute("SELECT count(*) FROM repeated").fetchone()
    if count:
        rows = connection.execute(
            "SELECT name || ' (' || times || ' times)' FROM repeated ORDER BY name LIMIT ?", (EXAMPLES,)
        )
        findings.add(Rule.IDENTIFIER_UNIQUE, [name for (name,) in rows], count)


def _names_are_unique(connection: sqlite3.Connection, table: FeatureTable) -> bool:
    indexes = connection.execute(
        'SELECT name FROM pragma_index_list(?) WHERE "unique" = 1 AND partial = 0', (table.name,)
    ).fetchall()
    columns = "SELECT lower(name) FROM pragma_index_info(?)"
    return any(connection.execute(columns, index).fetchall() == [("identifier",)] for index in indexes)


def check_names_across(paths: Sequence[Path]) -> tuple[Problem, ...]:
    """
    Find identifiers that several GeoPackages share: their outputs would replace each other.

    :param paths: GeoPackages without problems of their own, whose outputs are delivered to the same place.
    """
    findings = ProblemCounts()
    with ExitStack() as stack:
        names = []
        for path in paths:
            connection = stack.enter_context(open_sqlite(path, WHAT))
            for table in feature_tables(connection):
                query = f"SELECT identifier FROM {quoted(table.name)} ORDER BY identifier"  # noqa: S608 - quoted
                names.append(connection.execute(query))
        # SQLite and Python sort text in the same order, by code points.
        for name, group in groupby(name for (name,) in heapq.merge(*names)):
            times = sum(1 for _ in group)
            if times > 1:
                findings.add(Rule.IDENTIFIER_UNIQUE, [f"{name} ({times} times)"])
    return findings.problems()
