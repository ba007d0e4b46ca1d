"""
Rules on the JSON itself: values it must not contain anywhere, and its size.

Source: https://docs.planet.com/develop/apis/batch-processing/reference/
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

from airflow_provider_sentinelhub.client.errors import InvalidParameter
from airflow_provider_sentinelhub.client.requests.findings import Advice, Finding

LARGE_BYTES = 1_000_000
_SHOWN = 5


def check_payload(written: Any) -> Iterator[Finding]:
    """
    Find nulls, numbers that JSON cannot express, and an unusual size.

    :param written: The request as the user wrote it: the models would silently leave out such a number.
    """
    for path, value in _unusable(written, ()):
        if value is None:
            yield InvalidParameter(path, None, "must not be null: the service refuses nulls", "Leave it out.")
        else:
            yield InvalidParameter(path, value, "cannot be written in JSON", "Correct the number.")
    try:
        size = len(json.dumps(written, default=str).encode())
    except (ValueError, TypeError, RecursionError):
        return
    if size > LARGE_BYTES:
        yield Advice(
            "request",
            f"is {size / 1e6:,.1f} MB large; the service publishes no limit, but has refused large requests",
            "Simplify the geometry, or put the areas into a GeoPackage as features.",
        )


def _unusable(value: Any, path: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    """Yield paths and values; a few per list."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            # A null field is removed before the request is sent; a null in a list cannot be.
            if item is not None:
                yield from _unusable(item, (*path, str(key)))
    elif isinstance(value, (list, tuple)):
        shown = 0
        for number, item in enumerate(value):
            for found in _unusable(item, (*path, str(number))):
                yield found
                shown += 1
                if shown == _SHOWN:
                    return
    elif value is None or (isinstance(value, float) and not math.isfinite(value)):
        yield ".".join(path), value
