"""Bodies of calls: read from JSON or multipart, and shown without secrets."""

from __future__ import annotations

import json
import math
from email.parser import BytesParser
from email.policy import HTTP
from typing import Any

from airflow_provider_sentinelhub.simulator.problems import Problem, bad_payload, violations

HIDDEN = frozenset({"accessKey", "secretAccessKey", "credentials"})


def parse_json(body: bytes) -> Any:
    """
    Read a JSON body.

    :param body: The bytes; an empty body counts as an empty object.
    :raises Problem: 400.
    """
    if not body.strip():
        return {}
    try:
        value = json.loads(body, parse_float=_finite, parse_constant=_finite)
        # Half of a pair of surrogates is JSON, but not text.
        json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise bad_payload(f"Failed to parse the request body: {error}") from error
    return value


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is not a number")
    return number


def parse_body(body: bytes, content_type: str, evalscript_in: str) -> Any:
    """
    Read the body of a create call: JSON, or multipart with the parts ``request`` and ``evalscript``.

    :param body: The bytes.
    :param content_type: The header.
    :param evalscript_in: The part of the request that has the evalscript; empty if the request itself has it.
    :raises Problem: 400 or 415.
    """
    if content_type.startswith("multipart/form-data"):
        return _parse_multipart(body, content_type, evalscript_in)
    if content_type and not content_type.startswith("application/json"):
        raise Problem(415, "COMMON_UNSUPPORTED_MEDIA_TYPE", f"Content-Type {content_type} is not supported.")
    return parse_json(body)


def _parse_multipart(body: bytes, content_type: str, evalscript_in: str) -> Any:
    message = BytesParser(policy=HTTP).parsebytes(f"Content-Type: {content_type}\r\n\r\n".encode() + body)
    parts: dict[str, bytes] = {}
    for part in message.iter_parts():
        name = part.get_param("name", header="content-disposition")
        content = part.get_payload(decode=True)
        if isinstance(name, str) and isinstance(content, bytes):
            parts[name] = content
    if "request" not in parts:
        raise violations([{"parameter": "request", "violation": "part request must be present"}])
    payload = parse_json(parts["request"])
    holder = payload.get(evalscript_in) if evalscript_in and isinstance(payload, dict) else payload
    if "evalscript" in parts and isinstance(holder, dict):
        holder["evalscript"] = _text(parts["evalscript"])
    return payload


def _text(content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise bad_payload(f"Failed to parse the evalscript: {error}") from error


def masked(request: dict[str, Any]) -> dict[str, Any]:
    """
    Return a request with its secrets masked.

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
