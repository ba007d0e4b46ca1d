from __future__ import annotations

import json
import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_sentinelhub.client import errors
from airflow_provider_sentinelhub.client.http.auth import ClientCredentials, TokenSource, token_source
from airflow_provider_sentinelhub.client.http.deployments import ServiceAddress
from airflow_provider_sentinelhub.client.http.policy import RetryLimits
from airflow_provider_sentinelhub.simulator.process import Simulator
from tests.client.client_harness import MARKER, Seen, everything_said, serving

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

GOOD = (200, {"Content-Type": "application/json"}, b'{"access_token": "tok", "expires_in": 3600}')


def token_calls(sim: Simulator) -> list[int | None]:
    return [call["status"] for call in sim.requests()["requests"] if call["path"].endswith("/token")]


def test_many_threads_share_one_token(sim: Simulator, tokens: TokenSource) -> None:
    ready = threading.Barrier(16)

    def ask() -> str:
        ready.wait()
        return tokens.get()

    with ThreadPoolExecutor(16) as pool:
        got = {future.result() for future in [pool.submit(ask) for _ in range(16)]}
    assert len(got) == 1
    assert token_calls(sim) == [200]


def test_many_threads_with_one_refused_token_renew_it_once(sim: Simulator, tokens: TokenSource) -> None:
    old = tokens.get()
    with ThreadPoolExecutor(16) as pool:
        got = set(pool.map(lambda _: tokens.get(refused=old), range(16)))
    assert len(got) == 1
    assert old not in got
    assert token_calls(sim) == [200, 200]


def test_a_refused_token_is_not_live_but_another_one_is(tokens: TokenSource) -> None:
    assert tokens.live() is None
    token = tokens.get()
    assert tokens.live() == tokens.live(refused="another") == tokens.get() == token
    assert tokens.live(refused=token) is None


def test_one_source_for_each_client_in_a_process(credentials: ClientCredentials) -> None:
    assert token_source(credentials) is token_source(replace(credentials))
    assert token_source(replace(credentials, client_secret="another")) is not token_source(credentials)
    assert credentials.client_secret not in repr(credentials)


@pytest.mark.parametrize(("ttl", "early"), [(3600, 120), (600, 120), (300, 60), (10, 2), (1, 0.2)])
def test_the_token_is_renewed_before_it_expires(
    ttl: int, early: float, sim: Simulator, tokens: TokenSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    sim.set_script({"timing": {"token_ttl_seconds": ttl}})
    now = 1000.0
    monkeypatch.setattr("airflow_provider_sentinelhub.client.http.auth.time.monotonic", lambda: now)
    first = tokens.get()
    now += ttl - early - 0.01
    assert tokens.get() == first
    now += 0.02
    assert tokens.live() is None
    assert tokens.get() != first


@pytest.mark.parametrize("expiry", [{}, {"expires_in": None}, {"expires_in": "300"}, {"expires_in": 0}])
def test_an_expiry_that_is_absent_or_odd_does_no_harm(expiry: dict[str, Any]) -> None:
    body = json.dumps({"access_token": "tok", **expiry}).encode()
    with serving(lambda _seen, _handler: (200, {}, body)) as plan:
        assert TokenSource(ClientCredentials("id", MARKER, f"{plan.base_url}/token")).get() == "tok"


def test_the_form_is_what_the_service_asks_for() -> None:
    with serving(lambda _seen, _handler: GOOD) as plan:
        TokenSource(ClientCredentials("id", "a&b=c d", f"{plan.base_url}/token")).get()
    (seen,) = plan.seen
    assert (seen.method, seen.path) == ("POST", "/token")
    assert sorted(seen.body.decode().split("&")) == [
        "client_id=id",
        "client_secret=a%26b%3Dc+d",
        "grant_type=client_credentials",
    ]
    assert "authorization" not in seen.headers


def test_a_wrong_secret_is_final_and_says_what_to_check(
    sim: Simulator, credentials: ClientCredentials, limits: RetryLimits
) -> None:
    source = TokenSource(replace(credentials, client_secret=MARKER), limits)
    with pytest.raises(errors.AuthenticationError) as caught:
        source.get()
    assert str(caught.value) == (
        f"Could not get a token from {credentials.token_url.split('/')[2]}: it answered 401: Invalid client or "
        "Invalid client credentials. Check the client id and the client secret in the connection, and that they "
        "belong to this deployment."
    )
    assert caught.value.code == "invalid_client"
    assert "MARKER" not in everything_said(caught.value)
    assert token_calls(sim) == [401]


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 429, "retry_after_ms": 20},
        {"status": 500, "body": "<html>oops</html>"},
        {"status": 503},
        {"status": 400, "body": {"error": "invalid_request", "error_description": "Missing grant_type parameter"}},
        {"action": "drop_before"},
        {"action": "drop_after"},
    ],
)
def test_a_flaky_token_endpoint_is_asked_again(fault: dict[str, Any], sim: Simulator, tokens: TokenSource) -> None:
    sim.set_script({"endpoints": [{"path": "/token$", "count": 2, **fault}]})
    assert tokens.get()
    assert len(token_calls(sim)) == 3


@pytest.mark.parametrize("fault", [{"status": 502}, {"status": 429}, {"action": "drop_before"}])
def test_a_dead_token_endpoint_is_given_up(fault: dict[str, Any], sim: Simulator, tokens: TokenSource) -> None:
    sim.set_script({"endpoints": [{"path": "/token$", **fault}]})
    with pytest.raises(errors.ServiceUnavailable, match=r"^Could not get a token from 127.* later\.$"):
        tokens.get()
    assert len(token_calls(sim)) == 5


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>Sign in</html>",
        b"[]",
        b"[1]",
        b"5",
        b"null",
        b'"text"',
        b"{}",
        b"\xff\xfe",
        b'{"accessToken": "MARKER", "token_type": "Bearer"}',
        b'{"access_token": "MARKER", "expires_in": "soon"}',
        b'{"access_token": "MARKER", "expires_in": []}',
        b'{"error": {"message": "MARKER"}}',
        b"access=MARKER",
    ],
)
def test_an_answer_without_a_token_is_not_quoted(body: bytes, limits: RetryLimits) -> None:
    with serving(lambda _seen, _handler: (200, {}, body)) as plan:
        source = TokenSource(ClientCredentials("id", MARKER, f"{plan.base_url}/token"), limits)
        with pytest.raises(errors.UnexpectedAnswer, match="answered 200 without a token") as caught:
            source.get()
    assert "MARKER" not in everything_said(caught.value)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 500])
def test_no_error_and_no_log_line_shows_a_secret(
    status: int, limits: RetryLimits, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)

    def echo(seen: Seen, _handler: object) -> tuple[int, dict[str, str], bytes]:
        return status, {}, json.dumps({"error": {"message": f"got {MARKER} {seen.body!r}"}}).encode()

    with serving(echo) as plan:
        source = TokenSource(ClientCredentials("id", MARKER, f"{plan.base_url}/token"), limits)
        with pytest.raises(errors.ApiError) as caught:
            source.get()
    assert MARKER not in everything_said(caught.value)
    assert "MARKER" not in caplog.text


def test_the_token_is_not_logged(sim: Simulator, tokens: TokenSource, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    token = tokens.get()
    assert token not in caplog.text
    assert tokens.credentials.client_secret not in caplog.text
    assert token not in repr(vars(tokens))


def test_a_redirect_is_not_followed() -> None:
    def elsewhere(_seen: Seen, _handler: object) -> tuple[int, dict[str, str], bytes]:
        return 307, {"Location": "/elsewhere"}, b""

    with (
        serving(elsewhere) as plan,
        pytest.raises(errors.AuthenticationError, match=r"answered 307: .* Check the token URL"),
    ):
        TokenSource(ClientCredentials("id", MARKER, f"{plan.base_url}/token")).get()
    assert [seen.path for seen in plan.seen] == ["/token"]


def test_netrc_adds_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password else\n")
    monkeypatch.setenv("NETRC", str(netrc))
    with serving(lambda _seen, _handler: GOOD) as plan:
        TokenSource(ClientCredentials("id", "secret", f"{plan.base_url}/token")).get()
    assert "authorization" not in plan.seen[0].headers


def test_http_to_anywhere_else_is_refused_before_anything_is_sent() -> None:
    source = TokenSource(ClientCredentials("id", MARKER, "http://identity.example.com/token"))
    with pytest.raises(errors.InvalidConfiguration, match="http would send the client secret unencrypted"):
        source.get()


@pytest.mark.parametrize("expiry", ["NaN", "Infinity", "1e999"])
def test_an_expiry_that_is_no_number_of_seconds_is_no_tokens(expiry: str) -> None:
    body = f'{{"access_token": "tok", "expires_in": {expiry}}}'.encode()
    with (
        serving(lambda _seen, _handler: (200, {}, body)) as plan,
        pytest.raises(errors.UnexpectedAnswer, match="without a token"),
    ):
        TokenSource(ClientCredentials("id", MARKER, f"{plan.base_url}/token")).get()


@pytest.mark.parametrize("token", ["a\r\nX-Other: 1", "a b", "", "é", 5, ["a"], {"a": 1}, None])
def test_a_token_that_cannot_stand_in_a_header_is_none(token: Any) -> None:
    body = json.dumps({"access_token": token}).encode()
    with (
        serving(lambda _seen, _handler: (200, {}, body)) as plan,
        pytest.raises(errors.UnexpectedAnswer, match="without a token"),
    ):
        TokenSource(ClientCredentials("id", MARKER, f"{plan.base_url}/token")).get()


def test_an_answer_without_end_is_not_read_to_its_end() -> None:
    body = b'{"access_token": "tok", "x": "' + b"x" * 1_000_000 + b'"}'
    with (
        serving(lambda _seen, _handler: (200, {}, body)) as plan,
        pytest.raises(errors.UnexpectedAnswer, match="without a token"),
    ):
        TokenSource(ClientCredentials("id", MARKER, f"{plan.base_url}/token")).get()


def test_threads_that_wait_share_a_failure(limits: RetryLimits) -> None:
    ready, go_on = threading.Barrier(17), threading.Event()

    def down(_seen: Seen, _handler: object) -> tuple[int, dict[str, str], bytes]:
        go_on.wait(30)
        return 503, {}, b""

    def ask() -> str:
        ready.wait()
        return source.get()

    with serving(down) as plan:
        source = TokenSource(ClientCredentials("id", MARKER, f"{plan.base_url}/token"), replace(limits, attempts=2))
        with ThreadPoolExecutor(16) as pool:
            asked = [pool.submit(ask) for _ in range(16)]
            ready.wait()
            go_on.set()
            assert {type(each.exception()) for each in asked} == {errors.ServiceUnavailable}
        assert len(plan.seen) < 2 * 16
        with pytest.raises(errors.ServiceUnavailable):
            source.get()


def of(**given: str) -> ServiceAddress:
    return ServiceAddress.of(**{"deployment": "", "base_url": "", "token_url": "", "layout": "", **given})


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            {"base_url": "http://sh.example.com", "token_url": "https://x.org/t"},
            "base URL = 'http://sh.example.com': http",
        ),
        (
            {"base_url": "https://sh.example.com", "token_url": "http://x.org/t"},
            "token URL = 'http://x.org/t': http would",
        ),
        (
            {"base_url": "http://127.0.0.1.evil.org", "token_url": "https://x.org/t"},
            "http would send the client secret",
        ),
        ({"base_url": "ftp://sh.example.com", "token_url": "https://x.org/t"}, "not an address"),
        ({"base_url": "sh.example.com", "token_url": "https://x.org/t"}, "not an address"),
        ({"base_url": "https://sh.example.com"}, "token URL: missing"),
        ({"deployment": "custom"}, "base URL: missing"),
        ({"deployment": "mars"}, "unknown deployment. Choose one of aws-eu-central-1, aws-us-west-2, cdse, custom"),
        ({"layout": "newest"}, "unknown path layout"),
    ],
)
def test_an_address_that_cannot_be_used_is_refused(given: dict[str, str], said: str) -> None:
    with pytest.raises(errors.InvalidConfiguration) as caught:
        of(**given)
    assert said in str(caught.value)


ODD = [
    "http://localhost#@evil.example.com",
    "https://sh.example.com?x=",
    "https://sh.example.com/?x=1",
    "https://sh.example.com/#x",
    "https://sh.example.com\r\nX-Other: 1",
    "https://sh.example.com\n",
    " https://sh.example.com",
    "https://sh.example.com /x",
    "https://sh.example.com\t",
    "https://sh.example.com\\@evil.example.com",
    "https:\\\\sh.example.com",
    "https:sh.example.com",
    "https:/sh.example.com",
    "https:///sh.example.com",
    "https://@sh.example.com",
    "https://a@sh.example.com",
    "https://sh.example.com:99999",
    "https://sh.example.com:port",
    "https://sh.example.com:443:443",
    "https://sh.example.com/a/../b",
    "https://sh.example.com/..",
    "https://sh.example.com/a//b",
    "https://sh.example.com/%2e%2e/b",
    "https://sh.example.com/a;b",
    "https://sh\uff0eexample.com",
    "https://-sh.example.com",
    "https://",
    "https://[::1",
    "file:///etc/passwd",
]


@pytest.mark.parametrize("address", ODD)
@pytest.mark.parametrize(("field", "name"), [("base_url", "base URL"), ("token_url", "token URL")])
def test_an_address_is_scheme_host_port_and_path_and_nothing_else(field: str, name: str, address: str) -> None:
    good = {"base_url": "https://sh.example.com", "token_url": "https://sh.example.com/t"}
    with pytest.raises(errors.InvalidConfiguration) as caught:
        of(**{**good, field: address})
    said = str(caught.value)
    assert said.startswith(f"{name} = ")
    assert "https://host[:port][/path]" in said
    assert said.isprintable()


@pytest.mark.parametrize(
    "address",
    ["https://u:pass" + "pass@sh.example.com", "pass" + "pass@host", "https://sh.example.com/?token=pass" + "pass"],
)
def test_an_odd_address_is_shown_without_what_may_be_secret(address: str) -> None:
    with pytest.raises(errors.InvalidConfiguration) as caught:
        of(base_url="https://sh.example.com", token_url=address)
    assert "passpass" not in everything_said(caught.value)


@pytest.mark.parametrize(
    "address",
    [
        "https://sh.example.com",
        "https://sh.example.com:8443/a/b-c_d.e~f/",
        "https://SH.example.com",
        "https://10.0.0.1",
        "https://[2001:db8::1]:8443/a",
        "https://a_b",
        "https://identity.dataspace.copernicus.eu/auth/realms/CDSE/protocol/openid-connect/token",
    ],
)
def test_an_ordinary_address_is_taken(address: str) -> None:
    taken = of(base_url=address, token_url=address)
    assert (taken.base_url, taken.token_url) == (address.rstrip("/"), address)


def test_a_password_in_an_address_is_refused_and_not_shown() -> None:
    with pytest.raises(errors.InvalidConfiguration) as caught:
        of(base_url=f"https://user:{'pass' * 2}@sh.example.com", token_url="https://x.org/t")
    assert "passpass" not in everything_said(caught.value)


@pytest.mark.parametrize("host", ["127.0.0.1:8080", "localhost", "[::1]:1"])
def test_http_is_for_this_machine(host: str) -> None:
    address = of(base_url=f"http://{host}/", token_url=f"http://{host}/token")
    assert address.base_url == f"http://{host}"


def test_deployments_and_layouts_make_addresses() -> None:
    from airflow_provider_sentinelhub.client.http.deployments import Service

    url: Callable[[ServiceAddress], str] = lambda address: address.url(Service.BATCH_V2, "/process")  # noqa: E731
    assert url(of()) == "https://services.sentinel-hub.com/batch/v2/process"
    assert url(of(layout="legacy")) == "https://services.sentinel-hub.com/api/v2/batch/process"
    assert url(of(deployment="cdse")) == "https://sh.dataspace.copernicus.eu/batch/v2/process"
    assert not of(deployment="cdse").deployment.delivers_to_gcs
