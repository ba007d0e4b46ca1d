"""The Catalog API of the simulator."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from airflow_provider_sentinelhub.client.errors import ServiceUnavailable
from airflow_provider_sentinelhub.simulator.caller import Answer, call
from airflow_provider_sentinelhub.simulator.process import Simulator

Json = dict[str, Any]
LAYOUTS = ("/catalog/v1", "/api/v1/catalog/1.0.0")
S2 = "sentinel-2-l2a"
SEARCH = {
    "collections": [S2],
    "bbox": [13, 45, 14, 46],
    "datetime": "2026-06-01T00:00:00Z/2026-07-01T00:00:00Z",
    "limit": 100,
}


@pytest.fixture
def catalog(sim: Simulator) -> Iterator[Simulator]:
    yield sim
    sim.admin("DELETE", "/catalog/items")
    sim.admin("PUT", "/catalog", {"synthetic": True, "hidden": [], "delay_seconds": 0})


def search(sim: Simulator, **changes: Any) -> Json:
    body = {key: each for key, each in (SEARCH | changes).items() if each is not None}
    answer = sim.call("POST", "/catalog/v1/search", body)
    assert answer.status == 200, answer.body
    found: Json = answer.body
    return found


def ids(found: Json) -> list[str]:
    return [each["id"] for each in found["features"]]


def refused(sim: Simulator, **changes: Any) -> Answer:
    body = {key: each for key, each in (SEARCH | changes).items() if each is not None}
    return sim.call("POST", "/catalog/v1/search", body)


def published(name: str, **properties: Any) -> Json:
    point = {"type": "Point", "coordinates": [13.5, 45.5]}
    return {
        "id": name,
        "collection": S2,
        "geometry": point,
        "properties": {"datetime": "2026-06-15T12:00:00Z", **properties},
    }


@pytest.mark.parametrize("base", LAYOUTS)
def test_both_layouts_have_all_operations(sim: Simulator, base: str) -> None:
    one = search(sim, limit=1)["features"][0]
    paths = ["", "/conformance", "/collections", f"/collections/{S2}", f"/collections/{S2}/queryables"]
    period = "2026-06-01T00:00:00Z/2026-07-01T00:00:00Z"
    listed = f"/collections/{S2}/items?bbox=13,45,14,46&datetime={period}"
    paths += [listed, f"/collections/{S2}/items/{one['id']}"]
    answers = [sim.call("GET", base + path) for path in paths]
    answers.append(sim.call("GET", f"{base}/search?collections={S2}&datetime=2026-11-01T00:00:00Z/..&bbox=13,45,14,46"))
    answers.append(sim.call("POST", f"{base}/search/", SEARCH))
    assert {each.status for each in answers} == {200}
    assert answers[6].body == one
    # Links have the new layout, whoever asks.
    hrefs = {link["href"].split("/", 3)[3] for each in answers if "links" in each.body for link in each.body["links"]}
    assert {href.partition("/v1")[0] for href in hrefs if "docs" not in href and "develop" not in href} == {"catalog"}


def test_only_the_entrance_is_open(sim: Simulator) -> None:
    url = sim.ready.base_url
    for base in LAYOUTS:
        assert call("GET", f"{url}{base}").status == 200
        assert call("GET", f"{url}{base}/conformance").status == 200
        assert call("GET", f"{url}{base}/collections").status == 401
        assert call("GET", f"{url}{base}/search").status == 401


def test_pages_lead_to_all_items_once(sim: Simulator) -> None:
    everything = ids(search(sim))
    found, context = [], {"next": 0}
    while "next" in context:
        page = search(sim, limit=7, next=context["next"])
        context = page["context"]
        found += ids(page)
        assert context["returned"] == len(page["features"])
        following = [link for link in page["links"] if link["rel"] == "next"]
        assert [link["body"] for link in following] == [{"next": each} for each in [context.get("next")] if each]
        assert all(link["method"] == "POST" and link["merge"] for link in following)
    assert found == everything
    assert len(set(found)) == len(found) > 14


def test_pages_of_get_requests_are_linked(sim: Simulator) -> None:
    query = "collections=sentinel-2-l2a&datetime=2026-06-01T00:00:00Z/2026-07-01T00:00:00Z&bbox=13,45,14,46"
    page = sim.call("GET", f"/catalog/v1/search?{query}&limit=3&fields=id,-geometry,-links").body
    assert {frozenset(each) for each in page["features"]} == {frozenset({"id", "type", "bbox", "assets", "properties"})}
    href = next(link["href"] for link in page["links"] if link["rel"] == "next")
    second = sim.call("GET", href.removeprefix(sim.ready.base_url)).body
    assert ids(page) + ids(second) == ids(search(sim, limit=6))
    items = sim.call(
        "GET", f"/catalog/v1/collections/{S2}/items?limit=2&bbox=13,45,14,46&datetime=2026-06-01T00:00:00Z/.."
    )
    assert items.body["numberReturned"] == 2
    assert "next" in {link["rel"] for link in items.body["links"]}


def test_items_are_where_and_when_they_were_asked_for(sim: Simulator) -> None:
    found = search(sim)["features"]
    times = [each["properties"]["datetime"] for each in found]
    assert times == sorted(times, reverse=True)
    assert all("2026-06-01" <= each <= "2026-07-01" for each in times)
    at = search(sim, bbox=None, intersects={"type": "Point", "coordinates": [13.5, 45.5]})
    assert set(ids(at)) < set(ids({"features": found}))
    exact = search(sim, datetime=times[0])
    assert ids(exact)
    assert {each["properties"]["datetime"] for each in exact["features"]} == {times[0]}
    chosen = found[3]["id"]
    assert ids(search(sim, bbox=None, datetime=None, ids=[chosen, "S2B_MSIL2A_nothing"])) == [chosen]


def test_a_box_may_cross_the_180th_meridian(sim: Simulator) -> None:
    both = set(ids(search(sim, collections=["sentinel-1-grd"], bbox=[179.5, -17, -179.5, -16])))
    sides = [
        search(sim, collections=["sentinel-1-grd"], bbox=box)
        for box in ([179.5, -17, 180, -16], [-180, -17, -179.5, -16])
    ]
    assert both == {each for side in sides for each in ids(side)}
    assert all(map(ids, sides))


@pytest.mark.parametrize(
    "filter_",
    [
        "eo:cloud_cover < 30",
        "30 > eo:cloud_cover",
        '("eo:cloud_cover" < 30) AND eo:cloud_cover >= 0',
        "eo:cloud_cover between 0 and 29.999",
        {"op": "<", "args": [{"property": "eo:cloud_cover"}, 30]},
        {
            "op": "and",
            "args": [
                {"op": "between", "args": [{"property": "eo:cloud_cover"}, 0, 29.999]},
                {"op": "<>", "args": [{"property": "eo:cloud_cover"}, 200]},
            ],
        },
    ],
)
def test_a_filter_holds_for_all_items(sim: Simulator, filter_: Any) -> None:
    language = {"filter-lang": "cql2-json"} if isinstance(filter_, dict) else {}
    found = ids(search(sim, filter=filter_, **language))
    everything = search(sim)["features"]
    assert found == [each["id"] for each in everything if each["properties"]["eo:cloud_cover"] < 30]
    assert 0 < len(found) < len(everything)


def test_a_text_is_compared_as_text(sim: Simulator) -> None:
    found = search(sim, collections=["sentinel-1-grd"], filter="sat:orbit_state='ascending'")["features"]
    assert {each["properties"]["sat:orbit_state"] for each in found} == {"ascending"}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"collections": ["nowhere"]}, "Illegal collection"),
        ({"collections": [S2, S2]}, "Exactly one collection"),
        ({"datetime": None}, "datetime is required"),
        ({"datetime": "2026-06-01"}, "datetime is not valid"),
        ({"datetime": "../.."}, "not a valid interval"),
        ({"limit": 0}, "limit"),
        ({"next": -1}, "next"),
        ({"bbox": [1, 2, 3]}, "four or six"),
        ({"intersects": {"type": "Point", "coordinates": [1, 2]}}, "Only one of"),
        ({"bbox": None, "intersects": {"type": "Point"}}, "GeoJSON"),
        ({"filter": "eo:cloud_cover < 3 or eo:cloud_cover > 5"}, "or is not supported"),
        ({"filter": "platform = 'sentinel-2a'"}, "platform is not supported"),
        ({"filter": "eo:cloud_cover <"}, "its end"),
        ({"filter": "eo:cloud_cover < ;"}, "position"),
        ({"filter": "(eo:cloud_cover < 3"}, ") is missing"),
        ({"filter": "1 < 2"}, "a property and a value"),
        ({"filter": {"op": "<", "args": []}}, "filter-lang"),
        ({"filter": {"op": "not", "args": []}, "filter-lang": "cql2-json"}, "not is not supported"),
        ({"distinct": "platform"}, "distinct"),
        ({"fields": ["id"]}, "fields"),
    ],
)
def test_an_invalid_search_is_refused(sim: Simulator, changes: Json, said: str) -> None:
    answer = refused(sim, **changes)
    assert (answer.status, set(answer.body)) == (400, {"code", "description"})
    assert said in answer.body["description"]


def test_what_is_not_there_is_not_found(sim: Simulator) -> None:
    for path in ("nowhere", "nowhere/items", f"{S2}/items/nothing", f"{S2}/items/S2A_MSIL2A_20269999T000000_T33TUK_1"):
        answer = sim.call("GET", f"/catalog/v1/collections/{path}")
        assert (answer.status, answer.body["code"]) == (404, "Not Found")


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (
            None,
            {
                "stac_version",
                "stac_extensions",
                "id",
                "type",
                "geometry",
                "bbox",
                "properties",
                "links",
                "assets",
                "collection",
            },
        ),
        ({}, {"id", "type", "geometry", "bbox", "links", "assets", "properties"}),
        (
            {"include": ["collection"], "exclude": None},
            {"id", "type", "geometry", "bbox", "links", "assets", "properties", "collection"},
        ),
        ({"exclude": ["geometry", "links", "assets", "properties.datetime"]}, {"id", "type", "bbox", "properties"}),
    ],
)
def test_fields_shape_the_items(sim: Simulator, fields: Json | None, expected: set[str]) -> None:
    item = search(sim, limit=1, fields=fields)["features"][0]
    assert set(item) == expected
    if fields is not None:
        assert set(item["properties"]) == (
            set() if "properties.datetime" in (fields.get("exclude") or ()) else {"datetime"}
        )


def test_fields_are_included_unless_they_are_excluded(sim: Simulator) -> None:
    fields = {"include": ["properties.eo:cloud_cover", "properties.proj:epsg"], "exclude": ["properties.proj:epsg"]}
    item = search(sim, limit=1, fields=fields)["features"][0]
    assert set(item["properties"]) == {"datetime", "eo:cloud_cover"}


def test_distinct_dates(sim: Simulator) -> None:
    found = search(sim, distinct="date", limit=4)
    days = {each["properties"]["datetime"][:10] for each in search(sim)["features"]}
    rest = search(sim, distinct="date", next=found["context"]["next"])
    assert found["features"] + rest["features"] == sorted(days)
    states = search(sim, collections=["sentinel-1-grd"], distinct="sat:orbit_state")
    assert states["features"] == ["ascending", "descending"]


def test_a_search_costs_by_area_and_months(sim: Simulator) -> None:
    sim.set_balance(100)
    small = sim.call("POST", "/catalog/v1/search", SEARCH)
    assert float(small.headers["x-processingunits-spent"]) == 0.01
    large = sim.call("POST", "/catalog/v1/search", SEARCH | {"collections": ["sentinel-5p-l2"], "bbox": [0, 0, 10, 10]})
    # 1.23 million km2 for a month.
    assert float(large.headers["x-processingunits-spent"]) == 1.0
    part = sim.call("POST", "/catalog/v1/search", SEARCH | {"bbox": [0, 0, 5, 5]})
    assert float(part.headers["x-processingunits-spent"]) == pytest.approx(0.309, abs=0.002)
    assert sim.admin("GET", "/account")["pu_balance"] == pytest.approx(100 - 0.01 - 1 - 0.309, abs=0.002)
    sim.set_balance(0)
    assert sim.call("POST", "/catalog/v1/search", SEARCH).status == 403


# ------------------------------------------------------------------------------------------------ published by hand


def test_published_items_are_found_at_once_and_replaced(catalog: Simulator) -> None:
    catalog.admin("PUT", "/catalog", {"synthetic": False})
    assert catalog.admin("POST", "/catalog/items", [published("a"), published("b")]) == {"items": 2}
    assert catalog.admin("POST", "/catalog/items", {"items": [published("a", **{"eo:cloud_cover": 5})]}) == {"items": 2}
    found = search(catalog)
    assert ids(found) == ["b", "a"]
    assert found["features"][1]["properties"]["constellation"] == "sentinel-2"
    assert {link["rel"] for link in found["features"][0]["links"]} == {"root", "self", "parent", "collection"}
    assert ids(search(catalog, filter="eo:cloud_cover <= 5")) == ["a"]
    assert catalog.call("GET", f"/catalog/v1/collections/{S2}/items/a").body == found["features"][1]
    catalog.admin("PUT", "/catalog", {"hidden": ["a"]})
    assert ids(search(catalog)) == ["b"]


def test_items_of_own_collections_are_found(catalog: Simulator) -> None:
    own = published("tile") | {"collection": "byoc-1"}
    catalog.admin("POST", "/catalog/items", [own])
    assert ids(search(catalog, collections=["byoc-1"])) == ["tile"]
    listed = catalog.call("GET", "/catalog/v1/collections").body["collections"]
    assert "byoc-1" in [each["id"] for each in listed]


@pytest.mark.parametrize(
    "item",
    [
        {},
        [],
        "x",
        published(""),
        published("a", datetime="2026-06-01"),
        published("a") | {"geometry": {"type": "Point"}},
    ],
)
def test_an_item_that_is_none_is_refused(catalog: Simulator, item: Any) -> None:
    with pytest.raises(ServiceUnavailable, match="id, collection, geometry"):
        catalog.admin("POST", "/catalog/items", [published("b"), item])
    assert "b" not in ids(search(catalog))


def test_synthetic_scenes_appear_when_their_delay_has_passed(catalog: Simulator) -> None:
    catalog.stop_clock()
    now = catalog.admin("GET", "/clock")["now"]
    recent = {"datetime": f"2026-11-01T00:00:00Z/{now}", "limit": 1}
    newest = search(catalog, **recent)["features"][0]
    catalog.admin("PUT", "/catalog", {"delay_seconds": 20 * 86400})
    assert newest["id"] not in ids(search(catalog, **(recent | {"limit": 100})))
    catalog.advance_clock(20 * 86400)
    assert newest["id"] in ids(search(catalog, **(recent | {"limit": 100})))


def test_published_items_survive_a_restart(tmp_path: Any) -> None:
    # In process: the second one reads what the first one has stored.
    from airflow_provider_sentinelhub.simulator.apis.catalog.published import Published
    from airflow_provider_sentinelhub.simulator.bucket.delivery import Keys
    from airflow_provider_sentinelhub.simulator.tasks.clock import Clock
    from airflow_provider_sentinelhub.simulator.tasks.service import Service
    from airflow_provider_sentinelhub.simulator.tasks.store import Store

    for number in range(2):
        store = Store(tmp_path / "state.sqlite")
        shown = Published(Service(store, Clock(1), Keys("", "", "", "", ""), ()))
        if number == 0:
            shown.add([published("a"), published("b")])
        assert sorted(each.item["id"] for each in shown.entries(S2)) == ["a", "b"]
        store.close()
