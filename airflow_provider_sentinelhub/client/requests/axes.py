"""
Boxes whose sides look as if they stood in another order than the service reads them in.

Source: https://docs.planet.com/develop/apis/processing/ (input.bounds.bbox) and
https://docs.sentinel-hub.com/api/latest/data/sentinel-2-l1c/ (spatial coverage).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from airflow_provider_sentinelhub.client.requests.crs import WGS84
from airflow_provider_sentinelhub.client.requests.findings import Advice, Finding, Json

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ORDER: Final = "west, south, east, north"
# Where it is read as meant, a box is nowhere near as much smaller as where two of its sides were exchanged.
_TIMES_SMALLER: Final = 100.0
_LEAST_SIDE: Final = {True: 1.0, False: 100_000.0}
_DEGREES: Final = 360.0
_SENTINEL_2: Final = (-56.0, 84.0)


def reordered(box: Sequence[float]) -> list[float] | None:
    """
    Return the box that its numbers are as west, east, south, north, which many programs write; ``None`` if they cannot.

    :param box: Four numbers.
    """
    west, east, south, north = box
    return [west, south, east, north] if west < east and south < north else None


def inside_out(box: Sequence[float]) -> str:
    """
    Say how to mend a box whose west is not less than its east, or whose south is not less than its north.

    :param box: Four numbers.
    """
    west, south, east, north = box
    turned: Sequence[float] = [min(west, east), min(south, north), max(west, east), max(south, north)]
    # What is more than half of the world was meant to cross the 180th meridian, which no box may.
    turned = turned if turned[2] - turned[0] <= 180 or max(box) > _DEGREES else box  # noqa: PLR2004 - degrees
    meant = [each for each in (reordered(box), turned) if each and each[0] < each[2] and each[1] < each[3]]
    likely = min(meant, key=_size, default=None)
    return f"Write [{ORDER}]{'' if likely is None else f', probably {likely}'}."


def check_order(field: str, box: Sequence[float], epsg: int | None) -> Iterator[Finding]:
    """
    Find a box that would be far smaller if its sides stood in another order.

    :param field: Path of the box in the request.
    :param box: West, south, east and north, as the service reads it.
    :param epsg: EPSG code of its coordinates.
    """
    meant = reordered(box)
    if meant is None or _size(meant) * _TIMES_SMALLER > _size(box) or min(_spans(box)) < _LEAST_SIDE[epsg == WGS84]:
        return
    unit = "degrees" if epsg == WGS84 else "metres"
    fact = (
        f"{list(box)} spans {_spanned(box)} {unit} as the service reads it, {ORDER}; as west, east, south, north it "
        f"would be {_spanned(meant)}"
    )
    yield Advice(field, fact, f"If that was meant, write {meant}.")


def check_coverage(field: str, sides: Sequence[float], sources: list[Json]) -> Iterator[Finding]:
    """
    Find an area beyond the latitudes of which there are images.

    :param field: Path of the area in the request.
    :param sides: West, south, east and north in degrees.
    :param sources: The request's data sources.
    """
    _, south, _, north = sides
    kinds = {str(each.get("type")).lower() for each in sources}
    least, most = _SENTINEL_2
    if not kinds or not all(kind.startswith("sentinel-2-") for kind in kinds) or (south <= most and north >= least):
        return
    shown = [float(side) for side in sides]
    fact = f"{shown} lies beyond the latitudes that Sentinel-2 covers, {least:g} to {most:g} degrees"
    yield Advice(field, fact, exchanged(sides, (-180.0, least, 180.0, most)) or "Check the area.")


def exchanged(sides: Sequence[float], within: Sequence[float]) -> str:
    """
    Say what to write where latitude was put in front of longitude; nothing where that is no better.

    :param sides: West, south, east and north in degrees.
    :param within: Where the area has to lie, in the same order.
    """
    south, west, north, east = (float(side) for side in sides)
    lies_there = west <= within[2] and east >= within[0] and south <= within[3] and north >= within[1]
    is_on_earth = max(-south, north) <= 90  # noqa: PLR2004 - degrees of latitude
    meant = [west, south, east, north]
    return f"Longitude comes first. If it does not here, write {meant}." if lies_there and is_on_earth else ""


def _spans(box: Sequence[float]) -> tuple[float, float]:
    west, south, east, north = box
    return east - west, north - south


def _size(box: Sequence[float]) -> float:
    across, up = _spans(box)
    return across * up


def _spanned(box: Sequence[float]) -> str:
    return " x ".join(f"{each:,.3g}" if each < 1000 else f"{each:,.0f}" for each in _spans(box))  # noqa: PLR2004 - digits
