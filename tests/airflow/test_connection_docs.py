"""Every connection shown in README.md, docs/connection.md and docs/roles.md works when it is pasted."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from airflow_provider_sentinelhub.client.http.deployments import DEPLOYMENTS
from airflow_provider_sentinelhub.hooks.connections import (
    ConnectionFacts,
    client_credentials,
    gcs_delivery_credentials,
    s3_delivery_credentials,
)
from airflow_provider_sentinelhub.hooks.sentinel_hub import SentinelHubHook

REPOSITORY = Path(__file__).parents[2]
SHOWING = ("README.md", "docs/connection.md", "docs/roles.md")
TEXT = "".join((REPOSITORY / page).read_text(encoding="utf-8") for page in SHOWING)
EXPORT = re.compile(r"^ *export AIRFLOW_CONN_(\w+)='(.+)'$", re.MULTILINE)
SHOWN = EXPORT.findall(TEXT)


@pytest.mark.parametrize(("name", "value"), SHOWN)
def test_connections_shown_can_be_used(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"AIRFLOW_CONN_{name}", value)
    if name == "SENTINELHUB_DEFAULT":
        hook = SentinelHubHook()
        credentials = client_credentials(hook.facts, hook.address)
        assert (credentials.client_id, credentials.client_secret.replace("/", "-")) == (
            "my-client-id",
            "my-client-secret",
        )
        assert hook.address.deployment.key in {*DEPLOYMENTS} - {"custom"} or "services.example.com" in value
    elif name == "AWS_DEFAULT":
        facts = ConnectionFacts.read("aws_default")
        assert s3_delivery_credentials(facts, DEPLOYMENTS["aws-eu-central-1"])
    else:
        facts = ConnectionFacts.read(name.lower())
        assert gcs_delivery_credentials(facts, DEPLOYMENTS["aws-eu-central-1"])


def test_every_kind_is_shown() -> None:
    assert {name for name, _ in SHOWN} == {"SENTINELHUB_DEFAULT", "AWS_DEFAULT", "GOOGLE_CLOUD_DEFAULT"}
    assert any("role_arn" in value for _, value in SHOWN)
    for deployment in DEPLOYMENTS:
        assert any(deployment in value for _, value in SHOWN), deployment
