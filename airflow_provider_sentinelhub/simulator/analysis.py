"""What happens while a task is ANALYSING: find the features, and every reason not to process them."""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from airflow_provider_sentinelhub.simulator import evalscript, features, geopackage
from airflow_provider_sentinelhub.simulator.delivery import BucketFailed, Template
from airflow_provider_sentinelhub.simulator.kind import Analysis
from airflow_provider_sentinelhub.simulator.problems import AnalysisFailed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_sentinelhub.simulator.delivery import Bucket
    from airflow_provider_sentinelhub.simulator.evalscript import Setup
    from airflow_provider_sentinelhub.simulator.features import Feature
    from airflow_provider_sentinelhub.simulator.machine import Task


FEATURES = "input->features->s3"


def responses(task: Task) -> list[tuple[str, str]]:
    """
    Return identifier and media type of everything that is written for each feature.

    :param task: The task.
    """
    listed = task.request["processRequest"]["output"]["responses"]
    return [(each["identifier"], each["format"]["type"]) for each in listed]


def template(task: Task) -> Template:
    """
    Return where the files of a task go.

    :param task: The task.
    """
    return Template.of(task.request["output"]["delivery"]["s3"]["url"], task.id)


def analyse(task: Task, bucket: Bucket, source: Bucket | None) -> Analysis:
    """
    Analyse a task.

    :param task: The task; not changed.
    :param bucket: Where its files go.
    :param source: Where its input GeoPackage is; ``None`` for a tiling grid.
    :raises AnalysisFailed: The text becomes the task's ``error``.
    """
    _check_outputs(task, evalscript.parse(task.request["processRequest"]["evalscript"]))
    found = _features(task, source)
    if not found:
        raise AnalysisFailed("There are no features to process: none intersects the area of interest.")
    manifest = {
        template(task).beside(f"featureManifest-{task.id}.gpkg"): geopackage.manifest(_manifest_rows(task, found))
    }
    return Analysis(_remaining(task, found, bucket), manifest)


def _check_outputs(task: Task, setup: Setup) -> None:
    output = task.request["output"]
    if output["type"] == "zarr":
        raise AnalysisFailed("The simulator does not write Zarr. The request itself is valid.")
    for identifier, kind in responses(task):
        if kind != "image/tiff":
            continue
        if identifier not in setup.outputs:
            raise AnalysisFailed(f"Output {identifier} requested but missing from function setup().")
        if output["cogOutput"] and setup.outputs[identifier].sample_type == "INT8":
            raise AnalysisFailed(f"Output {identifier}: COG output cannot use sampleType INT8.")
    if output["createCollection"]:
        _check_band_names(setup)


def _check_band_names(setup: Setup) -> None:
    # An output `result` of three bands becomes result, result2, result3 in the collection.
    names: set[str] = set()
    for each in setup.outputs.values():
        for band in range(1, each.bands + 1):
            name = each.id if band == 1 else f"{each.id}{band}"
            if name in names:
                raise AnalysisFailed(f"Band name {name} would occur twice in the collection.")
            names.add(name)


def _features(task: Task, source: Bucket | None) -> list[Feature]:
    given = task.request["input"]
    area = features.area_of(task.request["processRequest"]["input"].get("bounds"))
    if given["type"] == "tiling-grid":
        if area is None:
            raise AnalysisFailed("A tiling grid needs an area of interest.")
        return features.from_grid(given, area)
    if source is None:
        raise AnalysisFailed("The input GeoPackage cannot be read.")
    with input_file(source, given["features"]["s3"]["url"]) as path:
        return features.from_geopackage(path, given.get("defaults", {}), area)


@contextmanager
def input_file(source: Bucket, url: str) -> Iterator[Path]:
    """
    Download the input GeoPackage.

    :param source: Where it is.
    :param url: Its URL.
    :raises AnalysisFailed: It cannot be read.
    """
    try:
        content = source.get(url.removeprefix("s3://").partition("/")[2])
    except BucketFailed as error:
        raise AnalysisFailed(f"The input GeoPackage {url} cannot be read: {error}.") from error
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "input.gpkg"
        path.write_bytes(content)
        yield path


def _remaining(task: Task, found: list[Feature], bucket: Bucket) -> list[Feature]:
    output = task.request["output"]
    if output["overwrite"] and not output["skipExisting"]:
        return found
    paths = template(task)
    present = bucket.keys(paths.root)
    remaining: list[Feature] = []
    for feature in found:
        keys = [paths.output(feature.name, *each) for each in responses(task)]
        existing = [key for key in keys if key in present]
        if output["skipExisting"] and len(existing) == len(keys):
            continue
        if existing and not output["overwrite"]:
            raise AnalysisFailed(f"Output file {paths.url(existing[0])} already exists.")
        remaining.append(feature)
    return remaining


def _manifest_rows(task: Task, found: list[Feature]) -> list[geopackage.ManifestRow]:
    paths = template(task)
    return [
        geopackage.ManifestRow(
            crs=feature.crs,
            output_id=identifier,
            identifier=feature.name,
            path=paths.url(paths.output(feature.name, identifier, kind)),
            width=feature.width,
            height=feature.height,
            geometry=feature.geometry or feature.extent,
        )
        for feature in found
        for identifier, kind in responses(task)
    ]
