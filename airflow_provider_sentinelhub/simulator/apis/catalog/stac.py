"""
Scenes and collections as the catalog shows them: STAC 1.0.

The fields are those of the examples in the service's specification.

Source: https://documentation.dataspace.copernicus.eu/APIs/SentinelHub/Catalog.html
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import shapely

from airflow_provider_sentinelhub.simulator.features.grids import WGS84, project
from airflow_provider_sentinelhub.simulator.scenes.collections import COLLECTIONS, Cut

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_sentinelhub.simulator.scenes.collections import Collection
    from airflow_provider_sentinelhub.simulator.scenes.scenes import Scene

Json = dict[str, Any]

STAC = "1.0.0"
EXTENSIONS = "https://stac-extensions.github.io"
CONFORMS_TO = [
    "http://www.opengis.net/spec/ogcapi-features-1/1.0/conf/core",
    "http://www.opengis.net/spec/ogcapi-features-1/1.0/conf/oas30",
    "http://www.opengis.net/spec/ogcapi-features-1/1.0/conf/geojson",
    "https://api.stacspec.org/v1.0.0/core",
    "https://api.stacspec.org/v1.0.0/collections",
    "https://api.stacspec.org/v1.0.0/ogcapi-features",
    "https://api.stacspec.org/v1.0.0/ogcapi-features#fields",
    "https://api.stacspec.org/v1.0.0/ogcapi-features#context",
    "https://api.stacspec.org/v1.0.0/ogcapi-features#filter",
    "https://api.stacspec.org/v1.0.0/item-search",
    "https://api.stacspec.org/v1.0.0/item-search#fields",
    "https://api.stacspec.org/v1.0.0/item-search#context",
    "https://api.stacspec.org/v1.0.0/item-search#filter",
    "http://www.opengis.net/spec/ogcapi-features-3/1.0/conf/filter",
    "http://www.opengis.net/spec/ogcapi-features-3/1.0/conf/features-filter",
    "http://www.opengis.net/spec/cql2/1.0/conf/cql2-text",
    "http://www.opengis.net/spec/cql2/1.0/conf/cql2-json",
    "http://www.opengis.net/spec/cql2/1.0/conf/basic-cql2",
]
_QUERYABLES = "http://www.opengis.net/def/rel/ogc/1.0/queryables"
_INSTRUMENTS = {
    "sentinel-1": "c-sar",
    "sentinel-2": "msi",
    "sentinel-3-olci": "olci",
    "sentinel-3-slstr": "slstr",
    "sentinel-5p": "tropomi",
    "landsat": "oli",
}
_RADAR = {
    "sar:instrument_mode": "IW",
    "sar:frequency_band": "C",
    "sar:center_frequency": 5.405,
    "sar:product_type": "GRD",
    "sar:polarizations": ["VV", "VH"],
    "sar:resolution_range": 20,
    "sar:resolution_azimuth": 22,
    "sar:pixel_spacing_range": 10,
    "sar:pixel_spacing_azimuth": 10,
    "s1:timeliness": "Fast24h",
    "s1:resolution": "HIGH",
    "s1:polarization": "DV",
}
_RADAR_QUERYABLES = ("sar:instrument_mode", "sat:orbit_state", "s1:polarization", "s1:resolution", "s1:timeliness")


def written(moment: dt.datetime) -> str:
    """
    Write a date and time as the catalog does.

    :param moment: In UTC.
    """
    text = moment.isoformat(timespec="milliseconds" if moment.microsecond else "seconds")
    return text.replace("+00:00", "Z")


def constellation(collection: str) -> str:
    """
    Return the constellation of a collection, e.g. ``sentinel-2``.

    :param collection: Its id.
    """
    first, second = [*collection.split("-"), ""][:2]
    return f"{first}-{second}" if first == "sentinel" else first


def instruments(collection: str) -> list[str]:
    """
    Return the instruments of a collection.

    :param collection: Its id.
    """
    return [name for start, name in _INSTRUMENTS.items() if collection.startswith(start)]


def queryables(collection: str) -> tuple[str, ...]:
    """
    Return the properties of items that a search may filter by.

    :param collection: Id of the collection.
    """
    known = COLLECTIONS.get(collection)
    if known is None:
        return ()
    return ("eo:cloud_cover",) if known.has_clouds else _RADAR_QUERYABLES if known.ascends else ()


def distincts(collection: str) -> tuple[str, ...]:
    """
    Return the properties whose distinct values a search may ask for.

    :param collection: Id of the collection.
    """
    known = COLLECTIONS.get(collection)
    is_radar = known is not None and known.ascends
    return ("date", "sar:instrument_mode", "sat:orbit_state", "s1:polarization") if is_radar else ("date",)


def properties_of(scene: Scene) -> Json:
    """
    Return the properties of a scene's item, except those about its raster.

    :param scene: The scene.
    """
    known = COLLECTIONS[scene.collection]
    properties: Json = {
        "datetime": written(scene.sensed),
        "platform": scene.platform,
        "instruments": instruments(scene.collection),
        "constellation": constellation(scene.collection),
        "gsd": known.resolution,
    }
    if scene.cloud_cover is not None:
        properties["eo:cloud_cover"] = scene.cloud_cover
    if known.ascends:
        properties |= {"sat:orbit_state": scene.direction, **_RADAR}
    return properties


def item_of(scene: Scene) -> Json:
    """
    Return the item of a scene, without links.

    :param scene: The scene.
    """
    known = COLLECTIONS[scene.collection]
    properties, extensions = properties_of(scene), []
    if scene.cloud_cover is not None:
        extensions.append(f"{EXTENSIONS}/eo/v1.0.0/schema.json")
    if known.ascends:
        extensions += [f"{EXTENSIONS}/{name}/v1.0.0/schema.json" for name in ("sat", "sar")]
    if known.cut is Cut.MGRS:
        shape = project(scene.footprint, WGS84, scene.epsg)
        properties |= {
            "proj:epsg": scene.epsg,
            "proj:bbox": [float(round(side)) for side in shape.bounds],
            "proj:geometry": _multipolygon(shape, f"urn:ogc:def:crs:EPSG::{scene.epsg}", 3),
        }
        extensions.append(f"{EXTENSIONS}/projection/v1.0.0/schema.json")
    return {
        "stac_version": STAC,
        "stac_extensions": extensions,
        "id": scene.id,
        "type": "Feature",
        "geometry": _multipolygon(scene.footprint, "urn:ogc:def:crs:OGC::CRS84", 9),
        "bbox": [round(side, 9) for side in scene.footprint.bounds],
        "properties": properties,
        "assets": {"data": {"href": scene.data_path, "title": "s3", "type": "inode/directory"}},
        "collection": scene.collection,
    }


def _multipolygon(shape: Any, crs: str, digits: int) -> Json:
    polygons = [
        [[[round(x, digits), round(y, digits)] for x, y in ring.coords] for ring in (each.exterior, *each.interiors)]
        for each in shapely.get_parts(shape)
    ]
    return {"type": "MultiPolygon", "crs": {"type": "name", "properties": {"name": crs}}, "coordinates": polygons}


def item_links(item: Mapping[str, Any], root: str) -> list[Json]:
    """
    Return the links of an item.

    :param item: The item.
    :param root: URL of the catalog.
    """
    collection = f"{root}/collections/{item['collection']}"
    return [
        _link("root", f"{root}/"),
        _link("self", f"{collection}/items/{item['id']}", "application/geo+json"),
        _link("parent", collection),
        _link("collection", collection),
    ]


def collection_of(collection_id: str, root: str) -> Json:
    """
    Return a collection.

    :param collection_id: Its id; one that has no scenes here is a collection of the account's own.
    :param root: URL of the catalog.
    """
    known = COLLECTIONS.get(collection_id)
    own = f"{root}/collections/{collection_id}"
    since = None if known is None else min((slot[0].since for slot in known.slots), default=None)
    begin = None if since is None else written(dt.datetime.combine(since, dt.time(), dt.UTC))
    return {
        "stac_version": STAC,
        "stac_extensions": [f"{EXTENSIONS}/eo/v1.0.0/schema.json"],
        "type": "Collection",
        "id": collection_id,
        "title": collection_id if known is None else known.title,
        "description": f"{collection_id if known is None else known.title}, simulated",
        "license": "proprietary",
        "providers": [{"name": "sentinelhub-simulator", "roles": ["host"]}],
        "extent": {
            "spatial": {"bbox": [[-180, -90, 180, 90]]},
            "temporal": {"interval": [[begin, None]]},
        },
        "summaries": {} if known is None else _summaries(known),
        "links": [
            _link("root", f"{root}/"),
            _link("self", own),
            _link("parent", f"{root}/collections"),
            _link(_QUERYABLES, f"{own}/queryables", "application/schema+json"),
            _link("items", f"{own}/items", "application/geo+json"),
        ],
    }


def _summaries(known: Collection) -> Json:
    summaries: Json = {
        "platform": [each.name for slot in known.slots for each in slot],
        "instruments": instruments(known.type),
        "constellation": [constellation(known.type)],
        "gsd": [known.resolution],
        "eo:bands": [{"name": name} for name in known.bands if name != "dataMask"],
    }
    if known.has_clouds:
        summaries["eo:cloud_cover"] = {"minimum": 0, "maximum": 100}
    if known.ascends:
        summaries["sat:orbit_state"] = ["ascending", "descending"]
    return {name: value for name, value in summaries.items() if value}


def landing_page(root: str, collections: list[str]) -> Json:
    """
    Return the landing page.

    :param root: URL of the catalog.
    :param collections: Ids of the public collections.
    """
    search, geojson = f"{root}/search", "application/geo+json"
    return {
        "type": "Catalog",
        "stac_version": STAC,
        "id": "sentinel-hub",
        "title": "Sentinel Hub STAC catalog",
        "description": "STAC v1.0.0 implementation by sentinelhub-simulator",
        "conformsTo": CONFORMS_TO,
        "links": [
            _link("root", f"{root}/"),
            _link("self", f"{root}/"),
            _link("data", f"{root}/collections"),
            _link("conformance", f"{root}/conformance"),
            {**_link("search", search, geojson), "title": "STAC search", "method": "GET"},
            {**_link("search", search, geojson), "title": "STAC search", "method": "POST"},
            *({**_link("child", f"{root}/collections/{each}"), "title": each} for each in collections),
            _link("service-doc", "https://docs.planet.com/develop/apis/catalog/", "text/html"),
        ],
    }


def queryables_of(collection_id: str, root: str) -> Json:
    """
    Return what a search in a collection may filter by, as JSON Schema.

    :param collection_id: Id of the collection.
    :param root: URL of the catalog.
    """
    kinds: dict[str, Json] = {
        "eo:cloud_cover": {"description": "Cloud Cover", "type": "number", "minimum": 0, "maximum": 100}
    }
    return {
        "$schema": "https://json-schema.org/draft/2019-09/schema",
        "$id": f"{root}/collections/{collection_id}/queryables/",
        "type": "object",
        "title": "Queryables for Catalog STAC API",
        "description": "Queryable names for the Catalog STAC API Item Search filter.",
        "properties": {name: kinds.get(name, {"type": "string"}) for name in queryables(collection_id)},
        "additionalProperties": False,
    }


def _link(rel: str, href: str, kind: str = "application/json") -> Json:
    return {"href": href, "rel": rel, "type": kind}
