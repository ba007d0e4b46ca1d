from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from airflow_provider_sentinelhub.artifacts.report.causes import CAUSES, CauseKind, cause_of, is_permanent
from airflow_provider_sentinelhub.artifacts.report.messages import ErrorGroups, normalised
from airflow_provider_sentinelhub.artifacts.report.report import FeatureOutcome

S1 = (
    "Requested band 'HH' is not present in Sentinel 1 tile "
    "'S1A_IW_GRDH_1SDV_20170301T050935_20170301T051000_015494_019728_3A01' returned by criteria specified in "
    "`dataFilter` parameter."
)
RATE = '{"error":{"status":429,"reason":"Too Many Requests","message":"You have exceeded your rate limit",'
TRANSIENT = [
    "Illegal request to https://host/path/B04.jp2. HTTP Status: 500.",
    "Illegal request to https://host/a%20b.jp2. HTTP Status: '503'",
    "Timeout after 30 s",
    "Read timed out",
    "Internal error: rendering of the feature failed repeatedly.",
    '{"error":{"status":500,"reason":"Internal Server Error","code":"COMMON_EXCEPTION"}}',
    "503 Service Unavailable",
    "HTTP/1.1 502",
    f'{RATE}"code":"RATE_LIMIT_EXCEEDED"}}}}',
    "You have exceeded your rate limit",
    "Rate limit exceeded",
    "Rate-limit of 1000 processing units per minute was reached.",
    "Request was rejected due to rate limiting.",
    "Too many concurrent requests",
    "Request was throttled. Expected available in 30 seconds.",
    "ThrottlingException: slow down",
    "Quota for processing units exceeded",
    "HTTP Status: 429",
    "Not enough processing units.",
    "The rendering service is overloaded",
    "unexpected end of stream on https://host/...",
    "Insufficient processing units or requests available in your account.",
    "The provided token has expired.",
    "Connection reset by peer",
    '{"error":{"status":400,"reason":"Bad Request","message":"Request body should be non-empty."}}',
    "Output files of this feature already exist in the folder.",
    "Reading of SSL record failed: unexpected EOF",
    "Bands B04, B08 not available temporarily",
    "Source data of band B04 is not available at the moment, retry later",
    "An unknown band of data: connection reset",
    "The width of the tile exceeds that of the scene: try later",
]
PERMANENT = [
    S1,
    f'{{"error":{{"status":400,"reason":"Bad Request","message":"{S1}","code":"RENDERER_S1_MISSING_POLARIZATION"}}}}',
    'Failed to evaluate script! \nReferenceError: B10 is not defined"',
    "Failed to evaluate script!\nTypeError: Cannot read property 'getMonth' of undefined",
    "ReferenceError: timeout is not defined",
    "Script must return an array.",
    "The script can only use one product type at once! Instead it uses: [CO, O3].",
    "Band B99 is missing.",
    "Band B99 does not exist",
    "bands [B98, B99] are not available",
    "Dataset does not contain band B99",
    "Collection does not have band B99",
    "Collection sentinel-2-l2a doesn't have the requested bands: B98, B99.",
    "Datasource 'l1c' does not provide band SCL",
    "The data source has no band B99.",
    "does not contain band",
    'Band "B99" not found',
    "Band 'B99' could not be found.",
    "Band B99 doesn't exist",
    "Unrecognized band: B99",
    "No band named B99",
    "B99 is not a valid band.",
    "Failed: Cannot read property 'getMonth' of undefined",
    "samples.B04.map is not a function",
    "Requested resolution of 1 m exceeds the maximum.",
    "Output ndvi requested but missing from function setup()",
    "Dataset with id: 7f3a not found.",
    "`width = 2624`, calculated from resx, is larger than allowed 2500.\n",
    "unsupported units REFLECTANCE for band SCL",
    '{"status": 400, "message": "something of the request"}',
    "BAD_REQUEST",
    "3 of 26 intervals failed: BAD_REQUEST",
    "3 of 26 intervals failed: BAD_REQUEST: Requested band is missing.",
    "RATE_LIMIT_TOKEN_COUNT_EXCEEDS_CAPACITY: try again later",
    "RangeError: Maximum call stack size exceeded",
    "ReferenceError: temporarily is not defined",
    "Band B99 not found in collection sentinel-2-l2a",
]
UNKNOWN = [
    None,
    "",
    "  \n",
    "boom",
    "Illegal request to creo://eodata/Sentinel-3/SLSTR/product/S9_BT_in.nc. HTTP Status: '404'",
    "AccessDenied: Access Denied (Service: Amazon S3; Status Code: 403)",
    "You are not authorized to perform this action.",
    "java.lang.OutOfMemoryError: Java heap space",
    "No data for B04",
    "RangeError: Array buffer allocation failed",
    "band B04 could not be found in tile S2B_MSIL2A_20190401",
    "Bands B04, B08 are not available for the product S2B_MSIL2A_20190401",
    "Band file s3://sentinel-s2-l2a/tiles/33/T/WM/B04.jp2 is missing",
    "File /vsis3/eodata/S2A/B04.jp2 does not contain band 1",
    "The tile does not have band data yet",
    "Bad Request (Service: Amazon S3; Status Code: 400; Error Code: 400 Bad Request)",
    "The memory exceeds the limit",
    "Writing failed: no space",
    "FAILED",
    "PARTIAL",
    "1 of 26 intervals failed: UNKNOWN",
    "no response",
]
MESSAGES = [*TRANSIENT, *PERMANENT, *(message for message in UNKNOWN if message)]


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        *((message, CauseKind.TRANSIENT) for message in TRANSIENT),
        *((message, CauseKind.PERMANENT) for message in PERMANENT),
        *((message, CauseKind.UNKNOWN) for message in UNKNOWN),
    ],
)
def test_what_the_service_is_known_to_say(message: str | None, kind: CauseKind) -> None:
    assert cause_of(message).kind is kind
    assert is_permanent(message) == (kind is CauseKind.PERMANENT)


@pytest.mark.parametrize(("pattern", "hint"), [(pattern, hint) for pattern, _, hint in CAUSES])
def test_every_row_of_the_table_is_the_first_for_some_message(pattern: str, hint: str) -> None:
    extra = [
        "The polygon has a self-intersection",
        "InvalidAccessKeyId",
        "units are not supported",
    ]
    found = [message for message in [*MESSAGES, *extra] if re.search(pattern, message, re.IGNORECASE | re.DOTALL)]
    assert [message for message in found if cause_of(message).hint == hint], pattern


@pytest.mark.parametrize("status", ["FAILED", "PARTIAL", "BAD_REQUEST", "3 of 26 intervals failed: BAD_REQUEST"])
def test_a_status_alone_is_no_message_to_follow(status: str) -> None:
    hint = cause_of(status).hint
    assert "as the message says" not in hint
    assert "does not know the message" not in hint


def test_hints_are_short_sentences() -> None:
    for message in ["boom", None, *MESSAGES]:
        hint = cause_of(message).hint
        assert hint.endswith(".")
        assert len(hint) <= 160


@given(st.text(max_size=2000))
@example("HTTP " * 300)
@example("Illegal request to " * 60)
@example("band " * 250)
def test_any_text_has_a_cause(text: str) -> None:
    assert cause_of(text).kind in set(CauseKind)
    assert cause_of(f" {text}\n") == cause_of(text.strip()[:1000] if len(text) < 900 else f" {text}\n")


@pytest.mark.parametrize("message", MESSAGES)
def test_a_group_has_the_cause_of_each_of_its_messages(message: str) -> None:
    assert cause_of(normalised(message, "tile-17")) == cause_of(message)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("Illegal request to https://host/10/S/B04.jp2. HTTP Status: 500.", "503 Service Unavailable"),
        (
            "Illegal request to https://host/B04.jp2. HTTP Status: '404'",
            "Illegal request to https://host/B04.jp2. HTTP Status: '500'",
        ),
        ("500 Internal Server Error", "400 Bad Request"),
    ],
)
def test_different_status_codes_are_different_groups(first: str, second: str) -> None:
    groups = ErrorGroups()
    groups.add(FeatureOutcome.FAILED, "a", first)
    groups.add(FeatureOutcome.FAILED, "b", second)
    assert {group.count for group in groups.result()[0]} == {1}


def test_real_texts_fall_into_one_group_whatever_scene_or_file_they_name() -> None:
    groups = ErrorGroups()
    for number in range(50):
        scene = f"S1A_IW_GRDH_1SDV_20170301T0509{number:02}_20170301T051000_{15494 + number:06}_019728_3A{number:02X}"
        groups.add(FeatureOutcome.FAILED, f"33TWM_{number}_0", S1.replace(S1.split("'")[3], scene))
        path = f"s3://sentinel-s2-l2a/tiles/33/T/WM/2019/4/{number}/0/R10m/B0{number % 8}.jp2"
        groups.add(FeatureOutcome.FAILED, f"33TWM_{number}_0", f"Illegal request to {path}. HTTP Status: 503.")
    found, rest = groups.result()
    assert rest == 0
    assert [(group.count, group.kind) for group in found] == [(50, CauseKind.TRANSIENT), (50, CauseKind.PERMANENT)]
    assert all(group.hint for group in found)


def test_the_ids_of_requests_make_no_groups() -> None:
    groups = ErrorGroups()
    for number in range(40):
        amazon, extended = f"5A6UF97CI1YL{number:02}B6", f"aBc+dEf/{number}Zz0="
        denied = "Access Denied (Service: Amazon S3; Status Code: 403; Error Code: AccessDenied; "
        named = f"Request ID: {amazon}; S3 Extended Request ID: {extended}; Proxy: null)"
        groups.add(FeatureOutcome.FAILED, f"33TWM_{number}_0", denied + named)
        xml = f"<Error><Code>SlowDown</Code><RequestId>{amazon}</RequestId><HostId>{extended}</HostId></Error>"
        groups.add(FeatureOutcome.FAILED, f"33TWM_{number}_0", xml)
    found, rest = groups.result()
    assert ([group.count for group in found], rest) == ([40, 40], 0)
    assert any(group.message.count("Request ID: <id>") == 2 for group in found)
