"""
What was read of a task so far: Parquet files in the bucket, each of some thousand results, complete or not there.

A part holds the rows of its results and, in its metadata, the ledger: which results these are, in which version, and
what they came to. So rows and ledger cannot disagree, wherever a reader is killed. Parts are never changed.
"""

from __future__ import annotations

import base64
import hashlib
import io
import struct
from typing import TYPE_CHECKING, Any

from airflow_provider_sentinelhub.artifacts.statistics_schema import fingerprint, part_schema
from airflow_provider_sentinelhub.client.errors import ArtifactCorrupt

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa
    from pyarrow import parquet

    from airflow_provider_sentinelhub.artifacts.storage import ObjectMeta, Storage

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

_KEYS = tuple(f"airflow_provider_sentinelhub:{name}".encode() for name in ("part", "task", "ledger"))
_TAIL = 1024 * 1024
_MAGIC = b"PAR1"
# Written once and read once or twice, so quickly rather than small; statistics hardly ever repeat, so a dictionary of
# them is work for nothing.
_REPEATING = (
    "feature_id",
    "identifier",
    "interval_from",
    "interval_to",
    "output",
    "band",
    "no_data_count",
    "percentiles.key_value.key",
    "histogram.list.element.low_edge",
    "histogram.list.element.high_edge",
    "error",
    "task_id",
    "round",
)


def new_writer(path: Path, schema: pa.Schema) -> parquet.ParquetWriter:
    """
    Open a Parquet file of statistics to be written.

    :param path: The file.
    :param schema: Its columns.
    """
    from pyarrow import parquet

    return parquet.ParquetWriter(path, schema, compression="zstd", use_dictionary=list(_REPEATING))


class PartWriter:
    """
    Writes one part to this machine.

    :param path: The file.
    :param task_id: The task whose results it holds.
    """

    def __init__(self, path: Path, task_id: str) -> None:
        self._path = path
        self._task_id = task_id
        self._writer = new_writer(path, part_schema())
        self.ledger: list[tuple[Any, ...]] = []

    def write(self, rows: pa.Table, ledger: list[tuple[Any, ...]]) -> None:
        """
        Add results.

        :param rows: Their rows.
        :param ledger: Their lines in the ledger.
        """
        self._writer.write_table(rows)
        self.ledger += ledger

    def close(self) -> str:
        """Finish the file, and return a name that says what is in it."""
        import pyarrow as pa

        columns = [
            pa.array(values, pa.type_for_alias(kind))
            for (_, kind), values in zip(LEDGER, zip(*self.ledger, strict=True), strict=True)
        ]
        buffer = io.BytesIO()
        ledger = pa.table(columns, [name for name, _ in LEDGER])
        with pa.ipc.new_stream(buffer, ledger.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as stream:
            stream.write_table(ledger)
        values = (_form(), self._task_id.encode(), base64.b64encode(buffer.getvalue()))
        self._writer.add_key_value_metadata(dict(zip(_KEYS, values, strict=True)))
        self._writer.close()
        digest = hashlib.sha256(self._task_id.encode())
        for line in self.ledger:
            digest.update(f"\0{line[0]}\0{line[1]}".encode())
        # Two readers at the same time write the same part under the same name, and other parts under others.
        return f"{digest.hexdigest()[:32]}.parquet"

    def abandon(self) -> None:
        """Close the file without finishing it, and remove it."""
        self._writer.close()
        self._path.unlink(missing_ok=True)


def read_metadata(storage: Storage, file: ObjectMeta) -> dict[bytes, bytes]:
    """
    Read what a Parquet file in a bucket says about itself, without reading its rows.

    :param storage: Where the bucket is.
    :param file: The file.
    :raises ArtifactMissing: It is gone.
    :raises ArtifactCorrupt: It is no Parquet file.
    """
    import pyarrow as pa
    from pyarrow import parquet

    # Some servers answer a request for a range that is all there is as if it were none.
    is_small = file.size <= _TAIL
    tail = storage.read(file.url) if is_small else storage.read_range(file.url, file.size - _TAIL, file.size)
    size = len(tail)
    wanted = struct.unpack("<I", tail[-8:-4])[0] + 8 if size > 8 else file.size + 1  # noqa: PLR2004 - length and magic
    broken = f"{file.url} is not a usable Parquet file: {{}}. Delete it, and read again."
    if tail[-4:] != _MAGIC or wanted > file.size:
        raise ArtifactCorrupt(broken.format("it has no footer"))
    if wanted > size:
        tail = storage.read_range(file.url, file.size - wanted, file.size)
    try:
        # Only its end is looked at.
        found: dict[bytes, bytes] | None = parquet.read_metadata(io.BytesIO(_MAGIC + tail[-wanted:])).metadata
    except pa.ArrowException as error:
        raise ArtifactCorrupt(
            f"{file.url} is not a usable Parquet file: {error}. Delete it, and read again."
        ) from error
    return found or {}


def ledger_of(metadata: dict[bytes, bytes]) -> tuple[str, list[tuple[Any, ...]]] | None:
    """
    Return the task of a part and its ledger; ``None`` where another version of this package wrote it, in another form.

    :param metadata: From :func:`read_metadata`.
    """
    import pyarrow as pa

    form, task_id, ledger = (metadata.get(key, b"") for key in _KEYS)
    if form != _form():
        return None
    with pa.ipc.open_stream(base64.b64decode(ledger)) as stream:
        table = stream.read_all()
    return task_id.decode(), list(zip(*(column.to_pylist() for column in table.columns), strict=True))


def _form() -> bytes:
    """Name the form of a part: what another version wrote in another form is read again."""
    return f"{fingerprint()} {' '.join(name for name, _ in LEDGER)}".encode()
