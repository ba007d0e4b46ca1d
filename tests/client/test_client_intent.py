from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_sentinelhub.client.apis.batch_v2.spec import BATCH_V2
from airflow_provider_sentinelhub.client.lifecycle import description
from airflow_provider_sentinelhub.client.lifecycle.intent import Intent, digest
from airflow_provider_sentinelhub.client.lifecycle.tasks import BatchTask
from tests.client.client_harness import build_document

ids = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30) | st.sampled_from(
    ["a/b", "a#b~1", "a b", "airflow:x/y/z#0123456789abcdef~1", "%2F", "é", "scheduled__2025-01-01T00:00:00+00:00", "7"]
)
digests = st.text("0123456789abcdef", min_size=16, max_size=16)
installations = st.text("0123456789abcdef", min_size=8, max_size=8)
intents = st.builds(
    Intent, ids, ids, ids, st.integers(-1, 100_000), digests, st.integers(0, 1000), installation=installations
)


@given(intents, st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
def test_an_intent_is_found_again(intent: Intent, text: str | None) -> None:
    request = description.tagged({"description": text}, intent.tag)
    assert BATCH_V2.intent_of(BatchTask(id="t", status="CREATED", request=request)) == intent
    assert request["description"].startswith(text or "airflow:")
    assert intent.tag.isascii()
    assert " " not in intent.tag


@given(intents, intents)
def test_different_intents_have_different_tags(one: Intent, other: Intent) -> None:
    assert (one.tag == other.tag) == (one == other)


def test_the_tag_as_people_see_it() -> None:
    intent = Intent("corsica", "manual__2025", "ndvi.max", 3, "1a2b3c4d5e6f7a8b", 2)
    tagged = description.tagged({"description": "Max NDVI"}, intent.tag)
    assert tagged == {"description": "Max NDVI | airflow:00000000/corsica/manual__2025/ndvi.max/3#1a2b3c4d5e6f7a8b~2"}
    assert description.tagged({"description": ""}, intent.tag) == description.tagged({}, intent.tag)
    assert description.tagged({}, intent.tag) == {"description": intent.tag}


@given(st.text(max_size=80))
def test_nothing_is_found_in_foreign_descriptions(text: str) -> None:
    assert Intent.found_in(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "airflow",
        "airflow:0a1b2c3d/a/b/c",
        "airflow:0a1b2c3d/a/b/c#1a2b3c4d5e6f7a8b",
        "airflow:0a1b2c3d/a/b#1a2b3c4d5e6f7a8b~1",
        "airflow:0a1b2c3d/a/b/c#1A2B3C4D5E6F7A8B~1",
        "airflow:0a1b2c3d/a/b/c#1a2b~1",
        "airflow:0a1b2c3d/a/b/c/d#1a2b3c4d5e6f7a8b~1",
        "airflow:0a1b2c3d/a b/c/d#1a2b3c4d5e6f7a8b~1",
        "airflow:0a1b2c3d/a/b/c#1a2b3c4d5e6f7a8b~1x",
        "airflow:0a1b2c3d/a/b/c#1a2b3c4d5e6f7a8b~1.5",
        "airflow:0a1b2c3d/a/b/c#1a2b3c4d5e6f7a8b~1-2",
        "airflow:0a1b2c3d/a/b/c#1a2b3c4d5e6f7a8b~1~2",
        "airflow:0a1b2c3d/a/b/c#1a2b3c4d5e6f7a8b~1/2",
        "airflow:0a1b2c3d/a/b/c#1a2b3c4d5e6f7a8b~1^",
        "airflow:0a1b2c3d/a/b/c#1a2b3c4d5e6f7a8b~1^1",
        "airflow:0a1b2c3d/a/b/c#1a2b3c4d5e6f7a8b~1^1:",
        "airflow:0a1b2c3d/a/b/c#1a2b3c4d5e6f7a8b~1^1:a_b",
        "airflow:0a1b2c3d/a/b/c#1a2b3c4d5e6f7a8b~1234567890",
        "airflow:0a1b2c3d/a/b/c#1a2b3c4d5e6f7a8b~\u0661",
        "airflow:0a1b2c3d/a/b/c#1a2b3c4d5e6f7a8bf~1",
        "airflow:0a1b2c3d/a/\u00e9/c#1a2b3c4d5e6f7a8b~1",
        "myairflow:0a1b2c3d/a/b/c#1a2b3c4d5e6f7a8b~1",
        "\u00e9airflow:0a1b2c3d/a/b/c#1a2b3c4d5e6f7a8b~1",
        "airflow:0a1b2c3d/a/b/c/1/2#1a2b3c4d5e6f7a8b~1",
        "airflow:a/b/c#1a2b3c4d5e6f7a8b~1",
        "airflow:0a1b2c3/a/b/c#1a2b3c4d5e6f7a8b~1",
    ],
)
def test_what_only_looks_like_a_tag_is_none(text: str) -> None:
    assert Intent.found_in(text) is None


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=60) | st.sampled_from(
    ["airflow:", "airflow:0a1b2c3d/a/b/c#", "~", "^1:", "| ", "copy of ", "airflow:0a1b2c3d/a/b/c#1a2b3c4d5e6f7a8b~1x"]
)
reruns = st.builds(
    Intent,
    ids,
    ids,
    ids,
    st.integers(-1, 100_000),
    digests,
    st.integers(0, 1000),
    st.integers(1, 20),
    st.from_regex(r"[a-z0-9]{1,12}(-[a-z0-9]{1,12}){0,4}", fullmatch=True),
    installations,
)
# What people put between a text and another one.
before, after = (
    st.sampled_from(list(" \n\t|([\"'=,;-")),
    st.sampled_from([*" \n\t|)]\"',;!?", ". ", ": ", " - ", "- ", "..."]),
)


@given(intents | reruns, texts, before, after, texts)
def test_text_before_and_after_does_not_hide_a_tag(
    intent: Intent, one: str, gap: str, other_gap: str, two: str
) -> None:
    assert Intent.found_in(f"{one}{gap}{intent.tag}{other_gap}{two}") == (Intent.found_in(two) or intent)
    assert Intent.found_in(f"{intent.tag}{other_gap}{two}") == (Intent.found_in(two) or intent)
    assert Intent.found_in(f"{one}{gap}{intent.tag}") == intent


@given(intents | reruns, intents | reruns, after)
def test_the_last_of_several_tags_counts(one: Intent, other: Intent, gap: str) -> None:
    assert Intent.found_in(f"copy of {one.tag}{gap} | {other.tag}{gap}") == other
    assert Intent.found_in(f"{one.tag} | {other.tag}/x") == one


@given(intents | reruns, texts, st.integers(0, 400))
def test_a_tag_that_was_cut_off_is_never_read_as_that_of_another_request(intent: Intent, one: str, cut: int) -> None:
    """
    A description may have a greatest length; what is left of a tag is read as nothing, or as a beginning of it.

    What is left of a rerun's tag may look like that of an original, and a generation may lose digits. The digest is
    whole all the same, so it is never taken for another request.
    """
    found = Intent.found_in(f"{one} {intent.tag[: len(intent.tag) - cut]}")
    if found is not None and found != Intent.found_in(one):
        assert intent.tag.startswith(found.tag)
        assert found.digest == intent.digest


def test_a_long_text_is_read_in_no_time() -> None:
    text = "airflow:0a1b2c3d/" * 100_000 + "a" * 1_000_000 + "~" * 100_000
    assert Intent.found_in(text) is None


def reversed_keys(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: reversed_keys(value[key]) for key in reversed(value)}
    return [reversed_keys(item) for item in value] if isinstance(value, list) else value


BODY = build_document(
    output={
        "type": "zarr",
        "delivery": {"s3": {"url": "s3://b/f", "accessKey": "A", "secretAccessKey": "S", "region": "r"}},
        "group": {"zarr_format": 2, "customAttributes": {"description": "mine"}},
    },
    description="free text",
)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("description", "another"),
        ("description", ...),
        ("output__delivery__s3__accessKey", "another"),
        ("output__delivery__s3__secretAccessKey", ...),
        ("output__delivery__s3__iamRoleARN", "arn:aws:iam::1:role/r"),
    ],
)
def test_who_pays_and_what_it_is_called_do_not_count(path: str, value: Any) -> None:
    changed = copy.deepcopy(BODY)
    put(changed, path.split("__"), value)
    assert digest(changed) == digest(BODY)


def put(document: Any, steps: list[Any], value: Any) -> None:
    for step in steps[:-1]:
        document = document[step]
    if value is ...:
        del document[steps[-1]]
    else:
        document[steps[-1]] = value


def leaves(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items: Any = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    if items is None:
        return [path]
    return [leaf for key, item in items for leaf in leaves(item, (*path, key))]


COUNTED = [
    path for path in leaves(BODY) if path != ("description",) and path[-1] not in {"accessKey", "secretAccessKey"}
]


@pytest.mark.parametrize("path", COUNTED, ids=lambda path: ".".join(map(str, path)))
def test_everything_else_counts(path: tuple[Any, ...]) -> None:
    changed = copy.deepcopy(BODY)
    put(changed, list(path), "changed")
    assert digest(changed) != digest(BODY)
    if path[-1] != 0:
        put(changed, list(path), ...)
        assert digest(changed) != digest(BODY)


def test_the_order_of_keys_does_not_count_but_that_of_items_does() -> None:
    assert digest(reversed_keys(BODY)) == digest(BODY) == digest(json.loads(json.dumps(BODY)))
    assert digest({"a": [1, 2]}) != digest({"a": [2, 1]})
    assert digest({"a": "é \ud83d"}) != digest({"a": "é"})
    assert len(digest({})) == 16
