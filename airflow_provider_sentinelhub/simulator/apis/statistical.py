"""
Statistical: statistics of one place, in the answer.

Source: https://documentation.dataspace.copernicus.eu/APIs/SentinelHub/Statistical.html
"""

from __future__ import annotations

import copy
import hashlib
from functools import partial
from typing import TYPE_CHECKING, Any

import shapely
from fastapi import APIRouter

from airflow_provider_sentinelhub.simulator.evalscript import require_version_first
from airflow_provider_sentinelhub.simulator.features.features import outline_in_crs
from airflow_provider_sentinelhub.simulator.http.routes import add_answer
from airflow_provider_sentinelhub.simulator.problems import (
    AnalysisFailed,
    Problem,
    RenderingFailed,
    no_processing_units,
    violations,
)
from airflow_provider_sentinelhub.simulator.statistics.answers import EMPTY, Plan, answer
from airflow_provider_sentinelhub.simulator.statistics.parcels import MAX_PIXELS, parcel
from airflow_provider_sentinelhub.simulator.tasks.cost import statistics_pu
from airflow_provider_sentinelhub.simulator.tasks.script import Subject
from airflow_provider_sentinelhub.simulator.validation.aggregation import (
    check_aggregation,
    check_calculations,
    fill_aggregation,
)
from airflow_provider_sentinelhub.simulator.validation.findings import Findings, check_body, check_data
from airflow_provider_sentinelhub.simulator.validation.images import check_bounds
from airflow_provider_sentinelhub.simulator.validation.shapes import (
    AggregationShape,
    BoundsShape,
    Calculations,
    Filled,
    ImageInputShape,
    Shape,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_sentinelhub.simulator.features.features import Feature
    from airflow_provider_sentinelhub.simulator.tasks.service import Service

MINIMUM_PU = 0.01


class Statistical:
    """The Statistical API, which has no tasks."""

    def routers(self, service: Service) -> Iterator[APIRouter]:
        """
        Build the routes: the legacy layout and the new one.

        :param service: Has the script and the account.
        """
        router = APIRouter()
        for path in ("/api/v1/statistics", "/statistics/v1"):
            add_answer(router, path, evalscript_in="aggregation", answer=partial(_answer, service))
        yield router


def _answer(service: Service, payload: Any) -> tuple[dict[str, Any], float]:
    check_body(payload, _Request, _check_parts)
    request: dict[str, Any] = copy.deepcopy(payload)
    fill_aggregation(request["aggregation"])
    feature = _feature(request)
    try:
        if service.script.strict:
            require_version_first(request["aggregation"]["evalscript"])
        plan = Plan.of(request, request["aggregation"]["evalscript"], service.script.pixels)
    except AnalysisFailed as error:
        raise Problem(400, "RENDERER_EXCEPTION", str(error)) from error
    try:
        return _statistics(service, request, feature, plan)
    except RenderingFailed as error:
        raise Problem(400, "RENDERER_EXCEPTION", str(error)) from error


def _statistics(
    service: Service, request: dict[str, Any], feature: Feature, plan: Plan
) -> tuple[dict[str, Any], float]:
    outcomes = _outcomes(service, feature, plan, request["aggregation"]["evalscript"])
    if outcomes is None:
        return {"data": [], "status": "FAILED"}, 0.0
    price = statistics_pu(feature, plan.setup, plan.answered(outcomes), request["input"]["data"])
    spent = max(MINIMUM_PU, price)
    if service.balance < spent:
        raise no_processing_units()
    # What fails is not charged.
    found = answer(plan, feature, outcomes)
    with service.lock:
        service.balance -= spent
    return found, spent


def _outcomes(service: Service, feature: Feature, plan: Plan, evalscript: str) -> list[str | None] | None:
    starts = [each.start.isoformat() for each in plan.intervals]
    asked, *earlier = service.store.ask(feature.name, ["", *starts])
    subject = Subject(name=feature.name, text=evalscript, earlier=asked, place=feature.centre)
    script = service.script
    rule = script.feature_rule(subject)
    if rule is not None and rule.outcome in {"fatal", "failed"}:
        return None
    outcomes = script.interval_outcomes(subject, plan.intervals, earlier)
    return plan.settled(feature, outcomes, empty=rule is not None and rule.outcome == EMPTY)


class _Aggregation(AggregationShape):
    evalscript: Filled


class _Input(ImageInputShape):
    bounds: BoundsShape


class _Request(Shape):
    input: _Input
    aggregation: _Aggregation
    calculations: Calculations | None = None


def _check_parts(request: dict[str, Any], findings: Findings) -> None:
    check_data(request["input"]["data"], "input->data", findings)
    check_bounds(request["input"]["bounds"], "input->bounds", findings, required=True)
    check_aggregation(request["aggregation"], findings)
    check_calculations(request.get("calculations", {}), findings)


def _feature(request: dict[str, Any]) -> Feature:
    outline, crs = outline_in_crs(request["input"]["bounds"])
    # The place has no name of its own: derive one, the same for every request about it.
    name = hashlib.sha256(shapely.to_wkb(outline) + str(crs).encode()).hexdigest()[:12]
    feature = parcel(outline, crs, request["aggregation"], None, name)
    found = [
        {
            "parameter": f"aggregation->{given}",
            "violation": f"`{side} = {size}`, calculated from {given}, is larger than allowed {MAX_PIXELS}.",
        }
        for side, given, size in (("width", "resx", feature.width), ("height", "resy", feature.height))
        if size > MAX_PIXELS
    ]
    if found:
        raise violations(found)
    return feature
