"""The Process API, as data."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from airflow_provider_sentinelhub.client.apis.process import calls
from airflow_provider_sentinelhub.client.apis.process.costs import price
from airflow_provider_sentinelhub.client.apis.process.rules import RULES, RULES_OF_PARTS
from airflow_provider_sentinelhub.client.http.deployments import Service
from airflow_provider_sentinelhub.client.lifecycle.spec import ApiSpec

PROCESS: Final = ApiSpec(
    key="process",
    title="the Process API",
    operator="SentinelHubProcessOperator",
    service=Service.PROCESS,
    check=calls.check,
    rules=RULES,
    price=price,
    input=("input",),
    script_holder="",
)

PROCESS_IN_PARTS: Final = replace(PROCESS, rules=RULES_OF_PARTS)
"""The Process API, for an image that is requested in parts."""
