"""Hooks for Sentinel Hub."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_sentinelhub.exports import lazy

if TYPE_CHECKING:
    from airflow_provider_sentinelhub.hooks.batch import SentinelHubBatchHook
    from airflow_provider_sentinelhub.hooks.batch_v1 import SentinelHubBatchV1Hook
    from airflow_provider_sentinelhub.hooks.byoc import SentinelHubByocHook
    from airflow_provider_sentinelhub.hooks.process import SentinelHubProcessHook
    from airflow_provider_sentinelhub.hooks.sentinel_hub import SentinelHubHook
    from airflow_provider_sentinelhub.hooks.statistical import SentinelHubStatisticalHook

__all__ = [
    "SentinelHubBatchHook",
    "SentinelHubBatchV1Hook",
    "SentinelHubByocHook",
    "SentinelHubHook",
    "SentinelHubProcessHook",
    "SentinelHubStatisticalHook",
]

if not TYPE_CHECKING:
    __getattr__ = lazy(
        __name__,
        {
            "batch": ("SentinelHubBatchHook",),
            "batch_v1": ("SentinelHubBatchV1Hook",),
            "byoc": ("SentinelHubByocHook",),
            "process": ("SentinelHubProcessHook",),
            "sentinel_hub": ("SentinelHubHook",),
            "statistical": ("SentinelHubStatisticalHook",),
        },
    )
