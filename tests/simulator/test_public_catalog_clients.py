"""pystac-client and sentinelhub-py, unchanged, search the catalog of the simulator."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pystac
import pystac_client
import pytest
from sentinelhub.api.catalog import SentinelHubCatalog, get_available_timestamps
from sentinelhub.config import SHConfig
from sentinelhub.constants import CRS
from sentinelhub.data_collections import DataCollection
from sentinelhub.download.sentinelhub_client import SentinelHubDownloadClient
from sentinelhub.geometry import BBox, Geometry

from airflow_provider_sentinelhub.simulator.process import Simulator

S2 = "sentinel-2-l2a"
AREA = (13.0, 45.0, 14.0, 46.0)
PERIOD = ("2026-06-01T00:00:00Z", "2026-07-01T00:00:00Z")


def expected(sim: Simulator, **changes: Any) -> list[str]:
    body = {"collections": [S2], "bbox": list(AREA), "datetime": "/".join(PERIOD), "limit": 100, **changes}
    return [each["id"] for each in sim.call("POST", "/catalog/v1/search", body).body["features"]]


@pytest.fixture(params=["/catalog/v1", "/api/v1/catalog/1.0.0"])
def stac(sim: Simulator, request: pytest.FixtureRequest) -> pystac_client.Client:
    headers = {"Authorization": f"Bearer {sim.fetch_token()}"}
    return pystac_client.Client.open(sim.ready.base_url + request.param, headers=headers)


def test_pystac_client_searches_page_by_page(sim: Simulator, stac: pystac_client.Client) -> None:
    search = stac.search(collections=[S2], bbox=AREA, datetime=PERIOD, limit=7)
    items = list(search.items())
    assert [each.id for each in items] == expected(sim)
    assert len(items) > 14
    assert items[0].properties["eo:cloud_cover"] is not None
    assert stac.search(collections=[S2], bbox=AREA, datetime=PERIOD, max_items=5).item_collection().items[4].id


@pytest.mark.parametrize(
    ("filter_", "language"),
    [
        ("eo:cloud_cover < 30", "cql2-text"),
        ({"op": "<", "args": [{"property": "eo:cloud_cover"}, 30]}, "cql2-json"),
    ],
)
def test_pystac_client_filters_with_cql2(
    sim: Simulator, stac: pystac_client.Client, filter_: Any, language: Any
) -> None:
    search = stac.search(collections=[S2], bbox=AREA, datetime=PERIOD, filter=filter_, filter_lang=language)
    assert [each.id for each in search.items()] == expected(sim, filter="eo:cloud_cover < 30")


def test_pystac_client_asks_for_fields_and_by_get(sim: Simulator, stac: pystac_client.Client) -> None:
    fields = {"include": ["properties.eo:cloud_cover"], "exclude": ["geometry", "links"]}
    search = stac.search(collections=[S2], bbox=AREA, datetime=PERIOD, fields=fields, limit=5, max_items=5)
    assert {frozenset(each) for each in search.items_as_dicts()} == {
        frozenset({"id", "type", "bbox", "assets", "properties"})
    }
    by_get = stac.search(method="GET", collections=[S2], bbox=AREA, datetime=PERIOD, limit=10)
    assert [each["id"] for each in by_get.items_as_dicts()] == expected(sim)


def test_pystac_client_reads_collections_and_items(sim: Simulator, stac: pystac_client.Client) -> None:
    assert S2 in {each.id for each in stac.get_collections()}
    collection: Any = stac.get_collection(S2)
    name = expected(sim)[0]
    item = collection.get_item(name)
    assert isinstance(item, pystac.Item)
    assert item.datetime is not None
    assert item.collection_id == S2
    assert "eo:cloud_cover" in collection.get_queryables()["properties"]
    assert list(collection.summaries.to_dict()["constellation"]) == ["sentinel-2"]


@pytest.fixture
def catalog(sim: Simulator, monkeypatch: pytest.MonkeyPatch) -> SentinelHubCatalog:
    monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")
    SentinelHubDownloadClient.clear_cache()
    config = SHConfig(use_defaults=True)
    config.sh_base_url = sim.ready.base_url
    config.sh_token_url = sim.ready.token_url
    config.sh_client_id = sim.ready.client_id
    config.sh_client_secret = sim.ready.client_secret
    return SentinelHubCatalog(config=config)


def test_sentinelhub_py_has_all_of_the_catalog(sim: Simulator, catalog: SentinelHubCatalog) -> None:
    assert catalog.get_info()["id"] == "sentinel-hub"
    assert catalog.get_conformance()["conformsTo"]
    assert S2 in {each["id"] for each in catalog.get_collections()}
    assert catalog.get_collection(S2)["type"] == "Collection"
    name = expected(sim)[0]
    assert catalog.get_feature(DataCollection.SENTINEL2_L2A, name)["id"] == name


def test_sentinelhub_py_searches(sim: Simulator, catalog: SentinelHubCatalog) -> None:
    found = catalog.search(DataCollection.SENTINEL2_L2A, time=PERIOD, bbox=BBox(AREA, CRS.WGS84), limit=9)
    assert found.get_ids() == expected(sim)
    assert len(found.get_geometries()) == len(found.get_timestamps())
    area = Geometry(BBox(AREA, CRS.WGS84).geometry, CRS.WGS84)
    filtered = catalog.search(DataCollection.SENTINEL2_L2A, time=PERIOD, geometry=area, filter="eo:cloud_cover < 30")
    assert filtered.get_ids() == expected(sim, filter="eo:cloud_cover < 30")
    days: Any = catalog.search(DataCollection.SENTINEL2_L2A, time=PERIOD, bbox=BBox(AREA, CRS.WGS84), distinct="date")
    assert list(days)[0] == "2026-06-05"  # noqa: RUF015 - the client has no next()
    radar = catalog.search(DataCollection.SENTINEL1_IW_ASC, time=PERIOD, bbox=BBox(AREA, CRS.WGS84))
    assert {each["properties"]["sat:orbit_state"] for each in radar} == {"ascending"}


def test_sentinelhub_py_lists_the_timestamps(sim: Simulator, catalog: SentinelHubCatalog) -> None:
    collection = DataCollection.SENTINEL2_L2A.define_from(f"AT {sim.ready.base_url}", service_url=sim.ready.base_url)
    times = get_available_timestamps(
        BBox(AREA, CRS.WGS84),
        PERIOD,
        collection,
        time_difference=dt.timedelta(hours=1),
        maxcc=0.3,
        config=catalog.config,
    )
    assert times
    assert all(dt.datetime(2026, 6, 1) <= each <= dt.datetime(2026, 7, 1) for each in times)  # noqa: DTZ001 - as it returns them
