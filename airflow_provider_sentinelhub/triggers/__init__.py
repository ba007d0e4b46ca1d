"""Triggers for Sentinel Hub."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_sentinelhub.exports import lazy

if TYPE_CHECKING:
    from airflow_provider_sentinelhub.triggers.async_process import SentinelHubAsyncProcessTrigger
    from airflow_provider_sentinelhub.triggers.batch import SentinelHubBatchTrigger

__all__ = ["SentinelHubAsyncProcessTrigger", "SentinelHubBatchTrigger"]

if not TYPE_CHECKING:
    __getattr__ = lazy(
        __name__, {"async_process": ("SentinelHubAsyncProcessTrigger",), "batch": ("SentinelHubBatchTrigger",)}
    )
