"""Violations, and the checks that all APIs have in common."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from airflow_provider_sentinelhub.simulator.problems import bad_payload, violations

if TYPE_CHECKING:
    from collections.abc import Callable

_BUCKET_URL = r"[A-Za-z0-9][\w\-.:]{2,62}(/[<>A-Za-z0-9/\-_.(): ]*)?"
S3_URL = re.compile(f"s3://{_BUCKET_URL}")
GCS_URL = re.compile(f"gs://{_BUCKET_URL}")


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

    def part(self, parent: dict[str, Any], name: str, path: str) -> dict[str, Any]:
        """
        Return a part that must be an object; where it is not, add a violation and return an empty one.

        :param parent: The object that contains it.
        :param name: Its name.
        :param path: Path of the parent in the request.
        """
        value = parent.get(name)
        if isinstance(value, dict):
            return value
        where = f"{path}->{name}" if path else name
        self.add(where, "must not be null" if value is None else "must be an object")
        return {}


def check_body(request: Any, check_parts: Callable[[dict[str, Any], Findings], None]) -> None:
    """
    Check a body.

    :param request: Parsed JSON.
    :param check_parts: The checks of one API.
    :raises Problem: 400 with all violations found.
    """
    if not request:
        raise bad_payload("Request body should be non-empty.")
    if not isinstance(request, dict):
        raise bad_payload("Request body should be a JSON object.")
    nulls = _nulls(request, "")
    if nulls:
        raise violations([{"parameter": path, "violation": f"{path} must not be null"} for path in nulls])
    findings = Findings()
    try:
        check_parts(request, findings)
    except (AttributeError, KeyError, TypeError) as error:
        # A value of an unexpected type ended the checks; the violations found before it are reported as well.
        findings.add("", f"Request body is malformed: {error}")
    if findings.found:
        raise violations(findings.found)


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
    if "gs" in part:
        if not takes_gcs:
            findings.add(f"{path}->gs", "Google Cloud Storage is not supported by this API")
        elif "s3" in part:
            findings.add(path, "either s3 or gs must be set")
        else:
            _check_gcs(part, path, findings)
        return
    access = findings.part(part, "s3", path)
    if not access:
        return
    if not isinstance(access.get("url"), str) or not S3_URL.fullmatch(access["url"]):
        findings.add(f"{path}->s3->url", f"url must look like s3://bucket/path, not {access.get('url')!r}")
    keys = "accessKey" in access and "secretAccessKey" in access
    if keys == ("iamRoleARN" in access):
        findings.add(f"{path}->s3", "either iamRoleARN or both accessKey and secretAccessKey must be set")


def _check_gcs(part: dict[str, Any], path: str, findings: Findings) -> None:
    access = findings.part(part, "gs", path)
    if access is not part["gs"]:
        return
    if not isinstance(access.get("url"), str) or not GCS_URL.fullmatch(access["url"]):
        findings.add(f"{path}->gs->url", f"url must look like gs://bucket/path, not {access.get('url')!r}")
    if not isinstance(access.get("credentials"), str):
        findings.add(f"{path}->gs->credentials", "credentials must be set")


def check_data(part: dict[str, Any], path: str, findings: Findings) -> None:
    """
    Check the data sources.

    :param part: ``input``.
    :param path: Path of it in the request.
    :param findings: Takes the violations.
    """
    data = part.get("data")
    if not isinstance(data, list) or not data or not all(isinstance(each, dict) and "type" in each for each in data):
        findings.add(f"{path}->data", "data must list at least one data source with a type")


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
