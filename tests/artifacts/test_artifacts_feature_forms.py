"""Rings that do not end where they begin, in every form a geometry may have."""

from __future__ import annotations

from typing import Any

import pytest
import shapely

from airflow_provider_sentinelhub.artifacts.features.sources import from_geometries
from airflow_provider_sentinelhub.client.errors import InvalidParameter

BOX = shapely.box(500_000, 4_600_000, 500_500, 4_600_250)
RING = shapely.get_coordinates(BOX).tolist()
WKB = BOX.wkb
# One point less than the ring had.
OPEN_WKB = WKB[:9] + (4).to_bytes(4, "little") + WKB[13:-16]


def text(ring: list[list[float]]) -> str:
    return "(" + ", ".join(f"{x} {y}" for x, y in ring) + ")"


@pytest.mark.parametrize(
    "given",
    [
        f"POLYGON({text(RING[:-1])})",
        f"SRID=32632;MULTIPOLYGON(({text(RING)}), ({text(RING[:-1])}))",
        OPEN_WKB,
        OPEN_WKB.hex(),
        {"type": "Polygon", "coordinates": [RING[:-1]]},
        {"type": "MultiPolygon", "coordinates": [[RING], [RING[:-1]]]},
        {"type": "GeometryCollection", "geometries": [{"type": "Polygon", "coordinates": [RING[:-1]]}]},
        {"type": "Feature", "properties": {}, "geometry": {"type": "Polygon", "coordinates": [RING[:-1]]}},
    ],
    ids=["WKT", "EWKT", "WKB", "hexadecimal", "GeoJSON", "GeoJSON of many", "collection", "feature"],
)
def test_an_open_ring_is_an_error_and_closed_where_that_is_asked(given: Any) -> None:
    geometries = {"good": BOX.wkt, "open": given}
    with pytest.raises(InvalidParameter, match=r"1 with a ring that does not end where it begins: row 2 \('open'\)\. "):
        list(from_geometries(geometries, epsg=32632))
    (batch,) = from_geometries(geometries, epsg=32632, close_rings=True)
    assert all(part.equals(BOX) for part in shapely.get_parts(batch.geometries[1]).tolist())


def test_what_cannot_be_read_and_what_is_open_are_named_together() -> None:
    geometries = {"a": 5, "b": f"POLYGON({text(RING[:-1])})", "c": "POLYGON of mine", "d": OPEN_WKB}
    with pytest.raises(InvalidParameter) as found:
        list(from_geometries(geometries, epsg=32632))
    unreadable, is_open = str(found.value).split("\n")
    assert "2 that cannot be read: row 1 ('a'): 5 is not a geometry; row 3 ('c'): " in unreadable
    assert "2 with a ring that does not end where it begins: row 2 ('b'); row 4 ('d'). " in is_open


def test_rings_that_differ_in_height_alone_are_closed() -> None:
    ring = [[*point, height] for height, point in enumerate(RING)]
    (batch,) = from_geometries([{"type": "Polygon", "coordinates": [ring]}], epsg=32632)
    assert batch.geometries[0].equals(BOX)
