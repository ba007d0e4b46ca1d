"""BYOC: what is refused before a request, the 12 operations, and how a lost answer changes nothing twice."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_sentinelhub.client.apis.byoc import calls
from airflow_provider_sentinelhub.client.errors import Conflict, InvalidParameter, OutcomeUnknown
from airflow_provider_sentinelhub.client.http.call import Call, Repeat
from airflow_provider_sentinelhub.client.http.deployments import PathLayout

ID = "75a7bf54-2772-44b1-b87f-3f4ec96096cf"
OTHER = "017aa0ae-33a6-45d3-8548-0f7d1041b40c"
SQUARE = {"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 1], [0, 0]]]}
RING = [[float(x), 0.0] for x in range(100)]


def carried_out(procedure: Any, answers: list[Any]) -> tuple[Any, list[Call[Any]]]:
    """Run a procedure against given answers; an error among them is raised in it."""
    sent: list[Call[Any]] = []
    try:
        call = next(procedure)
        while True:
            sent.append(call)
            answer = answers.pop(0)
            call = procedure.throw(answer) if isinstance(answer, Exception) else procedure.send(call.parse(answer))
    except StopIteration as end:
        return end.value, sent


@pytest.mark.parametrize(
    ("call", "method", "path"),
    [
        (calls.list_collections(), "GET", ""),
        (calls.create_collection({"name": "n", "s3Bucket": "bucket"}), "POST", ""),
        (calls.get_collection(f"byoc-{ID}"), "GET", f"/{ID}"),
        (calls.update_collection(ID, {"name": "n", "s3Bucket": "tenant:bucket"}), "PUT", f"/{ID}"),
        (calls.delete_collection(ID), "DELETE", f"/{ID}"),
        (calls.copy_tiles(ID, OTHER), "POST", f"/{ID}/copyTiles"),
        (calls.list_tiles(ID, 100, "t", sort="path:asc", path="a", status="FAILED"), "GET", f"/{ID}/tiles"),
        (calls.create_tile(ID, {"path": "a/(BAND).tif"}), "POST", f"/{ID}/tiles"),
        (calls.get_tile(ID, OTHER), "GET", f"/{ID}/tiles/{OTHER}"),
        (calls.update_tile(ID, OTHER, {"sensingTime": "2026-06-01T10:30:00Z"}), "PUT", f"/{ID}/tiles/{OTHER}"),
        (calls.delete_tile(ID, OTHER), "DELETE", f"/{ID}/tiles/{OTHER}"),
        (calls.reingest_tile(ID, OTHER), "POST", f"/{ID}/tiles/{OTHER}/reingest"),
    ],
)
def test_the_twelve_operations(call: Call[Any], method: str, path: str) -> None:
    assert (call.method, call.path) == (method, f"/collections{path}")
    assert call.service.prefix(PathLayout.LEGACY) == "/api/v1/byoc"
    # Another collection of the same name is the only thing that a repeated request would make.
    assert (call.repeat is Repeat.NEVER) == (call.what == "create a collection")


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: calls.create_collection({"name": " ", "s3Bucket": "bucket"}), "name = ' ': is empty"),
        (lambda: calls.create_collection({"name": "n", "s3Bucket": "s3://b/f"}), "s3Bucket = 's3://b/f'"),
        (lambda: calls.create_collection({"name": "n", "s3bucket": "bucket"}), "s3bucket"),
        (lambda: calls.create_collection(collection(bitDepth=12, sampleFormat="UINT")), "bands.a.bitDepth"),
        (lambda: calls.create_collection(collection(bitDepth=8)), "bands.a.sampleFormat = None: is required"),
        (lambda: calls.create_collection(collection("1", bitDepth=8, sampleFormat="UINT")), "JavaScript identifier"),
        (
            lambda: calls.create_collection({**collection(bitDepth=8, sampleFormat="UINT", noData=0), "noData": 1}),
            "noData for the collection and for single bands",
        ),
        (lambda: calls.create_tile(ID, {}), "path = None: is required"),
        (lambda: calls.create_tile(ID, {"path": "s3://bucket/a"}), "is a URL"),
        (lambda: calls.create_tile(ID, {"path": "/a"}), "begins or ends with a slash"),
        (lambda: calls.create_tile(ID, {"path": "(BAND)/(BAND).tif"}), "more than once"),
        (lambda: calls.create_tile(ID, {"path": "a", "sensingTime": "2026-06-01"}), "has no time zone"),
        (lambda: calls.create_tile(ID, {"path": "a", "sensingTime": "June"}), "is not a time"),
        (lambda: calls.create_tile(ID, {"path": "a", "coverGeometry": {"type": "Point"}}), "Polygon or a MultiPolygon"),
        (lambda: calls.create_tile(ID, {"path": "a", "coverGeometry": polygon([*RING, RING[0]])}), "has 101 points"),
        (lambda: calls.create_tile(ID, {"path": "a", "coverGeometry": polygon(RING[:4])}), "not closed"),
        (lambda: calls.create_tile(ID, {"path": "a", "coverGeometry": {**SQUARE, "crs": "x"}}), "unknown crs"),
        (lambda: calls.get_tile(ID, "../x"), "tile_id = '../x': is not an id"),
        (lambda: calls.list_tiles(ID, 101), "count = 101"),
        (lambda: calls.list_tiles(ID, sort="path"), "sort = 'path'"),
        (lambda: calls.list_tiles(ID, status="DONE"), "status = 'DONE'"),
    ],
)
def test_what_is_wrong_is_named_before_a_request(make: Any, named: str) -> None:
    with pytest.raises(InvalidParameter) as refused:
        make()
    assert named in str(refused.value)


def collection(name: str = "a", **band: Any) -> dict[str, Any]:
    return {"name": "n", "s3Bucket": "bucket", "additionalData": {"bands": {name: band}}}


def polygon(ring: list[Any]) -> dict[str, Any]:
    return {"type": "Polygon", "coordinates": [ring]}


@given(st.integers(3, 99))
def test_a_cover_geometry_may_have_a_hundred_points(points: int) -> None:
    ring = [*RING[:points], RING[0]]
    assert calls.create_tile(ID, {"path": "a", "coverGeometry": polygon(ring)}).body == {
        "path": "a",
        "coverGeometry": polygon(ring),
    }


def test_the_service_takes_milliseconds_in_utc() -> None:
    body = calls.create_tile(ID, {"path": "a", "sensingTime": "2026-06-01T12:30:00.123456+02:00"}).body or {}
    assert body["sensingTime"] == "2026-06-01T10:30:00.123Z"


def page(*data: dict[str, Any], following: str = "") -> dict[str, Any]:
    return {"data": [*data], "links": {"nextToken": following} if following else {}}


def named(name: str, number: str = ID, bucket: str = "bucket") -> dict[str, Any]:
    return {"id": number, "name": name, "s3Bucket": bucket}


def test_a_collection_is_looked_for_before_it_is_created() -> None:
    others = [named("my field 2"), named("my field", bucket="another")]
    (found, is_new), sent = carried_out(
        calls.obtain_collection({"name": "my field", "s3Bucket": "bucket"}),
        [page(*others, following="2"), page(named("my field", OTHER, "tenant:bucket"))],
    )
    assert (found.id, is_new, len(sent)) == (OTHER, False, 2)
    # The search would read a name of several words as an expression.
    assert "search" not in sent[0].query


def test_a_collection_whose_answer_was_lost_is_found() -> None:
    (found, is_new), sent = carried_out(
        calls.obtain_collection({"name": "field", "s3Bucket": "bucket"}),
        [page(), OutcomeUnknown("lost"), page(named("field"))],
    )
    assert (found.id, is_new) == (ID, True)
    assert [call.method for call in sent] == ["GET", "POST", "GET"]
    assert sent[0].query["search"] == "field"


def test_a_collection_that_is_not_there_yet_is_not_created_twice() -> None:
    with pytest.raises(OutcomeUnknown):
        carried_out(
            calls.obtain_collection({"name": "f", "s3Bucket": "bucket"}), [page(), OutcomeUnknown("lost"), page()]
        )


def test_of_two_collections_of_a_name_everybody_takes_the_oldest() -> None:
    both = [named("f") | {"created": "2026-06-02T00:00:00Z"}, named("f", OTHER) | {"created": "2026-06-01T00:00:00Z"}]
    for listed in (both, both[::-1]):
        (found, is_new), _ = carried_out(calls.obtain_collection({"name": "f", "s3Bucket": "bucket"}), [page(*listed)])
        assert (found.id, is_new) == (OTHER, False)


def test_a_collection_that_somebody_created_at_the_same_time_takes_the_place_of_ours() -> None:
    ours = named("f") | {"created": "2026-06-02T00:00:00Z"}
    theirs = named("f", OTHER) | {"created": "2026-06-01T00:00:00Z"}
    (found, is_new), sent = carried_out(
        calls.obtain_collection({"name": "f", "s3Bucket": "bucket"}),
        [page(), {"data": ours}, page(ours, theirs), page(), None],
    )
    assert (found.id, is_new) == (OTHER, False)
    assert [call.method for call in sent] == ["GET", "POST", "GET", "GET", "DELETE"]
    assert sent[-1].path.endswith(ID)


def test_a_tile_that_exists_is_found_by_its_path() -> None:
    tile = {"id": OTHER, "path": "a/(BAND).tif", "status": "WAITING"}
    (found, is_new), sent = carried_out(
        calls.register_tile(ID, {"path": "a/(BAND).tif"}), [Conflict("409"), page({**tile, "path": "a"}, tile)]
    )
    assert (found.id, is_new, sent[1].query["path"]) == (OTHER, False, "a/(BAND).tif")


def test_a_look_stops_at_the_first_tile_that_is_not_ended() -> None:
    tile = {"id": OTHER, "path": "a/1", "status": "QUEUED"}
    why, sent = carried_out(
        calls.first_unsettled(ID, "a/", 1),
        [page({**tile, "path": "b/1"}), page({**tile, "path": "b/2"}, following="2"), page(tile)],
    )
    assert (why, len(sent)) == ("some tiles are QUEUED", 3)
    why, sent = carried_out(calls.first_unsettled(ID, "a/", 2), [page(), page(), page(), page(tile)])
    assert why == "there are 1 of at least 2 tiles"
    assert [call.query.get("status") for call in sent] == ["WAITING", "QUEUED", "INGESTING", None]
