"""Every bad request of the table is refused, with the message the table shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from airflow_provider_sentinelhub.artifacts.results.preflight import examine
from airflow_provider_sentinelhub.client.apis.batch_v2.spec import BATCH_V2
from airflow_provider_sentinelhub.client.errors import InvalidParameter
from airflow_provider_sentinelhub.client.http.deployments import DEPLOYMENTS
from tests.bad_inputs import BadInput
from tests.bad_inputs.requests import BUCKETS, COLLECTION, REQUESTS, TWO, ZARR, request

if TYPE_CHECKING:
    from pathlib import Path

ALL = (*REQUESTS, *BUCKETS)


@pytest.mark.parametrize("bad", ALL, ids=lambda bad: bad.title)
def test_it_is_refused_with_the_message_of_the_table(bad: BadInput, tmp_path: Path) -> None:
    with pytest.raises(InvalidParameter) as caught:
        bad.provoke(tmp_path)
    assert str(caught.value) == bad.message


def test_each_stands_once() -> None:
    assert len({bad.title for bad in ALL}) == len(ALL)
    assert len({bad.message for bad in ALL}) == len(ALL)


@pytest.mark.parametrize(
    "changes", [{}, {**COLLECTION}, {**TWO}, {**ZARR}], ids=["plain", "COG", "two outputs", "Zarr"]
)
@pytest.mark.parametrize("deployment", [None, *DEPLOYMENTS.values()], ids=lambda each: each.key if each else "unknown")
def test_what_they_were_made_of_is_good(changes: dict[str, object], deployment: object) -> None:
    document = request(**changes)
    if deployment is DEPLOYMENTS["aws-us-west-2"]:
        # The one that has no Sentinel-2 data.
        process = document["processRequest"]
        process["input"]["data"] = [{"type": "hls"}]
        process["evalscript"] = process["evalscript"].replace("B04", "Red").replace("B08", "NIR_Narrow")
    examined = examine(BATCH_V2, document, deployment)  # type: ignore[arg-type]  # one or none
    assert examined.accepted() == document
