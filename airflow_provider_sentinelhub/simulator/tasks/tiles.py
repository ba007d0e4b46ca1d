"""The tiles of collections of images, on disk."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provider_sentinelhub.simulator.tasks.store import Store


@dataclass(frozen=True, slots=True)
class Tile:
    """
    A tile of a collection. Times are simulated POSIX seconds.

    :param id: UUID.
    :param collection: Id of the collection.
    :param path: Where its files are in the bucket, with ``(BAND)``; without it until a folder was looked into.
    :param created: When it was created.
    :param status: WAITING, QUEUED, INGESTING, INGESTED or FAILED.
    :param since: When the status began.
    :param facts: ``sensingTime``, ``coverGeometry`` (GeoJSON in CRS84) and ``coverGiven``, and what its ingestion has
        found: ``epsg``, ``bounds`` of all files in that system, ``cause`` of a failure.
    """

    id: str
    collection: str
    path: str
    created: float
    status: str
    since: float
    facts: dict[str, Any]


class TileStore:
    """
    Reads and writes tiles.

    :param store: The simulator's state.
    """

    def __init__(self, store: Store) -> None:
        self._query = store.query

    def add(self, tile: Tile) -> bool:
        """
        Write a new tile, unless its collection has one with this path.

        :param tile: The tile.
        :returns: Whether it was written.
        """
        query = "INSERT OR IGNORE INTO tiles VALUES (?, ?, ?, ?, ?, ?, ?) RETURNING 1"
        return bool(self._query(query, _values(tile)))

    def save(self, tile: Tile) -> None:
        """
        Write a tile that exists; one that was deleted stays deleted.

        :param tile: The tile.
        """
        query = "UPDATE tiles SET path = ?3, status = ?5, since = ?6, facts = ?7 WHERE id = ?1"
        self._query(query, _values(tile))

    def delete(self, collection: str, tile_id: str | None = None) -> None:
        """
        Delete a tile of a collection.

        :param collection: Id of the collection.
        :param tile_id: Id of the tile; all of them when ``None``.
        """
        self._query("DELETE FROM tiles WHERE collection = ?1 AND (?2 IS NULL OR id = ?2)", (collection, tile_id))

    def get(self, tile_id: str) -> Tile | None:
        """
        Return a tile; ``None`` when there is none.

        :param tile_id: Its id.
        """
        rows = self._query("SELECT * FROM tiles WHERE id = ?", (tile_id,))
        return _tile(rows[0]) if rows else None

    def ids(
        self, collection: str, path: str | None = None, status: str | None = None, order: str = "created"
    ) -> list[str]:
        """
        Return the ids of tiles of a collection.

        :param collection: Id of the collection.
        :param path: Only the one with this path.
        :param status: Only those with this status.
        :param order: ``created`` or ``path``.
        """
        columns = "path" if order == "path" else "created, path"
        query = (
            "SELECT id FROM tiles WHERE collection = ?1 AND (?2 IS NULL OR path = ?2) "  # noqa: S608 - constants
            f"AND (?3 IS NULL OR status = ?3) ORDER BY {columns}"
        )
        return [str(found) for (found,) in self._query(query, (collection, path, status))]

    def of(self, collection: str, status: str | None = None) -> list[Tile]:
        """
        Return the tiles of a collection, the oldest first.

        :param collection: Id of the collection.
        :param status: Only those with this status.
        """
        query = "SELECT * FROM tiles WHERE collection = ?1 AND (?2 IS NULL OR status = ?2) ORDER BY created, path"
        return [_tile(row) for row in self._query(query, (collection, status))]

    def due(self, status: str, since: float, most: int) -> list[Tile]:
        """
        Return tiles of all collections that have had a status for some time, the longest first.

        :param status: The status.
        :param since: When it must have begun at the latest.
        :param most: How many at most.
        """
        query = "SELECT * FROM tiles WHERE status = ? AND since <= ? ORDER BY since LIMIT ?"
        return [_tile(row) for row in self._query(query, (status, since, most))]


def _values(tile: Tile) -> tuple[Any, ...]:
    facts = json.dumps(tile.facts)
    return (tile.id, tile.collection, tile.path, tile.created, tile.status, tile.since, facts)


def _tile(row: tuple[Any, ...]) -> Tile:
    number, collection, path, created, status, since, facts = row
    return Tile(number, collection, path, created, status, since, json.loads(facts))
