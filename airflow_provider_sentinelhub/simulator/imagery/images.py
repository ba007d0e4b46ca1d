"""The images of a task, whichever API it is of: what is written for each feature, where, and which of it exists."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow_provider_sentinelhub.simulator import evalscript
from airflow_provider_sentinelhub.simulator.bucket import geopackage
from airflow_provider_sentinelhub.simulator.imagery import zarr
from airflow_provider_sentinelhub.simulator.imagery.rasters import GeoTiff
from airflow_provider_sentinelhub.simulator.imagery.rendering import Renderer
from airflow_provider_sentinelhub.simulator.problems import AnalysisFailed

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow_provider_sentinelhub.simulator.bucket.delivery import Bucket, Template
    from airflow_provider_sentinelhub.simulator.evalscript import Setup
    from airflow_provider_sentinelhub.simulator.features.features import Feature
    from airflow_provider_sentinelhub.simulator.imagery.rendering import Pixels

JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Images:
    """
    The images of a task.

    :param process_request: ``processRequest`` of a checked request.
    :param output: Of a checked request: how the files, or the arrays of the Zarr, are written.
    :param template: Where the files go. The key of a Zarr is its folder.
    """

    process_request: dict[str, Any]
    output: dict[str, Any]
    template: Template

    @property
    def setup(self) -> Setup:
        """What the evalscript's ``setup()`` returns."""
        return evalscript.parse(self.process_request["evalscript"])

    @property
    def responses(self) -> list[tuple[str, str]]:
        """Identifier and media type of every file that is written for each feature."""
        listed = self.process_request["output"]["responses"]
        return [(each["identifier"], each["format"]["type"]) for each in listed]

    def check(self) -> None:
        """
        Compare the outputs of the request with those of the evalscript.

        :raises AnalysisFailed: They do not match; the text says why.
        """
        setup = self.setup
        for identifier, media_type in self.responses:
            if media_type == JSON:
                continue
            if identifier not in setup.outputs:
                raise AnalysisFailed(f"Output {identifier} requested but missing from function setup().")
            if self._zarr is not None:
                self._zarr.check(setup.outputs[identifier])
            elif self.output["cogOutput"] and setup.outputs[identifier].sample_type == "INT8":
                raise AnalysisFailed(f"Output {identifier}: COG output cannot use sampleType INT8.")
        if self.output.get("createCollection") or self.output.get("collectionId"):
            _check_band_names(setup)

    def remaining(self, features: list[Feature], bucket: Bucket, own: Iterable[str] = ()) -> list[Feature]:
        """
        Return the features whose files have to be written.

        :param features: All features.
        :param bucket: Where the files go.
        :param own: Keys of files about the task itself that are there already.
        :raises AnalysisFailed: A file exists and may be neither overwritten nor skipped.
        """
        if self._zarr is not None:
            self._zarr.check_folder(bucket, own)
            return features
        if self.output["overwrite"] and not self.output["skipExisting"]:
            return features
        present = bucket.keys(self.template.root)
        remaining: list[Feature] = []
        for feature in features:
            keys = [self.template.output(feature.name, *each) for each in self.responses]
            existing = [key for key in keys if key in present]
            if self.output["skipExisting"] and len(existing) == len(keys):
                continue
            if existing and not self.output["overwrite"]:
                raise AnalysisFailed(f"Output file {self.template.url(existing[0])} already exists.")
            remaining.append(feature)
        return remaining

    def before(self, features: list[Feature]) -> dict[str, bytes]:
        """
        Return the files that are written before those of the features, by key: the Zarr without its data.

        :param features: All features.
        :raises AnalysisFailed: They are not ones that the simulator writes as Zarr.
        """
        if self._zarr is None:
            return {}
        outputs = self.setup.outputs
        return self._zarr.metadata(features, [outputs[each] for each, _ in self.responses], self._time)

    def manifest(self, features: list[Feature]) -> bytes:
        """
        Write the GeoPackage that lists all files.

        :param features: All features.
        """
        return geopackage.manifest(
            geopackage.ManifestRow(
                crs=feature.crs,
                output_id=identifier,
                identifier=feature.name,
                path=self.template.url(self.template.output(feature.name, identifier, media_type)),
                width=feature.width,
                height=feature.height,
                geometry=feature.geometry or feature.extent,
            )
            for feature in features
            for identifier, media_type in self.responses
        )

    def deliver(self, feature: Feature, bucket: Bucket, pixels: Pixels) -> bool:
        """
        Write the files of one feature.

        :param feature: The feature.
        :param bucket: Where they go.
        :param pixels: How pixels are computed.
        :returns: Whether there is data; otherwise nothing is written.
        :raises RenderingFailed: The evalscript fails.
        :raises BucketFailed: They cannot be uploaded.
        """
        wanted = [identifier for identifier, media_type in self.responses if media_type != JSON]
        with Renderer(self.process_request, feature, pixels, wanted=wanted) as renderer:
            if not renderer.has_scenes:
                return False
            if self._zarr is not None:
                self._zarr.write(feature, renderer, wanted, bucket)
            else:
                self._write(feature, renderer, wanted, bucket)
        return True

    def _write(self, feature: Feature, renderer: Renderer, wanted: list[str], bucket: Bucket) -> None:
        cog = self.output.get("cogParameters", {}) if self.output.get("cogOutput") else None
        with ExitStack() as stack:
            files = {name: stack.enter_context(GeoTiff(feature, renderer.outputs[name])) for name in wanted}
            for block in renderer.blocks():
                for name, values in block.outputs.items():
                    files[name].write(block.first_row, values)
            for identifier, media_type in self.responses:
                key = self.template.output(feature.name, identifier, media_type)
                bucket.put(key, renderer.userdata if media_type == JSON else files[identifier].content(cog))

    def collected(self, feature: Feature) -> tuple[dict[str, str], str]:
        """
        Return the GeoTIFFs of a feature as the tile of a collection: keys by output, and the sensing time.

        :param feature: The feature.
        """
        keys = {
            identifier: self.template.output(feature.name, identifier, media_type)
            for identifier, media_type in self.responses
            if media_type == "image/tiff"
        }
        return keys, self._time.isoformat().replace("+00:00", "Z")

    @property
    def _zarr(self) -> zarr.ZarrGroup | None:
        if all(media_type != zarr.MEDIA_TYPE for _, media_type in self.responses):
            return None
        return zarr.ZarrGroup(self.output, self.template.key)

    @property
    def _time(self) -> datetime:
        # Nothing is documented about the time step of one image for a period: its beginning.
        ranges = (each.get("dataFilter", {}).get("timeRange") for each in self.process_request["input"]["data"])
        begins = (each["from"] for each in ranges if each and each.get("from"))
        begin = datetime.fromisoformat(next(begins, "1970-01-01T00:00:00Z"))
        return begin if begin.tzinfo else begin.replace(tzinfo=UTC)


def _check_band_names(setup: Setup) -> None:
    # An output `result` of three bands becomes result, result2, result3 in the collection.
    names: set[str] = set()
    for each in setup.outputs.values():
        for band in range(1, each.bands + 1):
            name = each.id if band == 1 else f"{each.id}{band}"
            if name in names:
                raise AnalysisFailed(f"Band name {name} would occur twice in the collection.")
            names.add(name)
