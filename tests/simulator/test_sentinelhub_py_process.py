"""The service's public Python client, unmodified, requests images from the simulator."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sentinelhub.api.process import SentinelHubRequest
from sentinelhub.areas import BBoxSplitter
from sentinelhub.config import SHConfig
from sentinelhub.constants import CRS, MimeType
from sentinelhub.data_collections import DataCollection
from sentinelhub.download.sentinelhub_client import SentinelHubDownloadClient
from sentinelhub.exceptions import DownloadFailedException
from sentinelhub.geo_utils import bbox_to_dimensions
from sentinelhub.geometry import BBox, Geometry

from airflow_provider_sentinelhub.simulator.process import Simulator

SCRIPT = """//VERSION=3
function setup() {
  return {
    input: ["B02", "B03", "B04"],
    output: [{id: "default", bands: 3}, {id: "index", bands: 1, sampleType: "FLOAT32"}]
  };
}
function updateOutputMetadata(scenes, inputMetadata, outputMetadata) {
  outputMetadata.userData = {"count": 1};
}
function evaluatePixel(s) {
  return {default: [s.B04 * 255, s.B03 * 255, s.B02 * 255], index: [s.B04]};
}
"""
BOX = BBox((500_000, 4_649_000, 502_000, 4_650_000), CRS("32632"))


@pytest.fixture
def ask(sim: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")
    # The client caches tokens for the whole process, and other tests revoke them.
    SentinelHubDownloadClient.clear_cache()
    sim.set_script({"pixels": "quick"})
    ready = sim.ready
    config = SHConfig(
        sh_client_id=ready.client_id,
        sh_client_secret=ready.client_secret,
        sh_base_url=ready.base_url,
        sh_token_url=ready.token_url,
        download_timeout_seconds=60,
    )
    collection = DataCollection.SENTINEL2_L2A.define_from(f"AT {ready.base_url}", service_url=ready.base_url)

    def request(*responses: Any, **area: Any) -> SentinelHubRequest:
        where: dict[str, Any] = {"bbox": BOX, "size": bbox_to_dimensions(BOX, 10), **area}
        return SentinelHubRequest(
            evalscript=SCRIPT,
            input_data=[SentinelHubRequest.input_data(collection, time_interval=("2025-06-01", "2025-06-30"))],
            responses=list(responses),
            data_folder=str(tmp_path),
            config=config,
            **where,
        )

    return request


@pytest.mark.parametrize(("kind", "output"), [("TIFF", "default"), ("TIFF", "index"), ("PNG", "default")])
def test_an_image(ask: Any, kind: str, output: str) -> None:
    (image,) = ask(SentinelHubRequest.output_response(output, MimeType[kind])).get_data()
    assert image.shape == ((100, 200, 3) if output == "default" else (100, 200))
    assert image.dtype == ("uint8" if output == "default" else "float32")
    assert np.ptp(image) > 0


def test_a_jpeg_by_resolution_and_saved(ask: Any, tmp_path: Path) -> None:
    request = ask(SentinelHubRequest.output_response("default", MimeType.JPG), size=None, resolution=(20, 20))
    (image,) = request.get_data(save_data=True)
    assert image.shape == (50, 100, 3)
    assert list(tmp_path.glob("*/response.jpg"))


def test_several_outputs_in_a_tar(ask: Any) -> None:
    responses = [
        SentinelHubRequest.output_response("default", MimeType.PNG),
        SentinelHubRequest.output_response("index", MimeType.TIFF),
        SentinelHubRequest.output_response("userdata", MimeType.JSON),
    ]
    (found,) = ask(*responses).get_data()
    assert set(found) == {"default.png", "index.tif", "userdata.json"}
    assert found["index.tif"].shape == (100, 200)
    assert isinstance(found["userdata.json"], dict)


def test_what_is_outside_of_a_geometry_has_no_data(ask: Any) -> None:
    left = BBox((500_000, 4_649_000, 501_000, 4_650_000), CRS("32632"))
    responses = [SentinelHubRequest.output_response("default", MimeType.TIFF)]
    (half,) = ask(*responses, geometry=Geometry(left.geometry, left.crs)).get_data()
    (whole,) = ask(*responses).get_data()
    assert (half[:, :100] == whole[:, :100]).all()
    assert not half[:, 100:].any()


def test_an_image_that_is_too_large_is_refused_in_the_words_of_the_service(ask: Any) -> None:
    wide = BBox((500_000, 4_649_000, 526_240, 4_650_000), CRS("32632"))
    response = SentinelHubRequest.output_response("default", MimeType.PNG)
    with pytest.raises(DownloadFailedException, match="`width = 2624`, calculated from resx, is larger than allowed"):
        ask(response, bbox=wide, size=None, resolution=(10, 10)).get_data()


def test_a_box_that_the_client_has_split(ask: Any) -> None:
    response = SentinelHubRequest.output_response("default", MimeType.TIFF)
    (whole,) = ask(response).get_data()
    boxes = BBoxSplitter([BOX.geometry], BOX.crs, (2, 2)).get_bbox_list()
    requests = [ask(response, bbox=box, size=(100, 50)).download_list[0] for box in boxes]
    southwest, northwest, southeast, northeast = SentinelHubDownloadClient(config=ask(response).config).download(
        requests, max_threads=2
    )
    found = np.vstack([np.hstack([northwest, northeast]), np.hstack([southwest, southeast])])
    assert (found == whole).all()
