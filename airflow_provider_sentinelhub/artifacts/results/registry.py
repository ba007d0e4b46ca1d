"""Which results are whose: what reads and checks a bucket for each API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from airflow_provider_sentinelhub.artifacts.results.async_process import check_delivery_url
from airflow_provider_sentinelhub.artifacts.results.batch_statistical import BatchStatisticalResults
from airflow_provider_sentinelhub.artifacts.results.batch_v1 import BatchV1Results
from airflow_provider_sentinelhub.artifacts.results.batch_v2 import BatchV2Results

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from airflow_provider_sentinelhub.artifacts.features.problems import Problem
    from airflow_provider_sentinelhub.artifacts.results.base import Ask, BatchResults
    from airflow_provider_sentinelhub.artifacts.storage.storage import Storage
    from airflow_provider_sentinelhub.client.lifecycle.spec import TaskApiSpec

RESULTS: Final[Mapping[str, type[BatchResults]]] = {
    "batch-v1": BatchV1Results,
    "batch-v2": BatchV2Results,
    "batch-statistical": BatchStatisticalResults,
}
"""By the key of the API."""

DELIVERIES: Final[Mapping[str, Callable[[Mapping[str, Any], str, str], None]]] = {
    **{key: results.check_delivery_url for key, results in RESULTS.items()},
    "async-process": check_delivery_url,
}
"""What checks the form of a request's delivery URLs, by the key of the API."""


def results_of(api: TaskApiSpec, storage: Storage, ask: Ask, identifier_column: str | None = None) -> BatchResults:
    """
    Return what reads the results of an API.

    :param api: The API.
    :param storage: Where the bucket is.
    :param ask: Runs a procedure, and returns its result.
    :param identifier_column: Column of the input GeoPackage with the names of the features, for statistics. Default:
        ``identifier``.
    """
    return RESULTS[api.key](api, storage, ask, identifier_column)


def check_input_features(api: TaskApiSpec, path: Path, body: Mapping[str, Any]) -> tuple[Problem, ...]:
    """
    Find everything that is wrong with the GeoPackage a request takes its features from.

    :param api: The API.
    :param path: The file.
    :param body: The request.
    :returns: What is wrong; empty where the service will take it.
    :raises StorageUnavailable: This machine has no room to read it.
    """
    return RESULTS[api.key].check_features(path, body)
