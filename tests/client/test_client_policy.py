from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_sentinelhub.client import errors
from airflow_provider_sentinelhub.client.http.call import Call, Repeat
from airflow_provider_sentinelhub.client.http.policy import (
    RETRY_AFTER_MIN_S,
    Attempt,
    Broken,
    Done,
    RetryLimits,
    TryAgain,
    decide,
    token_delay,
)
from airflow_provider_sentinelhub.client.http.problems import Reply
from tests.client.client_harness import CREATE, MARKER, READ, everything_said

LIMITS = RetryLimits()
TASK = json.dumps({"id": "6aa8765a", "status": "CREATED"}).encode()


def envelope(status: int, message: str, code: str = "COMMON_BAD_PAYLOAD", **more: Any) -> bytes:
    return json.dumps({"error": {"status": status, "reason": "?", "message": message, "code": code, **more}}).encode()


def verdict(
    call: Call[Any],
    status: int,
    body: bytes = b"",
    headers: dict[str, str] | None = None,
    attempt: Attempt | None = None,
) -> Done[Any] | TryAgain:
    return decide(call, attempt or Attempt(), Reply(status, headers or {}, body), LIMITS, lambda: 0.5)


def again(*arguments: Any, **more: Any) -> TryAgain:
    result = verdict(*arguments, **more)
    assert isinstance(result, TryAgain)
    return result


def refused(*arguments: Any, **more: Any) -> errors.ApiError:
    with pytest.raises(errors.ApiError) as caught:
        verdict(*arguments, **more)
    return caught.value


LAST = Attempt(number=LIMITS.attempts)


@pytest.mark.parametrize(
    ("status", "body", "kind", "said"),
    [
        (400, envelope(400, "Bad box."), errors.InvalidRequest, "answered 400: Bad box. Correct the request."),
        (
            400,
            envelope(400, "Illegal to change userAction from START to STOP with task status CREATED"),
            errors.IllegalAction,
            "Illegal to change userAction from START to STOP with task status CREATED. Read the task's status again.",
        ),
        (401, b"", errors.AuthenticationError, "answered 401: Unauthorized. A new token was refused as well"),
        (403, b"", errors.PermissionDenied, "answered 403: Forbidden. Check that the account's plan"),
        (
            403,
            envelope(403, "Insufficient processing units.", "ACCESS_INSUFFICIENT_PROCESSING_UNITS"),
            errors.InsufficientProcessingUnits,
            "Top up the account's processing units",
        ),
        (403, b"No processing units left", errors.InsufficientProcessingUnits, "a batch needs at least 1000"),
        (404, envelope(404, "No such request"), errors.NotFound, "Check the id, and that it belongs to this account"),
        (409, b"busy", errors.Conflict, "Wait until the task is not being processed"),
        (429, b"", errors.RateLimited, "Spread the requests"),
        (301, b"", errors.UnexpectedAnswer, "Check the base URL in the connection"),
        (405, b"", errors.InvalidRequest, "answered 405: Method Not Allowed"),
        (415, b"", errors.InvalidRequest, "answered 415: Unsupported Media Type"),
        (500, b"", errors.ServiceUnavailable, "500 Internal Server Error. Gave up after 8 attempts"),
        (520, b"", errors.ServiceUnavailable, "520 no explanation. Gave up after 8 attempts"),
        (499, b"", errors.InvalidRequest, "answered 499: no explanation"),
    ],
)
def test_every_refusal_has_its_class_and_says_what_to_do(
    status: int, body: bytes, kind: type[errors.ApiError], said: str
) -> None:
    error = refused(READ, status, body, attempt=replace(LAST, token_renewed=True))
    assert type(error) is kind
    assert str(error).startswith("Could not read batch task 6aa8765a: ")
    assert said in str(error)
    assert error.status == status


@pytest.mark.parametrize(
    ("body", "message", "code"),
    [
        (envelope(429, "Too fast", "RATE_LIMIT_EXCEEDED"), "Too fast", "RATE_LIMIT_EXCEEDED"),
        (b'{"status": 400, "message": "Too wide", "code": "COMMON_BAD_PAYLOAD"}', "Too wide", "COMMON_BAD_PAYLOAD"),
        (b'{"error": "invalid_client", "error_description": "Bad secret"}', "Bad secret", "invalid_client"),
        (b'{"error": "invalid_client"}', "invalid_client", "invalid_client"),
        (b'{"code": "Catalog", "description": "No such item"}', "No such item", "Catalog"),
        (b"plain\n  text", "plain text", None),
        (b"<ServiceException>no layer</ServiceException>", "<ServiceException>no layer</ServiceException>", None),
        (b'"a bare string"', "a bare string", None),
        (b"", "Bad Request", None),
        (b" \r\n ", "Bad Request", None),
        (b'""', "Bad Request", None),
        (b"null", "null", None),
        (b"[1, 2]", "[1, 2]", None),
        (b"{}", "{}", None),
        (b'{"error": {}}', '{"error": {}}', None),
        (b'{"error": null, "message": null}', '{"error": null, "message": null}', None),
        (b"\xff\xfe caf\xe9", "\ufffd\ufffd caf\ufffd", None),
        (b'{"error": {"message": "a\\ud800b\\u0000c\\u001b[31md", "code": 17}}', "a b cd", "17"),
        (b'{"error": {"message": ["not", "text"], "errors": "nor this"}}', "['not', 'text']", None),
        (b"[" * 100_000, "[" * 497 + "...", None),
        (b"x" * 1_000_000, "x" * 497 + "...", None),
        (b"1" * 10_000, "1" * 497 + "...", None),
    ],
)
def test_every_shape_of_body_is_read(body: bytes, message: str, code: str | None) -> None:
    error = refused(READ, 400, body)
    assert f"answered 400: {message.rstrip('.')}. Correct the request." in str(error)
    assert error.code == code


def test_violations_are_kept_and_shown() -> None:
    named = [{"parameter": "output->resx", "violation": "too\nwide"}, {"parameter": "input"}, "odd", None]
    error = refused(READ, 400, envelope(400, "Wrong.", errors=named))
    assert error.violations == (errors.Violation("output->resx", "too wide"), errors.Violation("input", ""))
    assert "\n  output->resx: too wide\n  input: " in str(error)


@pytest.mark.parametrize("status", [500, 502, 503, 504, 520, 599])
def test_a_creation_is_not_repeated_where_the_service_may_have_acted(status: int) -> None:
    error = refused(CREATE, status)
    assert type(error) is errors.OutcomeUnknown
    assert "may have carried it out; look for the result" in str(error)
    with pytest.raises(errors.OutcomeUnknown):
        decide(CREATE, Attempt(), Broken("timed out", sent=True), LIMITS)
    assert isinstance(verdict(READ, status), TryAgain)


def test_a_creation_is_repeated_where_the_service_surely_did_not_act() -> None:
    assert again(CREATE, 429).throttled
    assert again(CREATE, 401).renew_token
    assert again(CREATE, 400, envelope(400, "Request body should be non-empty.")).after > 0
    assert isinstance(decide(CREATE, Attempt(), Broken("refused", sent=False), LIMITS), TryAgain)
    for call in (CREATE, READ):
        with pytest.raises(errors.ServiceUnavailable) as caught:
            decide(call, LAST, Broken("refused", sent=False), LIMITS)
        assert type(caught.value) is errors.ServiceUnavailable
        assert "refused. Gave up after 8 attempts in 0 s" in str(caught.value)


@pytest.mark.parametrize(
    ("header", "asked"),
    [
        ("3398", 3.398),
        ("0", RETRY_AFTER_MIN_S),
        ("-7", RETRY_AFTER_MIN_S),
        ("nan", RETRY_AFTER_MIN_S),
        ("86400000", LIMITS.retry_after_cap),
        ("inf", LIMITS.retry_after_cap),
        ("Fri, 21 Nov 2025 09:00:00 GMT", 0.0),
        ("", 0.0),
    ],
)
def test_retry_after_is_in_milliseconds_and_bounded(header: str, asked: float) -> None:
    jitter = 0.75 * LIMITS.base * (0.5 if asked else 1.0)
    assert again(READ, 429, headers={"retry-after": header}).after == pytest.approx(asked + jitter)


def test_what_can_never_fit_the_rate_limit_is_not_repeated() -> None:
    body = envelope(429, "More than the bucket holds", "RATE_LIMIT_TOKEN_COUNT_EXCEEDS_CAPACITY")
    assert isinstance(refused(READ, 429, body), errors.RateLimited)


def test_a_fresh_id_may_be_unknown_for_a_while() -> None:
    fresh = READ.when_fresh()
    assert again(fresh, 404).after > 0
    assert isinstance(refused(fresh, 404, attempt=Attempt(2, LIMITS.fresh_for)), errors.NotFound)
    assert isinstance(refused(fresh, 404, attempt=LAST), errors.NotFound)
    assert isinstance(refused(READ, 404), errors.NotFound)


def test_the_token_is_renewed_once() -> None:
    first = again(READ, 401)
    assert (first.renew_token, first.after, first.why) == (True, 0.0, "the token was refused")
    assert isinstance(refused(READ, 401, attempt=Attempt(2, token_renewed=True)), errors.AuthenticationError)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"<html>", b'{"id": 1}', b"\xff", b"[" * 100_000])
def test_a_success_with_a_body_nobody_promised(body: bytes) -> None:
    error = refused(READ, 200, body)
    assert type(error) is errors.UnexpectedAnswer
    assert "with a body that the API does not promise" in str(error)


def test_an_action_is_answered_with_nothing() -> None:
    from airflow_provider_sentinelhub.client.apis.batch_v2.spec import BATCH_V2

    assert verdict(BATCH_V2.calls.start("t"), 204) == Done(None)


# --- for any answer at all ------------------------------------------------------------------------------------------

texts = st.text(max_size=40)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
error_bodies = st.builds(
    lambda message, code, listed: {"error": {"message": message, "code": code, "errors": listed}},
    st.sampled_from(
        [
            "Request body should be non-empty.",
            "Illegal to change userAction from START to STOP with task status CREATED",
            "Insufficient processing units",
        ]
    )
    | json_values,
    st.sampled_from(["RATE_LIMIT_TOKEN_COUNT_EXCEEDS_CAPACITY", "ACCESS_INSUFFICIENT_PROCESSING_UNITS"]) | json_values,
    json_values,
)
bodies = st.binary(max_size=60) | (json_values | error_bodies).map(lambda value: json.dumps(value).encode())
replies = st.builds(
    Reply,
    st.integers(200, 599) | st.sampled_from([200, 201, 204, 400, 401, 403, 404, 409, 429, 500, 503]),
    st.fixed_dictionaries({}, optional={"retry-after": texts | st.integers().map(str) | st.floats().map(str)}),
    bodies | st.just(TASK),
)
answers = replies | st.builds(Broken, texts, sent=st.booleans())
calls = st.builds(lambda call, fresh: replace(call, fresh=fresh), st.sampled_from([CREATE, READ]), st.booleans())
limits = st.builds(
    RetryLimits,
    attempts=st.integers(1, 12),
    max_elapsed=st.floats(0, 600),
    base=st.floats(0, 5),
    cap=st.floats(0, 60),
)


@given(calls, limits, st.data())
def test_trying_ends_whatever_is_answered(call: Call[Any], limits: RetryLimits, data: st.DataObject) -> None:
    now, sent, renewed, may_have_acted = 0.0, 0, 0, False
    attempt = Attempt()
    while True:
        assert not (may_have_acted and call.repeat is Repeat.NEVER), (
            "a call that may have been carried out was sent again"
        )
        answer = data.draw(answers)
        sent += 1
        may_have_acted = answer.sent if isinstance(answer, Broken) else answer.status >= 500
        now += data.draw(st.floats(0, 30))
        attempt = replace(attempt, elapsed=now)
        try:
            result = decide(call, attempt, answer, limits)
        except errors.ApiError as e:
            str(e).encode()
            break
        if isinstance(result, Done):
            assert isinstance(answer, Reply)
            assert 200 <= answer.status < 300
            break
        assert 0 <= result.after <= limits.retry_after_cap + limits.cap
        now += result.after
        assert now <= limits.max_elapsed
        renewed += result.renew_token
        attempt = replace(attempt, number=attempt.number + 1, token_renewed=attempt.token_renewed or result.renew_token)
    assert sent <= limits.attempts
    assert renewed <= 1


@given(st.integers(1, 100_000), st.floats(0, 1e9), answers)
def test_asking_for_a_token_ends_whatever_is_answered(number: int, elapsed: float, answer: Reply | Broken) -> None:
    delay = token_delay(Attempt(number, elapsed), answer, LIMITS)
    if delay is not None:
        assert number < LIMITS.attempts
        assert elapsed + delay <= LIMITS.max_elapsed


@given(
    st.sampled_from([200, 201, 400, 401, 403, 404, 409, 429, 500]),
    st.sampled_from(["message", "code", "error_description", "description", "odd"]),
    st.sampled_from(["plain", "json", "ascii", "gson", "envelope", "violations", "bare"]),
    st.text(max_size=600),
)
def test_no_error_shows_a_secret(status: int, key: str, form: str, around: str) -> None:
    text = f"{around}{MARKER}{around}"
    gson = json.dumps({key: text}).replace("=", "\\u003d").replace("/", "\\/").replace("+", "\\u002b")
    body = {
        "plain": text,
        "json": json.dumps({key: text}, ensure_ascii=False),
        "ascii": json.dumps({key: text}),
        "gson": gson,
        "envelope": json.dumps({"error": {"message": text, "code": text}}),
        "violations": json.dumps({"error": {"errors": [{"parameter": text, "violation": text}]}}),
        "bare": json.dumps([text, {text: text}]),
    }[form]
    attempt = replace(LAST, token_renewed=True)
    with pytest.raises(errors.ApiError) as caught:
        decide(CREATE, attempt, Reply(status, {}, body.encode("utf-8", "replace")), LIMITS)
    said = everything_said(caught.value)
    assert "MARKER" not in said
    assert "MARKER" not in repr(CREATE)


def test_of_thousands_of_violations_the_first_are_shown() -> None:
    entries = [{"parameter": f"p{n}", "violation": "x" * 400} for n in range(5000)]
    error = refused(READ, 400, json.dumps({"error": {"message": "no", "errors": entries}}).encode())
    assert "\n  p19: xxx" in str(error)
    assert str(error).endswith("\n  and 4,980 more")
    assert len(str(error)) < 10_000
    assert len(error.violations) == 20
