"""Requests for statistics that the service would refuse, or fail later, and what users are told before that."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from tests.bad_inputs import BadInput
from tests.client.client_harness import NDVI, batch_statistical_document, statistical_document

if TYPE_CHECKING:
    from pathlib import Path

Document = Callable[..., dict[str, Any]]
SENT_AT = datetime(2026, 1, 1, tzinfo=UTC)
HISTOGRAM = "calculations__ndvi__histograms__default"


def _bad(
    title: str, message: str, changes: dict[str, Any], document: Document = batch_statistical_document, place: str = ""
) -> BadInput:
    def provoke(folder: Path) -> None:
        from airflow_provider_sentinelhub.artifacts.results.preflight import examine
        from airflow_provider_sentinelhub.client.apis.registry import request_type
        from airflow_provider_sentinelhub.client.http.deployments import DEPLOYMENTS

        request = document(**changes)
        examine(request_type(request), request, DEPLOYMENTS.get(place), SENT_AT).accepted()

    return BadInput(title, message, provoke)


STATISTICS = (
    _bad(
        "Statistics of a period that has not begun",
        "aggregation.timeRange.from = '2026-07-01T00:00:00Z': lies in the future, and with it the whole period: there "
        "are no images of it yet, and the run is charged all the same. Choose a period that has started, e.g. one "
        "that ends at {{ dag_run.run_after.isoformat() }}.",
        {"aggregation__timeRange": {"from": "2026-07-01T00:00:00Z", "to": "2026-08-01T00:00:00Z"}},
    ),
    _bad(
        "Statistics without an output dataMask",
        "aggregation.evalscript = 'output: ndvi': has no output dataMask, which the service requires to know which "
        'pixels are valid. Add {id: "dataMask", bands: 1} to the outputs of setup(), and dataMask: [...] to what '
        "evaluatePixel() returns.",
        {"aggregation__evalscript": NDVI.replace(', {id: "dataMask", bands: 1}', "")},
    ),
    _bad(
        "Calculations of an output that the evalscript does not have",
        "calculations.NDVI = 'NDVI': is not an output of the evalscript that statistics are computed of; there is "
        "ndvi. Write ndvi, or default for all others.",
        {"calculations": {"NDVI": {}}},
    ),
    _bad(
        "A histogram of a band that the output does not have",
        "calculations.ndvi.histograms.B1 = 'B1': is not a band of ndvi; there is B0. Write B0, or default for all "
        "others.",
        {"calculations__ndvi__histograms": {"B1": {"nBins": 3}}},
    ),
    _bad(
        "A histogram with a number of bins and their width",
        "calculations.ndvi.histograms.default = {'nBins': 10, 'lowEdge': -1, 'highEdge': 1.0, 'binWidth': "
        "0.1}: holds binWidth and nBins, and takes exactly one of bins, binWidth, nBins. Choose one.",
        {f"{HISTOGRAM}__binWidth": 0.1},
    ),
    _bad(
        "Bins that are not in ascending order",
        "calculations.ndvi.histograms.default.bins = [0, 0.5, 0.4]: must be two edges or more, in ascending order. "
        "Write e.g. [0, 0.2, 0.4, 1].",
        {HISTOGRAM: {"bins": [0, 0.5, 0.4]}},
    ),
    _bad(
        "A percentile beyond 100",
        "calculations.ndvi.statistics.default.percentiles.k = [50, 500]: must be numbers from 0 to 100, in "
        "percent. Write e.g. [5, 50, 95].",
        {"calculations__ndvi__statistics__default__percentiles__k": [50, 500]},
    ),
    _bad(
        "An interval of less than a day",
        "aggregation.aggregationInterval.of = 'PT12H': is less than a day, the shortest interval allowed. Write P1D "
        "or more.",
        {"aggregation__aggregationInterval__of": "PT12H"},
    ),
    _bad(
        "An interval of days and hours",
        "aggregation.aggregationInterval.of = 'P1DT12H': is not a duration this API accepts: whole numbers with Y, "
        "M, W, D or, after a T, with H, M, S. Write e.g. P1D, P7D, P1M or PT36H.",
        {"aggregation__aggregationInterval__of": "P1DT12H"},
    ),
    _bad(
        "An interval that is not an ISO 8601 duration",
        "aggregation.aggregationInterval.of = 'weekly': is not a duration this API accepts: whole numbers with Y, "
        "M, W, D or, after a T, with H, M, S. Write e.g. P1D, P7D, P1M or PT36H.",
        {"aggregation__aggregationInterval__of": "weekly"},
    ),
    _bad(
        "An interval that is longer than the period",
        "aggregation.aggregationInterval.of = 'P1Y': is longer than timeRange, 182 days: the only interval would be "
        "skipped because it is too short. Set lastIntervalBehavior to SHORTEN or EXTEND, or choose shorter "
        "intervals.",
        {"aggregation__aggregationInterval__of": "P1Y"},
    ),
    _bad(
        "A period without an end",
        "aggregation.timeRange = {'from': '2024-04-01T00:00:00Z'}: needs from and to. Write {\"from\": "
        '"2024-04-01T00:00:00Z", "to": "2024-10-01T00:00:00Z"}.',
        {"aggregation__timeRange": {"from": "2024-04-01T00:00:00Z"}},
    ),
    _bad(
        "Statistics with a size in pixels and a resolution",
        "aggregation = {'timeRange': {'from': '2024-04-01T00:00:00Z', 'to': '2024-09-30T00:00:00Z'}, "
        "'aggregationInterval': {'of': 'P7D'}, 'resx': 10.0, 'resy': 10.0, 'evalscript': "
        "'//VERSION=3\\nfunction setup() {\\n  return... (480 characters): holds both a size in pixels and a "
        "resolution. Give width and height, or resx and resy.",
        {"aggregation__width": 512},
    ),
    _bad(
        "More pixels than the service takes",
        "aggregation.resx = 0.0001: makes the width 5,440,000 pixels, and 2,500 is the most; its unit is that"
        " of the CRS, metres. Write 0.218 or more, or cut the geometry into parts.",
        {"aggregation__resx": 0.0001},
        statistical_document,
    ),
    _bad(
        "A resolution in metres for a geometry in degrees",
        "aggregation.resx = 10.0: is more than the width of the geometry, 0.005 degrees; its unit is that of the "
        "CRS, degrees. Write e.g. 9e-05, which is about 10 m, or give the geometry in a CRS in "
        "metres.\naggregation.resy = 10.0: is more than the height of the geometry, 0.005 degrees; its unit is that "
        "of the CRS, degrees. Write e.g. 9e-05, which is about 10 m, or give the geometry in a CRS in metres.",
        {"input__bounds": {"bbox": [14.0, 45.0, 14.005, 45.005]}},
        statistical_document,
    ),
    _bad(
        "Statistics without a geometry",
        "input.bounds = None: is required. Add a bbox or a geometry.",
        {"input__bounds": {}},
        statistical_document,
    ),
    _bad(
        "Bounds in a Batch Statistical request",
        "input = {'features': {'s3': {'url': 's3://bucket/parcels.gpkg'}}, 'data': [{'type': 'sentinel-2-l2a'}], "
        "'bounds': {'bbox': [14, 45, 15, 46]}}: a Batch Statistical request has no bounds. Remove them: the "
        "geometries come from the GeoPackage in features.",
        {"input__bounds": {"bbox": [14, 45, 15, 46]}},
    ),
    _bad(
        "An evalscript and a reference to one",
        "aggregation = {'timeRange': {'from': '2024-04-01T00:00:00Z', 'to': '2024-09-30T00:00:00Z'}, "
        "'aggregationInterval': {'of': 'P7D'}, 'resx': 10.0, 'resy': 10.0, 'evalscript': "
        "'//VERSION=3\\nfunction setup() {\\n  return... (532 characters): must hold either evalscript or "
        "evalscriptReference. Give the script's text, or its URL.",
        {"aggregation__evalscriptReference": {"s3": {"url": "s3://my-bucket/ndvi.js"}}},
    ),
    _bad(
        "Batch Statistical with a bucket on Google Cloud Storage",
        "output = {'gs': {'url': 'gs://my-bucket/statistics'}}: is on Google Cloud Storage, but this API reads and "
        "writes on S3 only. Use s3 with a bucket on S3.",
        {"output": {"gs": {"url": "gs://my-bucket/statistics"}}},
    ),
    _bad(
        "Batch Statistical on a deployment without it",
        "deployment = 'AWS US (Oregon)': has no Batch Statistical API. Use a connection to AWS EU (Frankfurt)"
        " or Copernicus Data Space Ecosystem.",
        {"input__data": [{"type": "landsat-ot-l1"}]},
        place="aws-us-west-2",
    ),
    _bad(
        "A placeholder of Batch V2 in a Batch Statistical request",
        "output.s3.url = 's3://my-bucket/<requestId>/<tileName>.json': <requestId> is not a placeholder the "
        "service knows. Write <REQUEST_ID> instead.",
        {"output": {"s3": {"url": "s3://my-bucket/<requestId>/<tileName>.json"}}},
    ),
    _bad(
        "A placeholder that the service does not know",
        "output.s3.url = 's3://my-bucket/f-<YEAR>.json': <YEAR> is not a placeholder the service knows. Use "
        "<REQUEST_ID>, <ID>, <IDENTIFIER>.",
        {"output": {"s3": {"url": "s3://my-bucket/f-<YEAR>.json"}}},
    ),
    _bad(
        "A secret in a Batch Statistical request",
        "output.s3.accessKey = '***': must not be in a request, where everybody who can see the DAG can "
        "read it. Put it in the connection named by aws_conn_id or gcp_conn_id; it is added when the request "
        "is sent.\n"
        "output.s3.secretAccessKey = '***': must not be in a request, where everybody who can see the DAG "
        "can read it. Put it in the connection named by aws_conn_id or gcp_conn_id; it is added when the "
        "request is sent.",
        {"output": {"s3": {"url": "s3://my-bucket/f", "accessKey": "AKIAIOSFODNN7EXAMPLE", "secretAccessKey": "x"}}},
    ),
)
