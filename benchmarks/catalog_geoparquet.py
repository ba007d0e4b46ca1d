"""
CPU time of 10,000 catalog items to GeoParquet: ``python benchmarks/catalog_geoparquet.py [items]``.

Beside it, the same with pystac-client and geopandas.

All parties read the same pages of a local server, which has them in memory; its own time does not count. Each runs in a
process of its own, whose imports do not count either. Of two runs the better one is printed.

pystac-client returns objects, as its documentation shows, or dicts, which cost it much less: both are compared. The
tables of geopandas have the geometries and properties of the items; ours has all of their fields.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import subprocess
import sys
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

PAGE = 100
RUNS = 2
SEARCH: dict[str, Any] = {
    "collections": ["sentinel-2-l2a"],
    "datetime": "2023-09-01T00:00:00Z/2026-11-01T00:00:00Z",
    "bbox": [10, 44, 16, 48],
}
PARTIES = {
    "ours": "search and STAC-GeoParquet of this package",
    "objects": "pystac-client item_collection() (objects of pystac) and geopandas",
    "dicts": "pystac-client item_collection_as_dict() (dicts) and geopandas",
}


def pages(count: int, root: str) -> list[bytes]:
    """Return pages of synthetic items, as the service writes them."""
    from airflow_provider_sentinelhub.simulator.apis.catalog.stac import item_links, item_of
    from airflow_provider_sentinelhub.simulator.scenes.scenes import scenes_of

    start, end = (dt.datetime.fromisoformat(each) for each in SEARCH["datetime"].split("/"))
    scenes = scenes_of("sentinel-2-l2a", (10.0, 44.0, 16.0, 48.0), start, end)[:count]
    if len(scenes) < count:
        raise SystemExit(f"There are only {len(scenes)} scenes.")
    items = [{**item, "links": item_links(item, root)} for item in map(item_of, scenes)]
    made = []
    for begin in range(0, count, PAGE):
        context: dict[str, Any] = {"limit": PAGE, "returned": PAGE}
        links: list[dict[str, Any]] = [{"rel": "self", "href": f"{root}/search"}]
        if begin + PAGE < count:
            context["next"] = begin + PAGE
            following = {"rel": "next", "href": f"{root}/search", "method": "POST", "merge": True}
            links.append({**following, "body": {"next": begin + PAGE}})
        features = items[begin : begin + PAGE]
        body = {"type": "FeatureCollection", "features": features, "links": links, "context": context}
        made.append(json.dumps(body).encode())
    return made


def serve(count: int) -> str:
    """Serve pages on this machine; return the URL."""
    from airflow_provider_sentinelhub.simulator.apis.catalog.stac import landing_page

    found: dict[str, Any] = {}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._send(found["landing"])

        def do_POST(self) -> None:
            asked = self.rfile.read(int(self.headers["content-length"]))
            if self.path == "/token":
                self._send(b'{"access_token": "x", "expires_in": 3600}')
                return
            self._send(found["pages"][json.loads(asked).get("next", 0) // PAGE])

        def _send(self, body: bytes) -> None:
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    root = f"http://127.0.0.1:{server.server_address[1]}/catalog/v1"
    found["pages"], found["landing"] = pages(count, root), json.dumps(landing_page(root, [])).encode()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return root


def ours(root: str, target: Path) -> None:
    """Search and write as the operator does."""
    from airflow_provider_sentinelhub.artifacts.storage.storage import Storage
    from airflow_provider_sentinelhub.hooks.catalog import SentinelHubCatalogHook

    base = root.removesuffix("/catalog/v1")
    extra = {"deployment": "custom", "token_url": f"{base}/token"}
    connection = {"conn_type": "sentinelhub", "login": "id", "password": "secret", "host": base, "extra": extra}
    os.environ["AIRFLOW_CONN_SENTINELHUB_DEFAULT"] = json.dumps(connection)
    SentinelHubCatalogHook().write(SEARCH, Storage(), f"file://{target}")


def objects(root: str, target: Path) -> None:
    """Search for objects, and write them as a frame."""
    import geopandas
    import pystac_client

    found = pystac_client.Client.open(root).search(**SEARCH, limit=PAGE).item_collection()
    geopandas.GeoDataFrame.from_features(found.to_dict(), crs="epsg:4326").to_parquet(target)


def dicts(root: str, target: Path) -> None:
    """Search for dicts, and write them as a frame."""
    import geopandas
    import pystac_client

    found = pystac_client.Client.open(root).search(**SEARCH, limit=PAGE).item_collection_as_dict()
    geopandas.GeoDataFrame.from_features(found, crs="epsg:4326").to_parquet(target)


def measure(party: str, root: str, count: int) -> None:
    """Run one party in this process, and print its CPU time in seconds."""
    import resource

    import pyarrow.parquet as pq

    run = {"ours": ours, "objects": objects, "dicts": dicts}[party]
    with tempfile.TemporaryDirectory() as folder:
        # The first run imports what is needed.
        best = float("inf")
        for number in range(RUNS + 1):
            target = Path(folder) / f"{number}.parquet"
            before = os.times()
            run(root, target)
            after = os.times()
            if number:
                best = min(best, after.user + after.system - before.user - before.system)
            rows = pq.read_metadata(target).num_rows
            if rows != count:
                raise SystemExit(f"{party} wrote {rows} rows")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"cpu": best, "peak_mb": peak}))


def main() -> None:
    """Measure all parties, and print their ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("items", nargs="?", type=int, default=10_000)
    parser.add_argument("--party", help=argparse.SUPPRESS)
    parser.add_argument("--root", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.party:
        measure(given.party, given.root, given.items)
        return
    root = serve(given.items)
    found = {}
    for party in PARTIES:
        command = [sys.executable, __file__, str(given.items), "--party", party, "--root", root]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        found[party] = json.loads(done.stdout.splitlines()[-1])
    print(f"{given.items:,} items from a local server to GeoParquet: CPU of the better of {RUNS} runs, peak memory")
    for party, what in PARTIES.items():
        cpu, peak = found[party]["cpu"], found[party]["peak_mb"]
        print(f"  {cpu:6.2f} s {peak:5.0f} MB  {what}")
    for party in ("objects", "dicts"):
        print(f"CPU of ours: {found['ours']['cpu'] / found[party]['cpu']:.2f} x that of {PARTIES[party]}")


if __name__ == "__main__":
    main()
