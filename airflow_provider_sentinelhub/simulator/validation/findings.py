"""Violations, and the checks that all APIs have in common."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from airflow_provider_sentinelhub.simulator.bucket.delivery import REGION
from airflow_provider_sentinelhub.simulator.problems import bad_payload, violations
from airflow_provider_sentinelhub.simulator.statistics.intervals import moment

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from airflow_provider_sentinelhub.simulator.validation.shapes import Shape

BUCKET_AND_KEY = re.compile(r"[A-Za-z0-9][\w\-.:]{2,62}(/[<>A-Za-z0-9/\-_.(): ]*)?", re.ASCII)


class Findings:
    """
    Collects violations.

    Parameters are written as the service does: ``input->resolution``.
    """

    def __init__(self) -> None:
        self.found: list[dict[str, str]] = []

    def add(self, parameter: str, violation: str) -> None:
        """
        Add a violation.

        :param parameter: Path in the request.
        :param violation: What is wrong.
        """
        self.found.append({"parameter": parameter, "violation": violation})


def check_body(request: Any, shape: type[Shape], check_parts: Callable[[dict[str, Any], Findings], None]) -> None:
    """
    Check a body: its fields and types first, then everything else.

    :param request: Parsed JSON.
    :param shape: Its fields and their types.
    :param check_parts: The further checks of one API; they may rely on the shape.
    :raises Problem: 400 with all violations found.
    """
    if request in ({}, [], None, ""):
        raise bad_payload("Request body should be non-empty.")
    if not isinstance(request, dict):
        raise bad_payload("Request body should be a JSON object.")
    nulls = _nulls(request, "")
    if nulls:
        raise violations([{"parameter": path, "violation": f"{path} must not be null"} for path in nulls])
    findings = Findings()
    check_shape(shape, request, "", findings)
    if not findings.found:
        check_parts(request, findings)
    if findings.found:
        raise violations(findings.found)


def check_shape(shape: type[Shape], part: Any, path: str, findings: Findings) -> None:
    """
    Compare a part of a request with its shape.

    :param shape: The shape.
    :param part: The part.
    :param path: Its path in the request; empty for all of it.
    :param findings: Takes the violations.
    """
    try:
        shape.model_validate(part)
    except ValidationError as error:
        for each in error.errors(include_url=False, include_context=False, include_input=False):
            where = _written(path, each["loc"])
            findings.add(where, _said(each["type"], each["msg"], where))


def check_variant(request: dict[str, Any], name: str, shapes: Mapping[str, type[Shape]], findings: Findings) -> None:
    """
    Compare a part whose ``type`` decides on its shape.

    :param request: What contains it.
    :param name: Its name.
    :param shapes: Shapes by type.
    :param findings: Takes the violations.
    """
    kind = request[name].get("type")
    if isinstance(kind, str) and kind in shapes:
        check_shape(shapes[kind], request[name], name, findings)
    else:
        findings.add(f"{name}->type", f"type must be one of {', '.join(shapes)}")


def _written(path: str, steps: tuple[int | str, ...]) -> str:
    # No field is a union of several types: their names would be steps of the path.
    for step in steps:
        path = f"{path}[{step}]" if isinstance(step, int) else f"{path}->{step}" if path else step
    return path


def _said(kind: str, message: str, where: str) -> str:
    own = re.sub(r"^(Value error, |(Input|List|String) should )", "", message).replace(" after validation", "")
    return f"{where} {_RULES.get(kind, own if kind == 'value_error' else f'must {own}')}"


_RULES = {
    "missing": "must not be null",
    "extra_forbidden": "is not a known field",
    "string_type": "must be a text",
    "bool_type": "must be true or false",
    "int_type": "must be a whole number",
    "float_type": "must be a number",
    "finite_number": "must be a number",
    "list_type": "must be a list",
    **dict.fromkeys(("model_type", "dict_type"), "must be an object"),
}


def _nulls(value: Any, path: str) -> list[str]:
    if value is None:
        return [path]
    if isinstance(value, dict):
        return [hit for key, each in value.items() for hit in _nulls(each, f"{path}->{key}" if path else key)]
    if isinstance(value, list):
        return [hit for number, each in enumerate(value) for hit in _nulls(each, f"{path}[{number}]")]
    return []


def check_access(part: dict[str, Any], path: str, findings: Findings, *, takes_gcs: bool = False) -> None:
    """
    Check a location in a bucket and its credentials.

    :param part: The object that must have ``s3``, or ``gs`` instead.
    :param path: Path in the request.
    :param findings: Takes the violations.
    :param takes_gcs: Whether the API supports Google Cloud Storage.
    """
    if "gs" in part and not takes_gcs:
        findings.add(f"{path}->gs", "Google Cloud Storage is not supported by this API")
    elif ("s3" in part) == ("gs" in part):
        kinds = "either s3 or gs" if takes_gcs else "s3"
        findings.add(path if takes_gcs else f"{path}->s3", f"{kinds} must be set")
    elif "gs" in part:
        check_url(part["gs"]["url"], f"{path}->gs->url", findings, scheme="gs")
        if "credentials" not in part["gs"]:
            findings.add(f"{path}->gs->credentials", "credentials must be set")
    else:
        access = part["s3"]
        check_url(access["url"], f"{path}->s3->url", findings)
        keys = "accessKey" in access and "secretAccessKey" in access
        if keys == ("iamRoleARN" in access):
            findings.add(f"{path}->s3", "either iamRoleARN or both accessKey and secretAccessKey must be set")


def check_url(url: str, path: str, findings: Findings, *, scheme: str = "s3") -> None:
    """
    Check a location in a bucket.

    :param url: The URL.
    :param path: Path of it in the request.
    :param findings: Takes the violations.
    :param scheme: ``s3`` or ``gs``.
    """
    start, _, place = url.partition("://")
    _, _, key = place.rstrip("/").partition("/")
    if start != scheme or not BUCKET_AND_KEY.fullmatch(place) or {"", ".", ".."} & set(key.split("/") if key else ()):
        findings.add(path, f"url must look like {scheme}://bucket/path, not {url!r}")


def is_elsewhere(storage: dict[str, Any]) -> bool:
    """
    Say whether a bucket is in another region than the deployment, or on another cloud.

    :param storage: The object that has ``s3`` or ``gs``, of a checked request.
    """
    return "s3" not in storage or storage["s3"].get("region", REGION) != REGION


def check_data(data: list[dict[str, Any]], path: str, findings: Findings) -> None:
    """
    Check the data sources.

    :param data: The data sources.
    :param path: Path of them in the request.
    :param findings: Takes the violations.
    """
    names = [source["id"] for source in data if "id" in source]
    if len(set(names)) < len(names):
        findings.add(path, "each data source must have an id of its own")
    for number, source in enumerate(data):
        period = source.get("dataFilter", {}).get("timeRange", {})
        if {"from", "to"} <= period.keys() and moment(period["from"]) > moment(period["to"]):
            findings.add(f"{path}[{number}]->dataFilter->timeRange", "from must not be after to")


def fill_data(data: list[dict[str, Any]]) -> None:
    """
    Fill in the defaults of the data sources.

    :param data: The data sources; changed in place.
    """
    for source in data:
        source.setdefault("dataFilter", {})
        source["dataFilter"].setdefault("mosaickingOrder", "mostRecent")
        if str(source["type"]).lower().startswith("sentinel-2") or source["type"] in {"S2L1C", "S2L2A"}:
            source["dataFilter"].setdefault("maxCloudCoverage", 100.0)
