"""The Statistical APIs against the service's own documents; ``test_contract.py`` says where those are."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_sentinelhub.client.apis.batch_statistical import calls as batch_statistical
from airflow_provider_sentinelhub.client.apis.batch_statistical import models as batch_models
from airflow_provider_sentinelhub.client.apis.statistical import answers as statistical_answers
from airflow_provider_sentinelhub.client.apis.statistical import calls as statistical
from airflow_provider_sentinelhub.client.apis.statistical import models as statistical_models
from airflow_provider_sentinelhub.client.http.policy import Attempt, Done, decide
from airflow_provider_sentinelhub.client.http.problems import Reply
from airflow_provider_sentinelhub.client.lifecycle import tasks
from airflow_provider_sentinelhub.client.requests import aggregation, calculations
from tests.client.client_harness import batch_statistical_document, statistical_document
from tests.contract import test_contract as contract

if TYPE_CHECKING:
    from pydantic import BaseModel

pytestmark = contract.pytestmark


@pytest.fixture(scope="module")
def schemas() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(contract.DOCUMENT.read_text(encoding="utf-8"))["components"]["schemas"]
    return found


def properties(schema: dict[str, Any], schemas: dict[str, Any]) -> set[str]:
    """Names of all fields, those of the parts it is put together of included."""
    found = set(schema.get("properties", ()))
    for each in schema.get("allOf", ()):
        found |= properties(schemas[each["$ref"].rsplit("/", 1)[1]] if "$ref" in each else each, schemas)
    return found


def at(schemas: dict[str, Any], path: str) -> dict[str, Any]:
    name, *steps = path.split("/")
    schema: dict[str, Any] = schemas[name]
    for step in steps:
        schema = schema[step] if step in {"items", "additionalProperties"} else schema["properties"][step]
    return schema


@pytest.mark.parametrize(
    ("path", "model"),
    [
        ("StatisticalRequest", statistical_models.StatisticalRequest),
        ("ProcessRequestInput", statistical_models.StatisticalInput),
        ("StatisticalRequestAggregation", statistical_models.StatisticalAggregation),
        ("StatisticalDateTimeInterval", aggregation.AggregationRange),
        ("Aggregation", aggregation.AggregationInterval),
        ("BatchStatisticalRequest", batch_models.BatchStatisticalRequest),
        ("BatchStatisticalInput", batch_models.BatchStatisticalInput),
        ("BatchStatisticalRequestAggregation", batch_models.BatchAggregation),
        ("ObjectStorageOutputInfo", batch_models.S3Storage),
        ("CalculationDefinition", calculations.Calculation),
        ("HistogramDefinition", calculations.Histogram),
        ("StatisticsDefinition", calculations.BandStatistics),
        ("StatisticsDefinition/percentiles", calculations.Percentiles),
    ],
)
def test_a_request_has_the_fields_of_the_document(path: str, model: type[BaseModel], schemas: dict[str, Any]) -> None:
    assert contract.fields_of(model) == properties(at(schemas, path), schemas)


@pytest.mark.parametrize(
    ("path", "model", "only_ours"),
    [
        # All of an answer may fail, and the newer document has a status and the pixels of the geometry.
        ("StatisticalResponse", statistical_answers.StatisticalAnswer, {"status", "error", "geometryPixelCount"}),
        ("StatisticalResponse/data/items", statistical_answers.IntervalAnswer, set()),
        ("BandStatistics", statistical_answers.BandAnswer, set()),
        ("BandStatistics/stats", statistical_answers.Stats, set()),
        ("BandStatistics/histogram/bins/items", statistical_answers.Bin, set()),
        # The service says overflowCount; both are read.
        ("BandStatistics/histogram", statistical_answers.HistogramAnswer, {"overflowCount", "underflowCount"}),
    ],
)
def test_an_answer_has_the_fields_of_the_document(
    path: str, model: type[BaseModel], only_ours: set[str], schemas: dict[str, Any]
) -> None:
    theirs = properties(at(schemas, path), schemas)
    assert contract.fields_of(model) - theirs == only_ours
    assert {name.replace("flow", "flowCount") if "flow" in name else name for name in theirs} <= contract.fields_of(
        model
    )
    assert model.model_config["extra"] == "allow"


def test_a_task_has_the_fields_of_the_document(schemas: dict[str, Any]) -> None:
    theirs = properties(schemas["BatchStatisticsTaskDto"], schemas)
    # The document says costPu, the service costPU: both are read. The account is kept like every unnamed field.
    assert contract.fields_of(tasks.BatchTask) == theirs - {"domainAccountId", "costPu"} | {"costPU"}


@pytest.fixture(scope="module")
def validators(schemas: dict[str, Any]) -> dict[str, Any]:
    copy: dict[str, Any] = json.loads(json.dumps(schemas, default=str))
    for name in ("ObjectStorageInfo", "S3BucketInfo"):
        copy[name]["required"] = sorted(set(copy[name]["required"]))
    # Its own examples, and its answers, have them in percent.
    copy["StatisticsDefinition"]["properties"]["percentiles"]["properties"]["k"]["items"]["maximum"] = 100
    # The keyword belongs to the list.
    del copy["HistogramDefinition"]["properties"]["bins"]["items"]["minItems"]
    document = {"components": {"schemas": copy}}
    return {
        name: jsonschema.Draft4Validator({"$ref": f"#/components/schemas/{name}", **document})
        for name in ("StatisticalRequest", "BatchStatisticalRequest")
    }


histograms = st.one_of(
    st.fixed_dictionaries({"nBins": st.integers(1, 50)}, optional={"lowEdge": st.just(0), "highEdge": st.just(0.5)}),
    st.fixed_dictionaries({"binWidth": st.floats(0.01, 10)}, optional={"lowEdge": st.just(-1.5)}),
    st.just({"bins": [0, 1, 2.5]}),
)
calculated = st.dictionaries(
    st.sampled_from(["default", "ndvi"]),
    st.fixed_dictionaries(
        {},
        optional={
            "histograms": st.dictionaries(st.sampled_from(["default", "B0"]), histograms),
            "statistics": st.just({"default": {"percentiles": {"k": [5, 50.5]}}}),
        },
    ),
)
sizes = st.sampled_from([{"resx": 10, "resy": 20.5}, {"width": 100, "height": 2500}, {}])
spans = st.fixed_dictionaries(
    {"of": st.sampled_from(["P1D", "P1M", "PT36H"])},
    optional={"lastIntervalBehavior": st.sampled_from(["SKIP", "SHORTEN", "EXTEND"])},
)


@given(calculations=calculated, size=sizes, interval=spans, reference=st.booleans())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40, database=None)
def test_what_we_send_is_what_the_document_asks_for(
    calculations: Any, size: Any, interval: Any, reference: bool, validators: dict[str, Any]
) -> None:
    # With less, it could be any collection, and the document wants to know which.
    source = {"type": "sentinel-2-l2a", "dataFilter": {"mosaickingOrder": "leastCC"}}
    changes = {"calculations": calculations, "aggregation__aggregationInterval": interval, "input__data": [source]}
    one = statistical_document(**changes)
    many = batch_statistical_document(**changes, output=contract.S3)
    for request in (one, many):
        aggregation = {key: value for key, value in request["aggregation"].items() if not key.startswith("res")}
        request["aggregation"] = {**aggregation, **size}
    if reference:
        del many["aggregation"]["evalscript"]
        many["aggregation"]["evalscriptReference"] = contract.S3
    validators["StatisticalRequest"].validate(json.loads(json.dumps(statistical.check(one))))
    validators["BatchStatisticalRequest"].validate(json.loads(json.dumps(batch_statistical.check(many))))


@pytest.mark.parametrize(
    ("name", "status", "percentage", "cost"),
    [
        ("batch_statistical_status_created.json", "CREATED", 0.0, 0.0),
        ("batch_statistical_status_done.json", "DONE", 100.0, 6.027410152775339),
    ],
)
def test_a_real_status(name: str, status: str, percentage: float, cost: float) -> None:
    reply = Reply(200, {}, contract.fixture(name))
    result = decide(batch_statistical.TASKS.get("t"), Attempt(), reply, contract.LIMITS)
    assert isinstance(result, Done)
    task: tasks.BatchTask = result.value
    assert (task.status, task.completion_percentage, task.cost_pu) == (status, percentage, cost)
    assert (task.user_action, task.request) == ("NONE", {})


@pytest.mark.parametrize(
    ("name", "errors"),
    [
        ("sentinelhubpy_normal_stat_result.json", []),
        ("sentinelhubpy_normal_stat_partial_result.json", ["EXECUTION_ERROR"]),
    ],
)
def test_real_statistics(name: str, errors: list[str]) -> None:
    for body in json.loads(contract.fixture(name)):
        reply = Reply(200, {}, json.dumps(body).encode())
        result = decide(statistical.statistics({}), Attempt(), reply, contract.LIMITS)
        assert isinstance(result, Done)
        answer: statistical_answers.StatisticalAnswer = result.value
        assert [each.error.type for each in answer.failed if each.error] == errors
        for each in answer.data or []:
            assert bool(each.outputs) is (each.error is None)


def test_a_real_failure() -> None:
    (body,) = json.loads(contract.fixture("sentinelhubpy_normal_stat_failed_result.json"))
    answer = statistical_answers.StatisticalAnswer.model_validate(body)
    assert answer.error is not None
    assert (answer.data, answer.error.type) == (None, "COMMON_BAD_PAYLOAD")
