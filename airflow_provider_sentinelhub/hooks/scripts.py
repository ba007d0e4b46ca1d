"""Evalscripts on their way between requests and buckets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provider_sentinelhub.client.intent import Intent
    from airflow_provider_sentinelhub.hooks.batch import SentinelHubBatchHook


def with_script(hook: SentinelHubBatchHook, request: Any) -> Any:
    """
    Return a request with the evalscript in it that it refers to; others are returned as they are.

    :param hook: Knows the API, and reaches the bucket.
    :param request: The service's own request, as a dict.
    :raises InvalidParameter: The script is not there.
    :raises StorageUnavailable: The bucket cannot be read.
    """
    from airflow_provider_sentinelhub.artifacts import scripts

    rule = hook.api.long_script
    url = None if rule is None else scripts.referred_script(rule, request)
    return request if rule is None or url is None else scripts.with_script(rule, hook.storage, request, url)


def with_script_placed(hook: SentinelHubBatchHook, body: Mapping[str, Any], intent: Intent) -> Mapping[str, Any]:
    """
    Return a request as it can be sent: a script that is too long for it lies in the bucket afterwards.

    :param hook: Knows the API, and reaches the bucket.
    :param body: A checked request.
    :param intent: What it is wanted for.
    :raises StorageUnavailable: The bucket cannot be written.
    """
    from airflow_provider_sentinelhub.artifacts.scripts import placed_script

    rule = hook.api.long_script
    placed = None if rule is None else placed_script(rule, body, intent.tag, hook.api.delivery_url(body))
    if placed is None:
        return body
    hook.storage.upload(placed.text, placed.url)
    return placed.body
