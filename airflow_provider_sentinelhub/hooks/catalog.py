"""The hook for the Catalog API, used by operator, sensor and trigger, and in Python tasks."""

from __future__ import annotations

import logging
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from airflow_provider_sentinelhub.client.errors import InvalidConfiguration, InvalidParameter
from airflow_provider_sentinelhub.hooks.sentinel_hub import SentinelHubHook

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pystac import Item as StacItem

    from airflow_provider_sentinelhub.artifacts.storage.storage import Storage
    from airflow_provider_sentinelhub.client.apis.catalog.answers import Item, ItemPage
    from airflow_provider_sentinelhub.client.apis.catalog.coverage import Condition, Coverage

log = logging.getLogger(__name__)

GEOPARQUET: Final = ".parquet"
NDJSON: Final = ".ndjson"
# As many of what was found are shown in a result at most; the size of an XCom may allow fewer.
_SHOWN = 50
_NEEDED_IN_A_TABLE = ("id", "geometry")


@dataclass(slots=True)
class Searched:
    """
    What a search has found so far.

    :param count: Number of items, or of distinct values.
    :param pages: Number of pages read.
    :param is_complete: Whether that is all there is.
    :param first: The first of them: short items, or values.
    """

    count: int = 0
    pages: int = 0
    is_complete: bool = False
    first: list[Any] = field(default_factory=list)


class SentinelHubCatalogHook(SentinelHubHook):
    """
    Interact with the Catalog API.

    ::

        hook = SentinelHubCatalogHook()
        for item in hook.search({"collections": ["sentinel-2-l2a"], "datetime": period, "bbox": bbox}):
            print(item["id"], item["properties"]["eo:cloud_cover"])

    :param sentinelhub_conn_id: The connection.
    """

    def landing_page(self) -> Item:
        """
        Return the landing page: what the catalog is called, and links to everything in it.

        :raises ApiError: The service refused the request.
        """
        from airflow_provider_sentinelhub.client.apis.catalog import calls

        return self.send(calls.landing_page())

    def conformance(self) -> list[str]:
        """
        Return the specifications that the catalog conforms to.

        :raises ApiError: The service refused the request.
        """
        from airflow_provider_sentinelhub.client.apis.catalog import calls

        return self.send(calls.conformance())

    def collections(self) -> list[Item]:
        """
        Return the collections that the account can read, including its own.

        :raises ApiError: The service refused the request.
        """
        from airflow_provider_sentinelhub.client.apis.catalog import calls

        return self.send(calls.collections())

    def collection(self, collection_id: str) -> Item:
        """
        Return a collection.

        :param collection_id: Its id, e.g. ``sentinel-2-l2a`` or ``byoc-<id>``.
        :raises NotFound: There is no such collection.
        """
        from airflow_provider_sentinelhub.client.apis.catalog import calls

        return self.send(calls.collection(collection_id))

    def queryables(self, collection_id: str) -> Item:
        """
        Return what items of a collection can be filtered by, as a JSON Schema.

        :param collection_id: Its id.
        :raises NotFound: There is no such collection.
        """
        from airflow_provider_sentinelhub.client.apis.catalog import calls

        return self.send(calls.queryables(collection_id))

    def item(self, collection_id: str, item_id: str) -> Item:
        """
        Return an item.

        :param collection_id: Id of its collection.
        :param item_id: Its id.
        :raises NotFound: There is no such item.
        """
        from airflow_provider_sentinelhub.client.apis.catalog import calls

        return self.send(calls.item(collection_id, item_id))

    def search(self, request: Any, max_items: int | None = None) -> Iterator[Item]:
        """
        Search items, and return one after the other as dicts; the next page is requested when it is needed.

        :param request: The service's own request as a dict, or as JSON text.
        :param max_items: Return no more than these. Default: all.
        :raises InvalidParameter: Names each invalid field, its value, the rule and the fix.
        :raises ApiError: The service refused the request.
        """
        left = max_items
        for page in self._pages(request, max_items):
            items = page.items if left is None else page.items[:left]
            left = None if left is None else left - len(items)
            yield from items

    def items(self, request: Any, max_items: int | None = None) -> Iterator[StacItem]:
        """
        Search items, and return one after the other as objects of pystac.

        Objects cost much more time than dicts, see :meth:`search`. Needs the extra ``stac``.

        :param request: The service's own request as a dict, or as JSON text. Its ``fields`` must leave what pystac
            needs: ``id``, ``geometry``, ``bbox``, ``links``, ``assets`` and ``properties.datetime``.
        :param max_items: Return no more than these. Default: all.
        :raises InvalidConfiguration: pystac is not installed.
        :raises InvalidParameter: Names each invalid field, its value, the rule and the fix.
        :raises ApiError: The service refused the request.
        """
        try:
            from pystac import Item as StacItem
        except ImportError as e:
            raise InvalidConfiguration(
                "Objects of pystac need the extra stac. Install it with: pip install "
                "'airflow-provider-sentinelhub[stac]', or use search(), which returns dicts."
            ) from e
        # These are left out where fields are given.
        usual = {"stac_version": "1.0.0", "stac_extensions": [], "links": [], "assets": {}}
        for item in self.search(request, max_items):
            yield StacItem.from_dict(usual | item, preserve_dict=False)

    def distinct(self, request: Any, name: str = "date") -> list[Any]:
        """
        Return the distinct values of a property, e.g. the dates on which there are images.

        :param request: The service's own request as a dict, or as JSON text.
        :param name: The property. Which ones there are is in the documentation of each collection.
        :raises InvalidParameter: Names each invalid field, its value, the rule and the fix.
        :raises ApiError: The service refused the request.
        """
        from airflow_provider_sentinelhub.client.apis.catalog import calls

        body = calls.check(request) | {"distinct": name}
        return [value for page in self._pages(body, None) for value in page.values]

    def coverage(self, condition: Condition) -> Coverage:
        """
        Say how much of an area the scenes of an interval cover together.

        :param condition: What scenes are wanted, see
            :class:`~airflow_provider_sentinelhub.client.apis.catalog.coverage.Condition`.
        :raises InvalidParameter: There are too many scenes.
        :raises ApiError: The service refused the request.
        """
        return condition.judge(self.sender.run(condition.look()))

    def write(self, request: Any, storage: Storage | None, url: str | None, max_items: int | None = None) -> Searched:
        """
        Search, and write what is found: as STAC-GeoParquet (``.parquet``) or with one item to a line (``.ndjson``).

        The file appears when it is complete, and replaces an older one. Memory use is bounded.

        :param request: The service's own request as a dict, or as JSON text.
        :param storage: Writes the bucket; ``None`` only where nothing is written.
        :param url: Where to write; ``None`` to only search.
        :param max_items: Find no more than these. Default: all.
        :returns: How much was found, and the first of it.
        :raises InvalidParameter: Names each invalid field, its value, the rule and the fix. Nothing was requested.
        :raises ApiError: The service refused the request.
        :raises StorageUnavailable: The bucket cannot be written.
        """
        from airflow_provider_sentinelhub.artifacts.catalog.items import Spool
        from airflow_provider_sentinelhub.artifacts.catalog.table import write_geoparquet
        from airflow_provider_sentinelhub.client.apis.catalog import calls

        body = calls.check(request)
        check_url(url, body)
        found = Searched()
        if url is None or storage is None:
            for _ in self._found(body, max_items, found):
                pass
            return found
        with tempfile.TemporaryDirectory(prefix="sentinelhub-catalog-") as name:
            source = Path(name) / f"items{NDJSON}"
            with Spool(source) as spool:
                for documents in self._found(body, max_items, found):
                    spool.add(documents)
            if url.endswith(GEOPARQUET):
                target = Path(name) / f"items{GEOPARQUET}"
                write_geoparquet(source, target)
                source = target
            storage.upload(source, url)
        return found

    def _found(self, body: Mapping[str, Any], max_items: int | None, found: Searched) -> Iterator[list[Any]]:
        """Yield what is on each page, no more than asked for, and count it."""
        from airflow_provider_sentinelhub.client.apis.catalog.answers import item_in

        is_distinct = "distinct" in body
        for page in self._pages(body, max_items, as_text=not is_distinct):
            documents: list[Any] = list(page.values) if is_distinct else page.items
            if max_items is not None:
                left = max_items - found.count
                found.is_complete = page.next is None and len(documents) <= left
                documents = documents[:left]
            else:
                found.is_complete = page.next is None
            found.count, found.pages = found.count + len(documents), found.pages + 1
            if (room := _SHOWN - len(found.first)) > 0:
                found.first += documents[:room] if is_distinct else [short(item_in(each)) for each in documents[:room]]
            yield documents
        found.is_complete = found.is_complete or not found.pages

    def _pages(self, request: Any, max_items: int | None, *, as_text: bool = False) -> Iterator[ItemPage]:
        from airflow_provider_sentinelhub.client.apis.catalog.calls import read_search

        walk = read_search(request, lambda _: None, max_items, as_text=as_text)
        call = next(walk)
        while True:
            page = self.send(call)  # type: ignore[arg-type]  # it never pauses
            try:
                call = walk.send(page)
            except StopIteration:
                yield page
                return
            yield page


def short(item: Mapping[str, Any]) -> dict[str, Any]:
    """
    Return what names an item, for results and logs.

    :param item: The item.
    """
    from airflow_provider_sentinelhub.client.text import one_line

    given = item.get("properties")
    properties = given if isinstance(given, dict) else {}
    found: dict[str, Any] = {"id": one_line(item.get("id", ""), 100)}
    if isinstance(properties.get("datetime"), str):
        found["datetime"] = one_line(properties["datetime"], 40)
    if isinstance(cover := properties.get("eo:cloud_cover"), (int, float)):
        found["cloud_cover"] = cover
    return found


def check_url(url: str | None, body: Mapping[str, Any]) -> None:
    """
    Check where a search is written to, and whether its fields are enough for that.

    :param url: The URL; ``None`` for nowhere.
    :param body: The search, checked.
    :raises InvalidParameter: Names what is wrong, and the fix.
    """
    from airflow_provider_sentinelhub.artifacts.storage.location import Location

    if url is None:
        return
    Location.parse(url, field="output_url")
    if not url.endswith((GEOPARQUET, NDJSON)):
        fix = f"Write e.g. s3://bucket/scenes{GEOPARQUET}."
        raise InvalidParameter("output_url", url, f"must end in {GEOPARQUET} or {NDJSON}", fix)
    if not url.endswith(GEOPARQUET):
        return
    if "distinct" in body:
        fix = f"Let it end in {NDJSON}."
        raise InvalidParameter("output_url", url, "is a table of items, and the search asks for distinct values", fix)
    excluded = body.get("fields", {}).get("exclude", ())
    if missing := [name for name in _NEEDED_IN_A_TABLE if name in excluded]:
        fix = f"Leave it in, or let output_url end in {NDJSON}."
        raise InvalidParameter("fields.exclude", list(excluded), f"leaves out {missing[0]}, which a table needs", fix)


def as_many_as_fit(documents: list[Any], beside: Mapping[str, Any], most_bytes: int) -> list[Any]:
    """
    Return the first documents that fit into an XCom beside others.

    :param documents: JSON.
    :param beside: What is in the XCom as well.
    :param most_bytes: Size of the XCom in bytes.
    """
    import json

    room, shown = most_bytes - len(json.dumps(dict(beside))), []
    for each in documents:
        room -= len(json.dumps(each)) + 2
        if room < 0:
            break
        shown.append(each)
    return shown


def area_at(url: str, aws_conn_id: str | None, gcp_conn_id: str | None) -> dict[str, Any]:
    """
    Read the polygons of a file as one area.

    :param url: Its URL.
    :param aws_conn_id: The AWS connection, for ``s3://``.
    :param gcp_conn_id: The Google Cloud connection, for ``gs://``.
    :returns: GeoJSON.
    :raises InvalidParameter: There is no such file, it cannot be read, or it is not in degrees of WGS 84.
    :raises StorageUnavailable: The bucket cannot be read.
    """
    import json

    import shapely

    from airflow_provider_sentinelhub.artifacts.features.features import Columns
    from airflow_provider_sentinelhub.client.requests.crs import WGS84
    from airflow_provider_sentinelhub.hooks.bucket_connections import open_buckets
    from airflow_provider_sentinelhub.hooks.input_features import from_urls

    shapes: list[Any] = []
    for batch in from_urls([url], storage=open_buckets(aws_conn_id, gcp_conn_id), columns=Columns()):
        if batch.epsg != WGS84:
            fix = "Write it in EPSG:4326, e.g. with ogr2ogr -t_srs EPSG:4326."
            raise InvalidParameter("aoi", url, f"is in EPSG:{batch.epsg}, not in degrees of WGS 84", fix)
        shapes.append(shapely.union_all(shapely.make_valid([each for each in batch.geometries if each is not None])))
    if not shapes:
        raise InvalidParameter("aoi", url, "has no polygons", "Give another file.")
    area: dict[str, Any] = json.loads(shapely.to_geojson(shapely.union_all(shapes)))
    return area
