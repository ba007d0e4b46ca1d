from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_sentinelhub.artifacts.storage.location import Location, without_secrets
from airflow_provider_sentinelhub.client.errors import InvalidParameter


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("s3://bucket/a/b.txt", ("s3", "bucket", "a/b.txt")),
        ("gs://my_bucket.x-y/a", ("gs", "my_bucket.x-y", "a")),
        ("s3://tenant:bucket/a b(1)~", ("s3", "tenant:bucket", "a b(1)~")),
        ("s3://bucket/100%25", ("s3", "bucket", "100%25")),
        ("file:///tmp/a%20b", ("file", "", "tmp/a b")),
    ],
)
def test_a_url_is_split(url: str, expected: tuple[str, str, str]) -> None:
    location = Location.parse(url)
    assert (location.scheme, location.bucket, location.key) == expected
    assert str(location) == url


@pytest.mark.parametrize(
    ("url", "rule"),
    [
        ("", "must start with"),
        ("bucket/key", "must start with"),
        ("https://bucket.s3.amazonaws.com/key", "must start with"),
        ("S3://bucket/key", "must start with"),
        ("s3:/bucket/key", "must start with"),
        ("s3:///key", "bucket name"),
        ("s3://ab/key", "bucket name"),
        ("s3://-bucket/key", "bucket name"),
        ("s3://bucket-/key", "bucket name"),
        ("s3://a:b:bucket/key", "bucket name"),
        ("s3://:bucket/key", "bucket name"),
        ("s3://buck et/key", "bucket name"),
        ("s3://bucket", "must name an object"),
        ("s3://bucket/", "must name an object"),
        ("s3://bucket/folder/", "must name an object"),
        ("s3://bucket//key", "segments"),
        ("s3://bucket/a//b", "segments"),
        ("s3://bucket/a/../b", "segments"),
        ("s3://bucket/./b", "segments"),
        ("s3://bucket/a\nb", "control"),
        ("file://host/path", "absolute"),
        ("file://relative", "absolute"),
        ("file:///", "must name an object"),
        ("file:///a/%2e%2e/b", "segments"),
    ],
)
def test_what_names_no_object_is_refused_with_field_rule_and_fix(url: str, rule: str) -> None:
    with pytest.raises(InvalidParameter, match=rule) as caught:
        Location.parse(url, field="report_url")
    assert caught.value.field == "report_url"
    assert caught.value.fix


def test_a_folder_may_end_with_a_slash_or_be_a_whole_bucket() -> None:
    assert Location.parse("s3://bucket/a/b/", folder=True).key == "a/b"
    assert Location.parse("s3://bucket", folder=True).key == ""
    assert str(Location.parse("s3://bucket/", folder=True)) == "s3://bucket"


def test_a_presigned_url_is_refused_without_showing_its_signature() -> None:
    with pytest.raises(InvalidParameter, match="query") as caught:
        Location.parse("s3://bucket/key?X-Amz-Signature=deadbeef")
    assert "deadbeef" not in str(caught.value)


def test_a_password_in_a_url_is_not_shown() -> None:
    with pytest.raises(InvalidParameter) as caught:
        Location.parse("s3://user:hunter2@bucket/key")
    assert "hunter2" not in str(caught.value)
    assert without_secrets("GET https://a:b@host/x?sig=1 failed") == "GET https://host/x failed"


@given(
    st.text(st.characters(exclude_characters="/\x00", exclude_categories=["Cc", "Cs"]), min_size=1).filter(
        lambda name: name not in {".", ".."}
    )
)
def test_any_file_name_survives_the_way_through_a_file_url(name: str) -> None:
    path = Path("/folder") / name
    location = Location.parse(path.as_uri())
    assert location.key == f"folder/{name}"
    assert Location.parse(str(location)) == location


@given(st.text())
def test_any_text_is_parsed_or_refused(text: str) -> None:
    for url in (text, f"s3://{text}", f"s3://bucket/{text}"):
        try:
            location = Location.parse(url)
        except InvalidParameter:
            continue
        assert Location.parse(str(location)) == location
