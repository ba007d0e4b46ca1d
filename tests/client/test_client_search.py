"""A task is found in a list however odd its rows and its pages are, or there is an error: never a second create."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_sentinelhub.client import errors
from airflow_provider_sentinelhub.client.apis.batch_statistical.spec import BATCH_STATISTICAL
from airflow_provider_sentinelhub.client.apis.batch_v2.spec import BATCH_V2
from airflow_provider_sentinelhub.client.lifecycle.intent import Intent
from airflow_provider_sentinelhub.client.lifecycle.submission import find, obtain, reruns_of
from tests.client.client_harness import build_document, make_task
from tests.client.client_model import START

if TYPE_CHECKING:
    import random

OURS = Intent("dag", "run", "task", -1, "0" * 16, 0)
SINCE = START
TAG = {"description": f"Corsica | {OURS.tag}"}
Pages = Callable[[str | None], dict[str, Any]]


def row(number: int, **changes: Any) -> dict[str, Any]:
    """A task that was created so many seconds after the beginning; before it, where that is negative."""
    created = (START + timedelta(seconds=number)).isoformat()
    whole = {"id": f"t{number}", "status": "DONE", "userAction": "START", "created": created, "request": {}}
    return {key: value for key, value in {**whole, **changes}.items() if value is not ...}


def carried_out(procedure: Any, pages: Pages, calls: int = 6000) -> Any:
    answer: Any = None
    for _ in range(calls):
        try:
            call = procedure.send(answer)
        except StopIteration as end:
            return end.value
        assert (call.method, call.path) in {("GET", "/process"), ("GET", "")}, "something else than searching"
        answer = call.parse(pages(call.query.get("viewtoken")))
    raise AssertionError("no end")


def cut(rows: list[Any], size: int) -> Pages:
    """A list whose tokens are positions."""

    def page(token: str | None) -> dict[str, Any]:
        first = int(token or 0)
        links = {"nextToken": str(first + size)} if first + size < len(rows) else {}
        return {"data": rows[first : first + size], "links": links}

    return page


def found(pages: Pages) -> list[str]:
    return [task.id for task in carried_out(find(BATCH_V2, OURS, SINCE), pages)]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
odd_values = json_values | st.sampled_from(["2025-01-01T00:00:00", "2025-13-01", "", "Infinity", "1735689600", 1e400])
FIELDS = ["status", "userAction", "userActionUpdated", "created", "lastUpdated", "completionPercentage", "costPU",
          "error", "stoppedStatusReason", "later"]  # fmt: skip
odd_fields = st.dictionaries(st.sampled_from(FIELDS), odd_values | st.just(...))
odd_rows = json_values | st.builds(
    lambda fields: row(-1, **fields), st.dictionaries(st.sampled_from([*FIELDS, "id", "request"]), odd_values)
)


@given(st.lists(odd_rows, max_size=6), odd_fields, st.integers(0, 6), st.integers(1, 7))
def test_odd_rows_hide_nothing(others: list[Any], fields: dict[str, Any], place: int, size: int) -> None:
    ours = row(5, request=TAG, **fields)
    assert "t5" in found(cut([*others[:place], ours, *others[place:]], size))


@pytest.mark.parametrize(
    "fields",
    [
        {"status": None},
        {"created": ""},
        {"created": "2025-01-01T00:00:05"},
        {"created": "yesterday"},
        {"created": 5},
        {"created": ...},
        {"userAction": None, "completionPercentage": "half", "costPU": "NaN", "error": {"a": 1}},
    ],
    ids=str,
)
def test_a_task_of_ours_is_found_whatever_else_is_odd_about_it(fields: dict[str, Any]) -> None:
    assert found(cut([row(9), row(5, request=TAG, **fields), row(-3)], 100)) == ["t5"]
    assert found(cut([row(9), row(5, request=TAG), row(1, **fields), row(-3, request=None)], 100)) == ["t5"]


@pytest.mark.parametrize("task_id", [None, "", 5, "../x", "a b", ...], ids=str)
def test_a_task_of_ours_without_a_usable_id_is_an_error(task_id: Any) -> None:
    with pytest.raises(errors.ServiceUnavailable, match=r"no usable id\. Nothing was created"):
        found(cut([row(5, request=TAG, id=task_id)], 100))
    assert found(cut([row(6, id=task_id), row(5, request=TAG)], 100)) == ["t5"]


@pytest.mark.parametrize(
    "request_", [None, [], "x", {"aggregation": None}, {"aggregation": {"evalscriptReference": 5}}]
)
def test_a_request_of_any_shape_is_not_ours(request_: Any) -> None:
    pages = cut([row(5, request=request_)], 100)
    assert carried_out(find(BATCH_STATISTICAL, OURS, SINCE), pages) == []
    assert found(pages) == []


@given(st.randoms(use_true_random=False), st.integers(1, 200), st.integers(1, 100))
def test_a_list_in_any_order(shuffling: random.Random, length: int, size: int) -> None:
    rows = [row(number) for number in range(-length, 5)]
    shuffling.shuffle(rows)
    rows.insert(shuffling.randrange(len(rows)), row(5, request=TAG))
    assert found(cut(rows, size)) == ["t5"]


def test_a_list_with_the_oldest_first() -> None:
    assert found(cut([row(number) for number in range(-300, 5)] + [row(5, request=TAG)], 100)) == ["t5"]


def test_what_is_older_than_the_run_is_not_ours() -> None:
    assert found(cut([row(5), row(-5, request=TAG)], 100)) == []


@given(st.integers(0, 12), st.integers(1, 4), st.integers(0, 12), st.randoms(use_true_random=False))
def test_tasks_are_deleted_and_created_while_pages_are_turned(
    others: int, size: int, place: int, chance: random.Random
) -> None:
    rows = [row(number) for number in range(others)]
    rows.insert(place, row(50, request=TAG))
    old, fresh = [row(number)["id"] for number in range(others)], itertools.count(100)

    def pages(token: str | None) -> dict[str, Any]:
        page = cut(list(rows), size)(token)
        if old and chance.random() < 0.3:
            gone = old.pop(chance.randrange(len(old)))
            rows[:] = [each for each in rows if each["id"] != gone]
        if chance.random() < 0.2:
            rows.insert(0, row(next(fresh)))
        return page

    try:
        assert found(pages) == ["t50"]
    except errors.ServiceUnavailable as error:
        assert "deleted from the list while it is read" in str(error)  # noqa: PT017 - either of the two


def test_one_deletion_hides_nothing() -> None:
    rows = [row(9), row(8), row(5, request=TAG), row(4)]

    def pages(token: str | None) -> dict[str, Any]:
        page = cut(list(rows), 2)(token)
        if token is None and len(rows) == 4:
            del rows[0]
        return page

    assert found(pages) == ["t5"]


def test_a_row_that_comes_twice_is_one_task() -> None:
    original = make_task(id="t0", created=START.isoformat())
    tags = [Intent("dag", "run", "task", -1, "0" * 16, 0, number, "t0").tag for number in (1, 2)]
    rows = [row(number, request={"description": tag}) for number, tag in enumerate(tags, 1)]
    pages = cut([rows[1], rows[1], rows[0], rows[1]], 1)
    assert [task.id for task in carried_out(reruns_of(BATCH_V2, original), pages)] == ["t1", "t2"]


def test_pages_without_tasks_are_turned() -> None:
    rows: dict[str | None, list[Any]] = {None: [], "a": [], "b": [row(5, request=TAG)]}
    following: dict[str | None, Any] = {None: {"nextToken": "a"}, "a": {"nextToken": "b"}, "b": None}
    assert found(lambda token: {"data": rows[token], "links": following[token]}) == ["t5"]


def test_a_page_that_only_links_to_the_next_one_is_not_the_last() -> None:
    rows: dict[str | None, list[Any]] = {None: [row(9)], "a+b/=": [row(5, request=TAG)]}
    following: dict[str | None, Any] = {None: {"next": "https://example.com/process?count=1&viewtoken=a%2Bb%2F%3D"}}
    assert found(lambda token: {"data": rows[token], "links": following.get(token, {"next": ""})}) == ["t5"]
    assert found(lambda token: {"data": rows[token], "links": {**following.get(token, {}), "nextToken": None}}) == [
        "t5"
    ]


def test_a_next_page_that_cannot_be_asked_for_is_an_error() -> None:
    with pytest.raises(ValueError, match="next has no viewtoken"):
        found(lambda _token: {"data": [row(9)], "links": {"next": "https://example.com/process?page=2"}})


@pytest.mark.parametrize("data", [[], [row(9)]], ids=["empty", "full"])
def test_pages_in_a_circle_are_an_error(data: list[Any]) -> None:
    circle = {None: "a", "a": "b", "b": "a"}
    with pytest.raises(errors.ServiceUnavailable, match="came twice"):
        found(lambda token: {"data": data, "links": {"nextToken": circle[token]}})


@pytest.mark.parametrize("data", [[], [row(9)]], ids=["empty", "full"])
def test_pages_without_end_are_an_error(data: list[Any]) -> None:
    with pytest.raises(errors.ServiceUnavailable, match=r"more than 1000 pages\. Nothing was created"):
        found(lambda token: {"data": data, "links": {"nextToken": str(int(token or 0) + 1)}})


def test_an_empty_page_that_names_itself_is_the_end() -> None:
    pages = {None: [row(9)], "end": []}
    assert found(lambda token: {"data": pages[token], "links": {"nextToken": "end"}}) == []


@pytest.mark.parametrize("answer", [{}, {"data": None}, {"data": {}}, {"data": [], "links": {"nextToken": ["a"]}}, []])
def test_what_is_no_list_of_tasks_is_an_error(answer: Any) -> None:
    with pytest.raises(ValueError, match="validation error"):
        found(lambda _token: answer)


def test_nothing_is_created_where_the_search_does_not_end() -> None:
    obtaining = obtain(BATCH_V2, OURS, build_document(), (), recorded=None, since=SINCE)
    with pytest.raises(errors.ServiceUnavailable):
        carried_out(obtaining, lambda _token: {"data": [row(9)], "links": {"nextToken": "a"}})
