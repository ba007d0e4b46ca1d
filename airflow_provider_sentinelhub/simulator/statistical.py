"""
The Statistical API: statistics of one place, in the answer.

Source: https://documentation.dataspace.copernicus.eu/APIs/SentinelHub/Statistical.html
"""

from __future__ import annotations

import copy
import hashlib
from typing import TYPE_CHECKING, Any

import shapely

from airflow_provider_sentinelhub.simulator.cost import MINIMUM_STATISTICAL_PU, statistics_pu
from airflow_provider_sentinelhub.simulator.features import outline_in_crs
from airflow_provider_sentinelhub.simulator.findings import Findings, check_body, check_data
from airflow_provider_sentinelhub.simulator.parcels import parcel
from airflow_provider_sentinelhub.simulator.problems import AnalysisFailed, Problem, no_processing_units, violations
from airflow_provider_sentinelhub.simulator.rules import Subject
from airflow_provider_sentinelhub.simulator.statistics import EMPTY, Plan, answer
from airflow_provider_sentinelhub.simulator.statistics_validation import (
    MAX_PIXELS,
    check_aggregation,
    check_calculations,
    fill_aggregation,
)

if TYPE_CHECKING:
    from airflow_provider_sentinelhub.simulator.features import Feature
    from airflow_provider_sentinelhub.simulator.service import Service


class Statistical:
    """
    The Statistical API.

    :param service: Has the script and the account.
    """

    def __init__(self, service: Service) -> None:
        self._service = service

    def answer(self, payload: Any) -> tuple[dict[str, Any], float]:
        """
        Answer a request.

        :param payload: Parsed body.
        :returns: The body of the answer, and the processing units spent.
        :raises Problem: 400 or 403.
        """
        check_body(payload, _check_parts)
        request: dict[str, Any] = copy.deepcopy(payload)
        fill_aggregation(request["aggregation"])
        feature = _feature(request)
        try:
            plan = Plan.of(request, request["aggregation"]["evalscript"])
        except AnalysisFailed as error:
            raise Problem(400, "RENDERER_EXCEPTION", str(error)) from error
        outcomes = self._outcomes(feature, plan, request["aggregation"]["evalscript"])
        if outcomes is None:
            return {"data": [], "status": "FAILED"}, 0.0
        price = statistics_pu(feature, plan.setup, plan.answered(outcomes), request["input"]["data"])
        spent = max(MINIMUM_STATISTICAL_PU, price)
        with self._service.lock:
            if self._service.balance < spent:
                raise no_processing_units()
            self._service.balance -= spent
        return answer(plan, feature, outcomes), spent

    def _outcomes(self, feature: Feature, plan: Plan, evalscript: str) -> list[str | None] | None:
        starts = [each.start.isoformat() for each in plan.intervals]
        asked, *earlier = self._service.store.ask(feature.name, ["", *starts])
        subject = Subject(name=feature.name, words=evalscript, earlier=asked, place=feature.centre)
        script = self._service.script
        rule = script.feature_rule(subject)
        if rule is not None and rule.outcome in {"fatal", "failed"}:
            return None
        outcomes = script.interval_outcomes(subject, plan.intervals, earlier)
        return [each or EMPTY for each in outcomes] if rule is not None and rule.outcome == EMPTY else outcomes


def _check_parts(request: dict[str, Any], findings: Findings) -> None:
    source = findings.part(request, "input", "")
    if source:
        check_data(source, "input", findings)
        try:
            outline, _ = outline_in_crs(findings.part(source, "bounds", "input"))
            if not outline.area:
                findings.add("input->bounds", "the geometry must have an area")
        except (ValueError, TypeError, KeyError, AttributeError, IndexError) as error:
            findings.add("input->bounds", f"Invalid bounds: {error}")
    aggregation = findings.part(request, "aggregation", "")
    check_aggregation(aggregation, findings)
    if not isinstance(aggregation.get("evalscript"), str) or not aggregation["evalscript"].strip():
        findings.add("aggregation->evalscript", "evalscript must be provided")
    check_calculations(request.get("calculations", {}), findings)


def _feature(request: dict[str, Any]) -> Feature:
    outline, crs = outline_in_crs(request["input"]["bounds"])
    # Nobody gives the place a name: the same place always has the same.
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
