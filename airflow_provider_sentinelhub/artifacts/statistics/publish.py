"""
The published table: the parts of all tasks in one Parquet file, each feature, interval, output and band once.

Rows come in order of task, then as they were read: by feature id, so that whoever looks for one feature reads little.
"""

from __future__ import annotations

import hashlib
from itertools import groupby, islice
from operator import itemgetter
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

from airflow_provider_sentinelhub.artifacts.statistics.answers import Answer
from airflow_provider_sentinelhub.artifacts.statistics.builder import TableBuilder
from airflow_provider_sentinelhub.artifacts.statistics.memory import give_back
from airflow_provider_sentinelhub.artifacts.statistics.parts import new_writer
from airflow_provider_sentinelhub.artifacts.statistics.schema import Role, fingerprint, names, table_schema
from airflow_provider_sentinelhub.client.errors import ArtifactMissing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    import pyarrow as pa

    from airflow_provider_sentinelhub.artifacts.statistics.catalog import Catalog
    from airflow_provider_sentinelhub.artifacts.statistics.layout import StatisticsTarget
    from airflow_provider_sentinelhub.artifacts.storage.storage import Storage

_AT_A_TIME = 1_000
UNREADABLE = """
SELECT feature, identifier, rerun, name, error FROM unreadable u
WHERE feature IS NULL OR NOT EXISTS (SELECT 1 FROM outcomes o WHERE o.feature = u.feature)
AND u.rowid = (SELECT max(rowid) FROM unreadable v WHERE v.feature = u.feature) ORDER BY rerun, name
"""
"""Feature, identifier, rerun, name and error of results that cannot be read; features with an answer are left out."""


def content_of(catalog: Catalog, task_ids: Sequence[str], identifier_column: str | None = None) -> str:
    """
    Return a hash of all that a table is made of: with the same content the table is the same.

    :param catalog: The catalog, with the readings chosen.
    :param task_ids: Ids of the tasks, in order.
    :param identifier_column: Column of the GeoPackage with the names. Default: none.
    """
    named = "" if identifier_column is None else f" {identifier_column!r}"
    digest = hashlib.sha256(f"{fingerprint()} {list(task_ids)}{named}".encode())
    for part, url, number in catalog.parts():
        dropped = catalog.connection.execute(
            "SELECT first, rows FROM dropped WHERE part = ? ORDER BY 1", (part,)
        ).fetchall()
        digest.update(f"\n{number} {url.rpartition('/')[2]} {dropped}".encode())
    for row in catalog.connection.execute(UNREADABLE):
        digest.update(f"\n{row}".encode())
    return digest.hexdigest() if identifier_column is None else f"{digest.hexdigest()}:{quote(identifier_column)}"


def published_column(storage: Storage, target: StatisticsTarget) -> str | None:
    """
    Return the column of the GeoPackage that the names of the published table are from; ``None`` where they are not.

    :param storage: Where the bucket is.
    :param target: Where the table is.
    """
    try:
        note = storage.read(target.published_url).decode(errors="replace")
    except ArtifactMissing:
        return None
    return unquote(note.partition(" ")[0].partition(":")[2]) or None


def is_published(storage: Storage, target: StatisticsTarget, content: str) -> bool:
    """
    Return whether the table in the bucket is made of the same content.

    :param storage: Where the bucket is.
    :param target: Where the table is.
    :param content: From :func:`content_of`.
    """
    try:
        return storage.read(target.published_url) == _note(storage, target, content)
    except ArtifactMissing:
        return False


def publish(storage: Storage, target: StatisticsTarget, content: str, table: Path) -> None:
    """
    Upload the table, and note its content.

    :param storage: Where the bucket is.
    :param target: Where the table goes.
    :param content: From :func:`content_of`.
    :param table: The table.
    """
    storage.upload(table, target.table_url)
    storage.upload(_note(storage, target, content), target.published_url)


def _note(storage: Storage, target: StatisticsTarget, content: str) -> bytes:
    meta = storage.head(target.table_url)
    return f"{content} {meta.etag or meta.last_modified.isoformat()}:{meta.size}".encode()


def write_table(
    catalog: Catalog,
    local: Callable[[str], Path],
    target: Path,
    *,
    task_ids: Sequence[str],
    on_part: Callable[[int, int], None],
) -> int:
    """
    Write the table, a few thousand rows at a time, and return how many rows it has.

    :param catalog: The catalog, with the readings chosen.
    :param local: Returns the file of a part on this machine.
    :param target: File to write.
    :param task_ids: Ids of the tasks, in order.
    :param on_part: Called with how many parts are written, and how many there are.
    :raises StorageUnavailable: A part cannot be read.
    """
    from pyarrow import parquet

    written = 0
    with new_writer(target, table_schema(), is_searched=True) as writer:
        parts, is_named = catalog.parts(), catalog.has_names()
        for done, (part, url, number) in enumerate(parts, 1):
            dropped = catalog.dropped(part)
            start = 0
            with parquet.ParquetFile(local(url)) as file:
                for group in range(file.num_row_groups):
                    # In one thread: several would each keep buffers of their own.
                    rows = file.read_row_group(group, use_threads=False)
                    kept = _without(rows, start, dropped)
                    if is_named:
                        kept = _named(kept, catalog)
                    start += rows.num_rows
                    if kept.num_rows:
                        writer.write_table(_of_task(kept, task_ids[number], number))
                        written += kept.num_rows
                    # They would be there until the next have been read.
                    del rows, kept
                    give_back()
            on_part(done, len(parts))
        for rows, number in _unreadable(catalog):
            writer.write_table(_of_task(rows, task_ids[number], number))
            written += rows.num_rows
    return written


def unreadable_text(name: str, error: str) -> str:
    """
    Say that a result cannot be understood.

    :param name: Its name below the root folder.
    :param error: What is wrong with it.
    """
    return f"The result file {name} cannot be read: {error}"


def _without(rows: pa.Table, start: int, dropped: list[tuple[int, int]]) -> pa.Table:
    import numpy as np
    import pyarrow as pa

    mask = np.ones(rows.num_rows, dtype=bool)
    for first, count in dropped:
        if first < start + rows.num_rows and first + count > start:
            mask[max(first - start, 0) : first + count - start] = False
    return rows if mask.all() else rows.filter(pa.array(mask))


def _named(rows: pa.Table, catalog: Catalog) -> pa.Table:
    import pyarrow as pa

    features = rows["feature_id"].to_pylist()
    names = catalog.names_of({feature for feature in features if feature is not None})
    place = rows.schema.get_field_index("identifier")
    given = rows["identifier"].to_pylist()
    new = [names.get(feature, old) for feature, old in zip(features, given, strict=True)]
    return rows.set_column(place, rows.schema.field(place), pa.array(new, rows.schema.field(place).type))


def _of_task(rows: pa.Table, task_id: str, number: int) -> pa.Table:
    import pyarrow as pa

    schema = table_schema()
    of_task = {"task_id": task_id, "rerun": number}
    added = (pa.repeat(pa.scalar(of_task[name], schema.field(name).type), rows.num_rows) for name in names(Role.TASK))
    return pa.Table.from_arrays([*rows.columns, *added], schema=schema)


def _unreadable(catalog: Catalog) -> Iterator[tuple[pa.Table, int]]:
    found = catalog.connection.execute(UNREADABLE)
    builder = TableBuilder()
    for number, rows in groupby(found, itemgetter(2)):
        while some := list(islice(rows, _AT_A_TIME)):
            for feature, identifier, _, name, error in some:
                builder.add(feature, identifier, Answer([], unreadable_text(name, error)))
            yield builder.take(), number
