from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_sentinelhub.artifacts.report.causes import CauseKind
from airflow_provider_sentinelhub.artifacts.report.report import (
    ErrorGroup,
    FeatureOutcome,
    FeatureReport,
    Outcome,
    TaskCounts,
    outcome_of,
)
from airflow_provider_sentinelhub.client.errors import ArtifactMissing, InvalidParameter

REPORT = FeatureReport(
    total=700_000,
    delivered=660_000,
    no_data=19_000,
    failed=20_819,
    pending=179,
    unknown=2,
    unknown_statuses=(("RETRYING", 2),),
    unlisted=3,
    duplicates=1,
    duplicate_names=("parcel-7",),
    error_groups=(
        ErrorGroup(
            FeatureOutcome.FAILED,
            "Timeout after <n> s",
            20_818,
            ("parcel-1", "parcel-2", "parcel-3"),
            CauseKind.TRANSIENT,
            "Repeat it.",
        ),
        ErrorGroup(FeatureOutcome.UNKNOWN, "(no message)", 2, ("a", "b")),
    ),
    other_errors=1,
    failed_names=("parcel-1", "parcel-2", "parcel-3"),
    report_url="s3://bucket/f/report-1.parquet",
    notes=("Without the manifest there are no geometries",),
    reruns=1,
    tasks=(
        TaskCounts("4fa0a2c1-6a4f-4a9e-9d5d-0d2b1f6f7a11", 699_997, 640_000, 19_000, 659_000),
        TaskCounts("4fa0a2c1-6a4f-4a9e-9d5d-0d2b1f6f7a12", 41_000, 20_000, 0, 41_000),
    ),
)


def test_the_text_is_a_table_and_the_problems_with_names() -> None:
    assert REPORT.text() == (
        "delivered      660,000   94.29 %\n"
        "no data         19,000    2.71 %\n"
        "failed          20,819    2.97 %\n"
        "pending            179    0.03 %\n"
        "unknown              2    0.00 %\n"
        "total          700,000\n"
        "original: task 4fa0a2c1-6a4f-4a9e-9d5d-0d2b1f6f7a11: 659,000 of 699,997 features delivered or without "
        "data\n"
        "rerun 1: task 4fa0a2c1-6a4f-4a9e-9d5d-0d2b1f6f7a12: 20,000 of 41,000 features delivered or without "
        "data\n"
        "unknown statuses: RETRYING (2)\n"
        "3 of the pending are in the manifest but not in the execution database\n"
        "1 names occur more than once, e.g. parcel-7\n"
        "note: Without the manifest there are no geometries\n"
        "problems:\n"
        "    20,818 x failed (transient): Timeout after <n> s\n"
        "             e.g. parcel-1, parcel-2, parcel-3\n"
        "             Repeat it.\n"
        "         2 x unknown: (no message)\n"
        "             a, b\n"
        "         1 x other messages\n"
        "failed: parcel-1, parcel-2, parcel-3 and 20,816 more\n"
        "all features: s3://bucket/f/report-1.parquet"
    )


def test_the_text_of_nothing() -> None:
    assert FeatureReport(total=0).text() == "delivered            0\ntotal                0"


def test_a_report_survives_the_way_through_json() -> None:
    assert FeatureReport.from_dict(json.loads(json.dumps(REPORT.to_dict()))) == REPORT


TEXTS = st.text(max_size=300)
COUNTS = st.integers(0, 10**9)
GROUPS = st.builds(
    ErrorGroup,
    st.sampled_from(FeatureOutcome),
    TEXTS,
    COUNTS,
    st.lists(TEXTS, max_size=3).map(tuple),
    st.sampled_from(CauseKind),
    TEXTS,
)
REPORTS = st.builds(
    FeatureReport,
    total=COUNTS,
    delivered=COUNTS,
    failed=COUNTS,
    unknown_statuses=st.lists(st.tuples(TEXTS, COUNTS), max_size=20).map(tuple),
    duplicate_names=st.lists(TEXTS, max_size=20).map(tuple),
    error_groups=st.lists(GROUPS, max_size=20).map(tuple),
    other_errors=COUNTS,
    failed_names=st.lists(TEXTS, max_size=20).map(tuple),
    report_url=st.none() | st.text("abc/-", max_size=500),
    notes=st.lists(TEXTS, max_size=3).map(tuple),
    reruns=st.integers(0, 99),
    tasks=st.lists(
        st.builds(TaskCounts, st.uuids().map(str), st.none() | COUNTS, COUNTS, COUNTS, COUNTS), max_size=12
    ).map(tuple),
)


@given(REPORTS)
def test_the_dict_is_small_and_its_counts_are_exact(report: FeatureReport) -> None:
    found = report.to_dict()
    assert len(json.dumps(found)) < 4000
    again = FeatureReport.from_dict(found)
    assert again.counts() == report.counts()
    assert again.report_url == report.report_url
    groups = sum(group.count for group in report.error_groups) + report.other_errors
    assert sum(group.count for group in again.error_groups) + again.other_errors == groups
    assert again.to_dict() == found


def test_long_names_and_messages_are_left_out_until_the_dict_is_small() -> None:
    group = ErrorGroup(FeatureOutcome.FAILED, "m" * 1000, 5, ("n" * 500,) * 3)
    report = replace(
        REPORT,
        error_groups=(group,) * 20,
        failed_names=("n" * 500,) * 20,
        unknown_statuses=(("s" * 100, 1),) * 20,
        notes=("x" * 1000,) * 2,
        tasks=(TaskCounts("4fa0a2c1-6a4f-4a9e-9d5d-0d2b1f6f7a11", 700_000, 600_000, 99_999, 700_000),) * 12,
        report_url="s3://bucket/" + "f" * 500,
    )
    found = report.to_dict()
    assert len(json.dumps(found)) < 4000
    assert found["failed"] == REPORT.failed
    assert found["error_groups"]
    assert sum(group["count"] for group in found["error_groups"]) + found["other_errors"] == 101


def test_json_has_no_strange_values() -> None:
    text = json.dumps(REPORT.to_dict(), allow_nan=False)
    assert math.isfinite(len(text))


@pytest.mark.parametrize(
    ("counts", "outcome"),
    [
        ({"delivered": 3}, Outcome.DONE),
        ({"delivered": 2, "no_data": 1}, Outcome.DONE),
        ({"no_data": 3}, Outcome.DONE),
        ({}, Outcome.DONE),
        ({"delivered": 2, "failed": 1}, Outcome.PARTIAL),
        ({"delivered": 2, "undelivered": 1}, Outcome.PARTIAL),
        ({"delivered": 2, "unknown": 1}, Outcome.PARTIAL),
        ({"delivered": 2, "pending": 1}, Outcome.PARTIAL),
        ({"no_data": 2, "failed": 1}, Outcome.PARTIAL),
        ({"pending": 1, "failed": 2}, Outcome.PARTIAL),
        ({"failed": 3}, Outcome.FAILED),
        ({"undelivered": 1, "unknown": 2}, Outcome.FAILED),
    ],
)
def test_a_task_that_is_done_is_judged_by_its_features(counts: dict[str, int], outcome: Outcome) -> None:
    assert outcome_of("DONE", FeatureReport(total=sum(counts.values()), **counts)) is outcome  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        ("FAILED", Outcome.FAILED),
        ("STOPPED", Outcome.STOPPED),
        ("CANCELED", Outcome.STOPPED),
    ],
)
def test_other_ends_speak_for_themselves(status: str, outcome: Outcome) -> None:
    assert outcome_of(status, None) is outcome
    assert outcome_of(status, FeatureReport(total=1, delivered=1)) is outcome


def test_partial_is_the_services_word_until_the_features_are_known() -> None:
    assert outcome_of("PARTIAL", None) is Outcome.PARTIAL
    assert outcome_of("PARTIAL", FeatureReport(total=1, delivered=1)) is Outcome.DONE
    assert outcome_of("DELETED", FeatureReport(total=2, delivered=1, failed=1)) is Outcome.PARTIAL


def test_done_without_a_report_is_an_error() -> None:
    with pytest.raises(ArtifactMissing, match="nothing is known about its features"):
        outcome_of("DONE", None)


@pytest.mark.parametrize("status", ["PROCESSING", "done", ""])
def test_a_task_that_has_not_ended_has_no_outcome(status: str) -> None:
    with pytest.raises(InvalidParameter, match="status"):
        outcome_of(status, REPORT)
