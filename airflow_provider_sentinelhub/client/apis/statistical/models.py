"""
Statistical: what is sent.

Source: https://docs.planet.com/develop/apis/statistical/reference/
"""

from __future__ import annotations

from typing import Annotated

from airflow_provider_sentinelhub.client.models import Evalscript, RequestModel, Text
from airflow_provider_sentinelhub.client.requests.aggregation import Aggregation, StatisticsRequest
from airflow_provider_sentinelhub.client.requests.bounds import Bounds
from airflow_provider_sentinelhub.client.requests.data import DataSources


class StatisticalAggregation(Aggregation):
    """
    What is computed of one geometry.

    :param evalscript: The JavaScript that computes a pixel; it has an output ``dataMask``.
    """

    evalscript: Evalscript


class StatisticalInput(RequestModel):
    """
    What is read.

    :param bounds: The geometry, or a box.
    :param data: The data sources; at least one.
    """

    bounds: Annotated[Bounds, Text]
    data: DataSources


class StatisticalRequest(StatisticsRequest):
    """
    A Statistical request: one geometry, answered at once.

    :param input: Geometry and data.
    :param aggregation: What is computed.
    :param calculations: Histograms and percentiles, by the evalscript's outputs; ``default`` stands for those that are
        not named.
    """

    input: Annotated[StatisticalInput, Text]
    aggregation: Annotated[StatisticalAggregation, Text]
