"""Every operation of the service's reference: its Call, its route in the simulator, and the Airflow side."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml

import airflow_provider_sentinelhub as package
from airflow_provider_sentinelhub.client.http.deployments import PathLayout, Service
from devtools.operations import APIS, ID, OTHER_ID, SEND, Api, Operation, anonymous, in_simulator, simulated
from devtools.signatures import REPOSITORY

CONTRACT = Path(os.environ.get("SENTINELHUB_CONTRACT_DIR") or REPOSITORY.parent / "shared" / "contract")
DOCUMENT = CONTRACT / "sentinel_hub_cdse_openapi.yaml"
NUMBERS = {
    Service.PROCESS: 1,
    Service.CATALOG: 9,
    Service.ASYNC_PROCESS: 2,
    Service.BATCH_V2: 9,
    Service.BATCH_V1: 18,
    Service.STATISTICAL: 1,
    Service.BATCH_STATISTICAL: 7,
    Service.BYOC: 12,
}
# What stop was called before 2023: older clients use it.
FORMER = {("POST", f"{Service.BATCH_STATISTICAL.prefix(layout)}/{{}}/cancel") for layout in PathLayout}
ALL = [
    pytest.param(
        api,
        each,
        id=f"{each.method} {api.service.value}{each.path}",
        marks=[] if api.is_here else pytest.mark.skip(f"client/apis/{api.folder} has not arrived"),
    )
    for api in APIS
    for each in api.operations
]


def test_there_are_59_operations() -> None:
    assert {api.service: len(api.operations) for api in APIS} == NUMBERS
    assert sum(NUMBERS.values()) == 59
    assert set(NUMBERS) == set(Service)


@pytest.mark.parametrize(("api", "operation"), ALL)
def test_an_operation_has_a_call(api: Api, operation: Operation) -> None:
    made = api.build(operation)
    assert made.service is api.service
    assert made.method == operation.method
    given = [value for value in operation.values if isinstance(value, (str, int))]
    parts = operation.path.split("/")
    assert len(made.path.split("/")) == len(parts)
    for shown, sent in zip(parts, made.path.split("/"), strict=True):
        assert sent == shown or (shown.startswith("{") and sent in {str(each) for each in (*given, ID, OTHER_ID)})


@pytest.mark.parametrize(("api", "operation"), ALL)
def test_an_operation_is_simulated(api: Api, operation: Operation) -> None:
    # It was deprecated before there was a new layout.
    assert in_simulator(api, operation) == "yes"


@pytest.mark.parametrize(("api", "operation"), ALL)
def test_an_operation_has_an_airflow_side_or_a_reason(api: Api, operation: Operation) -> None:
    assert bool(operation.airflow) is not bool(operation.reason)
    for name in operation.airflow or (SEND,):
        public, *method = name.split(".")
        found = getattr(package, public)
        assert not method or callable(getattr(found, method[0]))


@pytest.mark.parametrize("ending", ["Operator", "Sensor"])
def test_all_classes_of_an_api_with_single_steps_are_named(ending: str) -> None:
    named = {name for api in APIS for each in api.operations for name in each.airflow}
    assert {name for name in package.__all__ if name.endswith(ending) and "V1" in name} <= named


def test_the_simulator_has_no_other_operation_of_these_apis() -> None:
    known = {
        (each.method, anonymous(api.service.prefix(layout) + each.path))
        for api in APIS
        for each in api.operations
        for layout in PathLayout
    }
    prefixes = tuple(api.service.prefix(layout) for api in APIS for layout in PathLayout)
    assert {each for each in simulated() if each[1].startswith(prefixes)} - known == FORMER


def test_these_are_the_operations_of_the_document() -> None:
    if not DOCUMENT.is_file():
        pytest.skip(f"no OpenAPI document at {DOCUMENT}, see tests/contract/test_contract.py")
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    paths = yaml.load(DOCUMENT.read_bytes(), Loader=loader)["paths"]  # noqa: S506 - both are safe
    theirs = {
        (method.upper(), anonymous(path))
        for path, methods in paths.items()
        for method in methods
        # Zarr collections and orders of commercial data are other products.
        if not path.startswith(("/api/v1/zarr/", "/api/v1/dataimport/"))
    }
    ours = {
        (each.method, anonymous(api.service.prefix(PathLayout.LEGACY) + each.path))
        for api in APIS
        for each in api.operations
    }
    assert ours == theirs
