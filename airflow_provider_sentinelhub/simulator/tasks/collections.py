"""Collections that the images of tasks are added to."""

from __future__ import annotations

import string
import uuid
from typing import TYPE_CHECKING, Any

from airflow_provider_sentinelhub.simulator.problems import not_found
from airflow_provider_sentinelhub.simulator.tasks.clock import iso

if TYPE_CHECKING:
    from airflow_provider_sentinelhub.simulator.evalscript import Output
    from airflow_provider_sentinelhub.simulator.tasks.service import Service

SETTING = "collections"


class Collections:
    """
    All collections of the account. Whoever calls a method that changes one holds the service's lock.

    :param service: Has the store and the clock.
    """

    def __init__(self, service: Service) -> None:
        self._service = service

    def all(self) -> dict[str, dict[str, Any]]:
        """Return the collections by id, the oldest first."""
        return dict(self._service.store.setting(SETTING) or {})

    def get(self, collection_id: str) -> dict[str, Any]:
        """
        Return a collection.

        :param collection_id: Its id.
        :raises Problem: 404.
        """
        found = self.all().get(collection_id)
        if found is None:
            raise not_found(f"Collection with id {collection_id}")
        return found

    def create(self, account: str, name: str, bucket: str) -> dict[str, Any]:
        """
        Create a collection without bands.

        :param account: Id of the account.
        :param name: Its name.
        :param bucket: Name of the bucket its images are in.
        """
        made = {
            "id": str(uuid.uuid4()),
            "accountId": account,
            "name": name,
            "s3Bucket": bucket,
            # The service's Python client cannot read a collection without it.
            "additionalData": {},
            "created": iso(self._service.clock.now()),
        }
        self.save(made)
        return made

    def save(self, collection: dict[str, Any]) -> None:
        """
        Store a collection.

        :param collection: The collection.
        """
        self._service.store.remember(SETTING, {**self.all(), collection["id"]: collection})

    def delete(self, collection_id: str) -> None:
        """
        Delete a collection.

        :param collection_id: Its id.
        """
        self._service.store.remember(SETTING, {key: each for key, each in self.all().items() if key != collection_id})

    def link(self, collection_id: str, grid: int, bands: dict[str, dict[str, Any]]) -> str | None:
        """
        Add what a task delivers: the first one decides on the bands, all others must have the same.

        :param collection_id: Id of the collection.
        :param grid: Id of the tiling grid.
        :param bands: The bands, see :func:`bands_of`.
        :returns: Why they do not fit; ``None`` when they do.
        """
        collection = self.all().get(collection_id)
        if collection is None:
            return f"Collection with id {collection_id} does not exist."
        own = collection.get("additionalData", {}).get("bands")
        if own is None:
            self.save({**collection, "batchData": {"tilingGridId": grid}, "additionalData": {"bands": bands}})
        elif _depths(own) != _depths(bands):
            return f"Collection {collection_id} has other bands or bit depths: {_depths(own)}, not {_depths(bands)}."
        return None


def bands_of(outputs: list[Output]) -> dict[str, dict[str, Any]]:
    """
    Return the bands that outputs of one band become.

    :param outputs: The outputs.
    """
    return {
        output.id: {
            "source": output.id,
            "bandIndex": 1,
            "bitDepth": int(output.dtype.lstrip(string.ascii_lowercase)),
            "sampleFormat": output.dtype.rstrip(string.digits).upper(),
            **({} if output.nodata is None else {"noData": output.nodata}),
        }
        for output in outputs
    }


def _depths(bands: dict[str, dict[str, Any]]) -> dict[str, int]:
    return {name: band["bitDepth"] for name, band in sorted(bands.items())}
