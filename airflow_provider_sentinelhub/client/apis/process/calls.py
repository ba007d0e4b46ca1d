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
from airflow_provider_sentinelhub.client.errors import InvalidParameter
from airflow_provider_sentinelhub.client.http.call import Call, Received, Repeat
from airflow_provider_sentinelhub.client.http.deployments import Service
from airflow_provider_sentinelhub.client.models import from_text, validated
from airflow_provider_sentinelhub.client.requests.findings import mapping, objects, part
from airflow_provider_sentinelhub.client.requests.raster import Raster

if TYPE_CHECKING:
    from airflow_provider_sentinelhub.client.http.call import Sink
    from airflow_provider_sentinelhub.client.requests.raster import Cell

MAX_PX: Final = 2500
"""Maximum width and height of an image in one answer."""
MAX_PARTS: Final = 10_000
"""Maximum number of parts of one image: 250,000 x 250,000 px."""
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


def raster_of(body: Mapping[str, Any]) -> Raster:
    """
    Return the pixels of the image of a request.

    :param body: A checked request.
    :raises InvalidParameter: They cannot be told.
    """
    found = Raster.of(mapping(body, "input", "bounds"), mapping(body, "output"))
    if found is None:
        rule = "and input.bounds do not tell the pixels of the image"
        raise InvalidParameter("output", dict(mapping(body, "output")), rule, "Give a bbox, and width and height.")
    return found


def sized(body: Mapping[str, Any]) -> dict[str, Any]:
    """
    Return a request with the width and height that its resolution makes, so that the size of the image is certain.

    :param body: A checked request.
    """
    raster = raster_of(body)
    rest = {name: value for name, value in mapping(body, "output").items() if name not in {"resx", "resy"}}
    return {**body, "output": {**rest, "width": raster.width, "height": raster.height}}


def parts_of(body: Mapping[str, Any], side: int = MAX_PX) -> list[Cell]:
    """
    Return the parts in which an image is requested: one, or those that its geometry touches.

    :param body: A checked request.
    :param side: Maximum width and height of a part in pixels.
    :raises InvalidParameter: There are too many, or they are too large.
    """
    from shapely import box, prepare
    from shapely.geometry import shape

    raster = raster_of(body)
    if not 1 <= side <= MAX_PX:
        raise InvalidParameter("part_size", side, f"must be from 1 to {MAX_PX}", "Leave it out.")
    if (count := -(-raster.width // side) * -(-raster.height // side)) > MAX_PARTS:
        rule = f"makes {count:,} parts, and at most {MAX_PARTS:,} are requested for one image"
        raise InvalidParameter("part_size", side, rule, f"Write up to {MAX_PX}, or request a smaller image.")
    cells = list(raster.cells(side))
    given = part(body, "input", "bounds", "geometry")
    if given is None or len(cells) == 1:
        return cells
    outline = shape(given)
    prepare(outline)
    return [cell for cell in cells if outline.intersects(box(*raster.box_of(cell)))]


def request_of(body: Mapping[str, Any], raster: Raster, cell: Cell) -> dict[str, Any]:
    """
    Return the request for a part of an image: its own box, and the geometry of the whole.

    The service makes an image of the box, with data within the geometry.

    :param body: A checked request.
    :param raster: Its pixels.
    :param cell: The part.
    """
    source = mapping(body, "input")
    bounds = {**mapping(source, "bounds"), "bbox": list(raster.box_of(cell))}
    output = {**mapping(body, "output"), "width": cell.width, "height": cell.height}
    return {**body, "input": {**source, "bounds": bounds}, "output": output}


def image(
    body: Mapping[str, Any], sink: Sink, secrets: tuple[str, ...] = (), *, as_tar: bool = False
) -> Call[ImageAnswer]:
    """
    Request an image, or a tar of several outputs.

    :param body: The request.
    :param sink: Where the answer is written.
    :param secrets: Credentials in it, which must not appear in messages.
    :param as_tar: Whether a single output comes in a tar as well. Several outputs always do.
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
        accept=TAR if as_tar or len(formats) > 1 else next(iter(formats.values())),
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
