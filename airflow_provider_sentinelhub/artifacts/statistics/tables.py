"""Tables in a bucket, read for those who work with them."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from airflow_provider_sentinelhub.client.errors import ArtifactCorrupt, InvalidParameter
from airflow_provider_sentinelhub.client.text import one_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa

    from airflow_provider_sentinelhub.artifacts.storage.storage import Storage


def load_table(storage: Storage, url: str, columns: Sequence[str] | None = None) -> pa.Table:
    """
    Read a Parquet table from a bucket into memory.

    :param storage: Where the bucket is.
    :param url: Where the table lies, ``statistics_url`` of a result.
    :param columns: Columns to read. Default: all.
    :raises InvalidParameter: The URL is not one, the table is not one of statistics, or it has no such column.
    :raises ArtifactMissing: There is no such table.
    :raises ArtifactCorrupt: It cannot be read.
    :raises StorageUnavailable: The bucket cannot be read.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    check_table_url(url)
    with tempfile.TemporaryDirectory(prefix="sentinelhub-table-") as folder:
        path = Path(folder) / "table.parquet"
        storage.download(url, path)
        try:
            known = pq.read_schema(path).names
            _check_statistics(url, known)
            wanted = known if columns is None else _known([columns] if isinstance(columns, str) else columns, known)
            return pq.read_table(path, columns=list(wanted))
        except (pa.ArrowInvalid, OSError) as e:
            raise ArtifactCorrupt(f"{url} cannot be read as a Parquet table: {one_line(e)}") from e


def check_table_url(url: object) -> None:
    """
    Check that a value can be the URL of a table.

    :param url: What was given.
    :raises InvalidParameter: It is not text, or empty.
    """
    if not isinstance(url, str) or not url.strip():
        fix = "Give the statistics_url that a task returned."
        raise InvalidParameter("statistics_url", url, "must be the URL of a table of statistics", fix)


def check_tidy(path: Path, url: str) -> None:
    """
    Check that a file is the tidy table of statistics, of which the other forms are made.

    :param path: The file.
    :param url: Where it came from, for the message.
    :raises InvalidParameter: It is another table, or none at all.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    from airflow_provider_sentinelhub.artifacts.statistics.schema import COLUMNS, VERSION_KEY, fingerprint

    fix = "Give the tidy table: statistics_url of a result, .../statistics-<task id>.parquet."
    try:
        schema = pq.read_schema(path)
    except (pa.ArrowInvalid, OSError):
        rule = "must be a table of statistics, and is not a Parquet file"
        raise InvalidParameter("statistics_url", url, rule, fix) from None
    written = (schema.metadata or {}).get(VERSION_KEY, b"").decode("ascii", "replace")
    if written and written != fingerprint():
        rule = f"has the schema {one_line(written)} of another version of this package; this one reads {fingerprint()}"
        fix = "Run the report operator for its task, or the operator that made it: the table is written again."
        raise InvalidParameter("statistics_url", url, rule, fix)
    if missing := [each.name for each in COLUMNS if each.name not in schema.names]:
        rule = f"must be the tidy table of statistics, and is another one: it has no column {', '.join(missing[:3])}"
        raise InvalidParameter("statistics_url", url, rule, fix)


def _check_statistics(url: str, known: Sequence[str]) -> None:
    """Refuse any other table than the forms of statistics: tidy, wide, with outlines."""
    if missing := [name for name in ("feature_id", "interval_from") if name not in known]:
        rule = f"must be a table of statistics, and is another one: it has no column {', '.join(missing)}"
        raise InvalidParameter("statistics_url", url, rule, "Give statistics_url of a result, not its report_url.")


def _known(columns: Sequence[str], known: Sequence[str]) -> Sequence[str]:
    if unknown := [name for name in columns if name not in known]:
        rule = f"the table has no such column{'s' * (len(unknown) > 1)}"
        raise InvalidParameter("columns", unknown, rule, f"Choose from {', '.join(known)}.")
    return columns
