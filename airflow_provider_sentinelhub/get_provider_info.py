"""What Airflow reads about this provider; loaded in every process, so it imports nothing."""

from __future__ import annotations

from typing import Any

_NAME = "Sentinel Hub"
_PACKAGE = "airflow_provider_sentinelhub"


def get_provider_info() -> dict[str, Any]:
    """Return the provider's metadata in the form of Airflow's ``provider.yaml``."""
    return {
        "package-name": "airflow-provider-sentinelhub",
        "name": _NAME,
        "description": "`Sentinel Hub <https://www.sentinel-hub.com/>`__, the satellite imagery service: batches "
        "submitted once, waited for without a worker, every feature accounted for.",
        "integrations": [
            {
                "integration-name": _NAME,
                "external-doc-url": "https://docs.planet.com/develop/apis/batch-processing/",
                "tags": ["service"],
            }
        ],
        "hooks": [
            {
                "integration-name": _NAME,
                "python-modules": [
                    f"{_PACKAGE}.hooks.{name}"
                    for name in ("sentinel_hub", "batch", "batch_v1", "byoc", "process", "statistical")
                ],
            }
        ],
        "operators": [
            {
                "integration-name": _NAME,
                "python-modules": [
                    f"{_PACKAGE}.operators.{name}"
                    for name in (
                        "batch_process",
                        "batch_process_v1",
                        "batch_statistical",
                        "byoc",
                        "input_features",
                        "process",
                        "rerun_failed",
                        "statistical",
                        "statistics_table",
                    )
                ],
            }
        ],
        "sensors": [
            {
                "integration-name": _NAME,
                "python-modules": [
                    f"{_PACKAGE}.sensors.{name}"
                    for name in ("batch_process", "batch_process_v1", "batch_statistical", "byoc")
                ],
            }
        ],
        "triggers": [
            {
                "integration-name": _NAME,
                "python-modules": [f"{_PACKAGE}.triggers.{name}" for name in ("batch", "byoc")],
            }
        ],
        "cli": [f"{_PACKAGE}.cli.definition.get_commands"],
        "connection-types": [
            {
                "connection-type": "sentinelhub",
                "hook-class-name": f"{_PACKAGE}.hooks.sentinel_hub.SentinelHubHook",
                "hook-name": _NAME,
                "ui-field-behaviour": {
                    "hidden-fields": ["port", "schema"],
                    "relabeling": {"login": "Client ID", "password": "Client secret", "host": "Base URL"},
                    "placeholders": {
                        "login": "OAuth client id, from the dashboard",
                        "host": "Only for a custom deployment, e.g. https://services.example.com",
                    },
                },
                "conn-fields": {
                    "deployment": {
                        "label": "Deployment",
                        "description": "aws-eu-central-1: AWS EU (Frankfurt); aws-us-west-2: AWS US (Oregon); cdse: "
                        "Copernicus Data Space Ecosystem; custom: give a base URL and a token URL.",
                        "schema": {
                            "type": ["string", "null"],
                            "enum": ["aws-eu-central-1", "aws-us-west-2", "cdse", "custom"],
                            "default": "aws-eu-central-1",
                        },
                    },
                    "token_url": {
                        "label": "Token URL",
                        "description": "Leave empty for the deployment's own.",
                        "schema": {"type": ["string", "null"], "format": "url"},
                    },
                    "path_layout": {
                        "label": "Path layout",
                        "description": "new: /batch/v2; legacy: /api/v2/batch.",
                        "schema": {"type": ["string", "null"], "enum": ["new", "legacy"], "default": "new"},
                    },
                    "max_pu": {
                        "label": "Maximum PU",
                        "description": "Processing units that a task may cost at most, where its operator has no "
                        "max_pu. Empty: tasks of more than 10,000 PU or 1,000,000 km2 need a max_pu of their own.",
                        "schema": {"type": ["number", "null"], "minimum": 1},
                    },
                },
            }
        ],
    }
