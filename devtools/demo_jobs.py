"""The jobs of the demo: an example DAG each, with its inputs."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

# The area of the example DAG.
_CORSICA = (8.44, 41.31, 9.66, 43.1)
_PARCELS = 300
_UTM_33 = 32633


@dataclass(frozen=True, slots=True)
class Job:
    """
    A job the demo can show.

    :param title: What it does, in a sentence.
    :param dag_id: Its DAG.
    :param task_id: The task of the DAG that runs the batch.
    :param folder: Folder of the results in the bucket.
    :param pu: Approximate cost on the real service.
    :param speed: Simulated seconds per real second.
    :param on_partial: What to do if only some features fail, unless the user says otherwise.
    :param losses: Failures on the simulated service, as command-line options, unless the user gives some.
    :param features: Names of its features.
    :param conf: Returns further parameters of the DAG; may write files into a folder for them.
    :param broken_intervals: Whether single intervals may fail as well.
    :param hints: Other things to try.
    :param choices: What can be done if only some features fail.
    :param rule: How the simulator's script counts the times that a feature fails.
    """

    title: str
    dag_id: str
    task_id: str
    folder: str
    pu: int
    speed: float
    on_partial: str
    losses: Mapping[str, str]
    features: Callable[[], list[str]]
    conf: Callable[[Path], Mapping[str, Any]]
    broken_intervals: bool
    hints: tuple[str, ...]
    choices: tuple[str, ...] = ("fail", "warn", "rerun", "rerun_then_warn")
    rule: str = "first_tasks"


def _tiles() -> list[str]:
    from shapely.geometry import box

    from airflow_provider_sentinelhub.simulator.features.grids import GRIDS, tiles

    return [tile.name for tile in tiles(GRIDS[0], box(*_CORSICA))]


def _zarr_tiles() -> list[str]:
    from shapely.geometry import box

    from airflow_provider_sentinelhub.simulator.features.grids import GRIDS, tiles

    return [tile.name for tile in tiles(GRIDS[6], box(*_CORSICA))]


def _parcel_names() -> list[str]:
    return [f"parcel-{number:03}" for number in range(1, _PARCELS + 1)]


def write_parcels(path: Path) -> Path:
    """
    Write a GeoPackage of invented fields in the plain east of Vienna: slanted strips of half a hectare to nine.

    :param path: The file.
    """
    import shapely

    from airflow_provider_sentinelhub.artifacts.geopackage.blobs import geometry_blob
    from airflow_provider_sentinelhub.artifacts.geopackage.geopackage import add_layer, finish_layer, new_geopackage

    chance = random.Random(1)
    with new_geopackage(path) as connection:
        layer = add_layer(connection, _UTM_33)
        shapes = []
        for number, name in enumerate(_parcel_names()):
            column, row = number % 20, number // 20
            west, south = 625_000 + 420 * column, 5_340_000 + 520 * row
            width, height, slant = chance.uniform(60, 300), chance.uniform(90, 300), chance.uniform(-40, 40)
            corners = [(0, 0), (width, slant / 2), (width + slant, height), (slant, height - slant / 2)]
            shape = shapely.Polygon([(west + x, south + y) for x, y in corners])
            shapes.append(shape)
            blob = geometry_blob(shape.wkb, _UTM_33, shape.bounds)
            connection.execute(layer.insert, (number + 1, name, None, None, None, blob))
        west, south, east, north = shapely.union_all(shapes).bounds
        finish_layer(connection, layer, (west, south, east, north))
    return path


def _with_parcels(folder: Path) -> dict[str, Any]:
    return {"parcels": write_parcels(folder / "parcels.gpkg").as_uri()}


def _nothing_more(_: Path) -> dict[str, Any]:
    return {}


JOBS = {
    "corsica": Job(
        "Maximum NDVI over Corsica, April to June 2019: one batch request, one GeoTIFF per tile, run by Airflow.",
        "corsica_max_ndvi",
        "max_ndvi",
        "corsica",
        560,
        100.0,
        "warn",
        {},
        _tiles,
        _nothing_more,
        broken_intervals=False,
        hints=(
            'To see features fail: make demo ARGS="--fatal 3 --no-data 2"',
            'To rerun what failed: make demo ARGS="--fatal 1 --fatal-once 12 --on-partial rerun_then_warn"',
            "To see statistics of parcels: make demo-statistics",
        ),
    ),
    "statistics": Job(
        f"Weekly NDVI of {_PARCELS} parcels, April to September 2025: one batch request, one table, run by Airflow.",
        "parcel_statistics",
        "weekly_ndvi",
        "parcels",
        300,
        300.0,
        "rerun_then_warn",
        {"fatal": "1", "fatal_once": "7"},
        _parcel_names,
        _with_parcels,
        broken_intervals=True,
        hints=('To see nothing fail: make demo-statistics ARGS="--fatal 0 --fatal-once 0"',),
    ),
}

_RESTARTS: Final = ("fail", "warn", "restart", "restart_then_warn")
JOBS_OF_V1 = {
    "corsica": Job(
        "Maximum NDVI over Corsica with Batch Processing V1, whose end the service has announced: failed tiles are "
        "restarted.",
        "corsica_max_ndvi_v1",
        "max_ndvi",
        "corsica-v1",
        560,
        100.0,
        "restart",
        {"fatal_once": "9"},
        _tiles,
        _nothing_more,
        broken_intervals=False,
        hints=(
            'To see a tile fail for good: make demo ARGS="--api v1 --fatal 1 --on-partial restart_then_warn"',
            'To have it written as Zarr: make demo ARGS="zarr --api v1"',
        ),
        choices=_RESTARTS,
        rule="first_attempts",
    ),
    "zarr": Job(
        "Maximum NDVI over Corsica as Zarr, with Batch Processing V1, whose end the service has announced.",
        "corsica_max_ndvi_zarr_v1",
        "max_ndvi",
        "corsica-zarr-v1",
        460,
        100.0,
        "restart",
        {"fatal_once": "1"},
        _zarr_tiles,
        _nothing_more,
        broken_intervals=False,
        hints=(),
        choices=_RESTARTS,
        rule="first_attempts",
    ),
}
APIS = {"v2": JOBS, "v1": JOBS_OF_V1}


def script(job: Job, wanted: list[tuple[str, int | None, str]]) -> dict[str, Any]:
    """
    Return a script for the simulator that makes features fail.

    :param job: The job.
    :param wanted: What becomes of features, in how many tasks or attempts (``None``: in all), and of how many, or of
        which: names separated by commas.
    """
    unused = job.features()
    features: list[dict[str, Any]] = []
    intervals: list[dict[str, Any]] = []
    for outcome, tasks, which in wanted:
        if which.isdecimal():
            names, unused = unused[: int(which)], unused[int(which) :]
        else:
            names = [name.strip() for name in which.split(",")]
        if job.broken_intervals and outcome == "fatal" and tasks is not None:
            # Statistics fail in three ways: a file with an error, one whose response is FAILED, and single intervals.
            some, names = names[2::3], [name for number, name in enumerate(names) if number % 3 < 2]  # noqa: PLR2004 - the three ways
            failed, names = names[1::2], names[::2]
            features.append({"outcome": "failed", "names": failed, job.rule: tasks})
            intervals.append({"names": some, "intervals": [4, 5, 9], "first_tasks": tasks})
        features.append({"outcome": outcome, "names": names, job.rule: tasks})
    return {
        "features": [rule for rule in features if rule["names"]],
        "intervals": [rule for rule in intervals if rule["names"]],
    }
