"""Batch Statistical: rules on a request before it is sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from airflow_provider_sentinelhub.client.http.deployments import Service
from airflow_provider_sentinelhub.client.preflight.data import data_rule
from airflow_provider_sentinelhub.client.preflight.regions import OWN_DATA, statistics_region
from airflow_provider_sentinelhub.client.preflight.statistics import check_sampling, check_statistics

if TYPE_CHECKING:
    from airflow_provider_sentinelhub.client.requests.findings import Rule

RULES: Final[tuple[Rule, ...]] = (
    data_rule("input", "data"),
    check_sampling,
    check_statistics,
    statistics_region(Service.BATCH_STATISTICAL, "Batch Statistical", OWN_DATA),
)
