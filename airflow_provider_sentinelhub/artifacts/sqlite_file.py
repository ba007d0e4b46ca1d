"""
Open SQLite files the service wrote, without trusting that they are whole.

An execution database is a snapshot of a file that is being written. A snapshot that was cut off or torn must be
noticed: a wrong count is worse than none.

Source: https://www.sqlite.org/fileformat2.html#the_database_header
"""

from __future__ import annotations

import sqlite3
from contextlib import closing, contextmanager
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import quote

from airflow_provider_sentinelhub.client.errors import ArtifactCorrupt, StorageUnavailable
from airflow_provider_sentinelhub.client.text import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_HEADER_BYTES = 100
_MAGIC = b"SQLite format 3\x00"
_MIN_PAGE = 512
_MAX_PAGE = 65536
_ADVICE = (
    ". If the task is still running, read it again later; if it has ended, download it by hand and ask Sentinel Hub "
    "support to deliver it again."
)
_OF_THIS_MACHINE = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_CANTOPEN}


@contextmanager
def open_sqlite(path: Path, what: str, *, is_compared: bool = False) -> Iterator[sqlite3.Connection]:
    """
    Open a file read-only, after checking that it is whole; close it at the end of the block.

    :param path: The file; it must not change while it is open.
    :param what: What it should be, for the error message, e.g. ``execution database``.
    :param is_compared: Whether the block compares its rows with what they should be, or else calls :func:`check_pages`;
        its pages are not looked through before. Default ``False``.
    :raises ArtifactCorrupt: It is not SQLite, was cut off or is damaged; also for damage met inside the block.
    :raises StorageUnavailable: This machine has no memory or disk left to read it.
    """
    check_header(path, what)
    with reading(path, what), closing(sqlite3.connect(file_uri(path), uri=True)) as connection:
        # Names and messages in a broken encoding must not hide the features they belong to.
        connection.text_factory = partial(str, encoding="utf-8", errors="replace")
        connection.execute("PRAGMA trusted_schema=OFF")
        connection.execute("PRAGMA cell_size_check=ON")
        if not is_compared:
            check_pages(connection, path, what)
        yield connection


def check_pages(connection: sqlite3.Connection, path: Path, what: str) -> None:
    """
    Look through all pages of an open file.

    :param connection: The open file.
    :param path: The file, for the error message.
    :param what: What it should be, for the error message.
    :raises ArtifactCorrupt: They contradict each other.
    """
    verdict = connection.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != ("ok",):
        raise corrupt(path, what, f"its pages contradict each other: {verdict and verdict[0]}")


@contextmanager
def reading(path: Path, what: str) -> Iterator[None]:
    """
    Say what went wrong with a file in the block.

    :param path: The file.
    :param what: What it should be, for the error message.
    :raises ArtifactCorrupt: SQLite cannot read it.
    :raises StorageUnavailable: This machine has no memory or disk left to read it.
    """
    try:
        yield
    except sqlite3.DatabaseError as error:
        # Sorting spills to disk: a full disk says nothing about the file.
        if getattr(error, "sqlite_errorcode", 0) & 0xFF in _OF_THIS_MACHINE:
            raise StorageUnavailable(
                f"Could not read {path.name}: SQLite says: {one_line(error)}. Free memory or space in the temporary "
                "folder of this worker, then try again."
            ) from error
        raise corrupt(path, what, f"SQLite says: {error}") from error
    except UnicodeDecodeError as error:
        # Python decodes SQLite's own messages and the schema strictly, whatever the text factory.
        raise corrupt(path, what, "the names in its schema are not UTF-8") from error


def file_uri(path: Path, *, new: bool = False) -> str:
    """
    Name a file so that SQLite neither writes to it nor looks for a journal beside it.

    :param path: The file.
    :param new: Whether it is to be written instead. Default ``False``.
    """
    return f"file:{quote(str(path.absolute()))}?{'mode=rwc' if new else 'mode=ro&immutable=1'}"


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
        raise corrupt(path, what, f"it starts with {header[:16]!r}, so it is no SQLite file")
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


def table_columns(connection: sqlite3.Connection, table: str) -> dict[str, str]:
    """
    List the columns of a table: lower-case name to real name; empty if there is no such table.

    :param connection: An open file.
    :param table: Name of the table.
    """
    return {row[0].lower(): row[0] for row in connection.execute("SELECT name FROM pragma_table_info(?)", (table,))}


def quoted(name: str) -> str:
    """
    Quote an identifier for SQL.

    :param name: Table or column.
    """
    return '"' + name.replace('"', '""') + '"'


def corrupt(path: Path, what: str, found: str) -> ArtifactCorrupt:
    """
    Say what is wrong with a file and what to do about it.

    :param path: The file.
    :param what: What it should be.
    :param found: What was found, and what was expected where that is not obvious.
    """
    return ArtifactCorrupt(f"{path.name} is not a usable {what}: {one_line(found)}{_ADVICE}")


def found_in(error: ArtifactCorrupt) -> str:
    """
    Return what was found in a file, without the advice, which is about files the service wrote.

    :param error: What :func:`corrupt` returned.
    """
    return str(error).removesuffix(_ADVICE).partition(": ")[2]
