"""What users' programs hold is taken as JSON where that is possible, and named where it is not."""

from __future__ import annotations

import json
import math
from collections import OrderedDict
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum, IntEnum
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd  # type: ignore[import-untyped]
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_sentinelhub.artifacts.results.preflight import examine
from airflow_provider_sentinelhub.client.apis.batch_v2.spec import BATCH_V2
from airflow_provider_sentinelhub.client.apis.statistical.spec import STATISTICAL
from airflow_provider_sentinelhub.client.as_json import as_json
from airflow_provider_sentinelhub.client.errors import InvalidParameter
from tests.bad_inputs.requests import request, script
from tests.client.client_harness import statistical_document

BOX = shapely.box(8.5, 41.3, 9.6, 43.1)
UTM = "http://www.opengis.net/def/crs/EPSG/0/32632"


class Number(IntEnum):
    ONE = 1


class Word(Enum):
    ONE = "one"


def same(found: Any, expected: Any) -> bool:
    """Equal, and of the same types."""
    return repr(found) == repr(expected)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.int64(3), 3),
        (np.float32(0.5), 0.5),
        (np.float64(0.5), 0.5),
        (np.True_, True),
        (np.str_("a"), "a"),
        (np.array(3), 3),
        (np.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
        (np.array([1, None, "a"], dtype=object), [1, None, "a"]),
        (np.datetime64("2026-11-30T12:00", "ns"), datetime(2026, 11, 30, 12)),  # noqa: DTZ001 - numpy's have no time zone
        (np.datetime64("2026-11-30"), date(2026, 11, 30)),
        (np.timedelta64(3600 * 10**9, "ns"), timedelta(hours=1)),
        (Decimal("sNaN"), math.nan),
        (Decimal("-Infinity"), -math.inf),
        (pd.Series([1.5, 2.5]), [1.5, 2.5]),
        (Decimal(10), 10),
        (Decimal("1E+2"), 100),
        (Decimal("0.1"), 0.1),
        (Decimal("1E+1000000000"), math.inf),
        (Number.ONE, 1),
        (Word.ONE, "one"),
        (Path("a.js"), "a.js"),
        ((1, (2,)), [1, [2]]),
        (range(3), [0, 1, 2]),
        (OrderedDict(a=MappingProxyType({"b": np.int8(1)})), {"a": {"b": 1}}),
        ({"at": datetime(2026, 11, 30, tzinfo=UTC)}, {"at": datetime(2026, 11, 30, tzinfo=UTC)}),
    ],
    ids=repr,
)
def test_what_it_becomes(value: Any, expected: Any) -> None:
    assert same(as_json(value), expected)
    assert same(as_json({"a": [value]}), {"a": [expected]})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda each: st.lists(each) | st.dictionaries(st.text(), each),
    max_leaves=10,
)


@settings(max_examples=50)
@given(JSON)
def test_json_stays_as_it_is(value: Any) -> None:
    assert same(as_json(value), value)


def test_everything_that_has_no_form_is_named() -> None:
    with pytest.raises(InvalidParameter) as refused:
        as_json({"a": Fraction(1, 3), "b": [1, {"c": {1, 2}}], "d": 1j})
    assert [each.field for each in (refused.value, *refused.value.others)] == ["a", "b.1.c", "d"]
    assert str(refused.value).startswith("a = Fraction(1, 3): is a fractions.Fraction, which JSON cannot hold. Convert")
    assert "b.1.c = {1, 2}: is a set, which" in str(refused.value)


class Broken:
    """An object of a library whose source is gone."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(f"no {name}")


def test_what_fails_to_give_its_value_or_holds_itself_is_named() -> None:
    deep: dict[str, Any] = {}
    for _ in range(5000):
        deep = {"a": deep}
    itself = request()
    itself["processRequest"]["input"] |= {"again": itself, "twice": itself}
    array = np.empty(1, dtype=object)
    array[0] = array
    levels = "has more than 100 levels, or holds itself"
    for value, field, rule in (
        (deep, "a.a.a.a.a", levels),
        (itself["processRequest"], "input.again.processRequest.input.again", levels),
        ({"a": array}, "a.0.0.0.0", levels),
        ({"a": Broken()}, "a", "is a Broken that cannot give its value (no __geo_interface__)"),
        ({"bounds": Broken()}, "bounds", "is a Broken that cannot give its value (no __geo_interface__)"),
    ):
        (error,) = examine(BATCH_V2, value).findings.errors
        assert (error.field, error.rule) == (field, rule)
    nested = json.loads('{"a":' * 95 + "1" + "}" * 95)
    usual = request(processRequest__input__data=[{"type": "sentinel-2-l2a", "processing": nested}])
    assert examine(BATCH_V2, usual).accepted()


@pytest.mark.parametrize(
    "changes",
    [
        {"input__resolution": np.int64(10), "input__id": np.uint8(0)},
        {"input__resolution": Decimal("10.0")},
        {"output__overwrite": np.True_},
        {"processRequest__input__data": [{"type": "sentinel-2-l2a", "dataFilter": {"maxCloudCoverage": np.int64(30)}}]},
        {"processRequest__input__data": [{"type": "sentinel-2-l2a", "processing": {"of a collection": np.int64(1)}}]},
        {"processRequest__input__bounds": {"bbox": np.array([8.5, 41.3, 9.6, 43.1])}},
        {"processRequest__input__bounds": {"bbox": BOX.bounds}},
        {"processRequest__input__bounds": {"geometry": BOX}},
        {"processRequest__input__bounds": BOX},
    ],
    ids=repr,
)
def test_a_request_with_it_is_the_same_as_one_without(changes: dict[str, Any]) -> None:
    body = examine(BATCH_V2, request(**changes)).accepted()
    assert same(json.loads(json.dumps(body)), body)
    usual = {key: json.loads(shapely.to_geojson(v)) if v is BOX else as_json(v) for key, v in changes.items()}
    if usual.get("processRequest__input__bounds", {}).get("type"):
        usual = {"processRequest__input__bounds": {"geometry": usual["processRequest__input__bounds"]}}
    assert body == examine(BATCH_V2, request(**usual)).accepted()


def test_the_srid_of_a_geometry_is_not_lost() -> None:
    there = shapely.set_srid(shapely.box(400_000, 4_600_000, 460_000, 4_660_000), 32632)
    for bounds in (there, {"geometry": there}, {"geometry": there, "properties": {"crs": UTM}}):
        body = examine(BATCH_V2, request(processRequest__input__bounds=bounds)).accepted()
        assert body["processRequest"]["input"]["bounds"]["properties"] == {"crs": UTM}
    other = {"geometry": there, "properties": {"crs": UTM[:-1] + "3"}}
    (error,) = examine(BATCH_V2, request(processRequest__input__bounds=other)).findings.errors
    assert error.field == "processRequest.input.bounds.properties.crs"
    assert error.rule == "is not the system of the geometry, whose SRID is 32632"
    degrees = {"geometry": shapely.set_srid(BOX, 4326)}
    for crs in ("OGC/1.3/CRS84", "EPSG/0/4326"):
        bounds = {**degrees, "properties": {"crs": f"http://www.opengis.net/def/crs/{crs}"}}
        assert examine(BATCH_V2, request(processRequest__input__bounds=bounds)).findings.errors == ()


@pytest.mark.parametrize("value", [date(2024, 4, 1), np.datetime64("2024-04-01"), pd.NaT])
def test_a_day_has_a_beginning_and_an_end(value: Any) -> None:
    data = [{"type": "sentinel-2-l2a", "dataFilter": {"timeRange": {"from": value}}}]
    (error,) = examine(BATCH_V2, request(processRequest__input__data=data)).findings.errors
    assert error.field == "processRequest.input.data.0.dataFilter.timeRange.from"
    if value is not pd.NaT:
        assert error.rule == "is a date without a time"
        assert error.fix.startswith("Write datetime.combine(day, time(), UTC) for its beginning")


def test_a_moment_of_pandas_is_one() -> None:
    data = [{"type": "sentinel-2-l2a", "dataFilter": {"timeRange": {"from": pd.Timestamp("2024-04-01", tz="UTC")}}}]
    body = examine(BATCH_V2, request(processRequest__input__data=data)).accepted()
    assert body["processRequest"]["input"]["data"][0]["dataFilter"]["timeRange"] == {"from": "2024-04-01T00:00:00Z"}


def test_what_json_cannot_hold_is_named_beside_nothing_else() -> None:
    data = [{"type": "sentinel-2-l2a", "processing": {"upsampling": Fraction(1, 3)}}]
    (error,) = examine(BATCH_V2, request(processRequest__input__data=data)).findings.errors
    assert error.field == "processRequest.input.data.0.processing.upsampling"


def test_a_request_of_the_public_client_stands_for_its_payload() -> None:
    from sentinelhub.api.process import SentinelHubRequest
    from sentinelhub.api.statistical import SentinelHubStatistical
    from sentinelhub.constants import CRS, MimeType
    from sentinelhub.data_collections import DataCollection
    from sentinelhub.geometry import BBox

    source, box = DataCollection.SENTINEL2_L2A, BBox((8.5, 41.3, 9.6, 43.1), CRS.WGS84)
    process = SentinelHubRequest(
        evalscript=script(),
        input_data=[SentinelHubRequest.input_data(source, time_interval=("2024-04-01", "2024-05-01"))],
        responses=[SentinelHubRequest.output_response("default", MimeType.TIFF)],
        bbox=box,
    )
    body = examine(BATCH_V2, request(processRequest=process)).accepted()
    assert body["processRequest"]["evalscript"] == script()
    assert body["processRequest"]["input"]["bounds"]["bbox"] == [8.5, 41.3, 9.6, 43.1]
    (error,) = examine(BATCH_V2, process).findings.errors
    assert str(error) == (
        "request = ['input', 'evalscript', 'output']: has its evalscript at the top, like a request for a single "
        "image; Batch Processing V2 has it elsewhere. Write it in processRequest, as in the examples of "
        "SentinelHubBatchProcessOperator, or use SentinelHubProcessOperator for a single image."
    )
    aggregation = {**statistical_document()["aggregation"], "resx": 0.01, "resy": 0.01}
    data = [SentinelHubStatistical.input_data(source)]
    statistical = SentinelHubStatistical(aggregation=aggregation, input_data=data, bbox=box)
    assert examine(STATISTICAL, statistical).accepted()["aggregation"] == aggregation
