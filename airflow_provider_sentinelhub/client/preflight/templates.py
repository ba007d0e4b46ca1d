"""
Templates that were not rendered.

Source: https://airflow.apache.org/docs/apache-airflow/stable/authoring-and-scheduling/dynamic-task-mapping.html
(templated fields).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from airflow_provider_sentinelhub.client.errors import InvalidParameter
from airflow_provider_sentinelhub.client.requests.findings import Advice, Finding

_JINJA = re.compile(r"\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\}", re.DOTALL)
_RULE = (
    "is a template that was not rendered: Airflow renders templates in the DAG file, but not in what another task "
    "returned"
)
_FIX = "Render it in the task that returns it, or write the parameter in the DAG file."
_FREE_TEXT = "description"
_SCRIPT = "evalscript"


def unrendered(value: Any, *path: str) -> Iterator[Finding]:
    """
    Find templates in a value; braces in an evalscript are JavaScript.

    :param value: JSON.
    :param path: Its path in the request.
    """
    if isinstance(value, Mapping):
        for key, item in value.items():
            if isinstance(key, str) and _JINJA.search(key):
                yield InvalidParameter(
                    ".".join((*path, key)), key, _RULE, "Airflow does not render keys. Build the dict in a task."
                )
            elif key != _SCRIPT:
                yield from unrendered(item, *path, str(key))
    elif isinstance(value, (list, tuple)):
        for number, item in enumerate(value):
            yield from unrendered(item, *path, str(number))
    elif isinstance(value, str) and _JINJA.search(value):
        field = ".".join(path) or "request"
        if path and path[-1] == _FREE_TEXT:
            yield Advice(field, f"{value!r} {_RULE}", _FIX)
        else:
            yield InvalidParameter(field, value, _RULE, _FIX)
