"""The images of a task, whichever API it is of: what is written for each feature, where, and which of it exists."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_sentinelhub.simulator import evalscript
from airflow_provider_sentinelhub.simulator.bucket import geopackage
from airflow_provider_sentinelhub.simulator.imagery import rasters
from airflow_provider_sentinelhub.simulator.problems import AnalysisFailed

if TYPE_CHECKING:
    from airflow_provider_sentinelhub.simulator.bucket.delivery import Bucket, Template
    from airflow_provider_sentinelhub.simulator.evalscript import Output, Setup
    from airflow_provider_sentinelhub.simulator.features.features import Feature


SAMPLE_TYPES_OF_ARRAYS = {
    "u1": {"UINT8", "AUTO"},
    "i1": {"INT8"},
    "u2": {"UINT16", "UINT8", "AUTO"},
    "i2": {"INT16", "UINT8", "INT8", "AUTO"},
}


@dataclass(frozen=True, slots=True)
class Images:
    """
    The images of a task.

    :param process_request: ``processRequest`` of a checked request.
    :param output: ``output`` of a checked request.
    :param template: Where the files go.
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
            if media_type == "application/json":
                continue
            if identifier not in setup.outputs:
                raise AnalysisFailed(f"Output {identifier} requested but missing from function setup().")
            if media_type == "zarr/array":
                if setup.outputs[identifier].bands != 1:
                    raise AnalysisFailed(f"Output {identifier}: Zarr output supports one band for each output.")
                self._check_array(setup.outputs[identifier])
                raise AnalysisFailed("The simulator does not write Zarr. The request itself is valid.")
            if self.output["cogOutput"] and setup.outputs[identifier].sample_type == "INT8":
                raise AnalysisFailed(f"Output {identifier}: COG output cannot use sampleType INT8.")
        if self.output.get("createCollection") or self.output.get("collectionId"):
            _check_band_names(setup)

    def _check_array(self, output: Output) -> None:
        own = self.output.get("arrayOverrides", {}).get(output.id, {})
        dtype = own.get("dtype") or self.output["arrayParameters"]["dtype"]
        # Floats hold every sample type.
        if output.sample_type not in SAMPLE_TYPES_OF_ARRAYS.get(dtype[1:], {output.sample_type}):
            raise AnalysisFailed(f"Output {output.id}: dtype {dtype} does not fit sampleType {output.sample_type}.")

    def remaining(self, features: list[Feature], bucket: Bucket) -> list[Feature]:
        """
        Return the features whose files have to be written.

        :param features: All features.
        :param bucket: Where the files go.
        :raises AnalysisFailed: A file exists and may be neither overwritten nor skipped.
        """
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

    def deliver(self, feature: Feature, bucket: Bucket) -> None:
        """
        Write the files of one feature.

        :param feature: The feature.
        :param bucket: Where they go.
        :raises BucketFailed: They cannot be uploaded.
        """
        cog = self.output.get("cogParameters", {}) if self.output["cogOutput"] else None
        for identifier, media_type in self.responses:
            key = self.template.output(feature.name, identifier, media_type)
            if media_type == "application/json":
                bucket.put(key, rasters.userdata(feature))
            else:
                bucket.put(key, rasters.geotiff(feature, self.setup.outputs[identifier], cog))


def _check_band_names(setup: Setup) -> None:
    # An output `result` of three bands becomes result, result2, result3 in the collection.
    names: set[str] = set()
    for each in setup.outputs.values():
        for band in range(1, each.bands + 1):
            name = each.id if band == 1 else f"{each.id}{band}"
            if name in names:
                raise AnalysisFailed(f"Band name {name} would occur twice in the collection.")
            names.add(name)
