"""
Batch Statistical: what is sent.

Source: https://docs.planet.com/develop/apis/batch-statistical/reference/
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, model_validator

from airflow_provider_sentinelhub.client.models import Evalscript, RequestModel, Text, broken
from airflow_provider_sentinelhub.client.requests.aggregation import Aggregation, StatisticsRequest
from airflow_provider_sentinelhub.client.requests.data import DataSources
from airflow_provider_sentinelhub.client.requests.object_storage import S3Bucket


def _storage(given: Any) -> Any:
    if isinstance(given, dict) and "gs" in given:
        broken("is on Google Cloud Storage, and this API reads and writes on S3 only", "Write s3, with a bucket there.")
    return given


class S3Storage(RequestModel):
    """
    A place in the one object storage that Batch Statistical knows.

    :param s3: On S3.
    """

    s3: Annotated[S3Bucket, Text]


Storage = Annotated[S3Storage, BeforeValidator(_storage), Text]


class BatchAggregation(Aggregation):
    """
    What is computed of each feature.

    :param evalscript: The JavaScript that computes a pixel; it has an output ``dataMask``.
    :param evalscript_reference: Where the script lies instead.
    """

    evalscript: Evalscript | None = None
    evalscript_reference: Storage | None = None

    @model_validator(mode="after")
    def _one_script(self) -> BatchAggregation:
        if (self.evalscript is None) == (self.evalscript_reference is None):
            broken("must hold either evalscript or evalscriptReference", "Give the script's text, or where it lies.")
        return self


class BatchStatisticalInput(RequestModel):
    """
    What is read.

    :param features: Where the GeoPackage of the polygons lies.
    :param data: The data sources; at least one.
    """

    features: Storage
    data: DataSources

    @model_validator(mode="before")
    @classmethod
    def _no_bounds(cls, given: Any) -> Any:
        if isinstance(given, dict) and "bounds" in given:
            broken("a batch takes no bounds", "Remove them: the geometries are those of the GeoPackage in features.")
        return given


class BatchStatisticalRequest(StatisticsRequest):
    """
    A Batch Statistical request: the polygons of a GeoPackage, answered by one file each.

    :param input: Polygons and data.
    :param aggregation: What is computed of each.
    :param calculations: Histograms and percentiles, by the evalscript's outputs; ``default`` stands for those that are
        not named.
    :param output: Where results go: a folder, or a template with ``<ID>`` or ``<IDENTIFIER>``.
    """

    input: Annotated[BatchStatisticalInput, Text]
    aggregation: Annotated[BatchAggregation, Text]
    output: Storage
