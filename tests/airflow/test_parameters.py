"""What an operator or a sensor is given is checked before anything is sent; when the DAG is parsed, where known."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from airflow.sdk import DAG
from airflow.sdk.definitions._internal.mixins import ResolveMixin

from airflow_provider_sentinelhub.client.errors import InvalidParameter
from airflow_provider_sentinelhub.hooks.checks import limit, number
from airflow_provider_sentinelhub.operators.batch_process import (
    SentinelHubAnalyseBatchProcessOperator,
    SentinelHubBatchProcessOperator,
    SentinelHubBatchReportOperator,
    SentinelHubCreateBatchProcessOperator,
    SentinelHubStartBatchProcessOperator,
    SentinelHubStopBatchProcessOperator,
)
from airflow_provider_sentinelhub.operators.batch_statistical import SentinelHubBatchStatisticalReportOperator
from airflow_provider_sentinelhub.operators.rerun_failed import SentinelHubRerunFailedOperator
from airflow_provider_sentinelhub.operators.statistical import SentinelHubStatisticalOperator
from airflow_provider_sentinelhub.sensors.batch_process import SentinelHubBatchProcessSensor
from airflow_provider_sentinelhub.sensors.batch_statistical import SentinelHubBatchStatisticalSensor
from airflow_provider_sentinelhub.simulator.process import Simulator
from devtools.signatures import public_classes
from tests.airflow.airflow_harness import RunTask, request


def own_parameters(cls: Any) -> list[inspect.Parameter]:
    """The parameters of a class that are this package's own."""
    found = inspect.signature(cls).parameters.values()
    return [each for each in found if each.kind is inspect.Parameter.KEYWORD_ONLY]


def needed(cls: Any, **others: Any) -> dict[str, Any]:
    """Something for every parameter a class must be given."""
    parameters = [each.name for each in own_parameters(cls) if each.default is inspect.Parameter.empty]
    return {name: {} if name == "request" else "x" for name in parameters} | others


def made(cls: Any, **parameters: Any) -> Any:
    return cls(task_id="t", **needed(cls, **parameters))


def is_number(parameter: inspect.Parameter) -> bool:
    return bool({"int", "float"} & set(str(parameter.annotation).split(" | ")))


def wrong_values(parameter: inspect.Parameter) -> Iterator[Any]:
    """Values of types that a parameter does not take."""
    kinds = {kind.partition("[")[0] for kind in str(parameter.annotation).split(" | ")}
    yield from (object(), 1j)
    if "None" not in kinds and kinds != {"Any"}:
        yield None
    if is_number(parameter):
        yield from ("soon", True, math.nan, -math.inf, -1, 10**400, [1])
    elif kinds <= {"str", "XComArg", "None"}:
        yield from (5, True, ["x"], b"x")
    else:
        yield from (5, True, 0.5)


class XComLike(ResolveMixin):
    """What ``task.output`` is: unknown when the DAG is parsed, and any value when the task runs."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def iter_references(self) -> list[Any]:
        return []

    def resolve(self, context: Any) -> Any:
        return self.value


@pytest.mark.parametrize("cls", public_classes())
def test_what_a_parameter_cannot_be_is_refused_when_the_dag_is_parsed(cls: Any) -> None:
    for parameter in own_parameters(cls):
        if parameter.annotation == "bool":
            continue
        for value in wrong_values(parameter):
            with pytest.raises(InvalidParameter) as refused:
                made(cls, **{parameter.name: value})
            assert (refused.value.field, refused.value.value, refused.value.others) == (parameter.name, value, ())


@pytest.mark.parametrize("cls", public_classes())
def test_what_another_task_returned_is_checked_before_anything_is_sent(
    cls: Any, sim: Simulator, run_task: RunTask
) -> None:
    templated = {name: XComLike(object()) for name in cls.template_fields}
    run = run_task(made(cls, **templated, retries=3))
    assert run.state == "failed"
    assert type(run.error).__name__ == "AirflowFailException"
    assert sorted(line.partition(" = ")[0] for line in str(run.error).splitlines()) == sorted(templated)
    assert sim.requests()["total"] == 0


@pytest.mark.parametrize("cls", public_classes())
def test_numbers_of_other_libraries_become_pythons_own(cls: Any) -> None:
    for parameter in own_parameters(cls):
        if parameter.annotation == "bool":
            assert getattr(made(cls, **{parameter.name: np.True_}), parameter.name) is True
        elif is_number(parameter):
            # Most numbers may be 3; a share may not.
            number = 1 if parameter.name == "min_coverage" else 3
            for value in (np.int64(number), np.float32(number), Decimal(number), np.array(number)):
                found = getattr(made(cls, **{parameter.name: value}), parameter.name)
                assert (found, type(found) in {int, float}) == (number, True)


FLAGS = [
    (cls, each.name)
    for cls in public_classes()
    for each in own_parameters(cls)
    if "bool" in str(each.annotation) or isinstance(each.default, bool)
]


def test_the_flags_are_found() -> None:
    assert {name for _, name in FLAGS} >= {
        "analyse_first",
        "check_bucket",
        "check_features",
        "deferrable",
        "in_pixels",
        "repair",
        "stop_on_kill",
        "wide",
    }
    assert (SentinelHubBatchProcessSensor, "deferrable") in FLAGS


@pytest.mark.parametrize(("cls", "name"), FLAGS)
def test_a_flag_is_true_or_false(cls: Any, name: str) -> None:
    for flag in (True, False):
        assert getattr(made(cls, **{name: flag}), name) is flag
    for value in ("no", "False", "{{ params.x }}", 0, None):
        with pytest.raises(InvalidParameter, match="must be True or False") as refused:
            made(cls, **{name: value})
        assert (refused.value.field, refused.value.value) == (name, value)
        assert f"{name}=False, without quotes" in str(refused.value)


def test_another_tasks_output_is_no_flag() -> None:
    with DAG("d", schedule=None):
        create = SentinelHubCreateBatchProcessOperator(task_id="create", request={})
        with pytest.raises(InvalidParameter, match="it is not templated"):
            SentinelHubBatchProcessOperator(task_id="t", request={}, stop_on_kill=create.output)  # type: ignore[arg-type]  # refused


def test_default_arguments_are_checked_too() -> None:
    with (
        DAG("d", schedule=None, default_args={"stop_on_kill": "no"}),
        pytest.raises(InvalidParameter, match="stop_on_kill = 'no'"),
    ):
        SentinelHubBatchProcessOperator(task_id="t", request={})


def test_mapped_flags_are_checked_where_airflow_knows_them() -> None:
    with DAG("d", schedule=None):
        create = SentinelHubCreateBatchProcessOperator(task_id="create", request={})
        mapped = SentinelHubBatchProcessOperator.partial(task_id="t", request=create.output).expand(
            stop_on_kill=create.output
        )
    made: Any = mapped.unmap({"stop_on_kill": False})
    assert made.stop_on_kill is False
    with pytest.raises(InvalidParameter, match="stop_on_kill = 'no': must be True or False"):
        mapped.unmap({"stop_on_kill": "no"})


RERUNING = (SentinelHubBatchProcessOperator, SentinelHubRerunFailedOperator)
WAITING = (*RERUNING, SentinelHubAnalyseBatchProcessOperator)


@pytest.mark.parametrize(
    ("cls", "name", "value", "rule"),
    [
        *((cls, "max_reruns", value, "whole number") for cls in RERUNING for value in (1.5, "1.5", True, "many")),
        *((cls, "max_reruns", -1, "must be at least") for cls in RERUNING),
        *((cls, "max_pu", 0, "must be at least 1") for cls in RERUNING),
        *(
            (cls, "poll_interval", value, "must be a number")
            for cls in RERUNING
            for value in (math.inf, math.nan, "nan")
        ),
        *((cls, "on_partial", "ignore", "must be one of fail, warn") for cls in RERUNING),
        (SentinelHubRerunFailedOperator, "on_partial", "rerun", "must be one of fail, warn"),
        *((cls, "timeout", value, "above 0") for cls in WAITING for value in (timedelta(-1), -5, 0, "8", float("nan"))),
        *((cls, "execution_timeout", timedelta(0), "above 0") for cls in WAITING),
        *((cls, "poll_interval", "soon", "must be a number") for cls in (*WAITING, SentinelHubBatchProcessSensor)),
        *((cls, "progress_interval", -1, "at least 0") for cls in (*WAITING, SentinelHubBatchProcessSensor)),
        (SentinelHubStatisticalOperator, "max_reruns", 1.5, "whole number"),
        (SentinelHubStatisticalOperator, "request", "requests/one.yaml", "neither JSON nor the path of a .json file"),
        (SentinelHubStatisticalOperator, "concurrency", 2.5, "whole number"),
    ],
)
def test_what_cannot_be_meant_is_refused_at_parsing(cls: Any, name: str, value: Any, rule: str) -> None:
    with pytest.raises(InvalidParameter, match=rule) as refused:
        made(cls, **{name: value})
    assert refused.value.field == name


@pytest.mark.parametrize("cls", WAITING)
@pytest.mark.parametrize("timeout", [8, 0.5, timedelta(hours=1), None])
def test_a_timeout_is_a_timedelta_or_seconds(cls: Any, timeout: Any) -> None:
    assert made(cls, timeout=timeout).timeout == timeout


@pytest.mark.parametrize("value", ["{{ params.many }}", 3, "3", None])
def test_what_may_be_meant_is_taken(value: Any) -> None:
    made(SentinelHubBatchProcessOperator, max_pu=value)
    number("max_reruns", "3", at_least=0, whole=True)
    limit("timeout", None)


def test_a_template_is_checked_before_anything_is_sent(sim: Simulator, run_task: RunTask) -> None:
    op = SentinelHubBatchProcessOperator(task_id="t", request=request(sim.ready), max_reruns="{{ 3 / 2 }}")
    run = run_task(op)
    assert run.state == "failed"
    assert "max_reruns = '1.5': must be a whole number" in str(run.error)
    assert sum(sim.requests()["counts"].values()) == 0


@pytest.mark.parametrize(
    "cls",
    [
        *RERUNING[1:],
        SentinelHubAnalyseBatchProcessOperator,
        SentinelHubBatchReportOperator,
        SentinelHubBatchStatisticalReportOperator,
        SentinelHubStartBatchProcessOperator,
        SentinelHubStopBatchProcessOperator,
        SentinelHubBatchProcessSensor,
        SentinelHubBatchStatisticalSensor,
    ],
)
def test_no_id_at_all_is_said_to_come_from_elsewhere(cls: Any, sim: Simulator, run_task: RunTask) -> None:
    run = run_task(cls(task_id="t", batch_task_id=XComLike(None), retries=3))
    assert run.state == "failed"
    assert "batch_task_id = None: must be the id of a batch task" in str(run.error)
    assert "look at what that task returned: it was nothing" in str(run.error)
    assert sum(count for call, count in sim.requests()["counts"].items() if "/batch/" in call) == 0


@pytest.mark.parametrize("cls", [SentinelHubBatchReportOperator, SentinelHubBatchProcessSensor])
def test_no_connection_is_said(cls: Any, sim: Simulator, run_task: RunTask) -> None:
    run = run_task(cls(task_id="t", batch_task_id="2e0d4c5f", sentinelhub_conn_id=XComLike(None), retries=3))
    assert run.state == "failed"
    assert "sentinelhub_conn_id = None: must be the id of a connection" in str(run.error)
