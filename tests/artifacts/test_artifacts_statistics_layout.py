from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from airflow_provider_sentinelhub.artifacts.statistics.layout import (
    ResultName,
    ResultNames,
    StatisticsUrl,
    parts_url,
    rerun_output_url,
    result_url,
    settled_output_url,
    statistics_root,
    statistics_url,
)
from airflow_provider_sentinelhub.artifacts.storage.layout import report_url, rerun_features_url
from airflow_provider_sentinelhub.artifacts.storage.storage import Storage
from airflow_provider_sentinelhub.client.errors import InvalidParameter

if TYPE_CHECKING:
    from pathlib import Path

TASK = "7f3b98f6"
GOOD = [
    ("s3://bucket", "s3://bucket/7f3b98f6", "s3://bucket/7f3b98f6/12.json"),
    ("s3://bucket/f/", "s3://bucket/f/7f3b98f6", "s3://bucket/f/7f3b98f6/12.json"),
    ("s3://bucket/<REQUEST_ID>/<ID>.json", "s3://bucket/7f3b98f6", "s3://bucket/7f3b98f6/12.json"),
    ("s3://bucket/f/<ID>.json", "s3://bucket/f", "s3://bucket/f/12.json"),
    ("s3://bucket/<ID>", "s3://bucket", "s3://bucket/12"),
    ("s3://bucket/f/p-<IDENTIFIER>/<ID>/x.json", "s3://bucket/f", "s3://bucket/f/p-a b/12/x.json"),
    ("s3://t:bucket/x-<REQUEST_ID>-<ID>/<ID>.json", "s3://t:bucket", "s3://t:bucket/x-7f3b98f6-12/12.json"),
]


@pytest.mark.parametrize(("url", "root", "result"), GOOD)
def test_where_files_lie(url: str, root: str, result: str) -> None:
    if "<" not in url or "<REQUEST_ID>" in url:
        assert str(StatisticsUrl.parse(url)) == url.rstrip("/")
    else:
        # Tasks like this that somebody else created can be read.
        with pytest.raises(InvalidParameter, match="must hold <REQUEST_ID>"):
            StatisticsUrl.parse(url)
    assert statistics_root(url, TASK) == root
    assert result_url(url, TASK, 12, "a b") == result
    found = ResultNames(url, TASK).parse(result)
    assert found is not None
    assert (found.feature_id, found.identifier) in {(12, None), (12, "a b")}
    assert settled_output_url(settled_output_url(url, TASK), TASK) == settled_output_url(url, TASK)
    for own in (statistics_url(root, TASK), parts_url(root, TASK)):
        assert own.startswith(root)
        assert not own.endswith(".json")


def test_names_that_are_no_results() -> None:
    names = ResultNames("s3://bucket/f", TASK)
    assert names.parse("s3://bucket/f/7f3b98f6/12.json") == ResultName(12, None)
    for other in ("f/7f3b98f6/x.json", "f/7f3b98f6/1/2.json", "f/7f3b98f6/12.json.gz", "f/other/12.json", "f/12.json"):
        assert names.parse(f"s3://bucket/{other}") is None
    twice = ResultNames("s3://bucket/<ID>/<ID>.json", TASK)
    assert twice.parse("s3://bucket/7/7.json") == ResultName(7, None)
    assert twice.parse("s3://bucket/7/8.json") is None
    named = ResultNames("s3://bucket/<IDENTIFIER>.json", TASK)
    assert named.parse("s3://bucket/a/b.c.json") == ResultName(None, "a/b.c")


@pytest.mark.parametrize("template", ["<IDENTIFIER>", "<IDENTIFIER>/<IDENTIFIER>", "<ID>"])
def test_files_of_this_package_are_no_results(template: str) -> None:
    url = f"s3://bucket/f/<REQUEST_ID>/{template}"
    names, root = ResultNames(url, TASK), statistics_root(url, TASK)
    own = [statistics_url(root, TASK), report_url(root, TASK), rerun_features_url(root, TASK, 1)]
    own += [f"{parts_url(root, TASK)}/published", result_url(rerun_output_url(url, TASK), "other", 7)]
    # As an earlier version named the files of a rerun.
    own += [f"{root}/retry-{TASK}-1.gpkg", f"{root}/statistics-{TASK}.retries/other/7.json"]
    assert not any(names.parse(each) for each in own)
    assert names.parse(result_url(url, TASK, 7, "report-7"))


def test_names_on_disk_are_percent_encoded(tmp_path: Path) -> None:
    folder = tmp_path / "my results"
    for url in (folder.as_uri(), f"file://{folder}"):
        template = f"{url}/ä <IDENTIFIER>.json"
        Storage().upload(b"1", result_url(template, TASK, 1, "a b%20"))
        (meta,) = Storage().list(statistics_root(template, TASK))
        assert ResultNames(template, TASK).parse(meta.url) == ResultName(None, "a b%20")
        assert [path.name for path in folder.iterdir()] == ["ä a b%20.json"]


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("bucket/f", "must start with s3://"),
        ("gs://bucket/f", "must start with s3://"),
        ("s3://b/f", "at least 3 letters"),
        ("s3://bucket//f", "empty, '.' or '..'"),
        ("s3://bucket/<REQUEST_ID>", "must hold <ID> or <IDENTIFIER>"),
        ("s3://bucket/<requestId>/<ID>.json", "Write <REQUEST_ID> instead"),
        ("s3://bucket/<tileName>.json", "Write <IDENTIFIER> instead"),
        ("s3://bucket/<id>.json", "Write <ID> instead"),
        ("s3://bucket/<outputId>/<ID>", "Use <REQUEST_ID>, <ID>, <IDENTIFIER>"),
        ("s3://bucket/a<b/<ID>", "no placeholder"),
        ("s3://bucket/<ID>?x=secret", "presigned"),
    ],
)
def test_bad_urls_are_refused_before_the_service_is_asked(url: str, expected: str) -> None:
    with pytest.raises(InvalidParameter, match=expected.replace("?", r"\?")) as caught:
        StatisticsUrl.parse(url)
    assert "secret" not in str(caught.value)
    assert str(caught.value).startswith("output.s3.url = ")
