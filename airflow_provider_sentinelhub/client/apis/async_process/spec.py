"""
Async Process, as data.

It is no ``TaskApiSpec``: the service describes a request only by its id and only while it runs, so there is no task to
read, list, start, stop or account for. What became of a request is in the bucket, see
:mod:`airflow_provider_sentinelhub.artifacts.results.async_process`.
"""

from __future__ import annotations

from typing import Final

from airflow_provider_sentinelhub.client.apis.async_process import calls
from airflow_provider_sentinelhub.client.apis.async_process.costs import price
from airflow_provider_sentinelhub.client.apis.async_process.rules import RULES
from airflow_provider_sentinelhub.client.http.deployments import Service
from airflow_provider_sentinelhub.client.lifecycle.spec import ApiSpec, LongScript

ASYNC_PROCESS: Final = ApiSpec(
    key="async-process",
    title="Async Process",
    operator="SentinelHubAsyncProcessOperator",
    service=Service.ASYNC_PROCESS,
    check=calls.check,
    rules=RULES,
    price=price,
    input=("input",),
    script_holder="",
    storages=(("output", "delivery"), ("evalscriptReference",)),
    # The limit is that of Batch Statistical: none is documented for this API.
    long_script=LongScript(32 * 1024, lambda _: "evalscript.js"),
)
