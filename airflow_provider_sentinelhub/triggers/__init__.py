"""Triggers for Sentinel Hub."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_sentinelhub.exports import lazy

if TYPE_CHECKING:
    from airflow_provider_sentinelhub.triggers.batch import SentinelHubBatchTrigger
    from airflow_provider_sentinelhub.triggers.catalog import SentinelHubCatalogTrigger

__all__ = ["SentinelHubBatchTrigger", "SentinelHubCatalogTrigger"]

if not TYPE_CHECKING:
    __getattr__ = lazy(__name__, {"batch": ("SentinelHubBatchTrigger",), "catalog": ("SentinelHubCatalogTrigger",)})
