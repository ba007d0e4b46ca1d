"""Listings of buckets that hold, or say, what no bucket should."""

from __future__ import annotations

import itertools
import logging
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_sentinelhub.artifacts.storage.listing import list_s3
from airflow_provider_sentinelhub.artifacts.storage.location import Location
from airflow_provider_sentinelhub.client.errors import InvalidParameter, StorageUnavailable
from tests.artifacts.artifact_s3 import SLOW_DOWN, ScriptedS3, page

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.artifacts.artifact_s3 import S3, Said

FOLDER = "s3://bucket/f"
ODD = [
    "f//x",
    "f/../x",
    "f/./x",
    "f/a\nb",
    "f/a\tb",
    "f/\x1b[31mb",
    "f/\x00",
    "f/a?b",
    "f/a#b",
    "g/x",
    "/f/x",
    "f/\ufffd",
]
# As they stand in XML, where they may not stand.
RAW = ["f/a\x1bb", "f/a&#27;b", "f/a&#x0;b", "f/a&#1114112;b", "f/a\ud800b", "f/a&#65535;b"]


@pytest.mark.parametrize("encoded", [True, False])
@pytest.mark.parametrize("odd", ODD)
def test_an_odd_key_is_left_out_and_named(odd: str, encoded: bool, caplog: pytest.LogCaptureFixture) -> None:
    def answer(query: dict[str, str], count: int) -> Said:
        return page(["f/1.json", odd, "f/2 3.json"], encoded=encoded)

    with ScriptedS3(answer) as s3, caplog.at_level(logging.WARNING):
        assert [item.url for item in s3.storage().list(FOLDER)] == [f"{FOLDER}/1.json", f"{FOLDER}/2 3.json"]
    (record,) = caplog.records
    assert "Left out 1 key below s3://bucket/f" in record.getMessage()
    assert record.getMessage().isprintable()


@pytest.mark.parametrize("odd", RAW)
def test_a_key_that_is_no_xml_does_not_hide_the_others(odd: str) -> None:
    with ScriptedS3(lambda *_: page(["f/1.json", odd, "f/&#38;&amp;"])) as s3:
        assert [item.url for item in s3.storage().list(FOLDER)] == [f"{FOLDER}/1.json", f"{FOLDER}/&&"]


@pytest.mark.parametrize("folder", ["f/", "f/sub/"])
def test_objects_that_stand_for_folders_are_left_out_silently(folder: str, caplog: pytest.LogCaptureFixture) -> None:
    with ScriptedS3(lambda *_: page([folder, "f/sub/1"])) as s3:
        assert [item.url for item in s3.storage().list(FOLDER)] == [f"{FOLDER}/sub/1"]
    assert not caplog.records


@settings(deadline=None, max_examples=50)
@given(st.lists(st.text(st.characters(codec="utf-8"), min_size=1), max_size=20), st.booleans())
def test_whatever_is_listed_can_be_read(keys: list[str], encoded: bool) -> None:
    from xml.sax.saxutils import escape

    said = page([f"f/{key if encoded else escape(key)}" for key in keys], encoded=encoded)
    with ScriptedS3(lambda *_: said) as s3:
        listed = [item.url for item in s3.storage().list(FOLDER)]
    for url in listed:
        assert str(Location.parse(url)) == url
    if encoded:
        plain = {f"{FOLDER}/{key}" for key in keys if key.isalnum() and "\ufffd" not in key}
        assert plain <= set(listed)


def test_a_proxy_that_changes_what_it_may_change(s3: S3, folder_url: str) -> None:
    """It asks for another encoding of the answer, as many do, and so that header must not be signed."""
    from devtools.chaos.proxy import Proxy

    s3.storage().upload(b"x", f"{folder_url}/a")
    with Proxy(s3.endpoint) as proxy:
        assert [item.url for item in s3.storage(endpoint_url=proxy.url).list(folder_url)] == [f"{folder_url}/a"]


def test_odd_keys_of_a_real_server(own_s3: S3) -> None:
    folder = own_s3.folder / "bucket" / "f"
    folder.mkdir()
    for name in ("a?b", "a#b", "ok", "a b+c%20d"):
        (folder / name).write_bytes(b"1")
    storage = own_s3.storage()
    listed = {item.url: item.etag for item in storage.list(FOLDER)}
    assert listed.keys() == {f"{FOLDER}/ok", f"{FOLDER}/a b+c%20d"}
    assert all(storage.head(url).etag == etag for url, etag in listed.items())


ENDLESS: dict[str, Callable[[int], Said]] = {
    "given before, on an empty page": lambda _: page([], "again"),
    "given before": lambda count: page([f"f/{count}"], "again"),
    "given before, in turns": lambda count: page([f"f/{count}"], f"token-{count % 2}"),
}


@pytest.mark.parametrize("answer", ENDLESS.values(), ids=list(ENDLESS))
def test_a_token_that_was_given_before_ends_the_listing(answer: Callable[[int], Said]) -> None:
    with ScriptedS3(lambda _, count: answer(count)) as s3:
        with pytest.raises(StorageUnavailable, match=r"s3://bucket/f.*the same continuation token again.*endpoint URL"):
            list(s3.storage().list(FOLDER))
        assert len(s3.asked_at) <= 3


@pytest.mark.parametrize("keys", [[], ["f/1", "f/2"]])
def test_pages_without_anything_new_end_the_listing(keys: list[str]) -> None:
    with (
        ScriptedS3(lambda _, count: page(keys, f"token-{count}")) as s3,
        pytest.raises(StorageUnavailable, match="50 pages in a row brought nothing new"),
    ):
        list(list_s3(Location.parse(FOLDER, folder=True), s3.options(), most_barren=50))


@pytest.mark.parametrize("per_page", [1, 1000])
def test_a_listing_of_too_many_keys_is_given_up(per_page: int) -> None:
    def answer(_: dict[str, str], count: int) -> Said:
        return page((f"f/{count}-{number}" for number in range(per_page)), f"token-{count}")

    with ScriptedS3(answer) as s3:
        with pytest.raises(StorageUnavailable, match="may have 4,000 keys"):
            list(list_s3(Location.parse(FOLDER, folder=True), s3.options(), most=4000))
        assert len(s3.asked_at) in {4, 20}


def test_pages_are_followed_to_their_end_over_one_connection() -> None:
    def answer(query: dict[str, str], _: int) -> Said:
        number = int(query.get("continuation-token", "0"))
        # Empty pages do come where a bucket passes over what was deleted.
        keys = [] if number % 3 == 1 else [f"f/{number:03}-{each:03}" for each in range(10)]
        return page(keys, str(number + 1) if number < 29 else "")

    with ScriptedS3(answer) as s3:
        listed = [item.url for item in s3.storage().list(FOLDER)]
    assert len(listed) == len(set(listed)) == 200


@pytest.mark.parametrize("text", ["", "<", "<html><body>Welcome</body></html>", "{}", "<!DOCTYPE x><x>&y;</x>", "\x00"])
def test_an_answer_that_is_no_listing(text: str) -> None:
    with (
        ScriptedS3(lambda *_: (200, text)) as s3,
        pytest.raises(StorageUnavailable, match="Could not list s3://bucket/f"),
    ):
        list(s3.storage().list(FOLDER))


def test_a_page_is_bounded() -> None:
    with (
        ScriptedS3(lambda *_: page(["f/" + "x" * (9 << 20)])) as s3,
        pytest.raises(StorageUnavailable, match="a page of more than 8,388,608 bytes"),
    ):
        list(s3.storage().list(FOLDER))


@pytest.mark.parametrize("call", ["head", "read", "upload", "delete", "list"])
def test_a_bucket_that_is_asked_too_often_is_asked_again_for_a_while(call: str) -> None:
    def answer(query: dict[str, str], count: int) -> Said:
        if count <= 6:
            return SLOW_DOWN
        return (
            (200, "<DeleteResult><Deleted><Key>f/1</Key></Deleted></DeleteResult>")
            if "delete" in query
            else page(["f/1"])
        )

    with ScriptedS3(answer) as s3:
        storage = s3.storage(read_timeout=0.4 if call == "list" else 30)
        calls: dict[str, Callable[[], object]] = {
            "head": lambda: storage.head(f"{FOLDER}/1"),
            "read": lambda: storage.read(f"{FOLDER}/1"),
            "upload": lambda: storage.upload(b"1", f"{FOLDER}/1"),
            "delete": lambda: storage.delete(f"{FOLDER}/1"),
            "list": lambda: list(storage.list(FOLDER)),
        }
        calls[call]()
        assert len(s3.asked_at) >= 7


def test_a_bucket_that_is_asked_too_often_is_asked_less_and_less_and_given_up() -> None:
    with ScriptedS3(lambda *_: SLOW_DOWN) as s3:
        with pytest.raises(StorageUnavailable, match=r"SlowDown.*limits the request rate"):
            s3.storage(read_timeout=3).read(f"{FOLDER}/1")
        gaps = [later - earlier for earlier, later in itertools.pairwise(s3.asked_at)]
    assert 8 <= len(s3.asked_at) <= 16
    assert max(gaps) > 4 * min(gaps)


def test_a_refusal_is_not_asked_again() -> None:
    with ScriptedS3(
        lambda *_: (403, "<Error><Code>AccessDenied</Code><Message>no\x1b[2J\nway</Message></Error>")
    ) as s3:
        with pytest.raises(StorageUnavailable, match="HTTP 403, AccessDenied, no way") as caught:
            list(s3.storage().list(FOLDER))
        assert len(s3.asked_at) == 1
    assert str(caught.value).isprintable()


def test_a_folder_that_is_none() -> None:
    with ScriptedS3(lambda *_: page([])) as s3, pytest.raises(InvalidParameter, match="control characters"):
        list(s3.storage().list("s3://bucket/a\nb"))
