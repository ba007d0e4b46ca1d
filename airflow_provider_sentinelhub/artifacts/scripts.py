"""Evalscripts that are too long to stand in a request: they lie in a bucket, and the request says where."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_sentinelhub.client.errors import ArtifactMissing, InvalidParameter
from airflow_provider_sentinelhub.client.preflight.findings import mapping, part

if TYPE_CHECKING:
    from airflow_provider_sentinelhub.artifacts.storage import Storage
    from airflow_provider_sentinelhub.client.batch import LongScript

FOLDER = "evalscripts"
_REFERENCE = "evalscriptReference"


def referred_script(rule: LongScript, request: Any) -> str | None:
    """
    Return where the script lies that a request refers to; ``None`` where it holds one itself.

    :param rule: How the API takes a long script.
    :param request: A request of any shape.
    """
    url = part(request, rule.holder, _REFERENCE, "s3", "url")
    return url if isinstance(url, str) and part(request, rule.holder, "evalscript") is None else None


def with_script(rule: LongScript, storage: Storage, request: Mapping[str, Any], url: str) -> dict[str, Any]:
    """
    Return a request with the script in it that it refers to.

    So every script is checked, counts in the digest of what is wanted, and is found again by its tag, wherever its
    author keeps it.

    :param rule: How the API takes a long script.
    :param storage: Where the bucket is.
    :param request: The request.
    :param url: What :func:`referred_script` returned.
    :raises InvalidParameter: The script is not there, or is no text.
    :raises StorageUnavailable: The bucket cannot be read.
    """
    field = f"{rule.holder}.{_REFERENCE}.s3.url"
    try:
        text = storage.read(url).decode()
    except ArtifactMissing:
        raise InvalidParameter(field, url, "does not exist", "Upload the script first, or correct the URL.") from None
    except UnicodeDecodeError as e:
        raise InvalidParameter(field, url, f"is no text in UTF-8 ({e})", "Save the script as UTF-8.") from None
    rest = {key: value for key, value in request[rule.holder].items() if key != _REFERENCE}
    return {**request, rule.holder: {**rest, "evalscript": text}}


@dataclass(frozen=True, slots=True)
class PlacedScript:
    """
    A script that goes into the bucket of the results.

    :param url: Where. The same intent always means the same script, so writing it twice is writing it once.
    :param text: The script.
    :param body: The request that refers to it.
    """

    url: str
    text: bytes
    body: dict[str, Any]


def placed_script(rule: LongScript, body: Mapping[str, Any], tag: str, delivery_url: str) -> PlacedScript | None:
    """
    Say where the script of a request goes; ``None`` where it is short enough to stand in it, tag included.

    :param rule: How the API takes a long script.
    :param body: The request, with its script in it.
    :param tag: The tag of an intent.
    :param delivery_url: Where results go, or a template of that.
    """
    script = body[rule.holder]["evalscript"].encode()
    if len(script) + len(f"\n// {tag}") < rule.max_bytes:
        return None
    folder, placeholder, _ = delivery_url.partition("<")
    folder = folder.rpartition("/")[0] if placeholder else folder.rstrip("/")
    url = f"{folder}/{FOLDER}/{rule.name(tag)}"
    region = mapping(body, "output", "s3").get("region")
    place = {"url": url, "region": region} if region else {"url": url}
    rest = {key: value for key, value in body[rule.holder].items() if key != "evalscript"}
    return PlacedScript(url, script, {**body, rule.holder: {**rest, _REFERENCE: {"s3": place}}})
