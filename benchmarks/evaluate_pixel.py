"""
What a pixel costs in the simulator: by running the evalscript, and quickly.

Usage: ``python benchmarks/evaluate_pixel.py [side]`` (default 500, of a square in pixels). An NDVI of one scene, and
the maximum NDVI of ten. CPU time counts, of this process and of the child that runs scripts. The floor computes the
same by numpy, from the same digital numbers.
"""

from __future__ import annotations

import datetime as dt
import resource
import sys
import time
from typing import TYPE_CHECKING, Any

from airflow_provider_sentinelhub.simulator.features.features import Feature
from airflow_provider_sentinelhub.simulator.imagery.evaluation.engine import end_children
from airflow_provider_sentinelhub.simulator.imagery.rendering import Renderer
from airflow_provider_sentinelhub.simulator.imagery.sources import Block, source_of

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

NDVI = """//VERSION=3
function setup() {
  return { input: ["B04", "B08", "dataMask"], output: { bands: 1, sampleType: "FLOAT32" } };
}
function evaluatePixel(sample) { return [index(sample.B08, sample.B04)]; }
"""
MAX_NDVI = """//VERSION=3
function setup() {
  return {
    input: ["B04", "B08", "dataMask"], output: { bands: 1, sampleType: "FLOAT32" }, mosaicking: "ORBIT",
  };
}
function evaluatePixel(samples) {
  let most = -1;
  for (const sample of samples) {
    const ndvi = index(sample.B08, sample.B04);
    if (sample.dataMask && ndvi > most) most = ndvi;
  }
  return [most];
}
"""
# Within one orbit, which sees the place on ten days of the period.
WEST, NORTH = 600_000, 5_330_000
PERIODS = {"NDVI of one scene": (NDVI, 5), "maximum NDVI of ten scenes": (MAX_NDVI, 50)}
START = dt.datetime(2024, 6, 1, tzinfo=dt.UTC)


def spent(action: Callable[[], object]) -> float:
    """
    Return the CPU seconds of this process and of the children that ended.

    :param action: What is measured.
    """
    end_children()
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.process_time()
    action()
    end_children()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() - began + after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def floor(place: Feature, end: dt.datetime) -> NDArray[np.float32]:
    """
    Compute the maximum NDVI by numpy.

    :param place: The raster.
    :param end: Of the period.
    """
    import numpy as np

    source, block = source_of({"type": "sentinel-2-l2a"}), Block(place, 0, place.height)
    if source is None:
        raise ValueError("there is no such collection")
    lon, lat = block.places
    most = np.full(block.shape, -1.0)
    days: set[dt.date] = set()
    for scene in source.scenes((lon.min(), lat.min(), lon.max(), lat.max()), START, end):
        if scene.sensed.date() in days:
            continue
        days.add(scene.sensed.date())
        read = source.read(scene, ["B04", "B08"], block)
        red, infrared = read["B04"] / 10_000, read["B08"] / 10_000
        most = np.fmax(most, (infrared - red) / (infrared + red))
    return most.astype(np.float32)


def main(side: int) -> None:
    """
    Measure, and print a table.

    :param side: Of a square, in pixels.
    """
    import numpy as np

    place = Feature("a", 32632, side, side, WEST, NORTH, 10, 10)
    print(f"{side} x {side} pixels              pixels per CPU second   CPU, as a multiple of the floor's")
    for name, (script, days) in PERIODS.items():
        end = START + dt.timedelta(days=days, seconds=-1)
        period = {"from": START.isoformat(), "to": end.isoformat()}
        data = [{"type": "sentinel-2-l2a", "dataFilter": {"timeRange": period}}]
        request: dict[str, Any] = {"input": {"data": data}, "evalscript": script}
        found: dict[str, list[NDArray[np.float32]]] = {}

        def render(pixels: Any, request: dict[str, Any] = request, found: Any = found) -> None:
            with Renderer(request, place, pixels) as renderer:
                found[pixels] = [each.outputs["default"][0] for each in renderer.blocks()]

        least = spent(lambda end=end: floor(place, end))  # type: ignore[misc] # the default binds the loop's value
        for pixels in ("evalscript", "quick"):
            seconds = spent(lambda pixels=pixels, render=render: render(pixels))  # type: ignore[misc] # as above
            print(f"{name:27} {pixels:10} {side * side / seconds:14,.0f} {seconds / least:16.2f}")
        same = np.allclose(np.concatenate(found["evalscript"]), floor(place, end), atol=1e-6)
        print(f"{name:27} the floor's values are {'the same' if same else 'OTHERS'}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 500)
