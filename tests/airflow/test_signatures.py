"""Every public operator and sensor shows all its parameters: in its signature and in its docstring."""

from __future__ import annotations

import ast
import inspect
import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import DAG

from airflow_provider_sentinelhub.client.errors import InvalidParameter
from airflow_provider_sentinelhub.operators import (
    SentinelHubBatchProcessOperator,
    SentinelHubCreateBatchProcessOperator,
    SentinelHubRerunFailedOperator,
)
from airflow_provider_sentinelhub.sensors import SentinelHubBatchProcessSensor
from devtools.signatures import bases_of, modules, public_classes, refreshed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CLASSES = public_classes()
PARAMETER = re.compile(r"^:param (\w+): (.*?)(?=^:|\Z)", re.DOTALL | re.MULTILINE)


def own(cls: Any) -> dict[str, inspect.Parameter]:
    """The keyword-only parameters of a class's own ``__init__``."""
    init = vars(cls).get("__init__")
    found = inspect.signature(init).parameters.values() if init else ()
    return {each.name: each for each in found if each.kind is inspect.Parameter.KEYWORD_ONLY}


def documented(cls: Any) -> dict[str, str]:
    return dict(PARAMETER.findall(inspect.cleandoc(cls.__doc__)))


def other_value(parameter: inspect.Parameter) -> Any:
    """A valid value that is not the default."""
    if isinstance(parameter.default, bool):
        return not parameter.default
    named: dict[str, Any] = {
        "timeout": timedelta(seconds=77),
        "on_clear": "new",
        "on_out_of_pu": "wait",
        "on_unknown": "create",
        "cover": "files",
        "reingest": "all",
    }
    named |= {"max_reruns": 7, "rerun_delay": 7.0, "concurrency": 7, "part_size": 7, "on_partial": "warn"}
    return named.get(parameter.name, f"{{{{ {parameter.name} }}}}")


@pytest.mark.parametrize(("path", "classes"), list(modules()))
def test_the_signatures_in_the_files_are_those_of_the_bases(path: Path, classes: list[Any]) -> None:
    text = path.read_text(encoding="utf-8")
    assert refreshed(text, classes) == text, "write them anew with: python -m devtools.signatures"


def test_a_signature_that_differs_is_written_anew() -> None:
    path, classes = next(found for found in modules() if found[0].name == "batch_process.py")
    text = path.read_text(encoding="utf-8")
    without = text.replace("        max_reruns: int | str = 3,\n", "").replace(
        ":param max_pu: Maximum", ":param max: Most"
    )
    assert without.count("max_reruns") < text.count("max_reruns")
    assert ":param max: " in without
    assert refreshed(without, classes) == text


@pytest.mark.parametrize("cls", CLASSES)
def test_the_signature_lists_what_the_bases_take(cls: Any) -> None:
    found = inspect.signature(cls).parameters
    shown = {name: each for name, each in found.items() if each.kind is inspect.Parameter.KEYWORD_ONLY}
    assert [each.kind for each in found.values()][-1] is inspect.Parameter.VAR_KEYWORD
    assert len(found) == len(shown) + 1, "all are keyword-only, but for **kwargs"
    assert shown == own(cls)
    taken: dict[str, inspect.Parameter] = {}
    for base in bases_of(cls):
        taken = {**own(base), **taken}
    if taken:
        assert {name: (each.default, each.annotation) for name, each in shown.items()} == {
            name: (each.default, each.annotation) for name, each in taken.items()
        }


@pytest.mark.parametrize("cls", CLASSES)
def test_the_docstring_describes_each_parameter(cls: Any) -> None:
    assert list(documented(cls)) == list(own(cls))


@pytest.mark.parametrize("cls", CLASSES)
def test_the_docstring_says_what_is_templated(cls: Any) -> None:
    said = {name for name, text in documented(cls).items() if text.rstrip().endswith("Templated.")}
    assert said == set(cls.template_fields)


@pytest.mark.parametrize("cls", CLASSES)
def test_no_value_is_lost_on_the_way_to_the_bases(cls: Any) -> None:
    given = {name: other_value(each) for name, each in own(cls).items()}
    operator = cls(task_id="t", retries=5, **given)
    assert {name: getattr(operator, name) for name in given} == given
    assert operator.retries == 5


@pytest.mark.parametrize("cls", CLASSES)
def test_defaults_reach_the_bases(cls: Any) -> None:
    required = [name for name, each in own(cls).items() if each.default is inspect.Parameter.empty]
    needed: dict[str, Any] = {name: {} if name == "request" else "x" for name in required}
    operator = cls(task_id="t", **needed)
    expected = {name: each.default for name, each in own(cls).items() if name not in needed}
    assert {name: getattr(operator, name) for name in expected} == expected


@pytest.mark.parametrize("cls", CLASSES)
def test_a_required_parameter_is_asked_for_by_its_name(cls: Any) -> None:
    needed = [name for name, each in own(cls).items() if each.default is inspect.Parameter.empty]
    assert needed
    with pytest.raises(TypeError, match=rf"missing keyword argument.*{needed[0]}"):
        cls(task_id="t")


def test_an_unknown_parameter_is_refused() -> None:
    with pytest.raises(TypeError, match="max_runs"):
        SentinelHubBatchProcessOperator(task_id="t", request={}, max_runs=3)


def test_default_args_reach_operators_and_sensors() -> None:
    defaults = {"poll_interval": 90, "max_pu": 500, "aws_conn_id": "bucket", "on_partial": "warn", "retries": 4}
    with DAG("d", schedule=None, default_args=defaults):
        batch = SentinelHubBatchProcessOperator(task_id="batch", request={})
        own_limit = SentinelHubBatchProcessOperator(task_id="own_limit", request={}, max_pu=None)
        create = SentinelHubCreateBatchProcessOperator(task_id="create", request={})
        sensor = SentinelHubBatchProcessSensor(task_id="sensor", batch_task_id=create.output)
    assert (batch.poll_interval, batch.max_pu, batch.aws_conn_id, batch.on_partial) == (90, 500, "bucket", "warn")
    assert own_limit.max_pu is None
    assert create.aws_conn_id == "bucket"
    assert (sensor.poll_interval, sensor.on_partial, sensor.retries) == (90, "warn", 4)
    assert sensor.upstream_task_ids == {"create"}


def test_a_required_parameter_may_come_from_default_args() -> None:
    with DAG("d", schedule=None, default_args={"request": {"a": 1}}):
        assert SentinelHubBatchProcessOperator(task_id="t").request == {"a": 1}  # type: ignore[call-arg]  # from the DAG


def test_mapped_operators_take_every_parameter() -> None:
    with DAG("d", schedule=None, default_args={"max_pu": 500}):
        mapped = SentinelHubBatchProcessOperator.partial(task_id="t", deferrable=True, poll_interval=90).expand(
            request=[{"a": 1}, {"a": 2}]
        )
        pairs = SentinelHubRerunFailedOperator.partial(task_id="u").expand_kwargs(
            [{"batch_task_id": "1", "max_reruns": 2}, {"batch_task_id": "2", "max_reruns": 5}]
        )
    made: Any = mapped.unmap({"request": {"a": 2}})
    assert (made.request, made.deferrable, made.poll_interval, made.max_pu) == ({"a": 2}, True, 90, 500)
    assert made.on_clear == "resume"
    again: Any = pairs.unmap({"batch_task_id": "2", "max_reruns": 5})
    assert (again.batch_task_id, again.max_reruns) == ("2", 5)


@pytest.mark.filterwarnings("ignore:Task 't' was never mapped")
def test_mapping_over_an_unknown_parameter_is_refused() -> None:
    with DAG("d", schedule=None), pytest.raises(TypeError, match="unexpected keyword argument 'max_runs'"):
        SentinelHubBatchProcessOperator.partial(task_id="t", request={}).expand(max_runs=[1, 2])


def test_a_class_of_a_user_inherits_everything() -> None:
    class Mine(SentinelHubBatchProcessOperator):
        def __init__(self, *, region: str, **kwargs: Any) -> None:
            super().__init__(request={"region": region}, **kwargs)

    with DAG("d", schedule=None, default_args={"max_pu": 500, "stop_on_kill": False}):
        mine = Mine(task_id="t", region="fr", on_partial="rerun")
    assert (mine.request, mine.max_pu, mine.stop_on_kill, mine.on_partial) == ({"region": "fr"}, 500, False, "rerun")
    with pytest.raises(InvalidParameter, match="on_partial = 'no'"):
        Mine(task_id="t", region="fr", on_partial="no")


def bases_in_the_package() -> Iterator[str]:
    public = set(CLASSES)
    yield from {base.__name__ for cls in CLASSES for base in bases_of(cls) if base not in public}


def test_bases_say_that_they_are_bases() -> None:
    assert [name for name in bases_in_the_package() if not name.endswith(("Base", "Mixin"))] == []
    assert len(list(bases_in_the_package())) > 5


def test_public_modules_hold_nothing_but_public_classes() -> None:
    """What a public class of a batch does is decided in its bases; the file shows its parameters."""
    for path, classes in modules():
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef):
                assert node.name in {cls.__name__ for cls in classes}
