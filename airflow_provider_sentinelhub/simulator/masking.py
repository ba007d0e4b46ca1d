"""Requests as they are shown to anybody: without secrets."""

from __future__ import annotations

from typing import Any

HIDDEN = frozenset({"accessKey", "secretAccessKey"})


def masked(request: dict[str, Any]) -> dict[str, Any]:
    """
    Return a request without secrets.

    :param request: The request; not changed.
    """

    def mask(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: "*****" if key in HIDDEN else mask(each) for key, each in value.items()}
        if isinstance(value, list):
            return [mask(each) for each in value]
        return value

    result: dict[str, Any] = mask(request)
    return result
