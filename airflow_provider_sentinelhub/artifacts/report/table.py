"""
The table of all features: one row per feature, from the execution database and the manifest, as Parquet.

=========  ============================  ===============================================================
column     type                          meaning
=========  ============================  ===============================================================
id         int64                         ``id`` in the execution database
name       string                        name of the tile, or identifier of the feature
status     string                        the service's status; null for a feature only the manifest mentions
outcome    string                        one of FeatureOutcome
error      string                        the service's message
delivered  bool                          whether the service says so; null where it says nothing
outputs    list<struct<output_id,path>>  what the manifest lists, in order of output id
width      int32                         pixels
height     int32                         pixels
epsg       int32                         coordinate reference system of ``geometry``
geometry   binary                        WKB in that system, not reprojected: one table may hold several
task_id    string                        the task that has the last word on the feature
rerun      int32                         0 for the original task, then one for each rerun
=========  ============================  ===============================================================

A feature that the manifest lists and the execution database does not is PENDING with a null status: nothing says that
it was processed. It is DELIVERED where the task skipped features whose results existed. A feature that only the
execution database knows has no outputs and no geometry. Rows are in order of name (by its bytes), then id, so that the
same two files always give the same table.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import groupby, islice
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from airflow_provider_sentinelhub.artifacts.geopackage.blobs import geometry_wkb
from airflow_provider_sentinelhub.artifacts.geopackage.sqlite_file import corrupt, open_sqlite
from airflow_provider_sentinelhub.artifacts.report.execution_db import OUTCOMES, FeaturesTable
from airflow_provider_sentinelhub.artifacts.report.execution_db import WHAT as EXECUTION_DB
from airflow_provider_sentinelhub.artifacts.report.manifest import WHAT as MANIFEST
from airflow_provider_sentinelhub.artifacts.report.manifest import manifest_rows_sql, manifest_tables
from airflow_provider_sentinelhub.artifacts.report.report import MAX_NAMES, FeatureOutcome

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import pyarrow as pa

_ROW_GROUP = 8192
_ROW_GROUP_BYTES = 32 * 1024 * 1024
MAX_OUTPUTS = 10_000
"""Rows of one feature in a manifest, one for each output."""
_MAX_INT32 = 2**31
_MAX_INT64 = 2**63
_KEY_AND_PATH = itemgetter(0, 1, 2)
# Keys never compare greater than this.
_END: tuple[None, list[Any]] = (None, [])


@dataclass(slots=True)
class TableFacts:
    """
    What is learnt on the way, because the rows pass in order of name.

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
    :returns: What was learnt on the way.
    :raises ArtifactCorrupt: One of the files cannot be read.
    """
    import pyarrow.parquet as pq

    facts = TableFacts()
    batch = _Batch(task_ids, unlisted)
    with pq.ParquetWriter(target, _schema(), compression="zstd") as writer:
        for feature, outputs in _joined(execution_db, manifest, facts):
            facts.unlisted += feature is None
            batch.add(feature, outputs)
            if len(batch.rows) >= _ROW_GROUP or batch.size >= _ROW_GROUP_BYTES:
                writer.write_table(batch.take())
        if batch.rows:
            writer.write_table(batch.take())
    return facts


def _schema() -> pa.Schema:
    import pyarrow as pa

    output = pa.struct([("output_id", pa.string()), ("path", pa.string())])
    return pa.schema(
        [
            ("id", pa.int64()),
            ("name", pa.string()),
            ("status", pa.string()),
            ("outcome", pa.string()),
            ("error", pa.string()),
            ("delivered", pa.bool_()),
            ("outputs", pa.list_(output)),
            ("width", pa.int32()),
            ("height", pa.int32()),
            ("epsg", pa.int32()),
            ("geometry", pa.binary()),
            ("task_id", pa.string()),
            ("rerun", pa.int32()),
        ]
    )


@dataclass(slots=True)
class _Batch:
    """Rows of one row group; outputs are kept flat, because lists of structs are slow to build row by row."""

    task_ids: Sequence[str]
    unlisted: FeatureOutcome
    rows: list[tuple[Any, ...]] = field(default_factory=list)
    ids: list[str | None] = field(default_factory=list)
    paths: list[str | None] = field(default_factory=list)
    offsets: list[int] = field(default_factory=lambda: [0])
    size: int = 0

    def add(self, feature: tuple[Any, ...] | None, outputs: list[tuple[Any, ...]]) -> None:
        first = outputs[0] if outputs else (b"", None, None, None, None, None, None)
        if feature is None:
            feature = (first[0], None, None, OUTCOMES.index(self.unlisted), None, None, 0)
        key, number, status, code, error, delivered, rerun = feature
        self.ids.extend(output[1] for output in outputs)
        self.paths.extend(output[2] for output in outputs)
        self.offsets.append(len(self.ids))
        self.size += len(key) + len(status or "") + len(error or "") + len(first[6] or b"")
        self.rows.append(
            (
                _integer(number, _MAX_INT64),
                key.decode("utf-8", "replace"),
                status,
                OUTCOMES[code].value,
                error,
                None if delivered is None else bool(delivered),
                _integer(first[3], _MAX_INT32),
                _integer(first[4], _MAX_INT32),
                _integer(first[5], _MAX_INT32),
                geometry_wkb(first[6]) if first[6] is not None else None,
                self.task_ids[rerun],
                rerun,
            )
        )

    def take(self) -> pa.Table:
        import pyarrow as pa

        schema = _schema()
        structs = pa.StructArray.from_arrays(
            [pa.array(self.ids, pa.string()), pa.array(self.paths, pa.string())], ["output_id", "path"]
        )
        plain = iter(zip(*self.rows, strict=True))
        arrays = [
            pa.ListArray.from_arrays(pa.array(self.offsets, pa.int32()), structs)
            if column.name == "outputs"
            else pa.array(next(plain), column.type)
            for column in schema
        ]
        self.rows, self.ids, self.paths, self.offsets = [], [], [], [0]
        self.size = 0
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


def _integer(value: object, limit: int) -> int | None:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, int) and -limit <= value < limit else None
