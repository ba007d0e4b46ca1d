"""
Open SQLite files from others, without trusting that they are complete or harmless.

An execution database is a snapshot of a file that is being written. A truncated or inconsistent snapshot must be
detected: a wrong count is worse than none.

A file of a few kilobytes can contain SQL that produces gigabytes, or never ends. SQL of the file is not run to read its
rows: tables are read, views and virtual tables are not. What SQLite computes nevertheless (generated columns, while it
checks the pages) is bounded, as are the length of a value and the work for a file of its size.

Source: https://www.sqlite.org/fileformat2.html#the_database_header and https://www.sqlite.org/security.html
"""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from airflow_provider_sentinelhub.client.errors import ArtifactCorrupt, InvalidParameter, StorageUnavailable
from airflow_provider_sentinelhub.client.text import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator

MIB = 1024 * 1024
MAX_VALUE_BYTES = 32 * MIB
"""Bytes of one value or row: a geometry of this size has two million corners."""
MAX_SQL_BYTES = 1_000_000
"""Bytes of one definition in a file's schema, and of a query with its names."""
MAX_NAME = 500
"""Characters of the name of a column."""
WAL = "-wal"
"""What is added to the name of a file for the one with its latest changes."""
JOURNAL = "-journal"
"""What is added to the name of a file for the one that undoes a change which was not finished."""
MAX_DEFAULT = 1_000
"""Characters of a column's default, which every row may have without storing it."""
STEPS_AT_LEAST = 50_000_000
"""Steps SQLite may take in a block, or after a file was attached: a few seconds."""
STEPS_PER_BYTE = 50
"""Further steps for each byte of the files; reading everything takes less than two."""
_SECONDS_AT_LEAST = 30.0
_SECONDS_PER_MIB = 2.0
_STEPS_BETWEEN = 2_000
_GENERATED = (2, 3)

_HEADER_BYTES = 100
_WRITE_VERSION, _WAL = 18, 2
_MAGIC = b"SQLite format 3\x00"
_MIN_PAGE = 512
_MAX_PAGE = 65536
_ADVICE = (
    ". If the task is still running, read it again later; if it has ended, download it by hand and ask Sentinel Hub "
    "support to deliver it again."
)
_WRITTEN_NOW = (
    "a program that writes it, or that was ended while it did, has left its -journal beside it; close the program, or "
    "open it with one and close it again"
)
_IN_A_READ_ONLY_FOLDER = (
    "it has a -wal beside it, with changes that can only be read where a -shm can be written beside both; close the "
    "program that has it open, or copy both files into a folder that may be written to"
)
_OF_THIS_MACHINE = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_CANTOPEN}
_TOO_BIG = (
    f"it holds, or computes, a value of more than {MAX_VALUE_BYTES // MIB} MiB, or a definition of more than "
    f"{MAX_SQL_BYTES:,} bytes, which is not read"
)
_TOO_MUCH = (
    f"it takes more than {STEPS_AT_LEAST:,} steps, and {STEPS_PER_BYTE} for each of its bytes, after which it is not "
    "read any further"
)


class _Refused(Exception):
    """A file contains something that is not read."""


class _Budget:
    """
    Stops work that exceeds what a file of its size can need; counts steps and not seconds, as machines may be busy.

    :param size: Bytes of the files that are read.
    """

    def __init__(self, size: int) -> None:
        self._left = STEPS_AT_LEAST + STEPS_PER_BYTE * size

    def __call__(self) -> bool:
        """Return whether to stop."""
        self._left -= _STEPS_BETWEEN
        return self._left < 0


@contextmanager
def open_sqlite(path: Path, what: str, *, is_compared: bool = False) -> Iterator[sqlite3.Connection]:
    """
    Open a file read-only, after checking that it is complete; close it at the end of the block.

    Changes that a program has not yet written into the file, and keeps in a ``-wal`` beside it, are read as well, as
    SQLite and GDAL do. A file of a bucket has none beside it.

    :param path: The file; it must not change while it is open.
    :param what: What it should be, for the error message, e.g. ``execution database``.
    :param is_compared: Whether the block compares all rows with what they should be, or calls :func:`check_pages`; then
        the pages are not checked first. Default ``False``.
    :raises ArtifactCorrupt: It is not SQLite, truncated or damaged; also for damage found inside the block.
    :raises StorageUnavailable: This machine has no memory or disk space left to read it.
    """
    is_alone = not companions(path)
    # With a -wal file beside it, the size may differ from the header, and SQLite verifies the checksums.
    if is_alone:
        check_header(path, what)
    uri = file_uri(path) if is_alone else f"{_uri(path)}?mode=ro"
    with reading(path, what), closing(sqlite3.connect(uri, uri=True)) as connection:
        _bound(connection)
        # Names and messages in a broken encoding must not hide the features they belong to.
        connection.text_factory = partial(str, encoding="utf-8", errors="replace")
        connection.execute("PRAGMA trusted_schema=OFF")
        connection.execute("PRAGMA cell_size_check=ON")
        connection.execute("PRAGMA ignore_check_constraints=ON")
        if not is_compared:
            check_pages(connection, path, what)
        yield connection


def check_pages(connection: sqlite3.Connection, path: Path, what: str) -> None:
    """
    Check all pages of an open file.

    :param connection: The open file.
    :param path: The file, for the error message.
    :param what: What it should be, for the error message.
    :raises ArtifactCorrupt: They contradict each other, or the check takes too much.
    """
    size = sum(file.stat().st_size for file in (path, *companions(path)))
    budget = _Budget(size)
    # SQLite computes generated columns here, with SQL of the file, and a single step may take long. Thread time counts
    # neither other threads nor other processes.
    give_up_at = time.thread_time() + _SECONDS_AT_LEAST + _SECONDS_PER_MIB * size / MIB
    connection.set_progress_handler(lambda: budget() or time.thread_time() > give_up_at, _STEPS_BETWEEN)
    verdict = connection.execute("PRAGMA quick_check(1)").fetchone()
    _bound(connection)
    if verdict != ("ok",):
        raise corrupt(path, what, f"its pages contradict each other: {verdict and verdict[0]}")


@contextmanager
def reading(path: Path, what: str) -> Iterator[None]:
    """
    Convert what SQLite raises in the block.

    :param path: The file.
    :param what: What it should be, for the error message.
    :raises ArtifactCorrupt: SQLite cannot read it.
    :raises StorageUnavailable: This machine has no memory or disk space left to read it.
    """
    try:
        yield
    except _Refused as error:
        raise corrupt(path, what, str(error)) from error
    except sqlite3.DatabaseError as error:
        # Sorting spills to disk, and a full disk is no fault of the file.
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code == sqlite3.SQLITE_CANTOPEN and companions(path):
            raise corrupt(path, what, _IN_A_READ_ONLY_FOLDER) from error
        if code in _OF_THIS_MACHINE:
            raise StorageUnavailable(
                f"Could not read {path.name}: SQLite says: {one_line(error)}. Free memory or space in the temporary "
                "folder of this worker, then try again."
            ) from error
        raise corrupt(path, what, _said(error)) from error
    except UnicodeDecodeError as error:
        # Python decodes SQLite's own messages and the schema strictly, whatever the text factory.
        raise corrupt(path, what, "the names in its schema are not UTF-8") from error


def _said(error: sqlite3.DatabaseError) -> str:
    if "too big" in str(error):
        return _TOO_BIG
    code = getattr(error, "sqlite_errorcode", 0)
    known = {sqlite3.SQLITE_INTERRUPT: _TOO_MUCH, sqlite3.SQLITE_READONLY_ROLLBACK: _WRITTEN_NOW}
    return known.get(code, f"SQLite says: {error}")


def attach(connection: sqlite3.Connection, path: Path, schema: str) -> None:
    """
    Attach another file read-only, for joins; work of the connection is then bounded by the size of its files.

    :param connection: Any connection; it must have been opened by URI.
    :param path: The other file, whose tables were found with :func:`open_sqlite`.
    :param schema: Name to attach it under.
    :raises ArtifactCorrupt: It is truncated, or not an SQLite file.
    """
    check_header(path, "SQLite file")
    connection.execute(f"ATTACH ? AS {quoted(schema)}", (file_uri(path),))
    _bound(connection)


def detach(connection: sqlite3.Connection, schema: str) -> None:
    """
    Detach the last attached file: work of the connection is no longer bounded.

    :param connection: The connection.
    :param schema: The name it was attached under.
    """
    connection.execute(f"DETACH {quoted(schema)}")
    connection.set_progress_handler(None, 0)


def _bound(connection: sqlite3.Connection) -> None:
    """Bound the work of a connection, by the size of all its files."""
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_VALUE_BYTES)
    connection.setlimit(sqlite3.SQLITE_LIMIT_SQL_LENGTH, MAX_SQL_BYTES)
    files = [Path(file) for _, _, file in connection.execute("PRAGMA database_list") if file]
    size = sum(each.stat().st_size for file in files for each in (file, *companions(file)))
    connection.set_progress_handler(_Budget(size), _STEPS_BETWEEN)


def file_uri(path: Path, *, new: bool = False) -> str:
    """
    Return the URI of a file with which SQLite neither writes to it nor looks for a journal beside it.

    :param path: The file.
    :param new: Whether it is opened for writing instead. Default ``False``.
    """
    return f"{_uri(path)}?{'mode=rwc' if new else 'mode=ro&immutable=1'}"


def _uri(path: Path) -> str:
    return f"file:{quote(str(path.absolute()))}"


def companions(path: Path) -> list[Path]:
    """
    Return the files beside a file that hold changes which are not in it, or what to undo in it.

    :param path: The file.
    """
    beside = (path.with_name(f"{path.name}{ending}") for ending in (WAL, JOURNAL))
    return [each for each in beside if each.is_file() and each.stat().st_size]


def is_in_wal_mode(path: Path) -> bool:
    """
    Return whether changes of a file are kept in a ``-wal`` beside it until the last program has closed it.

    :param path: The file.
    """
    with path.open("rb") as file:
        header = file.read(_HEADER_BYTES)
    return header.startswith(_MAGIC) and _WAL in header[_WRITE_VERSION : _WRITE_VERSION + 2]


def missing_changes(source: str, name: str, place: str) -> InvalidParameter:
    """
    Return the error about a file in WAL mode whose changes are nowhere.

    :param source: What the user gave.
    :param name: Name of the file.
    :param place: Where its changes are not: ``the bucket`` or ``the zip``.
    """
    return InvalidParameter(
        "source",
        source,
        "is in SQLite's WAL mode, so its latest changes may be missing: until a program closes it, they are in "
        f"{name}{WAL}, which is not in {place}",
        "Close it in the GIS, or run PRAGMA journal_mode=DELETE on it, and upload it again.",
    )


def check_header(path: Path, what: str) -> None:
    """
    Compare the file's size with what its header promises.

    :param path: The file.
    :param what: What it should be.
    :raises ArtifactCorrupt: It is not SQLite, or has another size than its header says.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        header = file.read(_HEADER_BYTES)
    if not header:
        raise corrupt(path, what, "it is empty")
    if not header.startswith(_MAGIC[: len(header)]):
        raise corrupt(path, what, f"it starts with {header[:16]!r}, so it is not an SQLite file")
    if len(header) < _HEADER_BYTES:
        raise corrupt(path, what, f"it ends after {size} bytes")
    page = int.from_bytes(header[16:18], "big")
    page = _MAX_PAGE if page == 1 else page
    if not _MIN_PAGE <= page <= _MAX_PAGE or page & (page - 1):
        raise corrupt(path, what, f"its header gives a page size of {page} bytes")
    promised = int.from_bytes(header[28:32], "big") * page
    # SQLite before 3.7 left the page count of the header stale, and says so by these two counters.
    if header[24:28] != header[92:96] or not promised:
        promised = size + (-size % page)
    if size != promised:
        raise corrupt(path, what, f"it has {size} bytes where its header promises {promised}")


def table_columns(connection: sqlite3.Connection, table: str, *, may_be_view: bool = False) -> dict[str, str]:
    """
    List the columns of a table: lower-case name to real name; empty if there is no such table.

    Generated columns are left out: they are not stored but computed, with SQL of the file.

    :param connection: A file in the block of :func:`open_sqlite`, which ends with an error where ``table`` is a view or
        a virtual table, or where a name or default of a column is too long.
    :param table: Name of the table.
    :param may_be_view: Whether a view may be read as well; its work is bounded, too. Default: an error.
    """
    defined = "SELECT sql FROM sqlite_master WHERE type IN ('table', 'view') AND name = ? COLLATE NOCASE"
    definition = connection.execute(defined, (table,)).fetchone()
    if definition is None:
        return {}
    # SQLite itself checks kind and name of a table against its definition.
    is_view = str(definition[0]).upper().startswith("CREATE VIEW")
    if not str(definition[0]).upper().startswith("CREATE TABLE") and not (may_be_view and is_view):
        raise _Refused(f"its table {table!r} is a view or a virtual table, which are not read")
    columns = connection.execute("SELECT name, hidden, dflt_value FROM pragma_table_xinfo(?)", (table,)).fetchall()
    for name, _, default in columns:
        if len(name) > MAX_NAME:
            raise _Refused(
                f"a column of its table {table!r} has a name of {len(name)} characters; at most {MAX_NAME} are read"
            )
        if default is not None and len(default) > MAX_DEFAULT:
            raise _Refused(
                f"column {name!r} of its table {table!r} has a default of {len(default)} characters; at most "
                f"{MAX_DEFAULT} are read"
            )
    return {name.lower(): name for name, hidden, _ in columns if hidden not in _GENERATED}


def generated_columns(connection: sqlite3.Connection, table: str) -> str:
    """
    Return the generated columns of a table for a message about missing ones; empty where it has none.

    :param connection: An open file.
    :param table: Name of the table.
    """
    columns = connection.execute("SELECT name FROM pragma_table_xinfo(?) WHERE hidden IN (2, 3)", (table,)).fetchall()
    names = sorted(name for (name,) in columns)
    return f"; generated columns are not read: {names[:20]}" if names else ""


def quoted(name: str) -> str:
    """
    Quote an identifier for SQL.

    :param name: Table or column.
    """
    return '"' + name.replace('"', '""') + '"'


def corrupt(path: Path, what: str, found: str) -> ArtifactCorrupt:
    """
    Return the error about a file, with advice.

    :param path: The file.
    :param what: What it should be.
    :param found: What was found.
    """
    return ArtifactCorrupt(f"{path.name} is not a usable {what}: {one_line(found)}{_ADVICE}")


def found_in(error: ArtifactCorrupt) -> str:
    """
    Return what was found in a file, without the advice, which is for files the service wrote.

    :param error: What :func:`corrupt` returned.
    """
    return str(error).removesuffix(_ADVICE).partition(": ")[2]
