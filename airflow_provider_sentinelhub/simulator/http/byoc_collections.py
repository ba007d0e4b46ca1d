"""BYOC collections as callers see and change them."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from airflow_provider_sentinelhub.simulator.http.paging import matches, page
from airflow_provider_sentinelhub.simulator.http.tasks import ACCOUNT, USER
from airflow_provider_sentinelhub.simulator.problems import bad_payload, conflict, violations
from airflow_provider_sentinelhub.simulator.tasks.collections import BYOC, Collections
from airflow_provider_sentinelhub.simulator.tasks.tiles import Tile, TileStore
from airflow_provider_sentinelhub.simulator.validation.findings import Findings, check_shape
from airflow_provider_sentinelhub.simulator.validation.shapes import Filled, Json, OpenShape

if TYPE_CHECKING:
    from airflow_provider_sentinelhub.simulator.tasks.service import Service

MAX_BANDS = 100
# Clients send back what they were given, and fields of their own.
BAND_FIELDS = ("source", "bandIndex", "bitDepth", "sampleFormat", "noData")


class ByocCollections:
    """
    The BYOC collections of the account.

    :param service: Has them.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._collections = Collections(service, BYOC)
        self._tiles = TileStore(service.store)

    def create(self, payload: Any) -> dict[str, Any]:
        """
        Create a collection. Several may have the same name.

        :param payload: Parsed body.
        :raises Problem: 400.
        """
        given = _checked(payload)
        made = self._collections.create(str(ACCOUNT), given["name"], given["s3Bucket"])
        bands = given.get("additionalData", {}).get("bands") or {}
        data = {"bands": {name: _filled(name, band) for name, band in bands.items()}} if bands else {}
        if storage := given.get("additionalData", {}).get("storageIdentifier"):
            data["storageIdentifier"] = storage
        made = {**made, "userId": str(USER), "additionalData": data}
        if given.get("noData") is not None:
            made["noData"] = given["noData"]
        self._collections.save(made)
        return {"data": _view(made)}

    def page(self, count: int | None, viewtoken: str | None, search: str | None, url: str) -> dict[str, Any]:
        """
        Return one page of collections.

        :param count: Size of the page; at most, and by default, 100.
        :param viewtoken: Which page; the first when ``None``.
        :param search: As for tasks, in their names and ids.
        :param url: The caller's URL without the query, for the links.
        :raises Problem: 400.
        """
        found = [each for each in self._collections.all().values() if matches(f"{each['id']} {each['name']}", search)]
        chosen, links = page(found, count, viewtoken, url, search=search)
        return {"data": [_view(each) for each in chosen], "links": links}

    def get(self, collection_id: str) -> dict[str, Any]:
        """
        Return a collection.

        :param collection_id: Its id.
        :raises Problem: 404.
        """
        return {"data": _view(self._collections.get(collection_id))}

    def update(self, collection_id: str, payload: Any) -> None:
        """
        Change a collection: its name, its no-data value, the names and no-data values of its bands.

        :param collection_id: Its id.
        :param payload: Parsed body.
        :raises Problem: 400, 404 or 409.
        """
        collection = self._collections.get(collection_id)
        given = _checked(payload)
        has_tiles = bool(self._tiles.ids(collection_id))
        if given["s3Bucket"] != collection["s3Bucket"] and has_tiles:
            raise conflict("The bucket of a collection with tiles cannot be changed.")
        changed = {**collection, "name": given["name"], "s3Bucket": given["s3Bucket"]}
        changed.pop("noData", None)
        if given.get("noData") is not None:
            changed["noData"] = given["noData"]
        if given.get("additionalData") is not None:
            asked = given["additionalData"].get("bands") or {}
            bands = {name: _filled(name, band) for name, band in asked.items()}
            if has_tiles:
                _check_change(collection["additionalData"].get("bands") or {}, bands)
            data = {name: value for name, value in collection["additionalData"].items() if name != "bands"}
            changed["additionalData"] = {**data, "bands": bands} if bands else data
        self._collections.save(changed)

    def delete(self, collection_id: str) -> None:
        """
        Delete a collection and its tiles.

        :param collection_id: Its id.
        :raises Problem: 404.
        """
        self._collections.get(collection_id)
        self._collections.delete(collection_id)

    def copy_tiles(self, collection_id: str, target_id: str) -> None:
        """
        Copy the ingested tiles of a collection to another one that does not have their paths.

        :param collection_id: Its id.
        :param target_id: Id of the other one.
        :raises Problem: 400 or 404.
        """
        source, target = self._collections.get(collection_id), self._collections.get(target_id)
        ours, theirs = (each["additionalData"].get("bands") or {} for each in (source, target))
        if theirs and _types(ours) != _types(theirs):
            raise bad_payload("The collections must have the same band names and types.")
        if source["s3Bucket"] != target["s3Bucket"]:
            raise bad_payload("The collections must have the same bucket.")
        if not theirs and ours:
            copied = {**source["additionalData"], **target["additionalData"], "bands": ours}
            self._collections.save({**target, "additionalData": copied})
        now = self._service.clock.now()
        for tile in self._tiles.of(collection_id, "INGESTED"):
            self._tiles.add(Tile(str(uuid.uuid4()), target_id, tile.path, now, "INGESTED", now, tile.facts))


def _view(collection: dict[str, Any]) -> dict[str, Any]:
    configured = bool(collection["additionalData"].get("bands"))
    return {"userId": str(USER), **collection, "isConfigured": configured, "requiresMetadataUpdate": False}


def _filled(name: str, band: Json) -> Json:
    own = {field: value for field, value in band.items() if value is not None}
    return {"source": name, "bandIndex": 1, **{field: own[field] for field in BAND_FIELDS if field in own}}


def _types(bands: Json) -> Json:
    return {name: (band["bitDepth"], band.get("sampleFormat")) for name, band in bands.items()}


def _check_change(before: Json, after: Json) -> None:
    # A band is the same while its file and its type are; its name and its no-data value may change.
    def place(band: Json) -> tuple[Any, ...]:
        return tuple(band.get(field) for field in ("source", "bandIndex", "bitDepth", "sampleFormat"))

    known = [place(band) for band in before.values()]
    if not after:
        raise bad_payload("All bands can be removed from an empty collection only.")
    for name, band in after.items():
        if place(band) not in known:
            raise bad_payload(f"Band {name} cannot be added or changed: the collection has tiles.")


class _Band(OpenShape):
    source: Filled = "-"
    band_index: Annotated[int, Field(ge=1)] = 1
    bit_depth: Literal[8, 16, 32]
    sample_format: Literal["UINT", "INT", "FLOAT"]
    no_data: float | None = None
    aliases: list[str] | None = None


class _Data(OpenShape):
    bands: dict[str, _Band] | None = None
    storage_identifier: str | None = None


class _Collection(OpenShape):
    name: Filled
    s3_bucket: Annotated[Filled, Field(alias="s3Bucket")]
    no_data: float | None = None
    additional_data: _Data | None = None


def _checked(payload: Any) -> Json:
    findings = Findings()
    check_shape(_Collection, payload, "", findings)
    if findings.found:
        raise violations(findings.found)
    bands = (payload.get("additionalData") or {}).get("bands") or {}
    if len(bands) > MAX_BANDS:
        findings.add("additionalData->bands", f"there can be at most {MAX_BANDS} bands")
    if payload.get("noData") is not None and any(band.get("noData") is not None for band in bands.values()):
        findings.add("noData", "noData can be defined either per band or per collection, but not both")
    if findings.found:
        raise violations(findings.found)
    checked: Json = {**payload, "additionalData": payload.get("additionalData") or {}}
    if payload.get("additionalData") is None:
        del checked["additionalData"]
    return checked
