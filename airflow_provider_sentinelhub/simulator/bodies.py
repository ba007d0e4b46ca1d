"""Bodies of calls: JSON, and multipart with the evalscript apart."""

from __future__ import annotations

import json
from email.parser import BytesParser
from email.policy import HTTP
from typing import Any

from airflow_provider_sentinelhub.simulator.problems import Problem, bad_payload, violations


def parse_json(body: bytes) -> Any:
    """
    Read a JSON body.

    :param body: The bytes; an empty body is an empty document.
    :raises Problem: 400.
    """
    if not body.strip():
        return {}
    try:
        return json.loads(body)
    except ValueError as error:
        raise bad_payload(f"Failed to parse the request body: {error}") from error


def parse_body(body: bytes, content_type: str, holder: str) -> Any:
    """
    Read the body of a create call: JSON, or multipart with the parts ``request`` and ``evalscript``.

    :param body: The bytes.
    :param content_type: The header.
    :param holder: The part of the request that has the evalscript.
    :raises Problem: 400 or 415.
    """
    if content_type.startswith("multipart/form-data"):
        return _parse_multipart(body, content_type, holder)
    if content_type and not content_type.startswith("application/json"):
        raise Problem(415, "COMMON_UNSUPPORTED_MEDIA_TYPE", f"Content-Type {content_type} is not supported.")
    return parse_json(body)


def _parse_multipart(body: bytes, content_type: str, holder: str) -> Any:
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
    if "evalscript" in parts and isinstance(payload, dict) and isinstance(payload.get(holder), dict):
        payload[holder]["evalscript"] = parts["evalscript"].decode()
    return payload
