"""Batch Processing V1: its requests, its flat answers, its Calls and lists, and what the service says about cost."""

from __future__ import annotations

import contextlib
import json
import math
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_sentinelhub.artifacts.results.preflight import mistaken_request
from airflow_provider_sentinelhub.client.apis.batch_statistical.spec import BATCH_STATISTICAL
from airflow_provider_sentinelhub.client.apis.batch_v1 import answers, calls, collections
from airflow_provider_sentinelhub.client.apis.batch_v1.costs import estimate_of
from airflow_provider_sentinelhub.client.apis.batch_v1.spec import BATCH_V1
from airflow_provider_sentinelhub.client.apis.batch_v2.spec import BATCH_V2
from airflow_provider_sentinelhub.client.apis.registry import other_request_type, request_type
from airflow_provider_sentinelhub.client.apis.statistical.spec import STATISTICAL
from airflow_provider_sentinelhub.client.errors import Conflict, InvalidParameter, NotFound, ServiceUnavailable
from airflow_provider_sentinelhub.client.http.call import Call, Repeat
from airflow_provider_sentinelhub.client.http.deployments import PathLayout
from airflow_provider_sentinelhub.client.http.policy import Attempt, RetryLimits, decide
from airflow_provider_sentinelhub.client.http.problems import Reply
from airflow_provider_sentinelhub.client.http.transport import Sender
from airflow_provider_sentinelhub.client.lifecycle import pages
from airflow_provider_sentinelhub.client.lifecycle.intent import Intent, digest
from airflow_provider_sentinelhub.client.lifecycle.submission import find
from tests.client.client_harness import NDVI, batch_v1_document, build_document, make_task, statistical_document
from tests.client.client_model import START
from tests.client.test_client_search import carried_out

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_sentinelhub.client.http.auth import TokenSource
    from airflow_provider_sentinelhub.client.http.deployments import ServiceAddress

TASK = "2e0d4c5f-6a3b-4e57-9c6d-0f1a2b3c4d5e"
ZARR = {"path": "s3://bucket/<requestId>", "group": {"zarr_format": 2}}
RESPONSE = {"identifier": "default", "tilePath": "s3://bucket/<tileName>.tif"}
INTENT = Intent("dag", "run", "task", -1, "0" * 16, 0)


# --- requests --------------------------------------------------------------------------------------------------------


def test_the_id_zero_and_the_number_zero_are_kept() -> None:
    grid = {"id": 0, "resolution": 10.0, "bufferX": 0, "bufferY": 5}
    assert calls.check(batch_v1_document(tilingGrid=grid))["tilingGrid"] == grid
    older = {**batch_v1_document(tilingGrid=...), "tilingGridId": 0, "resolution": 10}
    assert calls.check(older) == calls.check(batch_v1_document())


@pytest.mark.parametrize("grid", [{"id": 0, "resolution": 10.0}, '{"id": 0, "resolution": 10.0}'])
def test_both_ways_to_write_a_grid_may_say_the_same(grid: Any) -> None:
    both = batch_v1_document(tilingGrid=grid, tilingGridId=0, resolution=10)
    assert calls.check(both) == batch_v1_document()


@given(
    st.sampled_from([(0, 10.0), (0, 60), (1, 20.0), (3, 0.0001), (6, 50)]),
    st.sampled_from(["older", "newer", "both"]),
    st.sampled_from([{"output": {"defaultTilePath": "s3://b/f"}}, {"zarrOutput": ZARR}, {"bucketName": "b"}]),
    st.booleans(),
)
def test_a_checked_request_is_its_own_check(grid: Any, way: str, place: Any, is_text: bool) -> None:
    older = {"tilingGridId": grid[0], "resolution": grid[1]}
    newer = {"tilingGrid": {"id": grid[0], "resolution": grid[1]}}
    written = {"older": older, "newer": newer, "both": {**older, **newer}}[way]
    request = {**batch_v1_document(tilingGrid=..., output=...), **written, **place}
    body = calls.check(json.dumps(request) if is_text else request)
    assert body["tilingGrid"] == newer["tilingGrid"]
    assert not {"tilingGridId", "resolution"} & body.keys()
    assert calls.check(body) == body
    assert digest(calls.check({**request, "description": "x"})) == digest(body)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"tilingGridId": 1},
            "tilingGridId = 1: is not tilingGrid.id, which is 0. Remove it: tilingGrid is enough.",
        ),
        ({"resolution": 20}, "resolution = 20: is not tilingGrid.resolution, which is 10. Remove it"),
        ({"tilingGrid": {"id": 4, "resolution": 10}}, "tilingGrid.id = 4: is not the id of a tiling grid. Choose one"),
        ({"tilingGrid": {"id": 0, "resolution": 15}}, "tilingGrid.resolution = 15: is not a resolution of tiling grid"),
        ({"tilingGrid": ..., "tilingGridId": 0}, "tilingGrid.resolution = None: is required. Add it."),
        ({"tilingGrid": ...}, "tilingGrid = None: is required. Add it."),
        ({"tilingGrid__bufferx": 1}, "tilingGrid.bufferx = 1: is not a field of this part of the request. Check the"),
        ({"tilingGrid__bufferX": -1}, "tilingGrid.bufferX = -1: input should be greater than or equal to 0"),
        ({"output": ...}, "output = None: is required where there is neither bucketName nor zarrOutput. Add it with"),
        ({"bucketName": "b"}, "cannot be given together with bucketName. Keep one of them."),
        ({"zarrOutput": ZARR}, "cannot be given together with zarrOutput. Keep one of them."),
        ({"output": ..., "bucketName": "b", "zarrOutput": ZARR}, "cannot be given together with bucketName. Keep one"),
        ({"output": ..., "bucketName": "s3://b/f"}, "bucketName = 's3://b/f': is not the name of a bucket. Write the"),
        ({"output": {"overwrite": True}}, "output = {'overwrite': True}: does not say where files are written. Add"),
        ({"output__overwrite": "yes"}, "output.overwrite = 'yes': must be true or false."),
        ({"output__cogParameters": {"blockXsize": 1}}, "output.cogParameters.blockXsize = 1: is not a field of this"),
        ({"output": ..., "zarrOutput": {"path": "s3://b"}}, "zarrOutput.group = None: is required. Add it."),
        ({"tilingGird": 1}, "tilingGird = 1: is not a field of this part of the request. Check the spelling."),
        ({"description": 1}, "description = 1: input should be a valid string"),
    ],
)
def test_what_is_wrong_is_named(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidParameter) as caught:
        calls.check(batch_v1_document(**changes))
    assert said in str(caught.value)
    assert caught.value.others == ()


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"output__accessKey": "MARKER"}, "output.accessKey"),
        ({"output": ..., "zarrOutput": {**ZARR, "secretAccessKey": "MARKER"}}, "zarrOutput.secretAccessKey"),
        ({"iamRoleARN": "MARKER"}, "iamRoleARN"),
        ({"output__responses": [{**RESPONSE, "credentials": "MARKER"}]}, "output.responses.0.credentials"),
    ],
)
def test_credentials_are_refused_wherever_they_are(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidParameter) as caught:
        calls.check({**batch_v1_document(**changes), "more": 1})
    assert str(caught.value).startswith(f"{field} = '***': must not be in a request of Batch Processing V1")
    assert "bucket policy" in str(caught.value)
    assert "MARKER" not in str(caught.value)
    assert [each.field for each in caught.value.others] == ["more"]


def test_a_single_output_may_have_a_path_of_its_own() -> None:
    body = calls.check(batch_v1_document(output={"responses": [RESPONSE]}))
    assert calls.delivery_url(body) == "s3://bucket/<tileName>.tif"
    assert list(calls.by_policy(body)) == [("output.responses.0.tilePath", "s3://bucket/<tileName>.tif")]


@pytest.mark.parametrize(
    ("place", "field", "url"),
    [
        ({"bucketName": "b"}, "bucketName", "s3://b/"),
        ({"output": {"defaultTilePath": "s3://b/f"}}, "output.defaultTilePath", "s3://b/f"),
        ({"zarrOutput": ZARR}, "zarrOutput.path", "s3://bucket/<requestId>"),
    ],
)
def test_where_results_go(place: Any, field: str, url: str) -> None:
    body = calls.check({**batch_v1_document(output=...), **place})
    assert BATCH_V1.delivery_url(body) == url
    assert list(BATCH_V1.by_policy(body)) == [(field, url)]
    assert BATCH_V1.storages == ()


@pytest.mark.parametrize("odd", [{}, {"output": 1, "zarrOutput": [], "bucketName": {}}, {"output": {"responses": [1]}}])
def test_odd_requests_go_nowhere(odd: Any) -> None:
    assert list(calls.by_policy(odd)) == []


# --- whose request it is ---------------------------------------------------------------------------------------------

V1: list[Any] = [
    batch_v1_document(),
    batch_v1_document(output={}),
    {"processRequest": {}, "tilingGridId": 0, "bucketName": "bucket"},
    {"processRequest": {}, "zarrOutput": {"path": "s3://bucket/a"}},
    {"processRequest": {}, "output": {"defaultTilePath": "s3://bucket/a"}},
]


@pytest.mark.parametrize("request_", V1)
def test_a_request_of_v1_is_called_one(request_: Any) -> None:
    assert request_type(request_) is BATCH_V1
    assert other_request_type(BATCH_V1, request_) is None
    for other in (BATCH_V2, BATCH_STATISTICAL, STATISTICAL):
        assert other_request_type(other, request_) is BATCH_V1
    mistaken = mistaken_request(BATCH_V2, json.dumps(request_))
    assert mistaken is not None
    assert mistaken.rule == "is a request of Batch Processing V1, and this is Batch Processing V2"
    assert mistaken.fix == "Use SentinelHubBatchProcessV1Operator, or convert it with `airflow sentinelhub convert`."


def test_a_request_of_another_api_is_called_one() -> None:
    mistaken = mistaken_request(BATCH_V1, build_document())
    assert mistaken is not None
    assert mistaken.rule == "is a request of Batch Processing V2, and this is Batch Processing V1"
    assert mistaken.fix == "Use SentinelHubBatchProcessOperator."
    assert other_request_type(BATCH_V1, statistical_document()) is STATISTICAL


@pytest.mark.parametrize(
    "request_",
    [
        {"processRequest": {}},
        {"processRequest": {}, "tilingGrid": {"id": 0}, "output": {"delivery": {}}},
        batch_v1_document(input={"type": "tiling-grid"}),
    ],
)
def test_what_may_be_either_is_taken_for_what_it_was_given_to(request_: Any) -> None:
    assert other_request_type(BATCH_V1, request_) is None
    if "tilingGrid" in request_ and "input" in request_:
        assert other_request_type(BATCH_V2, request_) is None


# --- answers ---------------------------------------------------------------------------------------------------------

ANSWER: dict[str, Any] = {
    **batch_v1_document(),
    "description": f"Corsica | {INTENT.tag}",
    "id": TASK,
    "userId": "u-1",
    "accountId": "a-1",
    "created": "2025-01-01T00:00:05Z",
    "valueEstimate": 900.5,
    "tileCount": 66,
    "tileWidthPx": 2004,
    "tileHeightPx": 2004,
    "userAction": "START",
    "userActionUpdated": "2025-01-01T00:01:00Z",
    "status": "PARTIAL",
    "error": "Too many\nfailed tiles",
    "later": {"deep": [1]},
}


def test_a_flat_answer_has_its_request() -> None:
    task = answers.BatchV1Task.model_validate(ANSWER)
    assert task.request == {**batch_v1_document(), "description": ANSWER["description"]}
    assert calls.check(task.request) == task.request
    assert (task.value_estimate, task.tile_count, task.tile_width_px, task.tile_height_px) == (900.5, 66, 2004, 2004)
    assert (task.user_id, task.account_id, task.status, task.user_action) == ("u-1", "a-1", "PARTIAL", "START")
    assert task.error == "Too many failed tiles"
    assert task.created is not None
    assert task.model_dump()["later"] == {"deep": [1]}
    assert BATCH_V1.intent_of(task) == INTENT
    assert BATCH_V1.is_over(task)
    assert BATCH_V1.delivery_url(task.request) == ANSWER["output"]["defaultTilePath"]
    # What was dumped is read again.
    assert answers.BatchV1Task.model_validate(task.model_dump(mode="json", by_alias=True)) == task


def test_every_call_about_a_task_reads_flat_answers() -> None:
    for call in (calls.TASKS.create({}), calls.TASKS.get(TASK), calls.update(TASK, description="x")):
        assert call.parse(ANSWER).request["tilingGrid"] == {"id": 0, "resolution": 10.0}
    listings: tuple[Call[Any], ...] = (calls.TASKS.page(), calls.listed())
    for listing in listings:
        (row,) = listing.parse({"data": [ANSWER, 1, None], "links": None}).data
        assert (BATCH_V1.intent_of(row), row.value_estimate) == (INTENT, 900.5)


odd_values = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)


@given(st.dictionaries(st.sampled_from(sorted(set(ANSWER) - {"id", "status"})), odd_values))
def test_an_odd_value_is_no_error(fields: dict[str, Any]) -> None:
    task = answers.BatchV1Task.model_validate({**ANSWER, **fields})
    assert task.id == TASK
    for number in (task.tile_count, task.tile_width_px, task.tile_height_px, task.value_estimate):
        assert number is None or math.isfinite(number)
    estimate = estimate_of(task)
    assert estimate is None or estimate.text()
    listed = answers.BatchV1TaskPage.model_validate({"data": [{**ANSWER, **fields, "id": 5, "status": None}]})
    assert (listed.data[0].id, listed.data[0].status) == ("", "")


def test_a_task_is_found_by_its_tag_in_a_flat_list() -> None:
    def page(_: str | None) -> dict[str, Any]:
        return {"data": [{**ANSWER, "id": "other", "description": None}, ANSWER], "links": {}}

    tasks = carried_out(find(BATCH_V1, INTENT, START), page)
    assert [task.id for task in tasks] == [TASK]


def test_a_tile_may_be_short_or_long() -> None:
    tile = answers.Tile.model_validate({"id": 1})
    assert (tile.status, tile.name, tile.cost, tile.geometry, tile.error) == ("", None, None, {}, None)
    tile = answers.Tile.model_validate(
        {"id": 2, "requestId": TASK, "name": "31UDS_7_2", "status": "FAILED", "cost": "0.5", "error": "a\x1bb"}
    )
    assert (tile.request_id, tile.name, tile.status, tile.cost) == (TASK, "31UDS_7_2", "FAILED", 0.5)
    assert "\x1b" not in str(tile.error)


@pytest.mark.parametrize("wrap", [lambda each: each, lambda each: {"data": each}])
def test_a_collection_may_be_wrapped(wrap: Callable[[Any], Any]) -> None:
    found = collections.get(TASK).parse(
        wrap({"id": TASK, "name": "Corsica", "s3Bucket": "b", "batchData": {"tilingGridId": 0}, "created": None})
    )
    assert (found.id, found.name, found.s3_bucket, found.batch_data.tiling_grid_id) == (TASK, "Corsica", "b", 0)
    assert (found.additional_data, found.created) == ({}, None)


@pytest.mark.parametrize(
    ("found", "fields"),
    [
        ({"s3Bucket": "bucket", "batchData": {"tilingGridId": 0}}, []),
        ({"s3Bucket": "tenant:bucket"}, []),
        ({"s3Bucket": "other", "batchData": {"tilingGridId": 1}}, ["tilingGrid.id", "output.collectionId"]),
    ],
)
def test_a_request_is_compared_with_its_collection(found: dict[str, Any], fields: list[str]) -> None:
    body = batch_v1_document(output__collectionId=TASK)
    (lookup,) = BATCH_V1.lookups(body)
    assert (lookup.value, lookup.call.path) == (TASK, f"/collections/{TASK}")
    assert [each.field for each in lookup.compare(lookup.call.parse({"id": TASK, **found}))] == fields
    for odd in ({}, batch_v1_document(), {"output": {"collectionId": "../a"}}):
        assert not list(BATCH_V1.lookups(odd))


# --- Calls -----------------------------------------------------------------------------------------------------------


def test_paths_are_legacy_in_both_layouts() -> None:
    assert {calls.SERVICE.prefix(layout) for layout in PathLayout} == {"/api/v1/batch"}


def test_what_creates_is_sent_once() -> None:
    assert calls.TASKS.create({}).repeat is collections.create("a", "b").repeat is Repeat.NEVER
    for call in (calls.delete(TASK), calls.update(TASK, description="x"), collections.delete(TASK)):
        assert call.repeat is Repeat.ALWAYS


@pytest.mark.parametrize("bad", ["", "None", "a/b", "../a", "a b", "é", None])
def test_an_id_that_is_none_is_not_sent(bad: Any) -> None:
    made: list[Callable[[], Any]] = [
        lambda: calls.listed(collection_id=bad or "/"),
        lambda: calls.update(TASK, collection_id=bad or "/"),
        lambda: collections.get(bad),
        lambda: collections.update(bad, "name"),
        lambda: collections.delete(bad),
        lambda: calls.tile(TASK, bad),
        lambda: calls.tiling_grid(bad),
    ]
    if bad is not None:
        made += [
            lambda: calls.TASKS.restart(bad),
            lambda: calls.update(bad, description="x"),
            lambda: calls.delete(bad),
            lambda: calls.tiles(bad),
            lambda: calls.tile(bad, 1),
        ]
    for make in made:
        with pytest.raises(InvalidParameter, match="is not"):
            make()


def test_parameters_that_are_wrong_are_not_sent() -> None:
    made: list[tuple[Callable[[], Any], str]] = [
        (lambda: calls.listed(sort="name"), "sort = 'name': is not a known sort. Choose one of created, created:desc"),
        (lambda: calls.tiles(TASK, "DONE"), "status = 'DONE': is not a known status. Choose one of PENDING, SCHEDULED"),
        (lambda: calls.tiles(TASK, count=0), "count = 0: is not a number of 1 or more"),
        (lambda: calls.listed(count=True), "count = True: is not a number of 1 or more"),
        (lambda: calls.tile(TASK, tile_id=True), "tile_id = True: is not the id of a tile"),
        (lambda: calls.update(TASK), "description = None: is required where nothing else is changed"),
        (lambda: calls.update(TASK, collection_id=TASK, unlink=True), "unlink = True: contradicts collection_id"),
        (lambda: collections.create(" ", "b"), "name = ' ': is required"),
        (lambda: collections.create("a", ""), "s3_bucket = '': is required"),
        (lambda: calls.check_rerun({}), "Use on_partial='restart'"),
    ]
    for make, said in made:
        with pytest.raises(InvalidParameter) as caught:
            make()
        assert said in str(caught.value)


def test_only_what_was_asked_for_is_in_the_query() -> None:
    assert calls.listed().query == {}
    assert calls.tiles(TASK).query == {"count": "100"}
    assert calls.tiles(TASK, calls.TileStatus.FAILED, None, "t").query == {"status": "FAILED", "viewtoken": "t"}
    assert calls.tiling_grid(0).path == "/tilinggrids/0"


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (calls.delete(TASK), "Cancel the task first if it is running; one that has processed tiles cannot be deleted."),
        (collections.delete(TASK), "Delete the tasks that use it first."),
        (calls.update(TASK, description="x"), "Wait until the task is not being processed."),
    ],
)
def test_a_conflict_says_what_to_do(call: Call[Any], said: str) -> None:
    with pytest.raises(Conflict) as caught:
        decide(call, Attempt(), Reply(409, {}, b"in use"), RetryLimits(attempts=1))
    assert str(caught.value).endswith(f"the service answered 409: in use. {said}")


def test_a_collection_on_the_simulator(address: ServiceAddress, tokens: TokenSource, limits: RetryLimits) -> None:
    sender = Sender(address, tokens, limits)
    with contextlib.closing(sender):
        made = sender.send(collections.create("Corsica", "bucket"))
        sender.send(collections.update(made.id, "Corse"))
        assert sender.send(collections.get(made.id)).name == "Corse"
        assert made.id in [each.id for each in sender.send(collections.listed()).data]
        sender.send(collections.delete(made.id))
        with pytest.raises(NotFound):
            sender.send(collections.get(made.id))
        assert sender.send(calls.tiling_grid(0)).id == 0
        assert len(sender.send(calls.tiling_grids(2)).data) == 2


# --- lists -----------------------------------------------------------------------------------------------------------


def walked(page_of: Callable[[str | None], dict[str, Any]]) -> tuple[list[int], int]:
    seen: list[int] = []
    walk = calls.read_tiles(TASK, lambda page: seen.extend(tile.id for tile in page.data), "FAILED")
    answer: Any = None
    while True:
        try:
            call: Any = walk.send(answer)
        except StopIteration as end:
            return seen, end.value
        assert call.query["status"] == "FAILED"
        answer = call.parse(page_of(call.query.get("viewtoken")))


@given(st.integers(0, 12), st.integers(1, 5))
def test_all_pages_are_read(number: int, size: int) -> None:
    def page(token: str | None) -> dict[str, Any]:
        first = int(token or 0)
        rows = [{"id": each} for each in range(first, min(number, first + size))]
        return {"data": rows, "links": {"nextToken": str(first + size)} if first + size < number else {}}

    seen, count = walked(page)
    assert seen == list(range(number))
    assert count == max(1, -(-number // size))


def test_a_list_without_an_end_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ServiceUnavailable, match=r"list the tiles of batch task .* came twice, after 3 pages"):
        walked(lambda token: {"data": [{"id": 1}], "links": {"nextToken": {None: "a", "a": "b"}.get(token, "a")}})
    monkeypatch.setattr(pages, "MOST_PAGES", 7)
    with pytest.raises(ServiceUnavailable, match="more than 7 pages"):
        walked(lambda token: {"data": [], "links": {"nextToken": f"{token}x"}})
    # The last page may name itself.
    assert walked(lambda token: {"data": [{"id": 1}] * (token is None), "links": {"nextToken": "a"}}) == ([1], 2)


# --- cost ------------------------------------------------------------------------------------------------------------


def test_the_estimate_of_the_service() -> None:
    grid = {"id": 0, "resolution": 10.0, "bufferX": 3, "bufferY": 1}
    request = batch_v1_document(tilingGrid=grid, processRequest__evalscript=NDVI)
    estimate = estimate_of(answers.BatchV1Task.model_validate({**ANSWER, **request}))
    assert estimate is not None
    assert estimate.low_pu == pytest.approx(900.5 / 3)
    assert estimate.pu == estimate.high_pu == 900.5
    assert (estimate.features, estimate.pixels) == (66, 66 * 2010 * 2006)
    assert "reserved when the task is started" in estimate.assumptions[0]
    assert "factor 1/3" in estimate.assumptions[1]
    assert "one sample per pixel every 3 days" in estimate.assumptions[2]
    assert "Estimated cost: 900 PU" in estimate.text()


def test_the_estimate_of_small_tiles_and_of_many_samples() -> None:
    small = {**ANSWER, "tileWidthPx": 99, "tileHeightPx": 99}
    request = batch_v1_document(processRequest__evalscript=NDVI)
    simple = estimate_of(answers.BatchV1Task.model_validate({**small, **request}))
    assert simple is not None
    assert simple.low_pu == simple.pu
    unknown = estimate_of(answers.BatchV1Task.model_validate({**small, **request, "tileWidthPx": None}))
    assert unknown is not None
    assert unknown.low_pu == pytest.approx(simple.pu / 3)
    assert unknown.pixels == 0
    assert not [each for each in simple.assumptions if "1/3" in each]
    script = NDVI.replace("return {", 'return {mosaicking: "ORBIT",', 1)
    orbit = batch_v1_document(processRequest__evalscript=script)
    period = {"from": "2024-01-01T00:00:00Z", "to": "2024-03-31T00:00:00Z"}
    orbit["processRequest"]["input"]["data"][0]["dataFilter"] = {"timeRange": period}
    deep = estimate_of(answers.BatchV1Task.model_validate({**small, **orbit}))
    assert deep is not None
    assert deep.low_pu < deep.pu
    assert deep.high_pu is None or deep.high_pu > deep.pu
    orbit["output"]["skipExisting"] = True
    skipping = estimate_of(answers.BatchV1Task.model_validate({**small, **orbit}))
    assert skipping is not None
    assert skipping.low_pu == 0


def test_there_is_no_estimate_before_the_analysis() -> None:
    assert estimate_of(answers.BatchV1Task.model_validate({"id": TASK, "status": "CREATED"})) is None
    assert estimate_of(make_task()) is None


def test_the_price_knows_no_surcharge() -> None:
    for place in ({"output": {"defaultTilePath": "s3://b/f"}}, {"zarrOutput": ZARR}, {"bucketName": "b"}):
        body = {**batch_v1_document(output=..., processRequest__evalscript=NDVI), **place}
        estimate = BATCH_V1.estimate(body, [(2004, 2004, 66)])
        assert estimate.surcharge.pu == 0
        assert estimate.pu == BATCH_V2.estimate(build_document(processRequest__evalscript=NDVI), [(2004, 2004, 66)]).pu
