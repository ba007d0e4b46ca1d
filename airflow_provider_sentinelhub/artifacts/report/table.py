"""
The table of all features: one row per feature, from the execution database and the manifest, as Parquet.

:data:`COLUMNS` says what it holds and how that is computed; the schema and ``docs/howto/batch_report.md`` follow.

A feature that the manifest lists and the execution database does not is PENDING with a null status: nothing says that
it was processed. It is DELIVERED where the task skipped features whose results existed. A feature that only the
execution database knows has no outputs and no geometry. Rows are in order of name (by its bytes), then id, so that the
same two files always give the same table.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import accumulate, groupby, islice
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_provider_sentinelhub.artifacts.geopackage.blobs import geometry_wkb
from airflow_provider_sentinelhub.artifacts.geopackage.sqlite_file import corrupt, open_sqlite
from airflow_provider_sentinelhub.artifacts.report.execution_db import OUTCOMES, FeaturesTable
from airflow_provider_sentinelhub.artifacts.report.execution_db import WHAT as EXECUTION_DB
from airflow_provider_sentinelhub.artifacts.report.manifest import WHAT as MANIFEST
from airflow_provider_sentinelhub.artifacts.report.manifest import manifest_rows_sql, manifest_tables
from airflow_provider_sentinelhub.artifacts.report.report import MAX_NAMES, FeatureOutcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    import pyarrow as pa

_ROW_GROUP = 8192
_ROW_GROUP_BYTES = 32 * 1024 * 1024
MAX_OUTPUTS = 10_000
"""Rows of one feature in a manifest, one for each output."""
_MAX_INT32 = 2**31
_MAX_INT64 = 2**63
_OUTPUT = ("output_id", "path")
_KEY_AND_PATH = itemgetter(0, 1, 2)
# Keys never compare greater than this.
_END: tuple[None, list[Any]] = (None, [])


@dataclass(slots=True)
class TableFacts:
    """
    What writing the table finds out, because the rows pass in order of name.

    :param unlisted: Features only the manifest mentions.
    :param duplicates: Names that occur more than once in the execution database.
    :param duplicate_names: The first of them, in order of name.
    """

    unlisted: int = 0
    duplicates: int = 0
    duplicate_names: tuple[str, ...] = ()

    def repeated(self, key: bytes) -> None:
        """
        Note a name that occurs more than once.

        :param key: The name as bytes.
        """
        self.duplicates += 1
        if len(self.duplicate_names) < MAX_NAMES:
            self.duplicate_names += (key.decode("utf-8", "replace"),)


def write_parquet(
    execution_db: Path,
    manifest: Path | None,
    target: Path,
    task_ids: Sequence[str] = ("",),
    *,
    unlisted: FeatureOutcome = FeatureOutcome.PENDING,
) -> TableFacts:
    """
    Write the table of all features, in bounded memory.

    :param execution_db: The execution database, or several merged into one, see :func:`~.reruns.merge`.
    :param manifest: The feature manifest, if there is one.
    :param target: File to write.
    :param task_ids: Ids of the tasks, in order. Default: one without an id.
    :param unlisted: What became of features that only the manifest lists. Default ``PENDING``.
    :returns: What it found out.
    :raises ArtifactCorrupt: One of the files cannot be read.
    """
    import pyarrow.parquet as pq

    facts = TableFacts()
    batch = _Batch(task_ids, unlisted)
    with pq.ParquetWriter(target, table_schema(), compression="zstd") as writer:
        for feature, outputs in _joined(execution_db, manifest, facts):
            facts.unlisted += feature is None
            batch.add(feature, outputs)
            if len(batch.rows) >= _ROW_GROUP or batch.size >= _ROW_GROUP_BYTES:
                writer.write_table(batch.take())
        if batch.rows:
            writer.write_table(batch.take())
    return facts


class Rows(NamedTuple):
    """
    What the two files say about some features: values by feature, as they were read.

    :param key: Name as bytes.
    :param id: Id in the execution database.
    :param status: The service's status.
    :param outcome: Its number, see :data:`~.execution_db.OUTCOMES`.
    :param error: The service's message.
    :param delivered: Whether the service says so: 0 or 1.
    :param rerun: Which task has the last word.
    :param outputs: How many rows the manifest has.
    :param width: Pixels, as the manifest says it.
    :param height: Pixels.
    :param epsg: EPSG code.
    :param geometry: GeoPackage geometry.
    """

    key: Sequence[bytes]
    id: Sequence[Any]
    status: Sequence[str | None]
    outcome: Sequence[int]
    error: Sequence[str | None]
    delivered: Sequence[int | None]
    rerun: Sequence[int]
    outputs: Sequence[int]
    width: Sequence[Any]
    height: Sequence[Any]
    epsg: Sequence[Any]
    geometry: Sequence[bytes | None]


@dataclass(frozen=True, slots=True)
class Column:
    """
    A column of the table.

    :param name: Its name.
    :param kind: Its type.
    :param meaning: What it holds, for the documentation.
    :param values: Computes it from what was read, for some features at once.
    """

    name: str
    kind: str
    meaning: str
    values: Callable[[Rows, _Batch], Any]


def _integers(values: Sequence[Any], limit: int) -> list[int | None]:
    return [_integer(value, limit) for value in values]


def _integer(value: object, limit: int) -> int | None:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, int) and -limit <= value < limit else None


_NAMES = [outcome.value for outcome in OUTCOMES]

COLUMNS = (
    Column("id", "int64", "`id` in the execution database", lambda rows, _: _integers(rows.id, _MAX_INT64)),
    Column(
        "name",
        "string",
        "name of the tile, or identifier of the feature",
        lambda rows, _: [key.decode("utf-8", "replace") for key in rows.key],
    ),
    Column(
        "status",
        "string",
        "the service's status; null for a feature only the manifest mentions",
        lambda rows, _: rows.status,
    ),
    Column("outcome", "string", "one of FeatureOutcome", lambda rows, _: [_NAMES[code] for code in rows.outcome]),
    Column("error", "string", "the service's message", lambda rows, _: rows.error),
    Column(
        "delivered",
        "bool",
        "whether the service says so; null where it says nothing",
        lambda rows, _: [None if said is None else bool(said) for said in rows.delivered],
    ),
    Column(
        "outputs",
        "list<struct<output_id,path>>",
        "what the manifest lists, in order of output id",
        lambda rows, batch: batch.outputs(rows.outputs),
    ),
    Column("width", "int32", "pixels", lambda rows, _: _integers(rows.width, _MAX_INT32)),
    Column("height", "int32", "pixels", lambda rows, _: _integers(rows.height, _MAX_INT32)),
    Column(
        "epsg",
        "int32",
        "coordinate reference system of `geometry`",
        lambda rows, _: _integers(rows.epsg, _MAX_INT32),
    ),
    Column(
        "geometry",
        "binary",
        "WKB in that system, not reprojected: one table may hold several",
        lambda rows, _: [None if blob is None else geometry_wkb(blob) for blob in rows.geometry],
    ),
    Column(
        "task_id",
        "string",
        "the task that has the last word on the feature",
        lambda rows, batch: [batch.task_ids[number] for number in rows.rerun],
    ),
    Column("rerun", "int32", "0 for the original task, then one for each rerun", lambda rows, _: rows.rerun),
)
"""The columns of the table, in order."""


def table_schema() -> pa.Schema:
    """Return the schema of the table."""
    import pyarrow as pa

    nested = {"list<struct<output_id,path>>": pa.list_(pa.struct([(name, pa.string()) for name in _OUTPUT]))}
    return pa.schema([(each.name, nested.get(each.kind) or pa.type_for_alias(each.kind)) for each in COLUMNS])


@dataclass(slots=True)
class _Batch:
    """Rows of one row group; outputs are kept flat, because lists of structs are slow to build row by row."""

    task_ids: Sequence[str]
    unlisted: FeatureOutcome
    rows: list[tuple[Any, ...]] = field(default_factory=list)
    ids: list[str | None] = field(default_factory=list)
    paths: list[str | None] = field(default_factory=list)
    size: int = 0

    def add(self, feature: tuple[Any, ...] | None, outputs: list[tuple[Any, ...]]) -> None:
        first = outputs[0] if outputs else (b"", None, None, None, None, None, None)
        if feature is None:
            feature = (first[0], None, None, OUTCOMES.index(self.unlisted), None, None, 0)
        self.ids.extend(output[1] for output in outputs)
        self.paths.extend(output[2] for output in outputs)
        self.size += len(feature[0]) + len(feature[2] or "") + len(feature[4] or "") + len(first[6] or b"")
        self.rows.append((*feature, len(outputs), *first[3:]))

    def outputs(self, counts: Sequence[int]) -> pa.Array:
        import pyarrow as pa

        structs = pa.StructArray.from_arrays(
            [pa.array(self.ids, pa.string()), pa.array(self.paths, pa.string())], list(_OUTPUT)
        )
        return pa.ListArray.from_arrays(pa.array(accumulate(counts, initial=0), pa.int32()), structs)

    def take(self) -> pa.Table:
        import pyarrow as pa

        rows, schema = Rows(*zip(*self.rows, strict=True)), table_schema()
        arrays = [
            values if isinstance(values := column.values(rows, self), pa.Array) else pa.array(values, kind)
            for column, kind in zip(COLUMNS, schema.types, strict=True)
        ]
        self.rows, self.ids, self.paths, self.size = [], [], [], 0
        return pa.Table.from_arrays(arrays, schema=schema)


def _joined(
    execution_db: Path, manifest: Path | None, facts: TableFacts
) -> Iterator[tuple[tuple[Any, ...] | None, list[tuple[Any, ...]]]]:
    """Merge two streams that SQLite sorts on disk: a full outer join that holds one feature at a time."""
    with open_sqlite(execution_db, EXECUTION_DB) as connection:
        features = FeaturesTable.find(connection, execution_db)
        query = (
            "SELECT coalesce(CAST({name} AS BLOB), x''), {id}, CAST({status} AS TEXT), {outcome}, "
            "CAST({error} AS TEXT), CASE WHEN {delivered} IS NOT NULL THEN {truth} END, {rerun} "
            "FROM {table} ORDER BY 1, 2, 3, 4, 5, 6"
        )
        rows = connection.execute(features.sql(query))
        others = _outputs(manifest) if manifest else iter(())
        key, outputs = next(others, _END)
        for name, same in groupby(rows, itemgetter(0)):
            while key is not None and key < name:
                yield None, outputs
                key, outputs = next(others, _END)
            matching = outputs if key == name else []
            for number, feature in enumerate(same):
                if number == 1 and name:
                    facts.repeated(name)
                yield feature, matching
            if key == name:
                key, outputs = next(others, _END)
        while key is not None:
            yield None, outputs
            key, outputs = next(others, _END)


def _outputs(manifest: Path) -> Iterator[tuple[bytes | None, list[tuple[Any, ...]]]]:
    with open_sqlite(manifest, MANIFEST) as connection:
        query = manifest_rows_sql(manifest_tables(connection, manifest))
        for key, rows in groupby(connection.execute(f"{query} ORDER BY 1, 2, 3, 6, 7"), itemgetter(0)):
            # Only the first one's size and geometry are used, so the others' need not be kept.
            outputs = [next(rows), *map(_KEY_AND_PATH, islice(rows, MAX_OUTPUTS))]  # noqa: B031 - first, then others
            if len(outputs) > MAX_OUTPUTS:
                name = key[:100].decode("utf-8", "replace")
                raise corrupt(manifest, MANIFEST, f"feature {name!r} has more than {MAX_OUTPUTS:,} rows")
            blob = outputs[0][6]
            if blob is not None:
                try:
                    geometry_wkb(blob)
                except (TypeError, ValueError) as error:
                    raise corrupt(manifest, MANIFEST, f"feature {key.decode('utf-8', 'replace')!r}: {error}") from error
            yield key, outputs
