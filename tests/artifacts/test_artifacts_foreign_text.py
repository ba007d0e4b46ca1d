"""Names and messages of features, and answers of buckets, that steer a terminal or forge lines of a log."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_sentinelhub.artifacts.report.execution_db import read_execution_db
from airflow_provider_sentinelhub.artifacts.storage.errors import StorageAnswer, storage_unavailable
from airflow_provider_sentinelhub.artifacts.storage.location import Location
from tests.artifacts.artifact_files import write_execution_db
from tests.artifacts.artifact_s3 import ScriptedS3

if TYPE_CHECKING:
    from pathlib import Path

EVIL = "\x1b[2J\n2026-01-01 INFO all is well\u202e\u2028\x00"
TEXT = st.text(st.characters(codec="utf-8"), max_size=30) | st.just(EVIL)


def strings(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for item in value.items() for text in strings(item)]
    if isinstance(value, (list, tuple)):
        return [text for item in value for text in strings(item)]
    return [value] if isinstance(value, str) else []


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(TEXT, st.sampled_from(["DONE", "FATAL", "PENDING"]) | TEXT, TEXT), min_size=1, max_size=5))
def test_a_report_shows_nothing_that_cannot_be_printed(tmp_path: Path, rows: list[tuple[str, str, str]]) -> None:
    path = tmp_path / "execution.sqlite"
    path.unlink(missing_ok=True)
    report = read_execution_db(write_execution_db(path, [(n, *row, 0) for n, row in enumerate(rows)]))
    assert all(line.isprintable() for line in report.text().split("\n"))
    assert all(text.isprintable() for text in strings(report.to_dict()))
    json.dumps(report.to_dict())


def test_equal_messages_stay_one_group(tmp_path: Path) -> None:
    rows = [(n, f"tile-{n}", "FATAL", f"tile-{n}: \x1b[2J\u202e{n}\nof {n} s", 0) for n in range(20)]
    (group,) = read_execution_db(write_execution_db(tmp_path / "x.sqlite", rows)).error_groups
    assert (group.count, group.message) == (20, "<feature>: <n> of <n> s")


@given(TEXT)
def test_what_a_bucket_says_is_one_line(text: str) -> None:
    location = Location("s3", "bucket", "f")
    for said in (text, f"status code: 500: <Code>{text}</Code><Message>{text}</Message>", f'error: "{text}"'):
        assert str(storage_unavailable("list", location, StorageAnswer(said))).isprintable()


def test_what_a_server_says_is_not_in_the_chain_of_errors_either() -> None:
    body = f"<Error><Code>AccessDenied</Code><Message>{EVIL}</Message></Error>"
    with ScriptedS3(lambda *_: (403, body)) as s3:
        for call in (s3.storage().read, lambda url: list(s3.storage().list(url))):
            with pytest.raises(Exception, match="AccessDenied") as caught:
                call("s3://bucket/f/x")
            assert str(caught.value).isprintable()
            # A traceback shows the cause, and not what the client library raised.
            assert str(caught.value.__cause__).isprintable()
            assert caught.value.__suppress_context__
