"""
What a user of the last public client of Batch Processing V1 does, as one program.

It runs in that client's own environment, see ``devtools/client_of_v1.py``. It reads one JSON object: the fields of the
simulator's ``Ready`` and a ``folder`` in the bucket. Its last line is what it saw, as JSON.
"""

# mypy reads the newer client in .venv, which lacks all of this.
# mypy: disable-error-code="attr-defined"

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

from sentinelhub.api.batch.base import BatchRequestStatus
from sentinelhub.api.batch.process import BatchCollection, BatchTileStatus, SentinelHubBatch
from sentinelhub.api.batch.utils import monitor_batch_analysis, monitor_batch_job
from sentinelhub.api.process import SentinelHubRequest
from sentinelhub.config import SHConfig
from sentinelhub.constants import CRS, MimeType
from sentinelhub.data_collections import DataCollection
from sentinelhub.exceptions import DownloadFailedException
from sentinelhub.geometry import BBox

GRID = 0
Facts = dict[str, Any]


def refused(act: Callable[[], Any]) -> str:
    try:
        act()
    except DownloadFailedException as e:
        return str(e)
    return ""


class User:
    def __init__(self, given: dict[str, Any]) -> None:
        self.given = given
        self.config = SHConfig(use_defaults=True)
        self.config.sh_base_url = given["base_url"]
        self.config.sh_token_url = given["token_url"]
        self.config.sh_client_id = given["client_id"]
        self.config.sh_client_secret = given["client_secret"]
        self.batch = SentinelHubBatch(config=self.config)

    def create(self, description: str, **changes: Any) -> Any:
        request = SentinelHubRequest(
            evalscript=self.given["evalscript"],
            input_data=[
                SentinelHubRequest.input_data(
                    DataCollection.SENTINEL2_L2A.define_from("SIM", service_url=self.given["base_url"]),
                    time_interval=("2024-07-01", "2024-07-31"),
                )
            ],
            responses=[SentinelHubRequest.output_response("default", MimeType.TIFF)],
            bbox=BBox(self.given["bbox"], crs=CRS.WGS84),
            config=self.config,
        )
        path = f"s3://{self.given['bucket']}/{self.given['folder']}/<requestId>/<tileName>/<outputId>.<format>"
        where = changes or {"output": SentinelHubBatch.output(default_tile_path=path, overwrite=True)}
        grid = SentinelHubBatch.tiling_grid(GRID, 60, buffer=(2, 3))
        return self.batch.create(request, tiling_grid=grid, description=description, **where)

    def until_it_leaves(self, request: Any, *statuses: BatchRequestStatus) -> Any:
        while (now := self.batch.get_request(request)).status in statuses:
            time.sleep(5)
        return now

    def grids(self) -> Facts:
        return {
            "all": [grid["id"] for grid in self.batch.iter_tiling_grids()],
            "one": self.batch.get_tiling_grid(GRID)["properties"]["tileWidth"],
        }

    def run(self) -> Facts:
        created = self.create(self.given["folder"])
        facts: Facts = {
            "id": created.request_id,
            "created": created.status.value,
            "grid": created.tiling_grid,
            "bbox": list(created.bbox),
            "is latest": self.batch.get_latest_request().request_id == created.request_id,
            "is listed": created.request_id in [each.request_id for each in self.batch.iter_requests(count=1)],
        }
        self.batch.update_request(created, description=f"{self.given['folder']} changed")
        self.batch.start_analysis(created)
        analysed = monitor_batch_analysis(created, config=self.config, sleep_time=5)
        facts["analysed"] = [analysed.status.value, analysed.tile_count, analysed.user_action.value]
        facts["description"] = analysed.description
        facts["estimate"] = analysed.value_estimate
        tiles = list(self.batch.iter_tiles(created, count=2))
        facts["tiles"] = sorted({tile["status"] for tile in tiles})
        facts["same tile"] = self.batch.get_tile(created, tiles[0]["id"]) == tiles[0]
        self.batch.start_job(created)
        facts["first end"] = self.monitored(created)
        self.batch.restart_job(created)
        self.until_it_leaves(created, BatchRequestStatus.PARTIAL)
        facts["second end"] = self.monitored(created)
        processed = self.batch.iter_tiles(created, status=BatchTileStatus.PROCESSED)
        facts["processed"] = len({tile["id"] for tile in processed})
        facts["second restart"] = refused(lambda: self.batch.restart_job(created))
        facts["delete"] = refused(lambda: self.batch.delete_request(created))
        return facts

    def monitored(self, request: Any) -> Facts:
        tiles = monitor_batch_job(request, config=self.config, sleep_time=60, analysis_sleep_time=5)
        return {
            "status": self.until_it_leaves(request, BatchRequestStatus.PROCESSING).status.value,
            "tiles": {status.value: len(found) for status, found in tiles.items() if found},
        }

    def give_up(self) -> Facts:
        canceled, deleted = (self.create("given up", bucket_name=self.given["bucket"]) for _ in range(2))
        self.batch.cancel_job(canceled)
        self.batch.delete_request(deleted)
        now = self.until_it_leaves(canceled, BatchRequestStatus.CREATED)
        return {
            "canceled": [now.status.value, now.user_action.value, now.bucket_name == self.given["bucket"]],
            "deleted": refused(lambda: self.batch.get_request(deleted)),
        }

    def collections(self) -> Facts:
        name = self.given["folder"]
        first = self.batch.create_collection({"name": name, "s3Bucket": self.given["bucket"]})
        second = self.batch.create_collection(BatchCollection(f"{name} two", self.given["bucket"], None))
        self.batch.update_collection({**first, "name": f"{name} one"})
        names = {each["id"]: each["name"] for each in self.batch.iter_collections(count=1)}
        object_ = BatchCollection.from_dict(self.batch.get_collection(first["id"]))
        self.batch.delete_collection(second["id"])
        return {
            "names": [names[first["id"]], names[second["id"]], object_.name],
            "bucket": object_.s3_bucket == self.given["bucket"],
            "deleted": refused(lambda: self.batch.get_collection(second["id"])),
        }


def main() -> None:
    # oauthlib refuses plain HTTP otherwise.
    os.environ["OAUTHLIB_INSECURE_TRANSPORT"] = "1"
    user = User(json.loads(sys.stdin.read()))
    sleep = time.sleep
    # The client waits a minute at least between two polls, which is half an hour here.
    with patch("time.sleep", lambda seconds: sleep(min(seconds, 0.05))):
        facts = {
            "grids": user.grids(),
            "run": user.run(),
            "given up": user.give_up(),
            "collections": user.collections(),
        }
    sys.stdout.write(f"{json.dumps(facts)}\n")


if __name__ == "__main__":
    main()
