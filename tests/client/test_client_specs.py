"""Every API's spec keeps what its fields promise, and no request of one API is taken for one of another."""

from __future__ import annotations

import re
import typing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import BaseModel

import airflow_provider_sentinelhub
from airflow_provider_sentinelhub.client.apis.batch_statistical.models import BatchStatisticalRequest
from airflow_provider_sentinelhub.client.apis.batch_v1.models import BatchV1Request
from airflow_provider_sentinelhub.client.apis.batch_v2.models import BatchV2Request
from airflow_provider_sentinelhub.client.apis.process.models import ImageRequest
from airflow_provider_sentinelhub.client.apis.registry import APIS, TASK_APIS, other_request_type, request_type
from airflow_provider_sentinelhub.client.apis.statistical.models import StatisticalRequest
from airflow_provider_sentinelhub.client.errors import InvalidParameter
from airflow_provider_sentinelhub.client.http.call import Repeat
from airflow_provider_sentinelhub.client.http.deployments import DEPLOYMENTS, Service
from airflow_provider_sentinelhub.client.lifecycle.intent import Intent
from airflow_provider_sentinelhub.client.lifecycle.spec import ApiSpec, Goal, NextStep, Rerun, TaskApiSpec
from airflow_provider_sentinelhub.client.preflight.examine import examine
from airflow_provider_sentinelhub.client.requests.findings import part
from tests.client.client_harness import (
    NDVI,
    batch_statistical_document,
    batch_v1_document,
    build_document,
    image_document,
    make_task,
    statistical_document,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# A further API has a line in each of these two.
MODELS: dict[str, type[BaseModel]] = {
    "batch-v1": BatchV1Request,
    "batch-v2": BatchV2Request,
    "batch-statistical": BatchStatisticalRequest,
    "statistical": StatisticalRequest,
    "process": ImageRequest,
}
DOCUMENTS: dict[str, Callable[..., dict[str, Any]]] = {
    "batch-v1": partial(batch_v1_document, processRequest__output__responses__0__identifier="ndvi"),
    "batch-v2": partial(build_document, processRequest__output__responses__0__identifier="ndvi"),
    "batch-statistical": batch_statistical_document,
    "statistical": statistical_document,
    "process": partial(image_document, output__responses__0__identifier="ndvi"),
}
STATUSES = ("CREATED", "ANALYSING", "ANALYSIS_DONE", "PROCESSING", "DONE", "PARTIAL", "FAILED", "STOPPED", "CANCELED")
INTENT = Intent("dag", "run", "task", 3, "0123456789abcdef", 2)
FEATURES, RESULTS = "s3://bucket/again.gpkg", "s3://bucket/again/"
ODD: tuple[dict[str, Any], ...] = (
    {},
    {"input": 1, "output": [], "aggregation": "x", "processRequest": []},
    {"input": {"features": "x", "data": None}, "output": {"delivery": 1, "s3": "x"}},
)

of_every_api = pytest.mark.parametrize("api", list(APIS.values()), ids=list(APIS))
of_every_task_api = pytest.mark.parametrize("api", list(TASK_APIS.values()), ids=list(TASK_APIS))


def document(api: ApiSpec) -> dict[str, Any]:
    """A request of the API that nothing is wrong with, with an evalscript that has outputs."""
    return DOCUMENTS[api.key](**{"__".join(api.script_path): NDVI})


def test_every_api_is_looked_at_here() -> None:
    assert set(APIS) == set(MODELS) == set(DOCUMENTS)


def test_no_two_apis_have_a_name_in_common() -> None:
    for names in ("key", "title", "operator", "service"):
        assert len({getattr(api, names) for api in APIS.values()}) == len(APIS), names
    assert {key for key, api in APIS.items() if isinstance(api, TaskApiSpec)} == set(TASK_APIS)
    assert all(key == api.key for key, api in APIS.items())
    # Triggers, records and the command line write it.
    assert all(re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", key) for key in APIS)


@of_every_api
def test_the_operators_exist(api: ApiSpec) -> None:
    folder = Path(airflow_provider_sentinelhub.__file__).parent / "operators"
    defined = "".join(path.read_text(encoding="utf-8") for path in folder.glob("*.py"))
    for name in (api.operator, getattr(api, "start_operator", api.operator)):
        assert f"class {name}(" in defined


@of_every_api
def test_some_deployment_has_the_api(api: ApiSpec) -> None:
    assert api.service in Service
    assert any(api.service not in each.lacks for each in DEPLOYMENTS.values() if each.base_url)


@of_every_api
def test_a_checked_request_is_its_own_check(api: ApiSpec) -> None:
    body = api.check(document(api))
    assert body == document(api)
    assert api.check(body) == body
    assert request_type(body) is api
    assert other_request_type(api, body) is None


@of_every_api
def test_the_check_names_what_is_unknown_and_what_is_missing(api: ApiSpec) -> None:
    with pytest.raises(InvalidParameter) as caught:
        api.check({**document(api), "nosuchfield": 1})
    assert caught.value.field == "nosuchfield"
    with pytest.raises(InvalidParameter, match="is required"):
        api.check({})


@of_every_api
def test_the_rules_find_nothing_wrong_with_it_and_stand_any_json(api: ApiSpec) -> None:
    for deployment in (None, *(each for each in DEPLOYMENTS.values() if api.service not in each.lacks)):
        good = document(api)
        if deployment is DEPLOYMENTS["aws-us-west-2"]:
            # The one that has no Sentinel-2 data.
            part(good, *api.input)["data"] = [{"type": "hls"}]
            holder = part(good, *api.script_path[:-1])
            holder["evalscript"] = holder["evalscript"].replace("B04", "Red").replace("B08", "NIR_Narrow")
        assert examine(good, api.check, api.rules, deployment).findings.errors == ()
        requests: tuple[Any, ...] = (*ODD, [], None)
        for odd in requests:
            assert examine(odd, api.check, api.rules, deployment).findings.errors


@of_every_api
def test_the_rules_look_at_area_data_and_script_where_the_spec_says_they_are(api: ApiSpec) -> None:
    request = document(api)
    request_input, holder = part(request, *api.input), part(request, *api.script_path[:-1])
    request_input["data"][0]["dataFilter"] = {
        "timeRange": {"from": "1900-01-01T00:00:00Z", "to": "1900-01-02T00:00:00Z"}
    }
    holder["evalscript"] = ""
    found = examine(request, api.check, api.rules).findings
    path = ".".join(api.input)
    assert ".".join(api.script_path) in {each.field for each in found.errors}
    assert f"{path}.data.0.dataFilter.timeRange.to" in {each.field for each in found.warnings}


@of_every_api
def test_paths_exist_in_the_models(api: ApiSpec) -> None:
    assert list(types_at(MODELS[api.key], (*api.input, "data")))
    assert list(types_at(MODELS[api.key], api.script_path))
    for path in api.storages:
        storages = list(types_at(MODELS[api.key], path))
        assert storages, path
        assert all(list(types_at(each, ("s3", "url"))) for each in storages), path


@of_every_api
def test_the_price_is_that_of_the_script_and_any_json_has_one(api: ApiSpec) -> None:
    pixels = [(100, 100, 3)]
    estimate = api.estimate(document(api), pixels)
    assert estimate.features == 3
    assert estimate.pu >= estimate.low_pu > 0
    factors = {factor.name: factor.value for factor in estimate.factors}
    assert factors["bands"] == pytest.approx(2 / 3)
    for odd in ODD:
        assert api.estimate(odd, pixels).pu > 0


# --- tasks -----------------------------------------------------------------------------------------------------------


@of_every_task_api
def test_the_tag_comes_back_and_goes_again(api: TaskApiSpec) -> None:
    body = api.check(document(api))
    tagged = api.tagged(body, INTENT.tag)
    assert api.intent_of(make_task(request=tagged)) == INTENT
    assert api.check(tagged) == tagged
    again = api.tagged(api.untagged(tagged), INTENT.tag)
    assert api.intent_of(make_task(request=again)) == INTENT
    assert INTENT.tag not in repr(api.untagged(tagged))
    assert api.intent_of(make_task(request=body)) is None
    assert api.intent_of(make_task(request={})) is None


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("Corsica, for the ministry", "Corsica, for the ministry"),
        ("a | b", "a | b"),
        ("see airflow:docs |", "see airflow:docs |"),
        ("", None),
        (None, None),
    ],
)
def test_what_a_user_wrote_in_the_description_stays(written: str | None, kept: str | None) -> None:
    api = TASK_APIS["batch-v2"]
    body = {**api.check(document(api)), "description": written}
    tagged = api.tagged(body, INTENT.tag)
    untagged = api.untagged(tagged)
    assert untagged.get("description") == kept
    # A rerun of what was sent has its own tag, and no other one.
    again = api.tagged(api.rerun(untagged, Rerun(FEATURES, RESULTS)), replace(INTENT, rerun=1, original="t-1").tag)
    assert again["description"] == (f"{kept} | " if kept else "") + replace(INTENT, rerun=1, original="t-1").tag
    # Somebody may have written behind the tag.
    behind = {**tagged, "description": f"{tagged['description']} (urgent)"}
    assert api.untagged(behind)["description"] == f"{kept or ''} (urgent)".strip()


@of_every_task_api
def test_the_tag_is_in_the_name_of_a_script_that_is_too_long(api: TaskApiSpec) -> None:
    if api.long_script is None:
        return
    url = f"s3://bucket/folder/{api.long_script.name(INTENT.tag)}"
    request = document(api)
    del request[api.script_holder]["evalscript"]
    request[api.script_holder]["evalscriptReference"] = {"s3": {"url": url}}
    body = api.check(request)
    assert api.intent_of(make_task(request=body)) == INTENT
    assert (api.script_holder, "evalscriptReference") in api.storages
    assert api.long_script.max_bytes > 0


@of_every_task_api
def test_a_rerun_is_a_request_of_the_same_api_for_other_features(api: TaskApiSpec) -> None:
    body = api.check(document(api))
    assert api.delivery_url(body)
    if api.restartable:
        # What failed runs again in the same task.
        with pytest.raises(InvalidParameter, match="on_partial"):
            api.check_rerun(body)
        return
    api.check_rerun(body)
    again = api.rerun(body, Rerun(FEATURES, RESULTS))
    assert api.check(again) == again
    assert request_type(again) is api
    assert (api.features_url(again), api.delivery_url(again)) == (FEATURES, RESULTS)
    assert body == api.check(document(api)), "it was changed"


@of_every_task_api
def test_urls_of_odd_requests_are_unknown(api: TaskApiSpec) -> None:
    for odd in ODD:
        assert api.features_url(odd) is None
        assert api.delivery_url(odd) == ""


@of_every_task_api
def test_statuses_agree_with_each_other(api: TaskApiSpec) -> None:
    assert api.answered < api.terminal
    # An ended task was analysed, unless it is one that is gone.
    assert api.terminal - {"DELETED"} <= api.analysed
    assert not {"CREATED", "ANALYSING"} & (api.terminal | api.analysed)
    assert api.stopped in api.terminal - api.answered
    for status in STATUSES:
        task = make_task(status=status, userAction="START")
        assert not (api.is_over(task) and (api.is_running(task) or api.can_stop(task)))
        for goal in Goal:
            if api.is_over(task) and goal is not Goal.RESUME:
                assert api.next_step(task, goal) is NextStep.FINISH


@of_every_task_api
def test_a_task_is_never_created_twice_by_the_sender_and_ids_are_checked(api: TaskApiSpec) -> None:
    assert api.calls.service is api.service
    assert api.calls.create({}).repeat is Repeat.NEVER
    for call in (api.calls.get, api.calls.start, api.calls.stop, api.calls.analyse):
        assert call("a-1").path.startswith(f"{api.calls.path}/a-1")
        with pytest.raises(InvalidParameter, match="batch_task_id"):
            call("../a-1")


@of_every_task_api
def test_an_api_without_a_start_has_no_analysis_either(api: TaskApiSpec) -> None:
    assert api.can.start or not api.can.analyse


def types_at(kind: Any, path: tuple[str, ...]) -> Iterator[Any]:
    """The types that a path leads to, through every member of a union and every item of a list."""
    if not path:
        yield kind
        return
    for model in models_in(kind):
        for name, field in model.model_fields.items():
            if (field.alias or name) == path[0]:
                yield from types_at(field.annotation, path[1:])


def models_in(kind: Any) -> Iterator[type[BaseModel]]:
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        yield kind
    for each in typing.get_args(kind):
        yield from models_in(each)
