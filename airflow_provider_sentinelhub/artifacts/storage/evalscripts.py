"""Evalscripts that are too long for a request: they are stored in a bucket, and the request refers to them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_sentinelhub.client.errors import ArtifactMissing, InvalidParameter
from airflow_provider_sentinelhub.client.requests.findings import mapping, part

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_sentinelhub.artifacts.storage.storage import Storage
    from airflow_provider_sentinelhub.client.lifecycle.spec import ApiSpec

FOLDER = "evalscripts"
_REFERENCE = "evalscriptReference"


def referred_script(api: ApiSpec, request: Any) -> str | None:
    """
    Return the URL of the script a request refers to; ``None`` if it holds one itself.

    :param api: The API.
    :param request: A request of any shape.
    """
    if api.long_script is None:
        return None
    reference = mapping(request, *api.script_path[:-1], _REFERENCE)
    url = part(reference, "s3", "url") or part(reference, "gs", "url")
    return url if isinstance(url, str) and part(request, *api.script_path) is None else None


def with_script(api: ApiSpec, storage: Storage, request: Mapping[str, Any], url: str) -> dict[str, Any]:
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
    field = ".".join((*api.script_path[:-1], _REFERENCE, url.partition(":")[0], "url"))
    try:
        text = storage.read(url).decode()
    except ArtifactMissing:
        raise InvalidParameter(field, url, "does not exist", "Upload the script first, or correct the URL.") from None
    except UnicodeDecodeError as e:
        raise InvalidParameter(field, url, f"is no text in UTF-8 ({e})", "Save the script as UTF-8.") from None
    holder = mapping(request, *api.script_path[:-1])
    rest = {key: value for key, value in holder.items() if key != _REFERENCE}
    return _in_holder(api, request, {**rest, "evalscript": text})


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


def placed_script(api: ApiSpec, body: Mapping[str, Any], tag: str, delivery_url: str) -> PlacedScript | None:
    """
    Return the script of a request and where to store it; ``None`` if it fits into the request, tag included.

    :param api: The API.
    :param body: The request, with its script in it.
    :param tag: The tag of an intent.
    :param delivery_url: Where results go, or a template of that.
    """
    if api.long_script is None:
        return None
    holder = mapping(body, *api.script_path[:-1])
    script = holder["evalscript"].encode()
    if len(script) + len(f"\n// {tag}") < api.long_script.max_bytes:
        return None
    folder, placeholder, _ = delivery_url.partition("<")
    folder = folder.rpartition("/")[0] if placeholder else folder.rstrip("/")
    url = f"{folder}/{FOLDER}/{api.long_script.name(tag)}"
    kind = url.partition(":")[0]
    region = mapping(body, *api.storages[0], kind).get("region")
    place = {"url": url, "region": region} if region else {"url": url}
    rest = {key: value for key, value in holder.items() if key != "evalscript"}
    return PlacedScript(url, script, _in_holder(api, body, {**rest, _REFERENCE: {kind: place}}))


def _in_holder(api: ApiSpec, request: Mapping[str, Any], holder: Mapping[str, Any]) -> dict[str, Any]:
    return {**request, api.script_holder: holder} if api.script_holder else dict(holder)
