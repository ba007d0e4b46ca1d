"""The tag of an intent in the description of a request, for APIs whose requests have one."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from airflow_provider_sentinelhub.client.lifecycle.intent import TAG

if TYPE_CHECKING:
    from collections.abc import Mapping

_BEFORE_TAG = " | "
_TAGS = re.compile(rf"(?:{re.escape(_BEFORE_TAG)})?{TAG}")


def tagged(body: Mapping[str, Any], tag: str) -> dict[str, Any]:
    """
    Return a request with a tag in its description, after the user's text.

    :param body: The request.
    :param tag: The tag.
    """
    text = body.get("description")
    return {**body, "description": f"{text}{_BEFORE_TAG}{tag}" if text else tag}


def tag_of(request: Mapping[str, Any]) -> str:
    """
    Return the text that may contain the tag: the description.

    :param request: The request as the service returns it.
    """
    return str(request.get("description") or "")


def untagged(request: Mapping[str, Any]) -> dict[str, Any]:
    """
    Return a request without the tags in its description; what else its user wrote there stays.

    :param request: The request as the service returns it.
    """
    body = dict(request)
    if text := _TAGS.sub("", tag_of(body)).strip():
        return {**body, "description": text}
    body.pop("description", None)
    return body
