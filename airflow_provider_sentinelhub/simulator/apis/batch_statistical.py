"""
Batch Statistical: statistics of many polygons.

Source: https://documentation.dataspace.copernicus.eu/APIs/SentinelHub/BatchStatistical.html
"""

from __future__ import annotations

import copy
import json
import re
from typing import TYPE_CHECKING, Any, ClassVar

from fastapi import APIRouter

from airflow_provider_sentinelhub.simulator.bucket.delivery import BucketFailed
from airflow_provider_sentinelhub.simulator.features.features import input_file
from airflow_provider_sentinelhub.simulator.http.routes import ACTIONS, Paths, add_status, add_tasks
from airflow_provider_sentinelhub.simulator.http.tasks import USER, Tasks
from airflow_provider_sentinelhub.simulator.problems import AnalysisFailed, RenderingFailed
from airflow_provider_sentinelhub.simulator.statistics.answers import EMPTY, Plan, answer
from airflow_provider_sentinelhub.simulator.statistics.parcels import MAX_PIXELS, from_geopackage
from airflow_provider_sentinelhub.simulator.tasks.api import Analysis, TaskApi
from airflow_provider_sentinelhub.simulator.tasks.cost import statistics_pu
from airflow_provider_sentinelhub.simulator.tasks.store import FeatureRow
from airflow_provider_sentinelhub.simulator.validation.aggregation import (
    check_aggregation,
    check_calculations,
    fill_aggregation,
)
from airflow_provider_sentinelhub.simulator.validation.findings import (
    Findings,
    check_access,
    check_body,
    check_data,
    fill_data,
)
from airflow_provider_sentinelhub.simulator.validation.shapes import (
    AggregationShape,
    Calculations,
    Data,
    Filled,
    Shape,
    StorageShape,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from airflow_provider_sentinelhub.simulator.bucket.delivery import Bucket
    from airflow_provider_sentinelhub.simulator.features.features import Feature
    from airflow_provider_sentinelhub.simulator.imagery.rendering import Pixels
    from airflow_provider_sentinelhub.simulator.tasks.api import Work
    from airflow_provider_sentinelhub.simulator.tasks.lifecycle import Task
    from airflow_provider_sentinelhub.simulator.tasks.service import Service

MAX_EVALSCRIPT_BYTES = 32 * 1024
PLACEHOLDERS = frozenset({"REQUEST_ID", "ID", "IDENTIFIER"})
DEFAULT_TEMPLATE = "/<REQUEST_ID>/<ID>.json"
FEATURES = "input->features->s3"
REFERENCE = "aggregation->evalscriptReference->s3"
FILELESS = frozenset({"undelivered", "pending", "missing_file", "stuck"})
ERRORS = frozenset({"EXECUTION_ERROR", "TIMEOUT", "BAD_REQUEST"})


class BatchStatistical(TaskApi):
    """Statistics of many polygons. See :class:`~airflow_provider_sentinelhub.simulator.tasks.api.TaskApi`."""

    name = "batch-statistical"
    needs_balance = frozenset({"ANALYSE", "START"})
    kept_days: ClassVar[Mapping[str, int]] = {
        "CREATED": 7,
        "FAILED": 15,
        "ANALYSIS_DONE": 30,
        "STOPPED": 30,
        "DONE": 30,
    }

    def routers(self, service: Service) -> Iterator[APIRouter]:
        """Build the routes: the legacy layout and the new one."""
        tasks = Tasks(service, self)
        for base in ("/api/v1/statistics/batch", "/statistics/batch/v1"):
            router = APIRouter()
            paths = Paths(base, "/statistics/batch/v1")
            # cancel is what stop was called before 2023; older clients still use it.
            actions = {**ACTIONS, "cancel": "STOP"}
            add_tasks(router, tasks, paths, evalscript_in="aggregation", searched=False, actions=actions)
            add_status(router, tasks, paths)
            yield router

    def check(self, payload: Any) -> dict[str, Any]:
        """Check a request."""
        check_body(payload, _Request, _check_parts)
        filled: dict[str, Any] = copy.deepcopy(payload)
        fill_data(filled["input"]["data"])
        fill_aggregation(filled["aggregation"])
        return filled

    def user_text(self, request: dict[str, Any]) -> str:
        """Return the evalscript or its URL: there is no description."""
        aggregation = request["aggregation"]
        return str(aggregation.get("evalscript") or aggregation["evalscriptReference"]["s3"]["url"])

    def evalscript(self, request: dict[str, Any]) -> str:
        """Return the evalscript."""
        return str(request["aggregation"].get("evalscript") or "")

    def delivery(self, request: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """Return the output."""
        return "output->s3", request["output"]["s3"]

    def sources(self, request: dict[str, Any]) -> dict[str, dict[str, Any]]:
        """Return where the GeoPackage is, and the evalscript if it is in a bucket."""
        found = {FEATURES: request["input"]["features"]["s3"]}
        if "evalscriptReference" in request["aggregation"]:
            found[REFERENCE] = request["aggregation"]["evalscriptReference"]["s3"]
        return found

    def analyse(self, task: Task, _bucket: Bucket, sources: dict[str, Bucket]) -> Analysis:
        """Read evalscript and polygons."""
        script = _referenced(task, sources[REFERENCE]) if REFERENCE in sources else None
        Plan.of(task.request, script or task.request["aggregation"]["evalscript"])
        with input_file(sources[FEATURES], task.request["input"]["features"]["s3"]["url"]) as path:
            found = from_geopackage(path, task.request["aggregation"])
        if "<IDENTIFIER>" in task.request["output"]["s3"]["url"] and not all(each.named for each in found):
            raise AnalysisFailed("The output template has <IDENTIFIER>, but there are features without an identifier.")
        return Analysis(found, evalscript=script)

    def view(self, task: Task, common: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG002 - the same for all tasks
        """Return a task with the user that created it."""
        return {**common, "userId": str(USER)}

    def price(self, task: Task, feature: Feature) -> float:
        """Return what the statistics of one feature cost if no interval fails."""
        plan = _plan(task)
        return statistics_pu(feature, plan.setup, plan.intervals, task.request["input"]["data"])

    def process(self, work: Work) -> tuple[FeatureRow, float]:
        """Write the statistics of one feature."""
        rule = work.script.feature_rule(work.subject)
        outcome = rule.outcome if rule is not None else "delivered"
        feature = work.feature
        error = None
        if outcome == "fatal":
            error = rule.error if rule is not None and rule.error in ERRORS else "EXECUTION_ERROR"
        elif max(feature.width, feature.height) > MAX_PIXELS:
            error = "BAD_REQUEST"
        elif outcome == "failed":
            error = "FAILED"
        price = 0.0
        body: dict[str, Any] = {}
        if error == "FAILED":
            body = {"response": {"data": None, "status": error}}
        elif error is not None:
            body = {"error": {"type": error}}
        elif outcome not in FILELESS:
            try:
                body["response"], price = _response(work, empty=outcome == EMPTY)
            except RenderingFailed as failure:
                body, error = {"error": {"type": "BAD_REQUEST"}}, str(failure)
        delivered = outcome not in FILELESS
        if delivered:
            about = {"id": feature.id, "identifier": feature.name if feature.named else None}
            try:
                work.bucket.put(result_key(work.task, feature), json.dumps({**about, **body}).encode())
            except BucketFailed as failure:
                error, delivered = f"Writing failed: {failure}", False
        row = FeatureRow(
            number=work.number,
            name=feature.name,
            status="PENDING" if outcome == "pending" else "FATAL" if error else "DONE",
            error=error,
            delivered=delivered,
            handled=True,
        )
        return row, price


class _Aggregation(AggregationShape):
    evalscript: Filled = ""
    evalscript_reference: StorageShape | None = None


class _Input(Shape):
    features: StorageShape
    data: Data


class _Request(Shape):
    input: _Input
    aggregation: _Aggregation
    calculations: Calculations | None = None
    output: StorageShape


def _check_parts(request: dict[str, Any], findings: Findings) -> None:
    check_access(request["input"]["features"], "input->features", findings)
    check_data(request["input"]["data"], "input->data", findings)
    check_aggregation(request["aggregation"], findings)
    _check_evalscript(request["aggregation"], findings)
    check_calculations(request.get("calculations", {}), findings)
    check_access(request["output"], "output", findings)
    if not findings.found:
        _check_template(request["output"]["s3"]["url"], findings)


def _check_evalscript(part: dict[str, Any], findings: Findings) -> None:
    if ("evalscript" in part) == ("evalscriptReference" in part):
        findings.add("aggregation->evalscript", "either evalscript or evalscriptReference must be provided")
    elif "evalscriptReference" in part:
        check_access(part["evalscriptReference"], "aggregation->evalscriptReference", findings)
    elif len(part["evalscript"].encode()) >= MAX_EVALSCRIPT_BYTES:
        findings.add(
            "aggregation->evalscript",
            "evalscript must be smaller than 32 KB; use evalscriptReference for a larger one",
        )


def _check_template(url: str, findings: Findings) -> None:
    found = re.findall(r"<([^<>]*)>", url)
    for name in found:
        if name not in PLACEHOLDERS:
            findings.add("output->s3->url", f"unknown placeholder <{name}>")
    if found and not {"ID", "IDENTIFIER"} & set(found):
        findings.add("output->s3->url", "the template must contain <ID> or <IDENTIFIER>")


def _referenced(task: Task, source: Bucket) -> str:
    url = task.request["aggregation"]["evalscriptReference"]["s3"]["url"]
    try:
        return source.get(url.removeprefix("s3://").partition("/")[2]).decode()
    except (BucketFailed, UnicodeDecodeError) as error:
        raise AnalysisFailed(f"The evalscript {url} cannot be read: {error}.") from error


def _plan(task: Task, pixels: Pixels = "quick") -> Plan:
    return Plan.of(task.request, task.evalscript or task.request["aggregation"]["evalscript"], pixels)


def _response(work: Work, *, empty: bool) -> tuple[dict[str, Any], float]:
    task, feature = work.task, work.feature
    plan = _plan(task, work.script.pixels)
    earlier = [work.subject.earlier] * len(plan.intervals)
    outcomes = plan.settled(feature, work.script.interval_outcomes(work.subject, plan.intervals, earlier), empty=empty)
    price = statistics_pu(feature, plan.setup, plan.answered(outcomes), task.request["input"]["data"])
    return answer(plan, feature, outcomes), price


def result_key(task: Task, feature: Feature) -> str:
    """
    Return the key of a feature's file.

    :param task: Its task.
    :param feature: The feature.
    """
    path = str(task.request["output"]["s3"]["url"]).removeprefix("s3://").partition("/")[2].rstrip("/")
    template = path if "<" in path else path + DEFAULT_TEMPLATE
    key = template.replace("<REQUEST_ID>", task.id).replace("<ID>", str(feature.id))
    return key.replace("<IDENTIFIER>", feature.name).lstrip("/")
