from __future__ import annotations

import ast
import importlib
import importlib.resources
import inspect
import json
import subprocess
import sys
from typing import Any

import jsonschema
import pytest

import airflow_provider_sentinelhub
from airflow_provider_sentinelhub.client.http.deployments import DEPLOYMENTS, PathLayout
from airflow_provider_sentinelhub.get_provider_info import get_provider_info


def schema(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((importlib.resources.files("airflow") / name).read_text())
    return found


def test_fits_the_runtime_schema() -> None:
    jsonschema.validate(get_provider_info(), schema("provider_info.schema.json"))


def test_fits_the_authoring_schema() -> None:
    strict, info = schema("provider.yaml.schema.json"), get_provider_info()
    for key, value in info.items():
        if key in strict["properties"]:
            jsonschema.validate(value, {**strict["properties"][key], "definitions": strict.get("definitions", {})})
        else:
            assert key == "package-name"


def test_every_module_and_class_it_names_exists() -> None:
    info = get_provider_info()
    for part in ("hooks", "operators", "sensors", "triggers"):
        for group in info[part]:
            for module in group["python-modules"]:
                importlib.import_module(module)
    for connection in info["connection-types"]:
        module, name = connection["hook-class-name"].rsplit(".", 1)
        hook = getattr(importlib.import_module(module), name)
        assert (hook.conn_type, hook.hook_name) == (connection["connection-type"], connection["hook-name"])


def test_form_offers_what_the_client_knows() -> None:
    fields = get_provider_info()["connection-types"][0]["conn-fields"]
    assert set(fields["deployment"]["schema"]["enum"]) == set(DEPLOYMENTS)
    assert set(fields["path_layout"]["schema"]["enum"]) == set(PathLayout)


def test_airflow_finds_it_without_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    from airflow.providers_manager import ProvidersManager

    manager = ProvidersManager()  # type: ignore[no-untyped-call]  # Airflow's own is untyped
    manager.initialize_providers_list()
    manager.initialize_providers_hooks()
    manager.initialize_providers_triggers()
    assert "airflow-provider-sentinelhub" in manager.providers
    assert "sentinelhub" in {found.connection_type for found in manager.iter_connection_type_hook_ui_metadata()}
    assert not [r for r in caplog.records if r.levelname != "INFO" and "sentinelhub" in r.getMessage()]


@pytest.mark.parametrize(
    "module", ["operators.batch_process", "sensors.batch_process", "get_provider_info", "hooks.sentinel_hub"]
)
def test_dag_files_import_nothing_heavy(module: str) -> None:
    program = (
        "import airflow.sdk, airflow.sdk.configuration, sys\n"
        "from airflow.sdk import BaseOperator, BaseSensorOperator, BaseHook\nbefore = set(sys.modules)\n"
        f"import airflow_provider_sentinelhub.{module}\n"
        "print(*sorted({name.split('.')[0] for name in set(sys.modules) - before}))"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    heavy = {"boto3", "botocore", "aiohttp", "requests", "shapely", "pyarrow", "obstore", "numpy", "oauthlib"}
    assert not heavy & set(found)
    inner = program.replace("name.split('.')[0]", "name")
    names = subprocess.run([sys.executable, "-c", inner], capture_output=True, text=True, check=True).stdout
    assert "airflow_provider_sentinelhub.client.models" not in names
    assert "airflow.providers.amazon" not in names


LAYERS = ("hooks", "operators", "sensors", "triggers")


def public_names(layer: str) -> set[str]:
    """The public classes in the modules that Airflow is told of."""
    modules = [
        importlib.import_module(name) for group in get_provider_info()[layer] for name in group["python-modules"]
    ]
    return {
        name
        for module in modules
        for name, found in vars(module).items()
        if inspect.isclass(found) and found.__module__ == module.__name__ and name.startswith("SentinelHub")
    }


@pytest.mark.parametrize("layer", LAYERS)
def test_each_layer_exports_its_public_classes(layer: str) -> None:
    package = importlib.import_module(f"airflow_provider_sentinelhub.{layer}")
    assert package.__all__ == sorted(package.__all__)
    assert set(package.__all__) == public_names(layer)
    assert set(package.__all__) <= set(dir(package))
    for name in package.__all__:
        found = getattr(package, name)
        assert found.__name__ == name
        assert found is getattr(importlib.import_module(found.__module__), name)
        assert getattr(airflow_provider_sentinelhub, name) is found


def test_the_package_exports_what_its_layers_do() -> None:
    names = airflow_provider_sentinelhub.__all__
    assert names == sorted(names)
    assert set(names) == {"__version__"}.union(*(public_names(layer) for layer in LAYERS))


@pytest.mark.parametrize("layer", ["", *LAYERS])
def test_type_checkers_see_the_same_names(layer: str) -> None:
    """They read the imports that are never run; the names are found by another table."""
    package = importlib.import_module(f"airflow_provider_sentinelhub.{layer}".rstrip("."))
    tree = ast.parse(inspect.getsource(package))
    guarded = [node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    imports = [each for node in guarded for each in node.body if isinstance(each, ast.ImportFrom)]
    for each in imports:
        assert each.module is not None
        for name in each.names:
            assert getattr(package, name.name) is getattr(importlib.import_module(each.module), name.name)
    assert {name.name for each in imports for name in each.names} == set(package.__all__) - {"__version__"}


@pytest.mark.parametrize("layer", ["", *LAYERS])
def test_dir_lists_the_names_before_they_are_used(layer: str) -> None:
    package = f"airflow_provider_sentinelhub.{layer}".rstrip(".")
    program = f"import {package} as package; print(*sorted(set(package.__all__) - set(dir(package))))"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "\n"


@pytest.mark.parametrize("layer", ["", *LAYERS])
def test_a_name_that_is_not_exported_is_not_found(layer: str) -> None:
    package = importlib.import_module(f"airflow_provider_sentinelhub.{layer}".rstrip("."))
    with pytest.raises(AttributeError, match=rf"module '{package.__name__}' has no attribute 'SentinelHubNothing'"):
        _ = package.SentinelHubNothing


def test_packages_alone_import_nothing() -> None:
    program = (
        "import sys\nbefore = set(sys.modules)\n"
        f"import {', '.join(f'airflow_provider_sentinelhub.{layer}' for layer in LAYERS)}\n"
        "print(*sorted(set(sys.modules) - before))"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    ours = {"airflow_provider_sentinelhub", *(f"airflow_provider_sentinelhub.{layer}" for layer in LAYERS)}
    foreign = {name for name in found if name.partition(".")[0] not in sys.stdlib_module_names}
    assert foreign == ours | {"airflow_provider_sentinelhub.exports"}
