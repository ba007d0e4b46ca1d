"""The Catalog API: its requests, its Calls, and searches of several pages."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
import shapely

from airflow_provider_sentinelhub.client.apis.catalog import calls
from airflow_provider_sentinelhub.client.apis.catalog.answers import ItemPage, item_in
from airflow_provider_sentinelhub.client.errors import InvalidParameter, ServiceUnavailable, UnexpectedAnswer
from airflow_provider_sentinelhub.client.http.call import Call
from airflow_provider_sentinelhub.client.http.policy import Attempt, Done, RetryLimits, decide
from airflow_provider_sentinelhub.client.http.problems import Reply

if TYPE_CHECKING:
    from airflow_provider_sentinelhub.client.http.call import Procedure

SEARCH = {
    "collections": ["sentinel-2-l2a"],
    "datetime": "2026-06-01T00:00:00Z/2026-07-01T00:00:00Z",
    "bbox": [13, 45, 14, 46],
}


def with_field(name: str, value: Any) -> dict[str, Any]:
    return {**SEARCH, name: value}


# ---------------------------------------------------------------------------------------------------------- requests


def test_a_search_is_sent_as_given() -> None:
    request = {
        **SEARCH,
        "limit": 5,
        "next": 5,
        "fields": {"include": ["properties.eo:cloud_cover"], "exclude": ["assets"]},
        "filter": {"op": "<=", "args": [{"property": "eo:cloud_cover"}, 20]},
        "filter-lang": "cql2-json",
        "filter-crs": "http://www.opengis.net/def/crs/OGC/1.3/CRS84",
    }
    call = calls.search(request)
    assert (call.method, call.path, call.body) == ("POST", "/search", request)


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ("2026-06-01T02:00:00+02:00", "2026-06-01T00:00:00Z"),
        ("2026-06-01T00:00:00Z/..", "2026-06-01T00:00:00Z/.."),
        ("../2026-06-01T00:00:00Z", "../2026-06-01T00:00:00Z"),
        (["2026-06-01T00:00:00", None], "2026-06-01T00:00:00Z/.."),
        ((datetime(2026, 6, 1, tzinfo=UTC), datetime(2026, 6, 2)), "2026-06-01T00:00:00Z/2026-06-02T00:00:00Z"),  # noqa: DTZ001 - as users give it
        ("['2026-06-01T00:00:00Z', '2026-06-02T00:00:00Z']", "2026-06-01T00:00:00Z/2026-06-02T00:00:00Z"),
    ],
)
def test_dates_are_written_as_the_service_reads_them(given: Any, sent: str) -> None:
    assert calls.check(with_field("datetime", given))["datetime"] == sent


@pytest.mark.parametrize(
    ("filter_", "language"),
    [
        ("eo:cloud_cover <= 20 and platform = 'not or in'", "cql2-text"),
        ("(eo:cloud_cover between 10 and 20)", "cql2-text"),
        ('{"op": "=", "args": [{"property": "platform"}, "sentinel-2a"]}', "cql2-json"),
    ],
)
def test_the_language_of_a_filter_is_found(filter_: str, language: str) -> None:
    assert calls.check(with_field("filter", filter_))["filter-lang"] == language


def test_a_collection_may_be_given_alone_and_a_geometry_as_an_object() -> None:
    request = {key: value for key, value in SEARCH.items() if key != "bbox"}
    body = calls.check({**request, "collections": "sentinel-1-grd", "intersects": shapely.box(1, 2, 3, 4)})
    assert body["collections"] == ["sentinel-1-grd"]
    assert body["intersects"]["type"] == "Polygon"


RING = [[10, 10], [11, 10], [11, 11], [10, 10]]


@pytest.mark.parametrize(
    ("request_", "field", "rule"),
    [
        (with_field("collections", []), "collections", "at least 1 item"),
        (with_field("collections", ["a", "b"]), "collections", "at most 1 item"),
        ({"collections": ["a"]}, "request", "has no datetime"),
        (with_field("datetime", "2026-06-01"), "datetime", "a date without a time"),
        (with_field("datetime", "../.."), "datetime", "open on both sides"),
        (with_field("datetime", "2026-06-02T00:00:00Z/2026-06-01T00:00:00Z"), "datetime", "begins after its end"),
        (with_field("datetime", [1, 2, 3]), "datetime", "neither a date and time"),
        (with_field("limit", 101), "limit", "less than or equal to 100"),
        (with_field("limit", 0), "limit", "greater than or equal to 1"),
        (with_field("bbox", [13, 46, 14, 45]), "bbox", "south is greater than north"),
        (with_field("bbox", [1300000, 45, 14, 46]), "bbox", "not in degrees"),
        (with_field("bbox", [13, 45]), "bbox", "four numbers"),
        (with_field("intersects", {"type": "Point", "coordinates": [1, 2]}), "request", "both bbox and intersects"),
        (with_field("intersects", {"type": "Polygon", "coordinates": [RING[:3]]}), "intersects", "fewer than four"),
        (with_field("intersects", {"type": "Polygon", "coordinates": [[*RING, [9, 9]]]}), "intersects", "open ring"),
        (with_field("intersects", {"type": "Point", "coordinates": [500000, 5000000]}), "intersects", "not in degrees"),
        (with_field("intersects", {"type": "Feature"}), "intersects", "GeoJSON geometry"),
        (with_field("filter", "a = 1 or b = 2"), "filter", "has or"),
        (with_field("filter", "a == 1"), "filter", "has =="),
        (with_field("filter", {"op": "gt", "args": []}), "filter", "operator gt"),
        (with_field("filter", {"op": "not", "args": []}), "filter", "does not know"),
        (with_field("filter", {"op": "<", "args": [1]}), "filter", "has 1 args"),
        ({**SEARCH, "filter": "a = 1", "filter-lang": "cql2-json"}, "request", "not cql2-json"),
        (with_field("filter-crs", "EPSG:4326"), "filter-crs", "CRS84"),
        (with_field("query", {}), "query", "not a field"),
        (with_field("fields", {"includes": []}), "fields.includes", "not a field"),
        ("sentinel-2-l2a", "request", "must be a JSON object"),
    ],
)
def test_a_wrong_search_is_refused_before_it_is_sent(request_: Any, field: str, rule: str) -> None:
    with pytest.raises(InvalidParameter) as caught:
        calls.search(request_)
    assert caught.value.field == field
    assert rule in str(caught.value)
    assert caught.value.fix


@pytest.mark.parametrize("given", ["", "..", "a/b", "x y", "None", None])
def test_an_id_that_is_none_is_refused(given: Any) -> None:
    for call in (calls.collection, calls.queryables, calls.items):
        with pytest.raises(InvalidParameter, match="not the id of a collection"):
            call(given)


def test_each_operation_has_its_path() -> None:
    listed = calls.items("sentinel-2-l2a", bbox=[170, -10, -170, 10.5], datetime=SEARCH["datetime"], limit=5, next=10)
    simple = calls.simple_search({**SEARCH, "fields": {"include": ["id"], "exclude": ["geometry"]}, "filter": "a = 1"})
    made: list[Call[Any]] = [
        calls.landing_page(),
        calls.conformance(),
        calls.collections(),
        calls.collection("byoc-1"),
        calls.queryables("byoc-1"),
        calls.item("byoc-1", "a/b c"),
        calls.items("byoc-1"),
        listed,
        simple,
    ]
    assert [call.path for call in made] == [
        "",
        "/conformance",
        "/collections",
        "/collections/byoc-1",
        "/collections/byoc-1/queryables",
        "/collections/byoc-1/items/a%2Fb%20c",
        "/collections/byoc-1/items",
        "/collections/sentinel-2-l2a/items",
        "/search",
    ]
    assert not made[6].query
    assert dict(listed.query) == {
        "bbox": "170,-10,-170,10.5",
        "datetime": SEARCH["datetime"],
        "limit": "5",
        "next": "10",
    }
    assert simple.query["fields"] == "id,-geometry"
    with pytest.raises(InvalidParameter, match="CQL2 JSON, which a GET"):
        calls.simple_search(with_field("filter", {"op": "=", "args": [1, 1]}))


# ------------------------------------------------------------------------------------------------------------- pages


def answered(procedure: Procedure[Any], pages: dict[int, ItemPage]) -> tuple[Any, list[int]]:
    """Run a search on pages by where they begin; return its result, and what it asked for."""
    asked: list[int] = []
    page: ItemPage | None = None
    while True:
        try:
            call = procedure.send(page)
        except StopIteration as end:
            return end.value, asked
        assert isinstance(call, Call)
        asked.append((call.body or {}).get("next", 0))
        page = pages[asked[-1]]


def page(begin: int, size: int, next_: int | None) -> ItemPage:
    return ItemPage([{"id": str(number)} for number in range(begin, begin + size)], next_)


def test_all_pages_are_read() -> None:
    pages = {0: page(0, 100, 100), 100: page(100, 100, 200), 200: page(200, 1, None)}
    found, asked = answered(calls.search_pages(SEARCH), pages)
    assert [each["id"] for each in found.items] == [str(number) for number in range(201)]
    assert (found.is_complete, found.pages, asked) == (True, 3, [0, 100, 200])


def test_no_more_is_read_than_was_asked_for() -> None:
    pages = {0: page(0, 100, 100), 100: page(100, 100, 200)}
    found, asked = answered(calls.search_pages(SEARCH, 150), pages)
    assert (len(found.items), found.is_complete, asked) == (150, False, [0, 100])
    assert answered(calls.search_pages({**SEARCH, "next": 100}, 100), {100: page(0, 100, None)})[0].is_complete


def test_an_empty_page_that_leads_nowhere_is_the_end() -> None:
    found, _ = answered(calls.search_pages(SEARCH), {0: page(0, 100, 100), 100: page(0, 0, 100)})
    assert (len(found.items), found.is_complete) == (100, True)


@pytest.mark.parametrize(
    ("pages", "why"),
    [
        ({0: page(0, 10, 0)}, "the page at 0 leads to 0"),
        ({0: page(0, 10, 10), 10: page(10, 10, 5)}, "the page at 10 leads to 5"),
        ({0: page(0, 10, 10), 10: page(0, 10, 20)}, "the same as the one before"),
        ({begin: page(0, 0, begin + 1) for begin in range(20)}, "leads to"),
    ],
)
def test_pages_without_an_end_are_an_error(pages: dict[int, ItemPage], why: str) -> None:
    with pytest.raises(ServiceUnavailable, match=why):
        answered(calls.search_pages(SEARCH), pages)


def test_a_page_is_read_from_any_answer() -> None:
    of_search = ItemPage.parse({"features": [{"id": "a"}, None], "context": {"next": 1, "limit": 1, "returned": 1}})
    assert (of_search.items, of_search.next, of_search.returned) == ([{"id": "a"}], 1, 1)
    link = {"rel": "next", "href": "https://host/catalog/v1/collections/c/items?limit=1&next=7"}
    assert ItemPage.parse({"features": [], "links": [link]}).next == 7
    assert ItemPage.parse({"features": [], "links": [{**link, "body": {"next": 8}}]}).next == 8
    assert ItemPage.parse({"features": [], "links": [{"rel": "next", "href": "http://[::1"}]}).next is None
    assert ItemPage.parse({"features": ["2026-06-01"], "context": {"next": True}}).values == ("2026-06-01",)
    odd: Any
    for odd in (None, [], {}, {"features": {}}):
        with pytest.raises(ValueError, match="feature collection"):
            ItemPage.parse(odd)


def read_as_text(body: bytes) -> ItemPage:
    """Read an answer as a search that leaves items their texts."""
    call = next(calls.read_search(SEARCH, lambda _: None, as_text=True))
    assert isinstance(call, Call)
    done = decide(call, Attempt(), Reply(200, {}, body), RetryLimits())
    assert isinstance(done, Done)
    read: ItemPage = done.value
    return read


def test_items_stay_the_texts_of_the_service() -> None:
    body = b'{"features": [{"id": "a",\n"n": 1.50}, null, "2026-06-01", {"id": "\xc3\xa4"}], "context": {"next": 4}}'
    read = read_as_text(body)
    assert [bytes(each) for each in read.items] == [b'{"id": "a",\n"n": 1.50}', b'{"id": "\xc3\xa4"}']
    assert (read.values, read.next) == (("2026-06-01",), 4)
    assert [bytes(each) for each in read_as_text(b'{"features": [{"n": NaN}]}').items] == [b'{"n":null}']
    assert item_in(read.items[0]) == {"id": "a", "n": 1.5}
    with pytest.raises(UnexpectedAnswer):
        item_in(b'{"n": 1e999}')


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b"{}",
        b'{"features": 1}',
        b'{"features": [{"id": "\xff"}]}',
        b'{"features": [{"id": "a}]}',
        b'{"features": ' + b"[" * 9999 + b"]" * 9999 + b"}",
    ],
)
def test_what_is_no_page_of_texts_is_an_error(body: bytes) -> None:
    with pytest.raises(UnexpectedAnswer, match="does not promise"):
        read_as_text(body)
