"""
How well the estimate of the cost meets what the simulated service charges in the end.

Usage: ``python benchmarks/estimate_accuracy.py``. Prints the two tables of ``docs/cost.md``.

The simulator computes prices on its own, from the same published rules. Agreement shows that request, evalscript and
manifest are read correctly; it says nothing about the number of acquisitions, which the simulator assumes as well.
"""

from __future__ import annotations

import base64
import json
import sqlite3
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_provider_sentinelhub.artifacts.report.manifest import pixel_counts
from airflow_provider_sentinelhub.client.apis.batch_v2.spec import BATCH_V2
from airflow_provider_sentinelhub.client.costs.surcharge import (
    PU_PER_MB_TO_ANOTHER_CLOUD,
    PU_PER_MB_TO_ANOTHER_REGION,
)
from airflow_provider_sentinelhub.client.http.deployments import DEPLOYMENTS
from airflow_provider_sentinelhub.simulator.bucket import geopackage
from airflow_provider_sentinelhub.simulator.process import Simulator
from airflow_provider_sentinelhub.simulator.sample import sample_request

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_provider_sentinelhub.client.costs.estimate import Estimate

CORSICA = [8.5, 41.4, 9.6, 43.1]
AROUND_CORSICA = [7.0, 40.3, 10.0, 43.2]
HALF_OF_CORSICA = [8.9, 41.8, 9.5, 42.3]
# Enough bands for prices above the minimum of a task, at which every estimate would be right.
ALL_BANDS = '"B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12"'
FIELD_CRS = 32632
# The simulator's region is this deployment's.
DEPLOYMENT = DEPLOYMENTS["aws-eu-central-1"]


class Row(NamedTuple):
    """
    One request, its estimate and its price.

    :param name: What is special about it.
    :param simple: Whether its cost is known beforehand: the number of samples, and the size of what is transferred.
    :param estimate: Made between analysis and start.
    :param cost_pu: ``costPU`` of the task when it was DONE.
    """

    name: str
    simple: bool
    estimate: Estimate
    cost_pu: float


def script(bands: dict[str, str], outputs: str, mosaicking: str = "SIMPLE") -> str:
    """Write an evalscript; its bands by data source."""
    inputs = ", ".join(f"{{ datasource: {name!r}, bands: [{each}, 'dataMask'] }}" for name, each in bands.items())
    return (
        "//VERSION=3\nfunction setup() {\n"
        f"  return {{ input: [{inputs}], output: [{outputs}], mosaicking: {mosaicking!r} }};\n"
        "}\nfunction evaluatePixel(samples) { return {}; }\n"
    )


def requests(simulator: Simulator) -> list[tuple[str, bool, dict[str, Any]]]:
    """Build the requests: name, whether the cost is known beforehand, body."""

    def request(name: str, evalscript: str, bbox: list[float], **changes: Any) -> dict[str, Any]:
        body = sample_request(simulator.ready, f"{name}-{time.time_ns()}", **changes)
        body["processRequest"]["evalscript"] = evalscript
        body["processRequest"]["input"]["bounds"]["bbox"] = bbox
        return body

    one_byte, one_float = '{id: "default", bands: 1, sampleType: "UINT8"}', "{bands: 1, sampleType: SampleType.FLOAT32}"
    two = [{"identifier": name, "format": {"type": "image/tiff"}} for name in ("default", "index")]
    quarter = {"timeRange": {"from": "2024-04-01T00:00:00Z", "to": "2024-07-01T00:00:00Z"}}
    corrected = {"backCoeff": "GAMMA0_TERRAIN", "orthorectify": True, "speckleFilter": {"type": "LEE"}}
    optical = [{"type": f"sentinel-2-{level}", "id": level, "dataFilter": quarter} for level in ("l1c", "l2a")]
    radar = [{"type": "sentinel-1-grd", "id": "s1", "dataFilter": quarter, "processing": corrected}]
    bodies = [
        request("bytes", script({"l2a": ALL_BANDS}, one_byte), AROUND_CORSICA),
        request("floats", script({"l2a": '"B02", "B03", "B04"'}, one_float), CORSICA, input__resolution=20),
        request(
            "outputs",
            script({"l2a": ALL_BANDS}, one_byte + ', {id: "index", bands: 1, sampleType: "FLOAT32"}'),
            HALF_OF_CORSICA,
            input__resolution=20,
            processRequest__output__responses=two,
        ),
        request(
            "fields",
            script({"l1c": ALL_BANDS, "l2a": ALL_BANDS}, one_byte),
            CORSICA,
            processRequest__input__data=optical,
        ),
        request(
            "radar",
            script({"s1": '"VV", "VH"'}, one_byte),
            CORSICA,
            input__resolution=20,
            processRequest__input__data=radar,
        ),
        request(
            "orbit",
            script({"l2a": '"B04", "B08"'}, one_byte, "ORBIT"),
            CORSICA,
            processRequest__input__data=optical[1:],
        ),
        *(
            request(place, script({"l2a": ALL_BANDS}, one_float), HALF_OF_CORSICA, input__resolution=20)
            for place in ("region", "cloud")
        ),
    ]
    bodies[6]["output"]["delivery"]["s3"]["region"] = "us-west-2"
    key = base64.b64encode(json.dumps({"client_email": "a@b.example", "private_key": "-"}).encode()).decode()
    url = f"gs://{simulator.ready.bucket}/{bodies[7]['description']}"
    bodies[7]["output"]["delivery"] = {"gs": {"url": url, "credentials": key}}
    add_fields(simulator, bodies[3])
    names = (
        "60 m grid, 12 bands, UINT8",
        "20 m grid, 3 bands, FLOAT32",
        "20 m grid, 12 bands, two outputs, one of them FLOAT32",
        "GeoPackage, fields of 20 to 120 px, two data sources of 12 bands each",
        "20 m grid, Sentinel-1 with terrain correction and speckle filter",
        "60 m grid, 2 bands, ORBIT over three months",
        "20 m grid, 12 bands, FLOAT32, to S3 in another region",
        "20 m grid, 12 bands, FLOAT32, to Google Cloud Storage",
    )
    return [
        (name, number not in {5, 6, 7}, body) for number, (name, body) in enumerate(zip(names, bodies, strict=True))
    ]


def add_fields(simulator: Simulator, request: dict[str, Any]) -> None:
    """Put a GeoPackage of 400 fields into the bucket, and make it the input of a request."""
    folder = simulator.bucket_folder / request["description"]
    folder.mkdir(parents=True)
    write_geopackage(folder / "fields.gpkg")
    access = request["output"]["delivery"]["s3"]
    url = f"s3://{simulator.ready.bucket}/{request['description']}/fields.gpkg"
    request["input"] = {"type": "geopackage", "features": {"s3": {**access, "url": url}}}
    del request["processRequest"]["input"]["bounds"]


def write_geopackage(path: Path) -> None:
    """Write 400 fields of four sizes: the smallest below the minimum area, the largest with the discount."""
    from shapely.geometry import box

    path.write_bytes(geopackage.manifest([]))
    with closing(sqlite3.connect(path)) as database, database:
        database.execute(
            "CREATE TABLE fields (id INTEGER PRIMARY KEY, identifier TEXT, geom POLYGON, width INTEGER, height INTEGER)"
        )
        database.execute(
            "INSERT INTO gpkg_spatial_ref_sys VALUES ('UTM 32N', ?, 'EPSG', ?, 'undefined', NULL)",
            (FIELD_CRS, FIELD_CRS),
        )
        database.execute(
            "INSERT INTO gpkg_contents (table_name, data_type, srs_id) VALUES ('fields', 'features', ?)", (FIELD_CRS,)
        )
        database.execute(
            "INSERT INTO gpkg_geometry_columns VALUES ('fields', 'geom', 'POLYGON', ?, 0, 0)", (FIELD_CRS,)
        )
        for number in range(400):
            width = (20, 60, 99, 120)[number % 4]
            geometry = geopackage.blob(box(500_000, 4_600_000, 500_000 + width * 10, 4_601_000), FIELD_CRS)
            database.execute("INSERT INTO fields VALUES (?, ?, ?, ?, 100)", (number, f"f{number}", geometry, width))


def measure(simulator: Simulator, name: str, request: dict[str, Any], *, simple: bool) -> Row:
    """Run one request to its end, and estimate its cost when its features are known."""
    created = simulator.call("POST", "/batch/v2/process", request).body
    path = f"/batch/v2/process/{created['id']}"
    simulator.call("POST", f"{path}/analyse")
    wait(simulator, path, "ANALYSIS_DONE")
    root = simulator.bucket_folder / request["description"] / created["id"]
    estimate = BATCH_V2.estimate(request, pixel_counts(root / f"featureManifest-{created['id']}.gpkg"), DEPLOYMENT)
    simulator.call("POST", f"{path}/start")
    return Row(name, simple, estimate, wait(simulator, path, "DONE")["costPU"])


def wait(simulator: Simulator, path: str, status: str) -> dict[str, Any]:
    """Wait until a task has a status."""
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        task: dict[str, Any] = simulator.call("GET", path).body
        if task["status"] == status:
            return task
        if task["status"] in {"FAILED", "STOPPED"}:
            break
        time.sleep(0.05)
    raise SystemExit(f"The task is {task['status']}, not {status}: {task}")


def rows(simulator: Simulator) -> list[Row]:
    """Run all requests."""
    # Time passes fast and many features are processed at once; neither changes a price.
    simulator.set_script({"timing": {"parallel": 1000, "feature_seconds": 1}})
    simulator.run_clock(speed=6000)
    return [measure(simulator, name, body, simple=simple) for name, simple, body in requests(simulator)]


def table(measured: list[Row]) -> str:
    """Write the table in Markdown."""
    lines = [
        "| request | features | estimate | lowest | highest | charged | error |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for row in measured:
        estimate = row.estimate
        high = "?" if estimate.high_pu is None else f"{estimate.high_pu:,.1f}"
        numbers = f"{estimate.pu:,.1f} | {estimate.low_pu:,.1f} | {high} | {row.cost_pu:,.1f}"
        error = f"{100 * (estimate.pu / row.cost_pu - 1):+.1f} %"
        lines.append(f"| {row.name} | {estimate.features:,} | {numbers} | {error} |")
    return "\n".join(lines)


def surcharges(measured: list[Row]) -> str:
    """Write a table of what delivery costs besides, in Markdown."""
    lines = ["| delivery | MB before compression | estimate | charged |", "|---|--:|--:|--:|"]
    for row in measured:
        extra = row.estimate.surcharge
        if extra.pu:
            charged = row.cost_pu - (row.estimate.pu - extra.pu)
            megabytes = extra.pu / (PU_PER_MB_TO_ANOTHER_CLOUD if "Cloud" in row.name else PU_PER_MB_TO_ANOTHER_REGION)
            lines.append(f"| {row.name} | {megabytes:,.1f} | {extra.pu:.2f} | {charged:.2f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    with Simulator.start(speed=6000, quick=True) as running:
        found = rows(running)
    print(f"{table(found)}\n\n{surcharges(found)}")
