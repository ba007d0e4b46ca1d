"""``airflow sentinelhub validate`` tells requests for statistics from others."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_sentinelhub.cli.validate import Problem, problems_in
from airflow_provider_sentinelhub.client.http.deployments import DEPLOYMENTS
from tests.client.client_harness import NDVI, batch_statistical_document, statistical_document

if TYPE_CHECKING:
    from pathlib import Path

SCRIPT = "scripts/ndvi.js"


def problems(folder: Path, document: dict[str, Any], deployment: str = "") -> list[Problem]:
    path = folder / "request.json"
    path.write_text(json.dumps(document))
    return list(problems_in(str(path), DEPLOYMENTS.get(deployment)))


@pytest.mark.parametrize("document", [statistical_document, batch_statistical_document])
def test_good_requests(document: Any, tmp_path: Path) -> None:
    assert problems(tmp_path, document(), "aws-eu-central-1") == []


def test_each_is_checked_as_what_it_is(tmp_path: Path) -> None:
    (batch,) = problems(tmp_path, batch_statistical_document(output={"s3": {"url": "s3://bucket/<tileName>.json"}}))
    assert (batch.level, batch.field) == ("error", "output.s3.url")
    assert "Write <IDENTIFIER> instead." in batch.message
    (single,) = problems(tmp_path, statistical_document(input__bounds={}))
    assert (single.level, single.field) == ("error", "input.bounds")


@pytest.mark.parametrize("document", [statistical_document, batch_statistical_document])
def test_a_misspelt_aggregation_does_not_make_another_request_of_it(document: Any, tmp_path: Path) -> None:
    request = document()
    request["agregation"] = request.pop("aggregation")
    found = problems(tmp_path, request)
    assert [(each.level, each.field) for each in found] == [("error", "aggregation"), ("error", "agregation")]


def test_the_deployment_makes_a_difference(tmp_path: Path) -> None:
    document = batch_statistical_document(input__data=[{"type": "landsat-ot-l1"}])
    assert [each.level for each in problems(tmp_path, document)] == []
    assert [each.field for each in problems(tmp_path, document, "aws-us-west-2")] == ["deployment"]


def test_an_evalscript_is_looked_for_beside_the_request(tmp_path: Path) -> None:
    document = statistical_document(aggregation__evalscript=SCRIPT)
    (missing,) = problems(tmp_path, document)
    assert missing.message.startswith(f"aggregation.evalscript = '{SCRIPT}': cannot be read")
    (tmp_path / "scripts").mkdir()
    (tmp_path / SCRIPT).write_text(NDVI.replace('"ndvi"', '"evi"'))
    (wrong,) = problems(tmp_path, document)
    assert wrong.field == "calculations.ndvi"
    (tmp_path / SCRIPT).write_text(NDVI)
    assert problems(tmp_path, document) == []


def test_what_airflow_will_render_is_not_judged(tmp_path: Path) -> None:
    span = {"from": "{{ data_interval_start }}", "to": "{{ data_interval_end }}"}
    document = batch_statistical_document(
        aggregation__timeRange=span,
        aggregation__resx="{{ params.resolution }}",
        aggregation__evalscript="{{ script }}.js",
    )
    found = problems(tmp_path, document)
    assert {each.level for each in found} == {"warning"}
    assert {each.field for each in found} >= {
        "aggregation.timeRange.from",
        "aggregation.resx",
        "aggregation.evalscript",
    }
