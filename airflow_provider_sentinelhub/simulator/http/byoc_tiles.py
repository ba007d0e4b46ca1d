"""Tiles of BYOC collections as callers see and change them."""

from __future__ import annotations

import re
import uuid
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import shapely
from shapely.errors import ShapelyError
from shapely.geometry import mapping, shape

from airflow_provider_sentinelhub.simulator.http.paging import page
from airflow_provider_sentinelhub.simulator.problems import bad_payload, conflict, not_found, violations
from airflow_provider_sentinelhub.simulator.tasks.clock import iso
from airflow_provider_sentinelhub.simulator.tasks.collections import BYOC, Collections
from airflow_provider_sentinelhub.simulator.tasks.ingestion import reprojected
from airflow_provider_sentinelhub.simulator.tasks.tiles import Tile, TileStore
from airflow_provider_sentinelhub.simulator.validation.findings import Findings, check_shape
from airflow_provider_sentinelhub.simulator.validation.shapes import Json, OpenShape, Time

if TYPE_CHECKING:
    from airflow_provider_sentinelhub.simulator.tasks.service import Service

STATUSES = ("WAITING", "QUEUED", "INGESTING", "INGESTED", "FAILED")
SORTS = ("created:asc", "created:desc", "path:asc", "path:desc")
MAX_POINTS = 100
_PATH = re.compile(r"([^/](/?[^/])*)?")
_CRS = re.compile(r".*(?:EPSG(?:::|/[\d.]+/|:)(?P<epsg>\d{4,5})|CRS84)$")
_ENDED = frozenset({"INGESTED", "FAILED"})


class ByocTiles:
    """
    The tiles of BYOC collections.

    :param service: Has them.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._collections = Collections(service, BYOC)
        self._tiles = TileStore(service.store)

    def create(self, collection_id: str, payload: Any) -> dict[str, Any]:
        """
        Create a tile, which is ingested then.

        :param collection_id: Id of its collection.
        :param payload: Parsed body.
        :raises Problem: 400, 404 or 409.
        """
        self._collections.get(collection_id)
        check = Findings()
        check_shape(_NewTile, payload, "", check)
        if check.found:
            raise violations(check.found)
        path = payload["path"]
        if not path or not _PATH.fullmatch(path):
            raise violations([{"parameter": "path", "violation": 'path must match "^([^/](/?[^/])*)?$"'}])
        now = self._service.clock.now()
        tile = Tile(str(uuid.uuid4()), collection_id, path, now, "WAITING", now, _facts(payload))
        if not self._tiles.add(tile):
            raise conflict(f"A tile with the path {path} exists in collection {collection_id}.")
        return {"data": _view(tile)}

    def page(
        self,
        collection_id: str,
        count: int | None,
        viewtoken: str | None,
        url: str,
        *,
        sort: str | None,
        path: str | None,
        status: str | None,
    ) -> dict[str, Any]:
        """
        Return one page of tiles.

        :param collection_id: Id of their collection.
        :param count: Size of the page; at most, and by default, 100.
        :param viewtoken: Which page; the first when ``None``.
        :param url: The caller's URL without the query, for the links.
        :param sort: One of :data:`SORTS`; the oldest first when ``None``.
        :param path: Only the tile with this path.
        :param status: Only those with this status; a JSON string is accepted as well.
        :raises Problem: 400 or 404.
        """
        self._collections.get(collection_id)
        wanted = status.strip('"') if status else None
        if wanted is not None and wanted not in STATUSES:
            raise violations([{"parameter": "status", "violation": f"status must be one of {', '.join(STATUSES)}"}])
        if sort is not None and sort not in SORTS:
            raise violations([{"parameter": "sort", "violation": f"sort must be one of {', '.join(SORTS)}"}])
        field, _, direction = (sort or SORTS[0]).partition(":")
        found = self._tiles.ids(collection_id, path, wanted, field)
        if direction == "desc":
            found.reverse()
        chosen, links = page(found, count, viewtoken, url, sort=sort, path=path, status=status)
        tiles = [self._tiles.get(each) for each in chosen]
        return {"data": [_view(tile) for tile in tiles if tile is not None], "links": links}

    def get(self, collection_id: str, tile_id: str) -> dict[str, Any]:
        """
        Return a tile.

        :param collection_id: Id of its collection.
        :param tile_id: Its id.
        :raises Problem: 404.
        """
        return {"data": _view(self._known(collection_id, tile_id))}

    def update(self, collection_id: str, tile_id: str, payload: Any) -> None:
        """
        Replace sensing time and cover geometry of a tile.

        :param collection_id: Id of its collection.
        :param tile_id: Its id.
        :param payload: Parsed body.
        :raises Problem: 400, 404 or 409.
        """
        tile = self._known(collection_id, tile_id)
        check = Findings()
        check_shape(_Changes, payload, "", check)
        if check.found:
            raise violations(check.found)
        if tile.status == "INGESTING":
            raise conflict(f"Tile {tile_id} is being ingested.")
        facts = {**tile.facts, "sensingTime": None, "coverGeometry": None, **_facts(payload)}
        if facts["coverGeometry"] is None and "bounds" in facts:
            box = shapely.box(*facts["bounds"])
            facts["coverGeometry"] = mapping(reprojected(box, facts["epsg"], 4326))
        self._tiles.save(replace(tile, facts=facts))

    def delete(self, collection_id: str, tile_id: str) -> None:
        """
        Delete a tile; its files stay.

        :param collection_id: Id of its collection.
        :param tile_id: Its id.
        :raises Problem: 404.
        """
        self._known(collection_id, tile_id)
        self._tiles.delete(collection_id, tile_id)

    def reingest(self, collection_id: str, tile_id: str) -> None:
        """
        Ingest a tile again.

        :param collection_id: Id of its collection.
        :param tile_id: Its id.
        :raises Problem: 400 or 404.
        """
        tile = self._known(collection_id, tile_id)
        if tile.status not in _ENDED:
            raise bad_payload(f"Tile {tile_id} is {tile.status} already.")
        self._tiles.save(replace(tile, status="WAITING", since=self._service.clock.now()))

    def _known(self, collection_id: str, tile_id: str) -> Tile:
        self._collections.get(collection_id)
        found = self._tiles.get(tile_id)
        if found is None or found.collection != collection_id:
            raise not_found(f"Tile with id {tile_id}")
        return found


class _Changes(OpenShape):
    sensing_time: Time | None = None
    cover_geometry: dict[str, Any] | None = None


class _NewTile(_Changes):
    path: str


def _facts(payload: Json) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    if (sensed := payload.get("sensingTime")) is not None:
        moment = datetime.fromisoformat(sensed)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        facts["sensingTime"] = moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if (cover := payload.get("coverGeometry")) is not None:
        facts["coverGeometry"] = _cover(cover)
    return facts


def _cover(cover: Json) -> Json:
    def refuse(rule: str) -> Exception:
        return violations([{"parameter": "coverGeometry", "violation": f"coverGeometry {rule}"}])

    if cover.get("type") not in {"Polygon", "MultiPolygon"}:
        raise refuse("must be a Polygon or a MultiPolygon")
    named = str(((cover.get("crs") or {}).get("properties") or {}).get("name", "CRS84"))
    crs = _CRS.fullmatch(named)
    if crs is None:
        raise refuse(f"has an unknown crs: {named}")
    try:
        outline = shape(cover)
        points = shapely.get_num_coordinates(outline)
        valid = outline.is_valid and not outline.is_empty
        found = reprojected(outline, int(crs["epsg"] or 4326), 4326)
    except (ShapelyError, ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        raise refuse("cannot be read") from error
    except Exception as error:
        # pyproj's own errors: there is no such system.
        raise refuse(f"has an unknown crs: {named}") from error
    if not valid:
        raise refuse("is not a valid geometry")
    if points > MAX_POINTS:
        raise refuse(f"must not have more than {MAX_POINTS} points")
    written: Json = mapping(found)
    return written


def _view(tile: Tile) -> dict[str, Any]:
    facts = tile.facts
    epsg = facts.get("epsg")
    view: dict[str, Any] = {
        "id": tile.id,
        "created": iso(tile.created),
        "ingestionStart": iso(facts.get("ingestionStart", tile.created)),
        "path": tile.path,
        "status": tile.status,
    }
    if facts.get("sensingTime"):
        view["sensingTime"] = facts["sensingTime"]
    if epsg is not None:
        view["tileGeometry"] = _geojson(shapely.box(*facts["bounds"]), epsg)
    if facts.get("coverGeometry"):
        cover = shape(facts["coverGeometry"])
        view["coverGeometry"] = _geojson(reprojected(cover, 4326, epsg or 4326), epsg or 4326)
    if tile.status == "FAILED":
        view["additionalData"] = {"failedIngestionCause": facts["cause"]}
    return view


def _geojson(geometry: shapely.Geometry, epsg: int) -> Json:
    name = "urn:ogc:def:crs:OGC::CRS84" if epsg == 4326 else f"urn:ogc:def:crs:EPSG::{epsg}"  # noqa: PLR2004 - WGS 84
    return {**mapping(geometry), "crs": {"type": "name", "properties": {"name": name}}}
