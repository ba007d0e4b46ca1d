"""What is particular to the Batch Processing API V2."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from airflow_provider_sentinelhub.simulator import analysis, processing, validation
from airflow_provider_sentinelhub.simulator.masking import masked

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_sentinelhub.simulator.delivery import Bucket
    from airflow_provider_sentinelhub.simulator.kind import Analysis, Work
    from airflow_provider_sentinelhub.simulator.machine import Task
    from airflow_provider_sentinelhub.simulator.store import FeatureRow


class BatchV2:
    """Images of many places. See :class:`~airflow_provider_sentinelhub.simulator.kind.Kind`."""

    name = "batch-v2"
    guarded: frozenset[str] = frozenset()
    kept_days: Mapping[str, int] = {}

    def check(self, payload: Any) -> dict[str, Any]:
        """Check a request."""
        return validation.check(payload)

    def words(self, request: dict[str, Any]) -> str:
        """Return the description."""
        return str(request.get("description") or "")

    def delivery(self, request: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """Return the delivery."""
        return "output->delivery->s3", request["output"]["delivery"]["s3"]

    def sources(self, request: dict[str, Any]) -> dict[str, dict[str, Any]]:
        """Return where the GeoPackage is, if there is one."""
        given = request["input"]
        return {analysis.FEATURES: given["features"]["s3"]} if given["type"] == "geopackage" else {}

    def created(self, task: Task, payload: Any) -> dict[str, bytes]:
        """Return the request, which the service keeps beside the results."""
        content = json.dumps(masked(payload), indent=1).encode()
        return {analysis.template(task).beside(f"request-{task.id}.json"): content}

    def analyse(self, task: Task, bucket: Bucket, sources: dict[str, Bucket]) -> Analysis:
        """Find tiles or polygons, and every reason not to process them."""
        return analysis.analyse(task, bucket, sources.get(analysis.FEATURES))

    def process(self, work: Work) -> tuple[FeatureRow, float]:
        """Write the images of one feature."""
        return processing.process(work)

    def execution_key(self, task: Task) -> str:
        """Return where the execution database goes."""
        return analysis.template(task).beside(f"execution-{task.id}.sqlite")
