from __future__ import annotations

import hashlib
import json
import socket
import threading
import time
from typing import TYPE_CHECKING

import pytest

from airflow_provider_sentinelhub.artifacts.storage.object_stores import StorageKeys, StorageOptions
from airflow_provider_sentinelhub.artifacts.storage.storage import ObjectMeta, Storage
from airflow_provider_sentinelhub.client.errors import ArtifactMissing, InvalidParameter, StorageUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.artifacts.artifact_s3 import S3

CALLS: list[Callable[[Storage, str, Path], object]] = [
    lambda storage, url, _: storage.head(url),
    lambda storage, url, _: storage.read(url),
    lambda storage, url, folder: storage.download(url, folder / "x"),
    lambda storage, url, _: storage.upload(b"x", url),
    lambda storage, url, _: list(storage.list(url)),
    lambda storage, url, _: storage.delete(url),
    lambda storage, url, _: storage.exists(url),
]


def urls(s3: S3, tmp_path: Path) -> Iterator[tuple[Storage, str]]:
    yield s3.storage(), f"s3://bucket/{tmp_path.name}-{time.time_ns()}"
    yield Storage(), tmp_path.as_uri()


def test_an_object_is_written_read_listed_and_deleted(s3: S3, tmp_path: Path) -> None:
    for storage, folder in urls(s3, tmp_path):
        url = f"{folder}/a/b.txt"
        assert not storage.exists(url)
        storage.upload(b"hello", url)
        meta = storage.head(url)
        assert (meta.url, meta.size) == (url, 5)
        assert meta.etag
        assert '"' not in meta.etag
        assert meta.last_modified.tzinfo is not None
        assert storage.read(url) == b"hello"
        assert [item.url for item in storage.list(folder)] == [url]
        assert [item.etag for item in storage.list(f"{folder}/a/")] == [meta.etag]
        assert not list(storage.list(f"{folder}/a/b"))
        storage.upload(b"other", url)
        assert storage.head(url).etag != meta.etag
        storage.delete(url)
        storage.delete(url)
        assert not storage.exists(url)


@pytest.mark.parametrize("name", ["a b", "ä/ö", "x%20y", "p+q=r&s", "(1)~'!", "a:b", "<tile>"])
def test_names_are_taken_literally(s3: S3, folder_url: str, name: str) -> None:
    storage = s3.storage()
    url = f"{folder_url}/{name}"
    storage.upload(b"1", url)
    assert storage.read(url) == b"1"
    assert [item.url for item in storage.list(folder_url)] == [url]


def test_a_bucket_of_a_tenant(s3: S3) -> None:
    s3.storage().upload(b"1", "s3://tenant:bucket/folder/x")
    assert (s3.folder / "tenant:bucket" / "folder" / "x").read_bytes() == b"1"
    assert [item.url for item in s3.storage().list("s3://tenant:bucket")] == ["s3://tenant:bucket/folder/x"]


def test_a_large_file_travels_in_parts(s3: S3, folder_url: str, tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    block = bytes(range(256)) * 4096
    with source.open("wb") as file:
        for number in range(40):
            file.write(number.to_bytes(4, "big") + block)
    storage = s3.storage()
    storage.upload(source, f"{folder_url}/large")
    meta = storage.download(f"{folder_url}/large", target)
    assert meta.size == source.stat().st_size == target.stat().st_size
    with source.open("rb") as one, target.open("rb") as other:
        assert hashlib.file_digest(one, "sha256").digest() == hashlib.file_digest(other, "sha256").digest()
    assert meta.etag == storage.head(f"{folder_url}/large").etag
    assert {path.name for path in tmp_path.iterdir()} == {"source", "target"}


class RestlessStorage(Storage):
    """Its objects change whenever somebody looks at them."""

    def head(self, url: str) -> ObjectMeta:
        self.upload(b"changed before", url)
        meta = super().head(url)
        self.upload(b"and changed after", url)
        return meta


def test_a_download_names_what_it_read_and_not_what_was_there_before_or_after(
    s3: S3, folder_url: str, tmp_path: Path
) -> None:
    storage, url = RestlessStorage(s3.options()), f"{folder_url}/x"
    storage.upload(b"first", url)
    read = storage.download(url, tmp_path / "x")
    content = (tmp_path / "x").read_bytes()
    assert read.size == len(content)
    assert read.etag == hashlib.md5(content, usedforsecurity=False).hexdigest()


def test_what_is_missing_is_missing_and_leaves_no_file(s3: S3, tmp_path: Path) -> None:
    for storage, folder in urls(s3, tmp_path):
        for call in CALLS[:3]:
            with pytest.raises(ArtifactMissing, match="There is no ") as caught:
                call(storage, f"{folder}/nothing", tmp_path)
            assert f"{folder}/nothing" in str(caught.value)
        assert list(storage.list(f"{folder}/nothing")) == []
    assert not list(tmp_path.iterdir())


def test_a_failed_download_keeps_the_old_file(s3: S3, folder_url: str, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"old")
    with pytest.raises(ArtifactMissing):
        s3.storage().download(f"{folder_url}/x", tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == b"old"


@pytest.mark.parametrize("call", CALLS)
def test_a_missing_bucket_is_not_a_missing_object(
    s3: S3, tmp_path: Path, call: Callable[[Storage, str, Path], object]
) -> None:
    with pytest.raises(StorageUnavailable, match=r"NoSuchBucket.*Check the bucket name") as caught:
        call(s3.storage(), "s3://no-such-bucket/x", tmp_path)
    assert "s3://no-such-bucket/x" in str(caught.value)
    assert caught.value.retryable


@pytest.mark.parametrize("call", CALLS)
def test_a_wrong_secret_is_named_and_not_shown(
    s3: S3, tmp_path: Path, call: Callable[[Storage, str, Path], object]
) -> None:
    storage = s3.storage(secret_access_key="a-wrong-secret-of-mine")
    with pytest.raises(StorageUnavailable, match=r"HTTP 403.*Check the access key and secret") as caught:
        call(storage, "s3://bucket/x", tmp_path)
    assert "a-wrong-secret-of-mine" not in str(caught.value)
    assert "Signature=" not in str(caught.value)


def test_an_unknown_key_is_named(s3: S3) -> None:
    with pytest.raises(StorageUnavailable, match=r"InvalidAccessKeyId.*does not know the key"):
        s3.storage(access_key_id="somebody-elses-access-key").read("s3://bucket/x")


def test_keys_are_not_mixed_with_a_session_token_of_the_environment(
    s3: S3, folder_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", "somebody-elses-token")
    with socket.create_server(("127.0.0.1", 0)) as server:
        asked: list[bytes] = []

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                asked.append(connection.recv(65536))
                connection.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        storage = s3.storage(endpoint_url=f"http://127.0.0.1:{server.getsockname()[1]}")
        with pytest.raises(StorageUnavailable):
            storage.read("s3://bucket/x")
        thread.join(5)
    assert b"Credential=simulator-access-key" in asked[0]
    assert b"token" not in asked[0]


@pytest.mark.parametrize("call", CALLS)
def test_a_server_that_is_gone_is_reported_at_once(
    tmp_path: Path, call: Callable[[Storage, str, Path], object]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        endpoint = f"http://127.0.0.1:{server.getsockname()[1]}"
    storage = Storage(StorageOptions(StorageKeys("a", "b"), endpoint_url=endpoint))
    began = time.monotonic()
    with pytest.raises(StorageUnavailable, match=r"Connection refused.*Check the endpoint URL and the network"):
        call(storage, "s3://bucket/x", tmp_path)
    # Generous: four retries take about a second and a half.
    assert time.monotonic() - began < 20


def test_a_server_that_dies_half_way(own_s3: S3) -> None:
    storage = own_s3.storage(read_timeout=1)
    storage.upload(b"1", "s3://bucket/x")
    own_s3.process.kill()
    own_s3.process.wait()
    with pytest.raises(StorageUnavailable):
        storage.read("s3://bucket/x")


def test_a_server_that_says_nothing_is_given_up(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        endpoint = f"http://127.0.0.1:{server.getsockname()[1]}"
        options = StorageOptions(StorageKeys("a", "b"), endpoint_url=endpoint, read_timeout=0.3, connect_timeout=0.3)
        with pytest.raises(StorageUnavailable, match=r"Timeout|TimedOut"):
            Storage(options).read("s3://bucket/x")


def test_an_answer_that_breaks_off_leaves_no_file(tmp_path: Path) -> None:
    head = (
        b'HTTP/1.1 200 OK\r\nContent-Length: 1000\r\nETag: "1"\r\n'
        b"Last-Modified: Sat, 21 Nov 2026 08:00:00 GMT\r\nConnection: close\r\n\r\n"
    )
    stop = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.1)

        def answer() -> None:
            while not stop.is_set():
                try:
                    connection, _ = server.accept()
                except TimeoutError:
                    continue
                with connection:
                    connection.recv(65536)
                    connection.sendall(head + b"half of it")

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        endpoint = f"http://127.0.0.1:{server.getsockname()[1]}"
        options = StorageOptions(StorageKeys("a", "b"), endpoint_url=endpoint, read_timeout=1)
        with pytest.raises(StorageUnavailable):
            Storage(options).download("s3://bucket/x", tmp_path / "x")
        stop.set()
        thread.join(5)
    assert not list(tmp_path.iterdir())


def test_google_cloud_storage(open_s3: S3, tmp_path: Path) -> None:
    key = {"gcs_base_url": open_s3.endpoint, "disable_oauth": True}
    key |= dict.fromkeys(("client_email", "private_key", "private_key_id"), "")
    storage = Storage(StorageOptions(service_account_key=json.dumps(key)))
    storage.upload(b"hello", "gs://bucket/folder/x")
    assert storage.read("gs://bucket/folder/x") == b"hello"
    assert storage.head("gs://bucket/folder/x").size == 5
    assert [item.url for item in storage.list("gs://bucket")] == ["gs://bucket/folder/x"]
    with pytest.raises(ArtifactMissing):
        storage.download("gs://bucket/nothing", tmp_path / "x")
    with pytest.raises(StorageUnavailable, match="NoSuchBucket"):
        storage.head("gs://no-such-bucket/x")
    storage.delete("gs://bucket/folder/x")
    assert not storage.exists("gs://bucket/folder/x")


def test_a_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ArtifactMissing):
        Storage().read((tmp_path / "file" / "x").as_uri())
    with pytest.raises(ArtifactMissing):
        Storage().read(tmp_path.as_uri())


def test_a_source_that_does_not_exist_is_not_a_missing_artifact(s3: S3, folder_url: str, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        s3.storage().upload(tmp_path / "nothing", f"{folder_url}/x")


def test_options_show_no_secret() -> None:
    key = '{"client_email": "me", "private_key_id": "1", "private_key": "very-secret-1"}'
    options = StorageOptions(StorageKeys("access", "very-secret-2", "very-secret-3"), service_account_key=key)
    assert "very-secret" not in repr(options)
    assert "access" in repr(options)
    assert "very-secret" not in repr(options.identity)


@pytest.mark.parametrize(
    "given",
    [
        {"endpoint_url": "localhost:9000"},
        {"endpoint_url": "not a url"},
        {"endpoint_url": "https://user:very-secret@host"},
        {"endpoint_url": "https://host?token=very-secret"},
        {"endpoint_url": "ftp://host"},
        {"service_account_key": "very-secret"},
        {"service_account_key": '{"private_key": "very-secret"}'},
    ],
)
def test_options_that_cannot_work_are_refused_without_showing_secrets(given: dict[str, str]) -> None:
    with pytest.raises(InvalidParameter) as caught:
        StorageOptions(**given)  # type: ignore[arg-type]
    assert "very-secret" not in str(caught.value)


def test_a_key_file_that_google_would_not_have_written() -> None:
    key = '{"client_email": "me", "private_key": "very-secret", "private_key_id": "1"}'
    with pytest.raises(StorageUnavailable, match="Check the service account key") as caught:
        Storage(StorageOptions(service_account_key=key)).read("gs://bucket/x")
    assert "very-secret" not in str(caught.value)
