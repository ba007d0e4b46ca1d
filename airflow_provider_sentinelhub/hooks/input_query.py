"""Input features by query: rows of the database of an Airflow connection."""

from __future__ import annotations

import sqlite3
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

from airflow_provider_sentinelhub.client.errors import InvalidParameter

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_sentinelhub.artifacts.features.features import Batch, Columns

_ROWS = 2_000


def from_sql(
    sql: str,
    conn_id: str,
    *,
    parameters: Any = None,
    columns: Columns,
    epsg: int | None = None,
    close_rings: bool = False,
) -> Iterator[Batch]:
    """
    Read the rows of a query, a batch at a time.

    :param sql: The query. Geometries may be WKB, EWKB or hexadecimal, as PostGIS returns them, or WKT.
    :param conn_id: Connection of a database whose Airflow provider is installed.
    :param parameters: Its parameters, in the style of the database's driver.
    :param columns: Names of its columns.
    :param epsg: EPSG code of geometries that carry none; a geometry with another one is an error.
    :param close_rings: Close rings that do not end where they begin. Default: they are an error.
    :raises InvalidParameter: There is no such connection, it is not of a database, or the query is wrong.
    """
    from airflow_provider_sentinelhub.artifacts.features.sources import from_rows

    with closing(_database(conn_id)) as connection, _naming_query(sql), _cursor(connection) as cursor:
        cursor.arraysize = _ROWS
        cursor.execute(sql, *([] if parameters is None else [parameters]))
        # A server-side cursor knows its columns only after the first fetch.
        first = cursor.fetchmany(_ROWS)
        if cursor.description is None:
            raise InvalidParameter("sql", sql, "returns no rows", "Write a SELECT.")
        names = [column[0] for column in cursor.description]
        yield from from_rows(
            _rows(cursor, first), names, columns=columns, epsg=epsg, source="the query", close_rings=close_rings
        )


def _database(conn_id: str) -> Any:
    """Connect to the database of a connection."""
    from airflow.sdk import BaseHook
    from airflow.sdk.exceptions import AirflowException, AirflowNotFoundException

    fix = "Name one of a database, e.g. of type postgres, whose Airflow provider is installed."
    try:
        hook = BaseHook.get_hook(conn_id)
    except AirflowNotFoundException:
        raise InvalidParameter(
            "sql_conn_id", conn_id, "there is no such connection", "Add it, or name another one."
        ) from None
    except (AirflowException, ImportError) as error:
        rule = f"its provider is not installed, or cannot be used ({error})"
        raise InvalidParameter("sql_conn_id", conn_id, rule, fix) from None
    connection = hook.get_conn() if hasattr(hook, "get_conn") else None
    if not (hasattr(connection, "cursor") and hasattr(connection, "close")):
        raise InvalidParameter("sql_conn_id", conn_id, "is not the connection of a database", fix)
    return connection


@contextmanager
def _naming_query(sql: str) -> Iterator[None]:
    """Convert the error of a rejected query; other errors may pass, and are left for Airflow to retry."""
    try:
        yield
    except Exception as error:
        if not _is_refusal(error):
            raise
        reason = str(error).strip().partition("\n")[0].rstrip(".")
        raise InvalidParameter(
            "sql", sql, f"the database rejects it ({reason})", "Correct the query, or its parameters."
        ) from None


def _is_refusal(error: Exception) -> bool:
    # Drivers share the names of PEP 249, but no classes. For SQLite a syntax error is an OperationalError.
    kinds = {kind.__name__ for kind in type(error).__mro__}
    is_of_driver = "DatabaseError" in kinds
    is_sqlite = getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_ERROR
    return is_of_driver and (is_sqlite or bool(kinds & {"ProgrammingError", "DataError", "NotSupportedError"}))


@contextmanager
def _cursor(connection: Any) -> Iterator[Any]:
    # psycopg's default cursor fetches all rows at once; a named one leaves them on the server.
    is_psycopg = type(connection).__module__.partition(".")[0] in {"psycopg", "psycopg2"}
    with closing(connection.cursor("sentinelhub") if is_psycopg else connection.cursor()) as cursor:
        yield cursor


def _rows(cursor: Any, first: list[Any]) -> Iterator[Any]:
    rows = first
    while rows:
        yield from rows
        rows = cursor.fetchmany(_ROWS)
