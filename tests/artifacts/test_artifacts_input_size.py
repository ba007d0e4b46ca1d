"""How large the features of a GeoPackage are together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import shapely

from airflow_provider_sentinelhub.artifacts.features.size import input_size
from airflow_provider_sentinelhub.artifacts.features.writer import Size
from airflow_provider_sentinelhub.artifacts.geopackage.blobs import geometry_blob
from airflow_provider_sentinelhub.artifacts.geopackage.geopackage import add_layer, finish_layer, new_geopackage
from airflow_provider_sentinelhub.client.requests.extent import Extent
from tests.artifacts.artifact_files import gpkg_blob

if TYPE_CHECKING:
    from pathlib import Path

Row = tuple[shapely.Polygon, int | None, int | None, float | None]


def write(path: Path, layers: dict[int, list[Row]], *, envelopes: bool = True) -> Path:
    number = 0
    with new_geopackage(path) as connection:
        for epsg, rows in layers.items():
            layer = add_layer(connection, epsg)
            for shape, width, height, resolution in rows:
                number += 1
                blob = geometry_blob(shape.wkb, epsg, shape.bounds) if envelopes else gpkg_blob(shape.wkb, epsg)
                connection.execute(layer.insert, (number, f"f{number}", width, height, resolution, blob))
            finish_layer(connection, layer, None)
    return path


HECTARE = shapely.box(500_000, 5_100_000, 500_100, 5_100_100)
FARTHER = shapely.box(501_000, 5_101_000, 501_100, 5_101_200)


@pytest.mark.parametrize("envelopes", [True, False])
def test_sizes_of_all_kinds(tmp_path: Path, envelopes: bool) -> None:
    rows: list[Row] = [(HECTARE, 7, 5, None), (FARTHER, None, None, 10.0), (HECTARE, None, None, None)]
    path = write(tmp_path / "a.gpkg", {32632: rows}, envelopes=envelopes)
    found = input_size(path, defaults=Size(resolution=50.0))
    assert (found.features, found.pixels) == (3, 7 * 5 + 10 * 20 + 2 * 2)
    assert found.extent is not None
    assert found.extent.km2 == pytest.approx(0.01 + 0.02 + 0.01)
    around = shapely.box(*HECTARE.union(FARTHER).bounds)
    assert found.extent.sides == pytest.approx(Extent.of(around, 32632).sides)
    assert input_size(path, defaults=Size(3, 2)).pixels == 7 * 5 + 10 * 20 + 3 * 2
    assert input_size(path, defaults=Size(3, 2), own_sizes=False).pixels == 3 * 3 * 2
    assert input_size(path, defaults=Size()).pixels == 7 * 5 + 10 * 20


def test_layers_in_degrees_and_metres_are_put_together(tmp_path: Path) -> None:
    degree = shapely.box(8, 45, 9, 46)
    found = input_size(write(tmp_path / "a.gpkg", {4326: [(degree, 10, 10, None)], 32632: [(HECTARE, 1, 1, None)]}),
                       defaults=Size())  # fmt: skip
    assert found.extent is not None
    assert found.extent.km2 == pytest.approx(Extent.of(degree, 4326).km2 + 0.01, rel=1e-4)
    assert found.text().startswith("2 features, 8,")
    assert (found.extent.sides[0], found.extent.sides[1]) == (8, 45)


def test_no_features_are_nowhere(tmp_path: Path) -> None:
    found = input_size(write(tmp_path / "a.gpkg", {32632: []}), defaults=Size())
    assert (found.features, found.pixels, found.extent) == (0, 0, None)
