"""
What was read of a task so far: Parquet files in the bucket, each of some thousand results.

Beside each of these *parts* lies its ledger: which results it holds, in which version, and what they came to. A part
counts once its ledger is there, which is put beside it last. So rows and ledger cannot disagree, wherever a reader is
killed. Neither is ever changed.
"""

from __future__ import annotations

import hashlib
import io
from typing import TYPE_CHECKING, Any

from airflow_provider_sentinelhub.artifacts.statistics.schema import fingerprint, part_schema, repeating
from airflow_provider_sentinelhub.client.errors import ArtifactCorrupt
from airflow_provider_sentinelhub.client.text import one_line

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa
    from pyarrow import parquet

LEDGER = (
    ("name", "string"),
    ("version", "string"),
    ("feature_id", "int64"),
    ("identifier", "string"),
    ("rows", "int64"),
    ("with_data", "int64"),
    ("without_data", "int64"),
    ("failed", "int64"),
    ("error", "string"),
    ("failed_from", "int64"),
    ("failed_to", "int64"),
)
"""
Columns of the ledger, one row for each result in the order of the part's rows: name below the root folder, ETag and
size, the feature, rows in the part, intervals with data, without and failed, what went wrong with the feature, and from
when to when (microseconds since 1970) where it lost single intervals.
"""

PART_SUFFIX = ".parquet"
LEDGER_SUFFIX = ".arrow"

_FORM, _TASK = b"form", b"task"
# Whoever reads a column holds a page of it at a time.
_BYTES_IN_PAGE = 64 * 1024


def new_writer(path: Path, schema: pa.Schema, *, is_searched: bool) -> parquet.ParquetWriter:
    """
    Open a Parquet file of statistics to be written.

    :param path: The file.
    :param schema: Its columns.
    :param is_searched: Whether anybody looks for some rows of it: then it says between which values a column lies.
    """
    from pyarrow import parquet

    return parquet.ParquetWriter(
        path,
        schema,
        compression="zstd",
        # Written once and read once or twice, so quickly rather than small; statistics hardly ever repeat, so a
        # dictionary of them is work for nothing.
        use_dictionary=repeating(),
        data_page_size=_BYTES_IN_PAGE,
        write_statistics=is_searched,
    )


class PartWriter:
    """
    Writes one part to this machine.

    :param path: The file.
    :param task_id: The task whose results it holds.
    """

    def __init__(self, path: Path, task_id: str) -> None:
        self._path = path
        self._task_id = task_id
        self._writer = new_writer(path, part_schema(), is_searched=False)
        self.ledger: list[tuple[Any, ...]] = []

    def write(self, rows: pa.Table, ledger: list[tuple[Any, ...]]) -> None:
        """
        Add results.

        :param rows: Their rows.
        :param ledger: Their lines in the ledger.
        """
        self._writer.write_table(rows)
        self.ledger += ledger

    def close(self) -> tuple[str, bytes]:
        """Finish the file, and return a name that says what is in it, without a suffix, and its ledger."""
        self._writer.close()
        digest = hashlib.sha256(self._task_id.encode())
        for line in self.ledger:
            digest.update(f"\0{line[0]}\0{line[1]}".encode())
        # Two readers at the same time write the same part under the same name, and other parts under others.
        return digest.hexdigest()[:32], _written(self.ledger, self._task_id)

    def abandon(self) -> None:
        """Close the file without finishing it, and remove it."""
        self._writer.close()
        self._path.unlink(missing_ok=True)


def read_ledger(content: bytes) -> tuple[str, list[tuple[Any, ...]]] | None:
    """
    Return the task of a part and its ledger; ``None`` where another version of this package wrote it, in another form.

    :param content: The ledger as it lies in the bucket.
    :raises ArtifactCorrupt: It is not a ledger.
    """
    import pyarrow as pa

    try:
        with pa.ipc.open_stream(content) as stream:
            table = stream.read_all()
    except (pa.ArrowException, OSError) as error:
        raise ArtifactCorrupt(f"A ledger of statistics cannot be read: {one_line(error)}") from error
    metadata = table.schema.metadata or {}
    if metadata.get(_FORM) != _form():
        return None
    rows = zip(*(column.to_pylist() for column in table.columns), strict=True)
    return metadata[_TASK].decode(), list(rows)


def _written(ledger: list[tuple[Any, ...]], task_id: str) -> bytes:
    import pyarrow as pa

    columns = [
        pa.array(values, pa.type_for_alias(kind))
        for (_, kind), values in zip(LEDGER, zip(*ledger, strict=True), strict=True)
    ]
    metadata = {_FORM: _form(), _TASK: task_id.encode()}
    table = pa.table(columns, [name for name, _ in LEDGER], metadata=metadata)
    buffer = io.BytesIO()
    with pa.ipc.new_stream(buffer, table.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as stream:
        stream.write_table(table)
    return buffer.getvalue()


def _form() -> bytes:
    """Name the form of a part: what another version wrote in another form is read again."""
    return f"{fingerprint()} {' '.join(name for name, _ in LEDGER)}".encode()
