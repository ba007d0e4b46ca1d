"""``hook.get_conn()``: requests-oauthlib's session, for calls this package has no function for."""

from __future__ import annotations

import logging
import os
from typing import Any

import pytest
from oauthlib.oauth2.rfc6749.errors import InsecureTransportError
from requests_oauthlib import OAuth2Session

from airflow_provider_sentinelhub.client.apis.registry import harmless_call
from airflow_provider_sentinelhub.client.http import auth
from airflow_provider_sentinelhub.hooks.sentinel_hub import SentinelHubHook
from airflow_provider_sentinelhub.simulator.process import Simulator

PATH = "/batch/v2/process"
_ALLOW_HTTP = "OAUTHLIB_INSECURE_TRANSPORT"


@pytest.fixture(autouse=True)
def _no_tokens_of_other_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auth, "_sources", {})


@pytest.fixture
def hook(sim: Simulator, monkeypatch: pytest.MonkeyPatch) -> SentinelHubHook:
    """A hook of somebody who allows plain http, as the simulator needs it."""
    monkeypatch.setenv(_ALLOW_HTTP, "1")
    return SentinelHubHook()


def answer_once(sim: Simulator, **rule: Any) -> None:
    sim.set_script({"endpoints": [{"path": f"{PATH}$", "count": 1, **rule}]})


def sent(sim: Simulator, method: str = "GET") -> int:
    return int(sim.requests()["counts"].get(f"{method} {PATH}", 0))


def token(sim: Simulator) -> str | None:
    """The token that this process shares now."""
    ready = sim.ready
    return auth.token_source(auth.ClientCredentials(ready.client_id, ready.client_secret, ready.token_url)).live()


def test_it_is_authorised_and_shares_the_token(sim: Simulator, hook: SentinelHubHook) -> None:
    issued = sim.tokens_issued()
    assert hook.test_connection()[0]
    hook.send(harmless_call())
    session = hook.get_conn()
    assert isinstance(session, OAuth2Session)
    assert session.get(sim.ready.base_url + PATH).status_code == 200
    assert SentinelHubHook().get_conn().get(sim.ready.base_url + PATH).status_code == 200
    # One for the test of the connection, which takes none that was issued before, and one for all the others.
    assert sim.tokens_issued() - issued == 2


def test_the_token_is_renewed_when_it_expires(sim: Simulator, hook: SentinelHubHook) -> None:
    sim.set_script({"timing": {"token_ttl_seconds": 1}})
    session, issued = hook.get_conn(), sim.tokens_issued()
    assert session.get(sim.ready.base_url + PATH).status_code == 200
    source = auth.token_source(
        auth.ClientCredentials(sim.ready.client_id, sim.ready.client_secret, sim.ready.token_url)
    )
    while source.live() is not None:
        pass
    assert session.get(sim.ready.base_url + PATH).status_code == 200
    assert sim.tokens_issued() - issued == 2


def test_after_a_revoked_token_the_next_request_has_another(sim: Simulator, hook: SentinelHubHook) -> None:
    session = hook.get_conn()
    assert session.get(sim.ready.base_url + PATH).status_code == 200
    sim.revoke_tokens()
    assert session.get(sim.ready.base_url + PATH).status_code == 401
    assert session.get(sim.ready.base_url + PATH).status_code == 200


@pytest.mark.parametrize("status", [429, 500, 503])
def test_what_is_transient_is_sent_again(sim: Simulator, hook: SentinelHubHook, status: int) -> None:
    answer_once(sim, method="GET", status=status)
    assert hook.get_conn().get(sim.ready.base_url + PATH).status_code == 200
    assert sent(sim) == 2


def test_retry_after_is_in_milliseconds(sim: Simulator, hook: SentinelHubHook) -> None:
    answer_once(sim, method="GET", status=429, retry_after_ms=900)
    # In seconds these were 15 minutes.
    assert hook.get_conn().get(sim.ready.base_url + PATH).elapsed.total_seconds() < 60
    assert sent(sim) == 2


@pytest.mark.parametrize(("status", "requests"), [(429, 2), (503, 1)])
def test_a_post_is_sent_again_only_where_nothing_was_done(
    sim: Simulator, hook: SentinelHubHook, status: int, requests: int
) -> None:
    answer_once(sim, method="POST", status=status)
    # The second one is refused, for it is empty.
    assert hook.get_conn().post(sim.ready.base_url + PATH, json={}).status_code == (400 if requests == 2 else status)
    assert sent(sim, "POST") == requests


def test_the_last_answer_is_returned_where_retrying_is_over(sim: Simulator, hook: SentinelHubHook) -> None:
    sim.set_script({"endpoints": [{"path": f"{PATH}$", "status": 429, "retry_after_ms": 60}]})
    assert hook.get_conn().get(sim.ready.base_url + PATH).status_code == 429
    assert sent(sim) == 6


def test_plain_http_is_for_the_user_to_allow(sim: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(_ALLOW_HTTP, raising=False)
    session = SentinelHubHook().get_conn()
    with pytest.raises(InsecureTransportError):
        session.get(sim.ready.base_url + PATH)
    assert _ALLOW_HTTP not in os.environ
    assert sent(sim) == 0


def test_the_token_is_masked_in_the_log_of_oauthlib(
    sim: Simulator, hook: SentinelHubHook, caplog: pytest.LogCaptureFixture
) -> None:
    from airflow.sdk._shared.secrets_masker import redact

    with caplog.at_level(logging.DEBUG, logger="requests_oauthlib"):
        hook.get_conn().get(sim.ready.base_url + PATH)
    used = token(sim)
    assert used is not None
    # As written, and as Airflow's log has it.
    assert used in caplog.text
    assert used not in str(redact(caplog.text))
