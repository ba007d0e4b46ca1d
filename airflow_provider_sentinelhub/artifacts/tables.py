"""Tables in a bucket, read for those who work with them."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

    from airflow_provider_sentinelhub.artifacts.storage import Storage


def load_table(storage: Storage, url: str, columns: Sequence[str] | None = None) -> pa.Table:
    """
    Read a Parquet table from a bucket into memory.

    :param storage: Where the bucket is.
    :param url: Where the table lies.
    :param columns: Columns to read. Default: all.
    :raises ArtifactMissing: There is no such table.
    :raises ArtifactCorrupt: It cannot be read.
    :raises StorageUnavailable: The bucket cannot be read.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    from airflow_provider_sentinelhub.client.errors import ArtifactCorrupt

    with tempfile.TemporaryDirectory(prefix="sentinelhub-table-") as folder:
        path = Path(folder) / "table.parquet"
        storage.download(url, path)
        try:
            return pq.read_table(path, columns=None if columns is None else list(columns))
        except (pa.ArrowInvalid, OSError) as e:
            raise ArtifactCorrupt(f"{url} cannot be read as a Parquet table: {e}") from e
