"""Trigger for Sentinel Hub."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_sentinelhub.exports import lazy

if TYPE_CHECKING:
    from airflow_provider_sentinelhub.triggers.batch import SentinelHubBatchTrigger
    from airflow_provider_sentinelhub.triggers.byoc import SentinelHubByocTrigger

__all__ = ["SentinelHubBatchTrigger", "SentinelHubByocTrigger"]

if not TYPE_CHECKING:
    __getattr__ = lazy(__name__, {"batch": ("SentinelHubBatchTrigger",), "byoc": ("SentinelHubByocTrigger",)})
