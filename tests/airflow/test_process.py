"""Images by the Process API, as Airflow runs the operator, against the simulator."""

from __future__ import annotations

import json
import tarfile
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import rasterio

from airflow_provider_sentinelhub.client.errors import BudgetExceeded, InvalidParameter, StorageUnavailable, TaskStopped
from airflow_provider_sentinelhub.hooks.process import SentinelHubProcessHook
from airflow_provider_sentinelhub.operators.process import SentinelHubProcessOperator
from tests.airflow.airflow_harness import Comms, Run, RunTask

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_sentinelhub.simulator.process import Simulator

UTM = "http://www.opengis.net/def/crs/EPSG/0/32632"
PATH = "/process/v1"
SCRIPT = """//VERSION=3
function setup() {
  return {
    input: ["B04", "B08"],
    output: [{id: "default", bands: 2, sampleType: "UINT16"}, {id: "mask", bands: 1, sampleType: "UINT8"}]
  };
}
function updateOutputMetadata(scenes, inputMetadata, outputMetadata) { outputMetadata.userData = {a: "{{ ds }}"}; }
function evaluatePixel(s) { return {default: [s.B04 * 10000, s.B08 * 10000], mask: [1]}; }
"""
TIFF = {"identifier": "default", "format": {"type": "image/tiff"}}
SEVERAL = [
    TIFF,
    {"identifier": "mask", "format": {"type": "image/png"}},
    {"identifier": "userdata", "format": {"type": "application/json"}},
]


def request(*responses: Any, **changes: Any) -> dict[str, Any]:
    """An image of 130 x 70 pixels of 10 m."""
    return {
        "input": {
            "bounds": {"bbox": [500_000, 5_150_000, 501_300, 5_150_700], "properties": {"crs": UTM}},
            "data": [{"type": "sentinel-2-l2a"}],
        },
        "output": {"resx": 10, "resy": 10, "responses": list(responses) or [TIFF]},
        "evalscript": SCRIPT,
        **changes,
    }


@pytest.fixture
def folder(sim: Simulator) -> str:
    sim.set_script({"pixels": "quick"})
    return f"s3://{sim.ready.bucket}/{uuid.uuid4()}"


@pytest.fixture
def ask(run_task: RunTask, folder: str) -> Callable[..., Run]:
    def run(attempt: dict[str, Any] | None = None, **parameters: Any) -> Run:
        given = {"task_id": "p", "request": request(), "output_url": f"{folder}/image.tif", **parameters}
        return run_task(SentinelHubProcessOperator(**given), **(attempt or {}))

    return run


def in_bucket(sim: Simulator, url: str) -> Path:
    return sim.bucket_folder / url.removeprefix(f"s3://{sim.ready.bucket}/")


def calls(sim: Simulator) -> int:
    return int(sim.requests()["counts"].get(f"POST {PATH}", 0))


def files(sim: Simulator, folder: str) -> set[str]:
    root = in_bucket(sim, folder)
    return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}


def pixels(sim: Simulator, url: str) -> Any:
    with rasterio.open(in_bucket(sim, url)) as dataset:
        return dataset.read()


def test_an_image_is_written_and_described(ask: Callable[..., Run], sim: Simulator, comms: Comms, folder: str) -> None:
    assert ask().state == "success"
    result = comms.xcoms["return_value"]
    assert len(json.dumps(result)) < 1000
    with rasterio.open(in_bucket(sim, f"{folder}/image.tif")) as dataset:
        assert (dataset.width, dataset.height, dataset.count) == (130, 70, 2) == (result["width"], result["height"], 2)
        assert list(dataset.transform)[:6] == result["transform"]
        assert dataset.crs.to_epsg() == result["epsg"] == 32632
    assert result["bytes"] == in_bucket(sim, result["url"]).stat().st_size
    assert result["pu"] == pytest.approx(130 * 70 / 512**2 * 2 / 3)
    assert (result["files"], result["reused"]) == ([], False)
    assert files(sim, folder) == {"image.tif", "image.tif.request.json"}
    record = json.loads(in_bucket(sim, f"{folder}/image.tif.request.json").read_text())
    assert record["request"]["evalscript"] == SCRIPT


def test_several_outputs_are_unpacked_into_a_folder(
    ask: Callable[..., Run], sim: Simulator, comms: Comms, folder: str
) -> None:
    assert ask(request=request(*SEVERAL), output_url=f"{folder}/{{{{ task.task_id }}}}").state == "success"
    result = comms.xcoms["return_value"]
    assert (result["url"], result["files"]) == (f"{folder}/p", ["default.tif", "mask.png", "userdata.json"])
    assert files(sim, folder) == {"p/default.tif", "p/mask.png", "p/userdata.json", "p/request.json"}
    assert pixels(sim, f"{folder}/p/default.tif").shape == (2, 70, 130)
    json.loads(in_bucket(sim, f"{folder}/p/userdata.json").read_text())


def test_or_kept_as_the_tar(ask: Callable[..., Run], sim: Simulator, folder: str) -> None:
    assert ask(request=request(*SEVERAL), output_url=f"{folder}/all.tar").state == "success"
    with tarfile.open(in_bucket(sim, f"{folder}/all.tar")) as archive:
        assert archive.getnames() == ["default.tif", "mask.png", "userdata.json"]


def test_what_was_paid_for_is_not_requested_again(
    ask: Callable[..., Run], sim: Simulator, comms: Comms, folder: str
) -> None:
    assert ask().state == "success"
    paid = comms.xcoms["return_value"]
    for attempt in ({"try_number": 2}, {"max_tries": 1}):
        assert ask(attempt).state == "success"
        assert comms.xcoms["return_value"] == {**paid, "reused": True}
    assert ask({"try_number": 2}, if_exists="overwrite").state == "success"
    assert calls(sim) == 1
    # A clear by a user.
    assert ask({"max_tries": 1}, if_exists="overwrite").state == "success"
    assert calls(sim) == 2
    other = request(TIFF, evalscript=SCRIPT.replace("B08", "B8A"))
    failed = ask(request=other, if_exists="fail")
    assert (failed.state, calls(sim)) == ("failed", 2)
    assert "is taken" in str(failed.error)
    assert ask(request=other).state == "success"
    assert calls(sim) == 3
    # Somebody else has written there since.
    in_bucket(sim, f"{folder}/image.tif").write_bytes(b"x" * paid["bytes"])
    assert ask(request=other).state == "success"
    assert calls(sim) == 4


def test_parts_make_the_same_image_and_are_cleaned_up(
    ask: Callable[..., Run], sim: Simulator, comms: Comms, folder: str
) -> None:
    assert ask(output_url=f"{folder}/one.tif").state == "success"
    whole = comms.xcoms["return_value"]
    assert ask(split=True, part_size=33).state == "success"
    result = comms.xcoms["return_value"]
    assert calls(sim) == 1 + 4 * 3
    assert (pixels(sim, result["url"]) == pixels(sim, whole["url"])).all()
    assert result["transform"] == whole["transform"]
    assert result["pu"] == pytest.approx(12 * 0.01 * 2 / 3)
    assert files(sim, folder) == {f"{name}.tif{more}" for name in ("one", "image") for more in ("", ".request.json")}


def test_parts_make_the_same_image_of_what_a_script_computes(
    ask: Callable[..., Run], sim: Simulator, folder: str
) -> None:
    sim.set_script({"pixels": "evalscript"})
    span = {"from": "2025-06-01T00:00:00Z", "to": "2025-06-16T00:00:00Z"}
    body = request()
    body["input"]["data"][0]["dataFilter"] = {"timeRange": span}
    assert ask(request=body, output_url=f"{folder}/one.tif").state == "success"
    assert ask(request=body, split=True, part_size=60).state == "success"
    one = pixels(sim, f"{folder}/one.tif")
    assert (one == pixels(sim, f"{folder}/image.tif")).all()
    assert np.ptp(one) > 0


def test_only_what_a_geometry_touches_is_requested(ask: Callable[..., Run], sim: Simulator, folder: str) -> None:
    corner = [[500_000, 5_150_700], [500_790, 5_150_700], [500_000, 5_150_100], [500_000, 5_150_700]]
    body = request()
    body["input"]["bounds"]["geometry"] = {"type": "Polygon", "coordinates": [corner]}
    assert ask(request=body, output_url=f"{folder}/one.tif").state == "success"
    assert ask(request=body, split=True, part_size=20).state == "success"
    assert calls(sim) - 1 < 7 * 4
    one, parts = pixels(sim, f"{folder}/one.tif"), pixels(sim, f"{folder}/image.tif")
    assert (one == parts).all()
    assert 0 < np.count_nonzero(one[0]) < 0.4 * one[0].size


def test_parts_that_have_arrived_are_not_paid_for_again(
    ask: Callable[..., Run], sim: Simulator, comms: Comms, folder: str
) -> None:
    refusal = {"method": "POST", "path": f"{PATH}$", "skip": 7, "status": 403}
    sim.set_script({"pixels": "quick", "endpoints": [refusal]})
    assert ask(split=True, part_size=33, concurrency=1).state == "failed"
    assert calls(sim) == 7 + 1
    parts = {name for name in files(sim, folder) if name.startswith("image.tif.parts/")}
    assert len(parts) == 7
    # One of them is no image any more.
    in_bucket(sim, f"{folder}/{min(parts)}").write_bytes(b"II*\0")
    busy = {"method": "POST", "path": f"{PATH}$", "count": 2, "status": 429, "retry_after_ms": 1}
    sim.set_script({"pixels": "quick", "endpoints": [busy]})
    assert ask({"try_number": 2}, split=True, part_size=33).state == "success"
    assert calls(sim) == 8 + 2 + 12 - 6
    assert comms.xcoms["return_value"]["pu"] == pytest.approx(12 * 0.01 * 2 / 3)
    assert files(sim, folder) == {"image.tif", "image.tif.request.json"}


def test_overwriting_uses_no_parts_of_another_attempt(ask: Callable[..., Run], sim: Simulator, folder: str) -> None:
    refusal = {"method": "POST", "path": f"{PATH}$", "skip": 7, "status": 403}
    sim.set_script({"pixels": "quick", "endpoints": [refusal]})
    given: dict[str, Any] = {"split": True, "part_size": 33, "concurrency": 1, "if_exists": "overwrite"}
    assert ask({"try_number": 1, "max_tries": 0}, **given).state == "failed"
    sim.set_script({"pixels": "quick"})
    # A clear raises max_tries.
    assert ask({"try_number": 2, "max_tries": 1}, **given).state == "success"
    assert calls(sim) == 8 + 12


def test_a_kill_keeps_what_has_arrived(sim: Simulator, folder: str) -> None:
    operator = SentinelHubProcessOperator(
        task_id="p", request=request(), output_url=f"{folder}/image.tif", split=True, part_size=33, concurrency=1
    )
    operator.on_kill()
    with pytest.raises(TaskStopped, match="0 of 12 parts"):
        operator.hook.deliver(request(), operator.output_url, split=True, part_size=33, stop=operator._stop)
    assert calls(sim) == 0


def test_too_large_an_image_is_refused_with_three_ways_on(ask: Callable[..., Run], sim: Simulator) -> None:
    body = request()
    body["output"] = {"resx": 0.5, "resy": 0.5, "responses": [TIFF]}
    failed = ask(request=body)
    assert failed.state == "failed"
    assert "output.resx = 0.5: makes the width 2,600 pixels, and 2,500 is the most" in str(failed.error)
    for way in ("Write 0.52 or more", "split=True", "SentinelHubAsyncProcessOperator", "BatchProcessOperator"):
        assert way in str(failed.error)
    assert calls(sim) == 0


def test_nothing_is_requested_over_the_budget(sim: Simulator, folder: str) -> None:
    hook = SentinelHubProcessHook()
    with pytest.raises(BudgetExceeded, match=r"The image would cost about 0\.0231 PU, more than max_pu = 0\.02"):
        hook.deliver(request(), f"{folder}/image.tif", max_pu=0.02)
    with pytest.raises(BudgetExceeded):
        hook.deliver(request(), f"{folder}/image.tif", max_pu=0.07, split=True, part_size=33)
    assert calls(sim) == 0


@pytest.mark.parametrize(
    ("parameters", "field"),
    [
        ({"request": request(*SEVERAL), "split": True}, "output.responses"),
        ({"split": True, "part_size": 3000}, "part_size"),
        ({"split": True, "output_url": "s3://bucket/image.tar"}, "output_url"),
        ({"output_url": "s3://bucket"}, "output_url"),
        ({"output_url": "ftp://bucket/image.tif"}, "output_url"),
        ({"request": request({"identifier": "default", "format": {"type": "image/gif"}})}, "output.responses.0.format"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_sent(
    sim: Simulator, folder: str, parameters: dict[str, Any], field: str
) -> None:
    given = {"request": request(), "output_url": f"{folder}/image.tif", **parameters}
    with pytest.raises(InvalidParameter, match=f"^{field}"):
        SentinelHubProcessHook().deliver(**given)
    assert calls(sim) == 0


def test_an_answer_that_cannot_be_written_is_said_so(sim: Simulator) -> None:
    with pytest.raises(StorageUnavailable, match="cannot be written to /dev"):
        SentinelHubProcessHook().image(request(), "/dev/full")
