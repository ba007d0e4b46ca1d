"""Evalscripts on their way between requests and buckets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_sentinelhub.client.lifecycle.intent import Intent
    from airflow_provider_sentinelhub.hooks.batch import SentinelHubBatchHook


def with_script(hook: SentinelHubBatchHook, request: Any) -> Any:
    """
    Return a request with the evalscript in it that it refers to; others are returned as they are.

    :param hook: Knows the API, and reaches the bucket.
    :param request: The service's own request, as a dict.
    :raises InvalidParameter: The script is not there.
    :raises StorageUnavailable: The bucket cannot be read.
    """
    from airflow_provider_sentinelhub.artifacts.storage import evalscripts as scripts

    url = scripts.referred_script(hook.api, request)
    return request if url is None else scripts.with_script(hook.api, hook.storage, request, url)


def with_script_placed(hook: SentinelHubBatchHook, body: Mapping[str, Any], intent: Intent) -> Mapping[str, Any]:
    """
    Return a request as it can be sent: a script that is too long for it lies in the bucket afterwards.

    :param hook: Knows the API, and reaches the bucket.
    :param body: A checked request.
    :param intent: What it is wanted for.
    :raises StorageUnavailable: The bucket cannot be written.
    """
    from airflow_provider_sentinelhub.artifacts.storage.evalscripts import placed_script

    placed = placed_script(hook.api, body, intent.tag, hook.api.delivery_url(body))
    if placed is None:
        return body
    hook.storage.upload(placed.text, placed.url)
    return placed.body
