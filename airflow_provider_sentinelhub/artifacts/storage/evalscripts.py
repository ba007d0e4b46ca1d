"""Evalscripts that are too long for a request: they are stored in a bucket, and the request refers to them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_sentinelhub.client.errors import ArtifactMissing, InvalidParameter
from airflow_provider_sentinelhub.client.requests.findings import mapping, part

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_sentinelhub.artifacts.storage.storage import Storage
    from airflow_provider_sentinelhub.client.lifecycle.spec import TaskApiSpec

FOLDER = "evalscripts"
_REFERENCE = "evalscriptReference"


def referred_script(api: TaskApiSpec, request: Any) -> str | None:
    """
    Return the URL of the script a request refers to; ``None`` if it holds one itself.

    :param api: The API.
    :param request: A request of any shape.
    """
    if api.long_script is None:
        return None
    url = part(request, api.script_holder, _REFERENCE, "s3", "url")
    return url if isinstance(url, str) and part(request, api.script_holder, "evalscript") is None else None


def with_script(api: TaskApiSpec, storage: Storage, request: Mapping[str, Any], url: str) -> dict[str, Any]:
    """
    Return a request that holds the script it refers to.

    So every script is checked, is part of the intent's digest, and is found again by its tag, wherever its author keeps
    it.

    :param api: The API.
    :param storage: Where the bucket is.
    :param request: The request.
    :param url: What :func:`referred_script` returned.
    :raises InvalidParameter: The script is not there, or is no text.
    :raises StorageUnavailable: The bucket cannot be read.
    """
    field = f"{api.script_holder}.{_REFERENCE}.s3.url"
    try:
        text = storage.read(url).decode()
    except ArtifactMissing:
        raise InvalidParameter(field, url, "does not exist", "Upload the script first, or correct the URL.") from None
    except UnicodeDecodeError as e:
        raise InvalidParameter(field, url, f"is no text in UTF-8 ({e})", "Save the script as UTF-8.") from None
    rest = {key: value for key, value in request[api.script_holder].items() if key != _REFERENCE}
    return {**request, api.script_holder: {**rest, "evalscript": text}}


@dataclass(frozen=True, slots=True)
class PlacedScript:
    """
    A script to be stored in the bucket of the results.

    :param url: Its URL. The same intent always has the same script, so writing it twice is harmless.
    :param text: The script.
    :param body: The request that refers to it.
    """

    url: str
    text: bytes
    body: dict[str, Any]


def placed_script(api: TaskApiSpec, body: Mapping[str, Any], tag: str, delivery_url: str) -> PlacedScript | None:
    """
    Return the script of a request and where to store it; ``None`` if it fits into the request, tag included.

    :param api: The API.
    :param body: The request, with its script in it.
    :param tag: The tag of an intent.
    :param delivery_url: Where results go, or a template of that.
    """
    if api.long_script is None:
        return None
    script = body[api.script_holder]["evalscript"].encode()
    if len(script) + len(f"\n// {tag}") < api.long_script.max_bytes:
        return None
    folder, placeholder, _ = delivery_url.partition("<")
    folder = folder.rpartition("/")[0] if placeholder else folder.rstrip("/")
    url = f"{folder}/{FOLDER}/{api.long_script.name(tag)}"
    region = mapping(body, "output", "s3").get("region")
    place = {"url": url, "region": region} if region else {"url": url}
    rest = {key: value for key, value in body[api.script_holder].items() if key != "evalscript"}
    return PlacedScript(url, script, {**body, api.script_holder: {**rest, _REFERENCE: {"s3": place}}})
