"""
The Process API: its Call, and the check of its requests. Nothing here does I/O.

Source: https://docs.planet.com/develop/apis/processing/reference/
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from airflow_provider_sentinelhub.client.apis.process.models import ImageRequest
from airflow_provider_sentinelhub.client.http.call import Call, Received, Repeat
from airflow_provider_sentinelhub.client.http.deployments import Service
from airflow_provider_sentinelhub.client.models import from_text, validated
from airflow_provider_sentinelhub.client.requests.findings import mapping, objects

if TYPE_CHECKING:
    from airflow_provider_sentinelhub.client.http.call import Sink

TAR: Final = "application/tar"
USUAL: Final = "image/png"
MAX_ANSWER_BYTES: Final = 4 * 1024**3
"""An answer with more is an error: no image of 2,500 x 2,500 px with 100 bands of 32 bits has that many."""

_SPENT = "x-processingunits-spent"


@dataclass(frozen=True, slots=True)
class ImageAnswer:
    """
    What is known of an answer whose body was written to a file.

    :param pu: Processing units it cost; ``None`` if the service does not say it.
    :param size: Bytes.
    :param media_type: E.g. ``image/tiff``; empty if the service does not say it.
    """

    pu: float | None
    size: int
    media_type: str


def check(request: Any) -> dict[str, Any]:
    """
    Check a request against the models, and return the JSON to send.

    Further checks are in :mod:`airflow_provider_sentinelhub.client.preflight` and in the API's ``rules``.

    :param request: The service's own request as a dict, or as the JSON text of one.
    :raises InvalidParameter: Names each field that is wrong, its value, its rule and its fix.
    """
    return validated(ImageRequest, from_text(request)).body()


def formats_of(body: Mapping[str, Any]) -> dict[str, str]:
    """
    Return the media types of a request's responses by identifier, in its order.

    :param body: The request, as JSON of any shape.
    """
    listed = objects(body, "output", "responses") or [{}]
    return {str(each.get("identifier", "default")): str(mapping(each, "format").get("type", USUAL)) for each in listed}


def image(body: Mapping[str, Any], sink: Sink, secrets: tuple[str, ...] = ()) -> Call[ImageAnswer]:
    """
    Request an image, or a tar of several outputs.

    :param body: The request.
    :param sink: Where the answer is written.
    :param secrets: Credentials in it, which must not appear in messages.
    """
    formats = formats_of(body)
    return Call(
        "POST",
        Service.PROCESS,
        "",
        _answer,
        "compute an image",
        body=body,
        # Only a 2xx answer is charged. At worst an answer that was lost is paid for twice; it cannot be fetched later.
        repeat=Repeat.ALWAYS,
        secrets=secrets,
        # The service computes the image before it answers, and charges for it even if we time out.
        patience_s=300.0,
        max_bytes=MAX_ANSWER_BYTES,
        accept=TAR if len(formats) > 1 else next(iter(formats.values())),
        sink=sink,
    )


def _answer(received: Received) -> ImageAnswer:
    kind = received.headers.get("content-type", "").partition(";")[0].strip().lower()
    return ImageAnswer(_number(received.headers.get(_SPENT, "")), received.size, kind)


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) and number >= 0 else None
