"""
Large images of the Process API, with ``split=True``: what memory they take, and whether their pixels are right.

Usage: ``python benchmarks/process_split.py [side in pixels]`` (default 20,000; 4 GB of disk are needed).

The simulator answers with its quick pixels, into its own bucket. Each image is requested in a process of its own, whose
memory is the most that it ever had, Airflow and GDAL included. The large image is compared with the simulator's values
in blocks all over it. An image of 2,500 x 2,500 pixels is requested in one piece and in parts of 1,000 x 1,000; all
their pixels are compared, as they are and with the evalscript run.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Any

import numpy as np  # noqa: TID253 - no DAG file imports it
import rasterio  # noqa: TID253 - as above
from rasterio.windows import Window  # noqa: TID253 - as above

from airflow_provider_sentinelhub.simulator.features.features import Feature
from airflow_provider_sentinelhub.simulator.imagery.rasters import pixels
from airflow_provider_sentinelhub.simulator.process import Simulator

SIDE = 20_000
SMALL, PART = 2_500, 1_000
BLOCKS = 12
MB = 1_000_000
WEST, NORTH = 300_000, 5_300_040
EVALSCRIPT = """//VERSION=3
function setup() { return {input: ["B04", "dataMask"], output: {bands: 1, sampleType: "UINT16"}}; }
function evaluatePixel(sample) { return [sample.B04 * 10000]; }
"""


def request(side: int) -> dict[str, Any]:
    """Make a request for an image of 10 m."""
    box = [WEST, NORTH - 10 * side, WEST + 10 * side, NORTH]
    span = {"from": "2025-06-01T00:00:00Z", "to": "2025-06-16T00:00:00Z"}
    return {
        "input": {
            "bounds": {"bbox": box, "properties": {"crs": "http://www.opengis.net/def/crs/EPSG/0/32632"}},
            "data": [{"type": "sentinel-2-l2a", "dataFilter": {"timeRange": span}}],
        },
        "output": {"width": side, "height": side, "responses": [{"format": {"type": "image/tiff"}}]},
        "evalscript": EVALSCRIPT,
    }


def deliver(side: int, url: str, part_size: int) -> None:
    """Request an image in this process, and say what it took; without parts if their size is 0."""
    from airflow_provider_sentinelhub.hooks.process import SentinelHubProcessHook

    logging.disable(logging.WARNING)
    began, cpu = time.monotonic(), time.process_time()
    split: dict[str, Any] = {"split": True, "part_size": part_size} if part_size else {}
    image = SentinelHubProcessHook().deliver(request(side), url, **split)
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    most = int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1])
    took = {"MB": most * 1024 // MB, "s": time.monotonic() - began, "CPU s": time.process_time() - cpu}
    print(json.dumps({**took, "bytes": image.bytes, "pu": image.pu}))


def delivered(sim: Simulator, side: int, part_size: int = 0) -> Path:
    """Request an image in a new process, print what it took, and return its file."""
    url = f"s3://{sim.ready.bucket}/{uuid.uuid4()}/image.tif"
    command = [sys.executable, __file__, "--deliver", str(side), url, str(part_size)]
    env = {**os.environ, **sim.ready.airflow_connections(), "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR"}
    done = subprocess.run(command, env=env, check=True, stdout=subprocess.PIPE, text=True)
    took = json.loads(done.stdout.splitlines()[-1])
    parts = (-(-side // part_size)) ** 2 if part_size else 1
    print(
        f"{side:,} x {side:,} px in {parts} part{'s' * (parts > 1)}: peak memory {took['MB']:,} MB, {took['s']:.0f} s, "
        f"{took['CPU s']:.0f} s of CPU, {took['bytes'] / MB:,.0f} MB written, {took['pu']:,.1f} PU",
        flush=True,
    )
    return sim.bucket_folder / url.removeprefix(f"s3://{sim.ready.bucket}/")


def differing_blocks(path: Path, side: int) -> int:
    """Compare blocks all over an image with the simulator's quick values; return how many differ."""
    feature = Feature("image", 32632, side, side, WEST, NORTH, 10.0, 10.0)
    block, wrong = min(512, side), 0
    with rasterio.open(path) as dataset:
        for row in np.linspace(0, side - block, BLOCKS).astype(int):
            rows = pixels(feature, 1, "uint16", int(row), block)
            for column in np.linspace(0, side - block, BLOCKS).astype(int):
                found = dataset.read(1, window=Window(column, row, block, block))
                wrong += not np.array_equal(found, rows[:, column : column + block])
    return wrong


def differing_pixels(one: Path, other: Path) -> int:
    """Return in how many pixels two images differ."""
    with rasterio.open(one) as first, rasterio.open(other) as second:
        if first.transform != second.transform or first.crs != second.crs:
            raise ValueError("the images are not of the same place")
        return int((first.read() != second.read()).sum())


def main() -> None:
    """Measure and compare."""
    if sys.argv[1:2] == ["--deliver"]:
        deliver(int(sys.argv[2]), sys.argv[3], int(sys.argv[4]))
        return
    side = int(sys.argv[1]) if sys.argv[1:] else SIDE
    with Simulator.start(script={"pixels": "quick"}) as sim:
        delivered(sim, SMALL // 2, SMALL)
        path = delivered(sim, side, SMALL)
        print(f"  {differing_blocks(path, side)} of {BLOCKS**2} blocks differ from the simulator's values", flush=True)
        path.unlink()
        for mode in ("quick", "evalscript"):
            sim.set_script({"pixels": mode})
            one, parts = delivered(sim, SMALL), delivered(sim, SMALL, PART)
            print(f"  {mode}: {differing_pixels(one, parts):,} of {SMALL**2:,} pixels differ", flush=True)


if __name__ == "__main__":
    main()
