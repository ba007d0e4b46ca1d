from __future__ import annotations

import importlib
import importlib.resources
import json
import subprocess
import sys
from typing import Any

import jsonschema
import pytest

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
