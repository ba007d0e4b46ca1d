from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_sentinelhub.artifacts.storage import layout
from airflow_provider_sentinelhub.artifacts.storage.layout import DeliveryUrl, output_path, root_folder, zarr_url
from airflow_provider_sentinelhub.client.errors import InvalidParameter
from tests.artifacts.artifact_files import TASK


@pytest.mark.parametrize(
    ("url", "root"),
    [
        ("s3://b/f", "s3://b/f/ID"),
        ("s3://b/f/", "s3://b/f/ID"),
        ("s3://b", "s3://b/ID"),
        ("s3://b/f/<tileName>/<outputId>.tif", "s3://b/f"),
        ("s3://b/f/<requestId>/<tileName>.tif", "s3://b/f/ID"),
        ("s3://b/f/<requestId>/<tileName>/<outputId>.<format>", "s3://b/f/ID"),
        ("s3://b/f/<requestId>", "s3://b/f/ID"),
        ("s3://b/<requestId>/", "s3://b/ID"),
        ("s3://b/<tileName>/<outputId>.tif", "s3://b"),
        ("s3://b/<tileName>.tif", "s3://b"),
        ("s3://b/f/g_<tileName>_<requestId>.tif", "s3://b/f"),
        ("s3://b/f/<tileName>/<requestId>/<outputId>.tif", "s3://b/f"),
        ("s3://b/f/run-<requestId>/<outputId>/<tileName>.tif", "s3://b/f/run-ID"),
        ("gs://b/f g/h(1)", "gs://b/f g/h(1)/ID"),
        ("s3://tenant:bucket/f", "s3://tenant:bucket/f/ID"),
        ("file:///tmp/f", "file:///tmp/f/ID"),
    ],
)
def test_the_root_folder(url: str, root: str) -> None:
    assert root_folder(url, TASK) == root.replace("ID", TASK)


def official_rule(path: str, task_id: str) -> str:
    """The rule of the service's CARD4L tool, to the letter."""
    path = path.rstrip("/")
    if "<" not in path:
        path = f"{path}/<requestId>"
    return re.sub(r"(^|/)[^/]*<.*$", "", path.replace("<requestId>", task_id))


PIECES = st.lists(st.sampled_from([*layout.PLACEHOLDERS, "/", "a", "b-c", ".tif", "_", "2024"]), max_size=9)


@given(PIECES.map("".join).filter(lambda path: not path.startswith("/") and "//" not in path))
def test_the_root_folder_follows_the_official_rule_for_any_template(path: str) -> None:
    expected = f"s3://bucket/{official_rule(path, TASK).strip('/')}".rstrip("/")
    assert root_folder(f"s3://bucket/{path}", TASK) == expected


@given(PIECES.map("".join).filter(lambda path: not path.startswith("/") and "//" not in path))
def test_an_output_path_holds_no_placeholder_and_lies_below_the_root(path: str) -> None:
    found = output_path(f"s3://bucket/{path}", TASK, "31UDS_7_2", "default")
    assert "<" not in found
    assert found.startswith(root_folder(f"s3://bucket/{path}", TASK))


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("s3://b/f", "s3://b/f/ID/36MZT_0_0/ndvi.tif"),
        ("s3://b/f/", "s3://b/f/ID/36MZT_0_0/ndvi.tif"),
        ("s3://b", "s3://b/ID/36MZT_0_0/ndvi.tif"),
        ("s3://b/f/<requestId>", "s3://b/f/ID/36MZT_0_0/ndvi.tif"),
        ("s3://b/f/<tileName>/<outputId>.tif", "s3://b/f/36MZT_0_0/ndvi.tif"),
        ("s3://b/f/<outputId>_<tileName>.<format>", "s3://b/f/ndvi_36MZT_0_0.tif"),
    ],
)
def test_the_output_path(template: str, expected: str) -> None:
    assert output_path(template, TASK, "36MZT_0_0", "ndvi") == expected.replace("ID", TASK)


def test_a_name_that_looks_like_a_placeholder_is_not_filled_in_again() -> None:
    assert output_path("s3://b/<tileName>/<outputId>", TASK, "<outputId>", "x") == "s3://b/<outputId>/x"


def test_userdata_is_json() -> None:
    assert output_path("s3://b/f", TASK, "t", "userdata", "json").endswith("/t/userdata.json")


def test_the_names_of_the_files_about_a_task() -> None:
    root = "s3://b/f"
    assert layout.request_url(root, TASK) == f"s3://b/f/request-{TASK}.json"
    assert layout.manifest_url(root, TASK) == f"s3://b/f/featureManifest-{TASK}.gpkg"
    assert layout.execution_db_url(root, TASK) == f"s3://b/f/execution-{TASK}.sqlite"
    assert layout.report_url(root, TASK) == f"s3://b/f/report-{TASK}.parquet"


@pytest.mark.parametrize("task_id", ["", "a/b", "<requestId>", "a?b"])
def test_a_task_id_is_an_id(task_id: str) -> None:
    with pytest.raises(InvalidParameter, match="task_id"):
        root_folder("s3://b/f", task_id)


@pytest.mark.parametrize("url", ["b/f", "s3:///f", "http://b/f", "file://b/f"])
def test_a_root_needs_a_bucket(url: str) -> None:
    with pytest.raises(InvalidParameter, match="bucket"):
        root_folder(url, TASK)


@pytest.mark.parametrize(
    "url",
    [
        "s3://bucket",
        "s3://bucket/f/g/",
        "gs://bucket/f",
        "s3://tenant:bucket/f",
        "s3://bucket/<tileName>.tif",
        "s3://bucket/f/<requestId>/<tileName>/<outputId>.<format>",
        "s3://bucket/year=2024/<tileName>",
    ],
)
def test_a_good_delivery_url(url: str) -> None:
    assert str(DeliveryUrl.parse(url)) == url.rstrip("/")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("bucket/f", "must start with s3:// or gs://"),
        ("file:///f", "must start with s3:// or gs://"),
        ("s3://", "bucket name"),
        ("s3://b/f", "bucket name"),
        ("s3://<tileName>/f", "bucket name"),
        ("s3://bucket/<outputId>.tif", "must hold <tileName>"),
        ("s3://bucket/f/<requestId>", "must hold <tileName>, or tiles overwrite each other. Add <tileName>, or remove"),
        ("s3://bucket/<requestId>/<outputId>.<format>", "must hold <tileName>"),
        ("s3://bucket/<tileId>.tif", "does not support, for it finds results by name. Write <tileName> instead"),
        ("s3://bucket/<tilename>.tif", "Write <tileName> instead"),
        ("s3://bucket/<REQUESTID>/<tileName>", "Write <requestId> instead"),
        ("s3://bucket/<date>/<tileName>", "<date> is not a placeholder"),
        ("s3://bucket/<tileName", "no placeholder"),
        ("s3://bucket/a>b", "no placeholder"),
        ("s3://bucket//<tileName>", "segments"),
        ("s3://bucket/<tileName>?x=secret", "query"),
    ],
)
def test_a_bad_delivery_url_is_refused_before_the_service_is_asked(url: str, message: str) -> None:
    with pytest.raises(InvalidParameter, match=re.escape(message)) as caught:
        DeliveryUrl.parse(url, field="output.delivery.gs.url")
    assert caught.value.field == "output.delivery.gs.url"
    assert "secret" not in str(caught.value)


def test_several_outputs_need_an_output_id_in_a_template_only() -> None:
    with pytest.raises(InvalidParameter, match="Add <outputId>"):
        DeliveryUrl.parse("s3://bucket/<tileName>.tif", outputs=2)
    assert DeliveryUrl.parse("s3://bucket/<tileName>/<outputId>.tif", outputs=2).placeholders == {
        "<tileName>",
        "<outputId>",
    }
    DeliveryUrl.parse("s3://bucket/f", outputs=2)


@pytest.mark.parametrize(
    ("url", "expected"),
    [("s3://b/f", "s3://b/f"), ("gs://b/f/<requestId>/", "gs://b/f/ID"), ("s3://b", "s3://b")],
)
def test_a_zarr_lies_at_the_url_itself(url: str, expected: str) -> None:
    assert zarr_url(url, TASK) == expected.replace("ID", TASK)


def test_a_zarr_path_may_hold_the_request_id_only() -> None:
    DeliveryUrl.parse("s3://bucket/f/<requestId>", zarr=True)
    with pytest.raises(InvalidParameter, match="Zarr"):
        DeliveryUrl.parse("s3://bucket/f/<tileName>", zarr=True)
