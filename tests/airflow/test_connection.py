from __future__ import annotations

import json
import socket
from types import SimpleNamespace
from urllib.parse import quote

import pytest
from airflow.providers.amazon.aws.utils.connection_wrapper import AwsConnectionWrapper

from airflow_provider_sentinelhub.client.errors import InvalidConfiguration
from airflow_provider_sentinelhub.client.http.deployments import DEPLOYMENTS
from airflow_provider_sentinelhub.get_provider_info import get_provider_info
from airflow_provider_sentinelhub.hooks.bucket_connections import storage_options
from airflow_provider_sentinelhub.hooks.connections import (
    EXTRAS,
    ConnectionFacts,
    s3_delivery_credentials,
    service_address,
)
from airflow_provider_sentinelhub.hooks.sentinel_hub import SentinelHubHook
from airflow_provider_sentinelhub.simulator.process import Simulator


def hook(monkeypatch: pytest.MonkeyPatch, connection: str | dict[str, object]) -> SentinelHubHook:
    text = connection if isinstance(connection, str) else json.dumps({"conn_type": "sentinelhub", **connection})
    monkeypatch.setenv("AIRFLOW_CONN_TRIED", text)
    return SentinelHubHook("tried")


@pytest.mark.parametrize("layout", ["new", "legacy"])
def test_good_connection_in_both_layouts(sim: Simulator, monkeypatch: pytest.MonkeyPatch, layout: str) -> None:
    text = sim.ready.airflow_connections(layout)["AIRFLOW_CONN_SENTINELHUB_DEFAULT"]
    ok, message = hook(monkeypatch, text).test_connection()
    assert ok, message
    assert sim.ready.base_url in message
    prefix = "/batch/v2" if layout == "new" else "/api/v2/batch"
    assert sim.requests()["counts"][f"GET {prefix}/tilinggrids"] == 1


def test_good_connection_from_a_uri(sim: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    ready = sim.ready
    uri = (
        f"sentinelhub://{ready.client_id}:{quote(ready.client_secret, safe='')}@{quote(ready.base_url, safe='')}"
        f"/?deployment=custom&token_url={quote(ready.token_url, safe='')}&path_layout=legacy"
    )
    ok, message = hook(monkeypatch, uri).test_connection()
    assert ok, message


def test_bad_secret_says_which_step_and_what_to_do(sim: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    text = sim.ready.airflow_connections()["AIRFLOW_CONN_SENTINELHUB_DEFAULT"].replace(
        sim.ready.client_secret, "wrong-secret-123"
    )
    ok, message = hook(monkeypatch, text).test_connection()
    assert not ok
    assert "Step 2 of 3, getting a token, failed" in message
    assert "Check the client id and the client secret" in message
    assert "wrong-secret-123" not in message


def test_wrong_addresses_are_named(sim: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    right = json.loads(sim.ready.airflow_connections()["AIRFLOW_CONN_SENTINELHUB_DEFAULT"])
    elsewhere = {**right, "extra": {**right["extra"], "token_url": f"{sim.ready.base_url}/no/such/place"}}
    ok, message = hook(monkeypatch, json.dumps(elsewhere)).test_connection()
    assert not ok
    assert "Step 2 of 3, getting a token, failed" in message
    assert "answered 404" in message
    assert "Check the token URL in the connection." in message
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        nowhere = f"http://127.0.0.1:{closed.getsockname()[1]}"
        ok, message = hook(monkeypatch, json.dumps({**right, "host": nowhere})).test_connection()
    assert not ok
    assert "Step 3 of 3, listing the tiling grids, failed" in message
    assert f"The URL was {nowhere}." in message


@pytest.mark.parametrize("scheme", ["", "http://"])
def test_the_port_may_stand_in_its_own_field(sim: Simulator, monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    right = json.loads(sim.ready.airflow_connections()["AIRFLOW_CONN_SENTINELHUB_DEFAULT"])
    host, _, port = sim.ready.base_url.removeprefix("http://").partition(":")
    apart = {**right, "host": f"{scheme}{host}", "port": int(port), "schema": "http"}
    ok, message = hook(monkeypatch, apart).test_connection()
    assert ok, message


@pytest.mark.parametrize(
    "odd",
    [
        {"host": "http://localhost#@evil.example.com"},
        {"host": "evil.example.com", "schema": "https://x?="},
        {"host": "https://sh.example.com", "extra": {"token_url": "https://sh.example.com/t\r\nX: 1"}},
    ],
)
def test_odd_addresses_are_refused_before_anything_is_sent(
    monkeypatch: pytest.MonkeyPatch, odd: dict[str, object]
) -> None:
    ok, message = hook(monkeypatch, {"login": "id", "password": "secret", **odd}).test_connection()
    assert not ok
    assert message.startswith("Step 1 of 3, reading the connection, failed. Connection 'tried': ")
    assert "https://host[:port][/path]" in message


def test_refused_call_says_which_step(sim: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    sim.set_script({"endpoints": [{"path": "tilinggrids", "status": 403}]})
    ok, message = hook(
        monkeypatch, sim.ready.airflow_connections()["AIRFLOW_CONN_SENTINELHUB_DEFAULT"]
    ).test_connection()
    assert not ok
    assert "Step 3 of 3, listing the tiling grids, failed" in message
    assert "plan includes this API" in message


BAD: dict[str, tuple[dict[str, object], str]] = {
    "no client id": ({"password": "x"}, "has no client id (login). Create an OAuth client in the dashboard of AWS EU"),
    "no secret": ({"login": "x"}, "has no client secret (password)"),
    "unknown deployment": (
        {"login": "x", "password": "x", "extra": {"deployment": "mars"}},
        "deployment = 'mars': unknown deployment. Choose one of aws-eu-central-1, aws-us-west-2, cdse, custom",
    ),
    "custom without address": (
        {"login": "x", "password": "x", "extra": {"deployment": "custom"}},
        "base URL: missing. Deployment 'custom' has none of its own",
    ),
    "custom without token address": (
        {"login": "x", "password": "x", "host": "https://sh.example.com"},
        "token URL: missing",
    ),
    "secret over http": (
        {"login": "x", "password": "x", "host": "http://sh.example.com", "extra": {"token_url": "https://a.example"}},
        "http would send the client secret unencrypted",
    ),
    "a budget that is no number": (
        {"login": "x", "password": "x", "extra": {"max_pu": "lots"}},
        "max_pu = 'lots': must be a number. Leave it empty for the default limit.",
    ),
    "a budget of nothing": (
        {"login": "x", "password": "x", "extra": {"max_pu": 0}},
        "max_pu = 0: must be at least 1. Leave it empty for the default limit.",
    ),
    "unknown layout": (
        {"login": "x", "password": "x", "extra": {"path_layout": "newest"}},
        "path_layout = 'newest': unknown path layout. Choose legacy (/api/v2/batch) or new (/batch/v2)",
    ),
    "the address of another deployment": (
        {"login": "x", "password": "x", "host": "https://services.sentinel-hub.com", "extra": {"deployment": "cdse"}},
        (
            "deployment = 'cdse' and base URL = 'https://services.sentinel-hub.com' contradict each other: the address "
            "is that of deployment 'aws-eu-central-1'. Leave the base URL empty, or choose aws-eu-central-1."
        ),
    ),
    "tokens of another deployment": (
        {
            "login": "x",
            "password": "x",
            "extra": {
                "deployment": "aws-us-west-2",
                "token_url": "https://identity.dataspace.copernicus.eu/auth/realms/CDSE/protocol/openid-connect/token",
            },
        },
        "contradict each other: the address is that of deployment 'cdse'. Leave the token URL empty, or choose cdse.",
    ),
    "a misspelt limit": (
        {"login": "x", "password": "x", "extra": {"maxPU": 2000}},
        "Connection 'tried': extra 'maxPU': unknown extra. Did you mean 'max_pu'?",
    ),
    "a misspelt deployment": (
        {"login": "x", "password": "x", "extra": {"deploymnet": "cdse"}},
        "extra 'deploymnet': unknown extra. Did you mean 'deployment'?",
    ),
    "a prefix of long ago": (
        {"login": "x", "password": "x", "extra": {"extra__sentinelhub__token_url": ""}},
        "extra 'extra__sentinelhub__token_url': unknown extra. Did you mean 'token_url'?",
    ),
    "an extra that is no JSON": (
        {"login": "x", "password": "x", "extra": "{'deployment': 'cdse', 'secret': 'very-secret'}"},
        'Connection \'tried\': its extra is not a JSON object. Write it as {"name": "value"}, or leave it empty.',
    ),
    "an extra that is a list": (
        {"login": "x", "password": "x", "extra": '["cdse"]'},
        "Connection 'tried': its extra is not a JSON object",
    ),
    "a field among the extras": (
        {"login": "x", "extra": {"client_secret": "very-secret"}},
        "extra 'client_secret': unknown extra. It is a field of the connection itself: password (Client secret).",
    ),
}


@pytest.mark.parametrize("case", BAD, ids=str)
def test_bad_connection_is_told_before_any_request(monkeypatch: pytest.MonkeyPatch, case: str) -> None:
    fields, message = BAD[case]
    ok, said = hook(monkeypatch, fields).test_connection()
    assert not ok
    assert said.startswith("Step 1 of 3, reading the connection, failed")
    assert message in said
    assert "very-secret" not in said


@pytest.mark.parametrize("extra", ["", " ", "null", "{}", None, {}])
def test_an_extra_may_be_empty(monkeypatch: pytest.MonkeyPatch, extra: object) -> None:
    fields: dict[str, object] = {"login": "x", "password": "x", "extra": extra}
    assert hook(monkeypatch, fields).address.deployment.key == "aws-eu-central-1"


def test_an_extra_that_nothing_reads_is_named_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fields: dict[str, object] = {"login": "x", "password": "x", "extra": {"deployment": "cdse", "owner": "gis"}}
    for _ in range(3):
        assert hook(monkeypatch, fields).address.deployment.key == "cdse"
    said = [record.getMessage() for record in caplog.records if "'owner'" in record.getMessage()]
    known = "deployment, token_url, path_layout, max_pu"
    assert said == [f"Connection 'tried': extra 'owner' is unknown and ignored. Known extras: {known}."]


@pytest.mark.parametrize("extra", ["[1]", "5", '"cdse"'])
def test_an_extra_that_is_no_object_is_refused(monkeypatch: pytest.MonkeyPatch, extra: str) -> None:
    ok, message = hook(monkeypatch, {"login": "id", "password": "secret", "extra": extra}).test_connection()
    assert not ok
    assert "Connection 'tried': its extra is not a JSON object" in message


def test_an_address_in_front_of_a_deployment_is_told(caplog: pytest.LogCaptureFixture) -> None:
    facts = ConnectionFacts("proxied", "id", "secret", "https://proxy.example.com", {"deployment": "cdse"})
    address = service_address(facts)
    assert (address.base_url, address.deployment.key) == ("https://proxy.example.com", "cdse")
    assert "requests go to https://proxy.example.com, and are checked by the rules of deployment 'cdse'" in caplog.text


def test_the_form_and_the_reader_know_the_same_extras() -> None:
    (connection,) = get_provider_info()["connection-types"]
    assert set(connection["conn-fields"]) == set(EXTRAS)


@pytest.mark.parametrize("port", [0, None])
def test_port_0_is_no_port(monkeypatch: pytest.MonkeyPatch, port: int | None) -> None:
    fields: dict[str, object] = {"login": "x", "host": "https://sh.dataspace.copernicus.eu/", "port": port}
    address = hook(monkeypatch, fields).address
    assert (address.base_url, address.deployment.key) == ("https://sh.dataspace.copernicus.eu", "cdse")


@pytest.mark.parametrize(
    ("deployment", "base_url"),
    [
        ("", "https://services.sentinel-hub.com"),
        ("aws-us-west-2", "https://services-uswest2.sentinel-hub.com"),
        ("cdse", "https://sh.dataspace.copernicus.eu"),
    ],
)
def test_known_deployments_need_no_addresses(deployment: str, base_url: str) -> None:
    address = service_address(ConnectionFacts("c", "id", "secret", "", {"deployment": deployment}))
    assert address.base_url == base_url
    assert address.token_url.startswith("https://")


class TestAwsConnection:
    def credentials(self, deployment: str = "aws-eu-central-1", login: str = "", **extra: str) -> dict[str, str]:
        facts = ConnectionFacts("aws", login, "secret" if login else "", "", extra)
        return s3_delivery_credentials(facts, DEPLOYMENTS[deployment])

    def test_keys(self) -> None:
        assert self.credentials(login="AKIA") == {"accessKey": "AKIA", "secretAccessKey": "secret"}

    def test_it_is_understood_once_and_so_logged_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        # Airflow's own logger keeps the stream it was made with, so its handler is replaced.
        said: list[str] = []
        log = SimpleNamespace(info=lambda text, *args: said.append(text % args), warning=print, debug=print)
        monkeypatch.setattr(AwsConnectionWrapper, "log", log)
        facts = ConnectionFacts("aws_once", "AKIA", "secret", "", {"region_name": "eu-central-1"})
        for _ in range(2):
            assert s3_delivery_credentials(facts, DEPLOYMENTS["aws-eu-central-1"])
            assert storage_options("s3", facts).keys
        assert [text for text in said if "credentials retrieved from login and password" in text] == said[:1] != []

    def test_role_wins_over_keys(self) -> None:
        assert self.credentials(login="AKIA", role_arn="arn:aws:iam::1:role/r") == {
            "iamRoleARN": "arn:aws:iam::1:role/r"
        }

    def test_deployment_without_roles_gets_the_keys(self) -> None:
        found = self.credentials("cdse", login="AKIA", role_arn="arn:aws:iam::1:role/r")
        assert found == {"accessKey": "AKIA", "secretAccessKey": "secret"}

    def test_temporary_keys_are_refused(self) -> None:
        with pytest.raises(InvalidConfiguration, match="temporary keys"):
            self.credentials(login="AKIA", aws_session_token="t")

    def test_nothing_to_lend_is_refused(self) -> None:
        with pytest.raises(InvalidConfiguration, match="Enter a role_arn, or an access key and its secret"):
            self.credentials()
