"""Foreign text in messages: whatever the service says, nothing that cannot be printed comes out."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_sentinelhub.client.apis.batch_v2 import calls as batch_v2
from airflow_provider_sentinelhub.client.errors import ArtifactMissing, InvalidParameter, SentinelHubError
from airflow_provider_sentinelhub.client.http.problems import Problem, Reply, refusal
from airflow_provider_sentinelhub.client.lifecycle.tasks import BatchTask
from airflow_provider_sentinelhub.client.lifecycle.watch import Watch
from airflow_provider_sentinelhub.client.text import one_line, printable

EVIL = st.text() | st.lists(
    st.sampled_from(
        [
            "a",
            " ",
            "\n",
            "\r",
            "\x1b[31m",
            "\x1b]0;title\x07",
            "\x1b",
            "\x9b2J",
            "\u202e",
            "\u2066",
            "\u2028",
            "\u200b",
            "\x00",
        ]
    )
).map("".join)


@given(EVIL)
def test_what_is_shown_can_be_printed(text: str) -> None:
    assert printable(text).isprintable()
    assert printable(printable(text)) == printable(text)
    assert all(line.isprintable() for line in printable(text, keep="\n").split("\n"))
    assert one_line(text).isprintable()
    assert len(one_line(text, 20)) <= 20
    assert one_line(one_line(text)) == one_line(text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Čeština, ελληνικά, 日本語, हिन्दी", "Čeština, ελληνικά, 日本語, हिन्दी"),
        ("one\r\ntwo\tthree", "one two three"),
        ("\x1b[1;31mred\x1b[0m text", "red text"),
        ("\x1b]8;;https://evil.example\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("an \x1b]0;unfinished title", "an 0;unfinished title"),
        ("\x9b2Jcleared", "cleared"),
        ("abc\u202efdp.exe", "abcfdp.exe"),
        ("zero\u200bwidth\ufeff", "zerowidth"),
        ("a\u2028b\u2029c\x85d", "a b c d"),
    ],
)
def test_what_becomes_of_it(text: str, shown: str) -> None:
    assert one_line(text) == shown


def test_a_line_is_bounded_however_long_the_text() -> None:
    assert one_line("x" * 10_000_000, 100) == "x" * 97 + "..."


@given(EVIL)
def test_an_error_holds_nothing_but_lines_that_can_be_printed(text: str) -> None:
    for error in (
        SentinelHubError(text),
        ArtifactMissing(f"There is no {text}"),
        InvalidParameter(text, text, text, text),
    ):
        assert all(line.isprintable() for line in str(error).split("\n"))


@given(EVIL, EVIL, EVIL, st.sampled_from([400, 401, 403, 404, 409, 429, 500]))
def test_a_refusal_has_the_lines_of_its_own_layout_only(message: str, code: str, named: str, status: int) -> None:
    envelope = {"message": message, "code": code, "errors": [{"parameter": named, "violation": message}]}
    for body in (json.dumps({"error": envelope}).encode(), json.dumps({"error_description": message}).encode()):
        problem = Problem.of(Reply(status, {}, body))
        error = refusal(batch_v2.TASKS.get("6a0a2c1b-6a4f-4a9e-9d5d-0d2b1f6f7a11"), status, problem)
        lines = str(error).split("\n")
        assert len(lines) == 1 + len(problem.violations)
        assert all(line.isprintable() for line in lines)


@given(EVIL, EVIL)
def test_what_a_wait_says_is_one_line(status: str, error: str) -> None:
    task = BatchTask.model_validate(
        {"id": "x", "status": status, "userAction": status, "error": error, "stoppedStatusReason": error}
    )
    watch = Watch(60.0)
    lines = [watch.saw(task), watch.missed(OSError(error)), task.error, task.stopped_status_reason]
    assert all(line is not None and line.isprintable() for line in lines)
