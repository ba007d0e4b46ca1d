"""The Statistical API, as data."""

from __future__ import annotations

from typing import Final

from airflow_provider_sentinelhub.client.apis.statistical import calls
from airflow_provider_sentinelhub.client.apis.statistical.costs import price
from airflow_provider_sentinelhub.client.apis.statistical.rules import RULES
from airflow_provider_sentinelhub.client.http.deployments import Service
from airflow_provider_sentinelhub.client.lifecycle.spec import ApiSpec

STATISTICAL: Final = ApiSpec(
    key="statistical",
    title="the Statistical API",
    operator="SentinelHubStatisticalOperator",
    service=Service.STATISTICAL,
    check=calls.check,
    rules=RULES,
    price=price,
    input=("input",),
    script_holder="aggregation",
)
