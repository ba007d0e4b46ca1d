"""
Statistical: the models of its requests.

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
    What is computed for one geometry.

    :param evalscript: The JavaScript that computes a pixel; it has an output ``dataMask``.
    """

    evalscript: Evalscript


class StatisticalInput(RequestModel):
    """
    The input.

    :param bounds: The geometry, or a box.
    :param data: The data sources; at least one.
    """

    bounds: Annotated[Bounds, Text]
    data: DataSources


class StatisticalRequest(StatisticsRequest):
    """
    A Statistical request: statistics of one geometry, in the answer to the request.

    :param input: Geometry and data.
    :param aggregation: What is computed.
    :param calculations: Histograms and percentiles, by output of the evalscript; ``default`` applies to all others.
    """

    input: Annotated[StatisticalInput, Text]
    aggregation: Annotated[StatisticalAggregation, Text]
