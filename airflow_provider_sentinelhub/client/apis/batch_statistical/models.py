"""
Batch Statistical: the models of its requests.

Source: https://docs.planet.com/develop/apis/batch-statistical/reference/
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, model_validator

from airflow_provider_sentinelhub.client.models import Evalscript, RequestModel, Text, broken
from airflow_provider_sentinelhub.client.requests.aggregation import Aggregation, StatisticsRequest
from airflow_provider_sentinelhub.client.requests.data import DataSources
from airflow_provider_sentinelhub.client.requests.delivery import S3Bucket


def _storage(given: Any) -> Any:
    if isinstance(given, dict) and "gs" in given:
        broken("is on Google Cloud Storage, but this API reads and writes on S3 only", "Use s3 with a bucket on S3.")
    return given


class S3Storage(RequestModel):
    """
    A location in the only object storage that Batch Statistical supports.

    :param s3: On S3.
    """

    s3: Annotated[S3Bucket, Text]


Storage = Annotated[S3Storage, BeforeValidator(_storage), Text]


class BatchAggregation(Aggregation):
    """
    What is computed for each feature.

    :param evalscript: The JavaScript that computes a pixel; it has an output ``dataMask``.
    :param evalscript_reference: Location of the script, instead of ``evalscript``.
    """

    evalscript: Evalscript | None = None
    evalscript_reference: Storage | None = None

    @model_validator(mode="after")
    def _one_script(self) -> BatchAggregation:
        if (self.evalscript is None) == (self.evalscript_reference is None):
            broken("must hold either evalscript or evalscriptReference", "Give the script's text, or its URL.")
        return self


class BatchStatisticalInput(RequestModel):
    """
    The input.

    :param features: Location of the GeoPackage with the polygons.
    :param data: The data sources; at least one.
    """

    features: Storage
    data: DataSources

    @model_validator(mode="before")
    @classmethod
    def _no_bounds(cls, given: Any) -> Any:
        if isinstance(given, dict) and "bounds" in given:
            broken(
                "a Batch Statistical request has no bounds",
                "Remove them: the geometries come from the GeoPackage in features.",
            )
        return given


class BatchStatisticalRequest(StatisticsRequest):
    """
    A Batch Statistical request: statistics of the polygons of a GeoPackage, in one file for each polygon.

    :param input: Polygons and data.
    :param aggregation: What is computed for each polygon.
    :param calculations: Histograms and percentiles, by output of the evalscript; ``default`` applies to all others.
    :param output: Where results are delivered: a folder, or a template with ``<ID>`` or ``<IDENTIFIER>``.
    """

    input: Annotated[BatchStatisticalInput, Text]
    aggregation: Annotated[BatchAggregation, Text]
    output: Storage
