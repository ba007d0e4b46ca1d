"""The tiles of a task as callers see them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_sentinelhub.simulator.bucket.delivery import tile_id
from airflow_provider_sentinelhub.simulator.features.grids import WGS84, transformer
from airflow_provider_sentinelhub.simulator.http.paging import page as page_of
from airflow_provider_sentinelhub.simulator.problems import not_found, violations

if TYPE_CHECKING:
    from airflow_provider_sentinelhub.simulator.features.features import Feature
    from airflow_provider_sentinelhub.simulator.http.tasks import Tasks
    from airflow_provider_sentinelhub.simulator.tasks.lifecycle import Task
    from airflow_provider_sentinelhub.simulator.tasks.service import Service

STATUSES = ("PENDING", "SCHEDULED", "QUEUED", "PROCESSING", "PROCESSED", "FAILED")
ENDED = {"DONE": "PROCESSED", "FATAL": "FAILED"}
# What the next tiles of a running task do, in groups of as many as are processed at a time.
AHEAD = ("PROCESSING", "QUEUED", "SCHEDULED")


class Tiles:
    """
    The tiles of an API's tasks.

    :param service: Has the tasks.
    :param tasks: Finds them.
    """

    def __init__(self, service: Service, tasks: Tasks) -> None:
        self._service = service
        self._tasks = tasks

    def page(
        self, task_id: str, status: str | None, count: int | None, viewtoken: str | None, url: str
    ) -> dict[str, Any]:
        """
        Return one page of tiles.

        :param task_id: Id of the task.
        :param status: Only tiles with this status.
        :param count: Size of the page; at most, and by default, 100.
        :param viewtoken: Which page; the first when ``None``.
        :param url: The caller's URL without the query, for the links.
        :raises Problem: 400 or 404.
        """
        if status is not None and status not in STATUSES:
            raise violations([{"parameter": "status", "violation": f"status must be one of {', '.join(STATUSES)}"}])
        task = self._find(task_id)
        wanted = [each for each in self._statuses(task) if status in {None, each[2]}]
        chosen, links = page_of(wanted, count, viewtoken, url, status=status)
        return {"data": self._views(task, chosen), "links": links}

    def get(self, task_id: str, number: str) -> dict[str, Any]:
        """
        Return one tile.

        :param task_id: Id of the task.
        :param number: Number of the tile.
        :raises Problem: 404.
        """
        task = self._find(task_id)
        chosen = [each for each in self._statuses(task) if str(tile_id(each[1])) == number]
        if not chosen:
            raise not_found(f"Tile with id {number}")
        return self._views(task, chosen[:1])[0]

    def _find(self, task_id: str) -> Task:
        with self._service.lock:
            return self._tasks.find(task_id)

    def _statuses(self, task: Task) -> list[tuple[int, str, str]]:
        """Return number, name and status of every tile."""
        parallel, waiting = self._service.script.timing.parallel, 0
        found = []
        for row in self._service.store.features(task.id):
            status = ENDED.get(row.status, "PENDING")
            if not row.handled:
                group = waiting // parallel
                waiting += 1
                if task.status == "PROCESSING" and group < len(AHEAD):
                    status = AHEAD[group]
            found.append((row.number, row.name, status))
        return found

    def _views(self, task: Task, tiles: list[tuple[int, str, str]]) -> list[dict[str, Any]]:
        places = self._service.store.located(task.id, [number for number, _, _ in tiles])
        costs = dict.fromkeys(places, 0.0)
        for attempt in self._service.store.attempts(task.id, places):
            costs[attempt.number] += attempt.cost_pu
        grid = task.request.get("tilingGrid", {})
        buffer = int(grid.get("bufferX", 0)), int(grid.get("bufferY", 0))
        return [
            {
                "id": tile_id(name),
                "requestId": task.id,
                "name": name,
                **_located(places[number], buffer),
                "status": status,
                "cost": costs[number],
            }
            for number, name, status in tiles
        ]


def _located(feature: Feature, buffer: tuple[int, int]) -> dict[str, Any]:
    # The tile of the grid: the raster without its buffers.
    across, down = buffer
    west, north = feature.west + across * feature.step_x, feature.north - down * feature.step_y
    east = west + (feature.width - 2 * across) * feature.step_x
    south = north - (feature.height - 2 * down) * feature.step_y
    ring = [(west, south), (west, north), (east, north), (east, south), (west, south)]
    to_degrees = transformer(feature.crs, WGS84)
    return {
        "geometry": {
            "type": "Polygon",
            "crs": _crs(WGS84),
            "coordinates": [[list(to_degrees.transform(*corner)) for corner in ring]],
        },
        "origin": {"type": "Point", "crs": _crs(feature.crs), "coordinates": [west, south]},
    }


def _crs(code: int) -> dict[str, Any]:
    return {"type": "name", "properties": {"name": f"urn:ogc:def:crs:EPSG::{code}"}}
