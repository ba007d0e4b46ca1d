from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import pytest

from airflow_provider_sentinelhub.simulator.caller import call
from airflow_provider_sentinelhub.simulator.process import Simulator

Json = dict[str, Any]
Request = Callable[..., Json]


def credentials(sim: Simulator, **changes: str) -> dict[str, str]:
    form = {
        "grant_type": "client_credentials",
        "client_id": sim.ready.client_id,
        "client_secret": sim.ready.client_secret,
    }
    return {**form, **changes}


def test_a_token_is_a_jwt_that_says_when_it_expires(sim: Simulator) -> None:
    answer = call("POST", sim.ready.token_url, form=credentials(sim))
    assert answer.status == 200
    assert answer.body["expires_in"] == 3600
    claims = answer.body["access_token"].split(".")[1]
    decoded = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))
    assert abs(decoded["exp"] - time.time() - 3600) < 10
    assert decoded["azp"] == sim.ready.client_id


def test_the_legacy_token_path_and_basic_authentication_work(sim: Simulator) -> None:
    pair = base64.b64encode(f"{sim.ready.client_id}:{sim.ready.client_secret}".encode()).decode()
    answer = call(
        "POST",
        sim.ready.base_url + "/oauth/token",
        form={"grant_type": "client_credentials"},
        headers={"Authorization": f"Basic {pair}"},
    )
    assert answer.status == 200


@pytest.mark.parametrize(
    ("changes", "status", "error"),
    [
        ({"client_secret": "wrong"}, 401, "invalid_client"),
        ({"client_id": "somebody"}, 401, "invalid_client"),
        ({"grant_type": "password"}, 400, "unsupported_grant_type"),
    ],
)
def test_wrong_credentials_are_refused_as_oauth_says(
    sim: Simulator, changes: dict[str, str], status: int, error: str
) -> None:
    answer = call("POST", sim.ready.token_url, form=credentials(sim, **changes))
    assert (answer.status, answer.body["error"]) == (status, error)


def test_without_a_valid_token_nothing_works(sim: Simulator) -> None:
    sim.set_script({"timing": {"token_ttl_seconds": 0.2}})
    url = sim.ready.base_url + "/batch/v2/tilinggrids"
    expiring = {"Authorization": f"Bearer {sim.fetch_token()}"}
    assert call("GET", url, headers=expiring).status == 200
    time.sleep(0.3)
    for headers in ({}, {"Authorization": "Bearer nonsense"}, expiring):
        answer = call("GET", url, headers=headers)
        assert answer.status == 401
        assert answer.body["error"]["code"] == "COMMON_UNAUTHORIZED"


def test_tokens_can_be_revoked_and_are_counted(sim: Simulator) -> None:
    before = sim.tokens_issued()
    token = {"Authorization": f"Bearer {sim.fetch_token()}"}
    assert sim.tokens_issued() == before + 1
    sim.revoke_tokens()
    assert call("GET", sim.ready.base_url + "/batch/v2/tilinggrids", headers=token).status == 401
    assert sim.call("GET", "/batch/v2/tilinggrids").status == 200


@pytest.mark.parametrize("prefix", ["/api/v2/batch", "/batch/v2"])
@pytest.mark.parametrize("slash", ["", "/"])
def test_both_layouts_serve_everything(sim: Simulator, request_for: Request, prefix: str, slash: str) -> None:
    created = sim.call("POST", f"{prefix}/process{slash}", request_for())
    assert created.status == 201
    task_id = created.body["id"]
    assert sim.call("GET", f"{prefix}/process/{task_id}{slash}").body["id"] == task_id
    assert sim.call("GET", f"{prefix}/process{slash}?count=1").status == 200
    updated = sim.call("PUT", f"{prefix}/process/{task_id}{slash}", {"description": "other"})
    assert (updated.status, updated.body["description"]) == (200, "other")
    assert set(updated.body) == {"processRequest", "input", "output", "description", "instanceType"}
    for action in ("analyse", "stop", "start"):
        answer = sim.call("POST", f"{prefix}/process/{task_id}/{action}{slash}")
        assert answer.status in {204, 400}
    assert sim.call("GET", f"{prefix}/tilinggrids/0{slash}").body["properties"]["tileWidth"] == 20040


def test_a_new_task_looks_as_documented(sim: Simulator, request_for: Request) -> None:
    request = request_for()
    task = sim.call("POST", "/batch/v2/process", request).body
    assert (task["status"], task["userAction"], task["completionPercentage"], task["costPU"]) == (
        "CREATED",
        "NONE",
        0,
        0,
    )
    assert {"error", "stoppedStatusReason", "lastUpdated", "userActionUpdated"}.isdisjoint(task)
    assert task["domainAccountId"] == task["projectId"]
    shown = task["request"]
    assert shown["output"]["delivery"]["s3"]["secretAccessKey"] == "*****"
    assert shown["output"]["delivery"]["s3"]["accessKey"] == "*****"
    assert (shown["instanceType"], shown["output"]["overwrite"]) == ("normal", False)
    assert shown["processRequest"]["input"]["data"][0]["dataFilter"]["mosaickingOrder"] == "mostRecent"
    assert shown["processRequest"]["output"]["responses"][0]["logo"] is False


def test_a_multipart_create_carries_the_evalscript_apart(sim: Simulator, request_for: Request) -> None:
    request = request_for()
    evalscript = request["processRequest"].pop("evalscript")
    parts = [
        f'--x\r\nContent-Disposition: form-data; name="{name}"\r\nContent-Type: {kind}\r\n\r\n{content}\r\n'
        for name, kind, content in (
            ("request", "application/json", json.dumps(request)),
            ("evalscript", "text/plain", evalscript),
        )
    ]
    headers = {
        "Authorization": f"Bearer {sim.fetch_token()}",
        "Content-Type": "multipart/form-data; boundary=x",
    }
    body = ("".join(parts) + "--x--\r\n").encode()
    answer = call("POST", sim.ready.base_url + "/batch/v2/process", body, headers)
    assert answer.status == 201, answer.body
    assert answer.body["request"]["processRequest"]["evalscript"].strip() == evalscript.strip()


S3 = "output__delivery__s3__"
WRONG: list[tuple[dict[str, Any], str]] = [
    ({"description": None}, "description"),
    ({"input__bufferX": None}, "input->bufferX"),
    ({"processRequest": ...}, "processRequest"),
    ({"processRequest__evalscript": ...}, "processRequest->evalscript"),
    ({"processRequest__input__data": []}, "processRequest->input->data"),
    ({"processRequest__input__bounds": ...}, "processRequest->input->bounds"),
    ({"processRequest__input__bounds__properties": {"crs": "EPSG/0/1"}}, "processRequest->input->bounds"),
    ({"processRequest__output__width": 512}, "processRequest->output->width"),
    (
        {"processRequest__output__responses": [{"identifier": "a", "format": {"type": "image/png"}}]},
        "processRequest->output->responses[0]->format->type",
    ),
    ({"input__type": "points"}, "input->type"),
    ({"input__id": 4}, "input->id"),
    ({"input__resolution": 15}, "input->resolution"),
    ({"input__bufferY": -1}, "input->bufferY"),
    ({"output__type": "jpeg"}, "output->type"),
    ({"output__delivery": ...}, "output->delivery"),
    ({f"{S3}url": "https://example.com"}, "output->delivery->s3->url"),
    ({f"{S3}url": "s3://sentinelhub/<requestId>/x.tif"}, "output->delivery->s3->url"),
    ({f"{S3}url": "s3://sentinelhub/<tileName>/<wrong>.tif"}, "output->delivery->s3->url"),
    ({f"{S3}secretAccessKey": ...}, "output->delivery->s3"),
    ({f"{S3}accessKey": "AKIASOMEBODYELSE0000"}, "output->delivery->s3"),
    ({f"{S3}secretAccessKey": "wrong-secret-access-key"}, "output->delivery->s3"),
    ({f"{S3}url": "s3://no-such-bucket/x"}, "output->delivery->s3"),
    ({"output__createCollection": True}, "output->createCollection"),
    ({"output__cogParameters": {"resamplingAlgorithm": "best"}}, "output->cogParameters->resamplingAlgorithm"),
    ({"input": "everything"}, "input"),
    ({"input": {}}, "input->type"),
    ({"output": {}}, "output->type"),
    ({"output__type": [1]}, "output->type"),
    ({f"{S3}accessKey": 5}, "output->delivery->s3->accessKey"),
    ({f"{S3}region": ""}, "output->delivery->s3->region"),
    ({f"{S3}url": "s3://sentinelhub/a/../b"}, "output->delivery->s3->url"),
    ({f"{S3}url": "s3://sentinelhub//b"}, "output->delivery->s3->url"),
    ({f"{S3}url": "s3://sentinelhub/<tileName"}, "output->delivery->s3->url"),
    ({"processRequest__input__bounds": {"bbox": [9.21, 42.07, 1e400, 42.11]}}, ""),
    ({"processRequest__input__bounds": {"bbox": [9.27, 42.07, 9.21, 42.11]}}, "processRequest->input->bounds"),
    ({"instanceType": "huge"}, "instanceType"),
    ({"status": "DONE"}, "status"),
    ({"output__overwrite": "yes"}, "output->overwrite"),
    ({"output__overWrite": True}, "output->overWrite"),
    ({"output__cogParameters": {"blockxsize": 100}}, "output->cogParameters->blockxsize"),
    ({"output__cogParameters": {"overviewLevels": "2"}}, "output->cogParameters->overviewLevels"),
    ({"output__cogParameters": {"usePredictor": 2}}, "output->cogParameters->usePredictor"),
    ({"output__collectionId": "mine"}, "output->collectionId"),
    (
        {"output__cogOutput": True, "output__createCollection": True, "output__cogParameters": {"blockxsize": 128}},
        "output->cogParameters->blockxsize",
    ),
    ({"input__type": "geopackage"}, "input->features"),
    ({"output__cogOutput": True, "output__createCollection": True, f"{S3}region": "us-west-2"}, "output->delivery"),
]


@pytest.mark.parametrize(("changes", "parameter"), WRONG, ids=[f"{n}-{w[1]}" for n, w in enumerate(WRONG)])
def test_a_wrong_request_is_refused_with_the_parameter_named(
    sim: Simulator, request_for: Request, changes: dict[str, Any], parameter: str
) -> None:
    answer = sim.call("POST", "/batch/v2/process", request_for(**changes))
    error = answer.body["error"]
    assert (answer.status, error["status"], error["code"]) == (400, 400, "COMMON_BAD_PAYLOAD")
    assert error["reason"] == "Bad Request"
    if parameter:
        assert parameter in [each["parameter"] for each in error["errors"]]
        assert error["errors"][0]["violation"] in error["message"]


def test_a_request_of_batch_v1_is_called_one(sim: Simulator, request_for: Request) -> None:
    request = {**request_for(input=...), "tilingGrid": {"id": 0, "resolution": 60}}
    answer = sim.call("POST", "/batch/v2/process", request)
    assert answer.status == 400
    assert "tilingGrid: this is a request of Batch Processing V1" in answer.body["error"]["message"]


def test_the_number_of_a_tile_may_name_its_files(sim: Simulator, request_for: Request) -> None:
    request = request_for()
    request["output"]["delivery"]["s3"]["url"] += "/<tileId>/<outputId>.tif"
    assert sim.call("POST", "/batch/v2/process", request).status == 201


def test_an_update_takes_the_description_only(sim: Simulator, request_for: Request) -> None:
    url = f"/batch/v2/process/{sim.call('POST', '/batch/v2/process', request_for()).body['id']}"
    for body in ({"status": "DONE"}, {"description": 5}, [1], b'{"description": "\\ud800"}', b"[" * 100_000):
        assert sim.call("PUT", url, body).status == 400
    assert sim.call("PUT", url, {"description": "new"}).status == 200


def test_an_empty_or_broken_body_is_refused(sim: Simulator) -> None:
    empty = sim.call("POST", "/batch/v2/process")
    assert (empty.status, empty.body["error"]["message"]) == (400, "Request body should be non-empty.")
    assert sim.call("POST", "/batch/v2/process", b"{").status == 400
    assert sim.call("POST", "/batch/v2/process", [1]).status == 400


def test_no_body_breaks_what_stands_beside_the_apis(sim: Simulator) -> None:
    form = b"grant_type=client_credentials"
    basic = {"Authorization": "Basic \u00e9", "Content-Type": "application/x-www-form-urlencoded"}
    assert call("POST", sim.ready.token_url, form, basic).status == 401
    for command in (
        {"speed": 1e20},
        {"speed": -1},
        {"advance_seconds": 1e300},
        {"advance_seconds": -5},
        {"running": 5},
    ):
        assert call("POST", f"{sim.ready.admin_url}/clock", command).status == 400
    parts = {"request": b'{"processRequest": {}}', "evalscript": b"\xff\xfe"}
    head = b'--x\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n'
    body = b"".join(head % (name.encode(), content) for name, content in parts.items()) + b"--x--\r\n"
    token = {"Authorization": f"Bearer {sim.fetch_token()}", "Content-Type": "multipart/form-data; boundary=x"}
    assert call("POST", f"{sim.ready.base_url}/batch/v2/process", body, token).status == 400


def test_the_known_role_may_replace_the_keys(sim: Simulator, request_for: Request) -> None:
    request = request_for()
    url = request["output"]["delivery"]["s3"]["url"]
    request["output"]["delivery"]["s3"] = {"url": url, "iamRoleARN": sim.ready.role_arn}
    assert sim.call("POST", "/batch/v2/process", request).status == 201
    request["output"]["delivery"]["s3"]["iamRoleARN"] = "arn:aws:iam::1:role/other"
    assert sim.call("POST", "/batch/v2/process", request).status == 400


def test_an_account_below_1000_pu_creates_nothing(sim: Simulator, request_for: Request) -> None:
    sim.set_balance(999)
    answer = sim.call("POST", "/batch/v2/process", request_for())
    assert (answer.status, answer.body["error"]["code"]) == (403, "ACCESS_INSUFFICIENT_PROCESSING_UNITS")


def test_unknown_things_are_not_found_and_unknown_grids_are_bad_requests(sim: Simulator) -> None:
    for method, path in (("GET", ""), ("PUT", ""), ("POST", "/start"), ("POST", "/stop"), ("POST", "/analyse")):
        answer = sim.call(method, f"/batch/v2/process/8cf4ed49-4e7c-4f6d-a3a1-6e9a1a3e1d2b{path}", {})
        assert (answer.status, answer.body["error"]["code"]) == (404, "COMMON_NOT_FOUND")
    for grid in ("4", "x", "99"):
        answer = sim.call("GET", f"/batch/v2/tilinggrids/{grid}")
        assert (answer.status, answer.body["error"]["code"]) == (400, "COMMON_BAD_PAYLOAD")
    assert sim.call("GET", "/batch/v2/nothing").body["error"]["code"] == "COMMON_NOT_FOUND"
    assert sim.call("DELETE", "/batch/v2/process").body["error"]["code"] == "COMMON_METHOD_NOT_ALLOWED"


def test_lists_come_in_pages(sim: Simulator, request_for: Request) -> None:
    word = f"paging{time.time_ns()}"
    created = [
        sim.call("POST", "/batch/v2/process", request_for(description=f"{word} no{number}.")).body["id"]
        for number in range(5)
    ]
    seen: list[str] = []
    query = f"/batch/v2/process?count=2&search={word}"
    page = sim.call("GET", query).body
    for _ in range(10):
        seen += [task["id"] for task in page["data"]]
        if "nextToken" not in page["links"]:
            break
        page = sim.call("GET", f"{query}&viewtoken={page['links']['nextToken']}").body
    assert seen == created
    assert "previousToken" in page["links"]
    newest = sim.call("GET", f"/batch/v2/process?search={word}&sort=created:desc").body["data"]
    assert [task["id"] for task in newest] == created[::-1]
    both = sim.call("GET", f"/batch/v2/process?search={word}%20%26%20no3.").body["data"]
    assert [task["id"] for task in both] == [created[3]]
    assert sim.call("GET", "/batch/v2/process?sort=size").status == 400
    assert sim.call("GET", "/batch/v2/process?count=x").status == 400
    assert sim.call("GET", "/batch/v2/process?viewtoken=%21").status == 400
    assert sim.call("GET", f"/batch/v2/process?viewtoken={base64.urlsafe_b64encode(b'-1').decode()}").status == 400


def test_links_of_a_list_repeat_what_was_asked(sim: Simulator, request_for: Request) -> None:
    word = f"links & more{time.time_ns()}"
    created = [sim.call("POST", "/batch/v2/process", request_for(description=word)).body["id"] for _ in range(3)]
    links = {"next": f"/batch/v2/process?{urlencode({'count': 1, 'search': word, 'sort': 'created:desc'})}"}
    seen = []
    while "next" in links:
        page = sim.call("GET", links["next"].removeprefix(sim.ready.base_url)).body
        seen += [task["id"] for task in page["data"]]
        links = page["links"]
    assert seen == created[::-1]


def test_the_admin_sees_every_call_but_its_own(sim: Simulator, request_for: Request) -> None:
    task_id = sim.call("POST", "/batch/v2/process", request_for()).body["id"]
    for _ in range(3):
        sim.call("GET", f"/api/v2/batch/process/{task_id}")
    log = sim.requests()
    assert log["counts"]["GET /api/v2/batch/process/{id}"] == 3
    assert log["counts"]["POST /batch/v2/process"] == 1
    assert log["requests"][-1]["status"] == 200
    assert not [entry for entry in log["requests"] if entry["path"].startswith("/simulator")]
