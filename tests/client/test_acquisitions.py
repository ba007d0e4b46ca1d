"""Which items are versions of one acquisition, and what a watcher remembers of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_sentinelhub.client.apis.catalog.acquisitions import Acquisition, acquisition_of
from airflow_provider_sentinelhub.client.apis.catalog.watching import LookBack, Memory, News, Policy

NOW = datetime(2026, 6, 1, tzinfo=UTC)
BACK = LookBack(timedelta(days=10), timedelta(days=60), timedelta(days=1))


def read(item_id: str, at: str = "2020-06-01T09:21:55Z", **properties: Any) -> Acquisition:
    item = {"id": item_id, "collection": "c", "bbox": [1, 2, 3, 4], "properties": {"datetime": at, **properties}}
    found = acquisition_of(item)
    assert found is not None
    return found


def are_one(first: Acquisition, second: Acquisition) -> bool:
    return first.keys[0] in second.keys or second.keys[0] in first.keys


S2 = "S2B_MSIL2A_20200601T092155_N0214_R022_T33TUK_20200601T115442"
S1 = "S1A_IW_GRDH_1SDV_20200607T165650_20200607T165715_032913_03CFF1_6F9C"
S3 = "S3A_OL_1_EFR____20200601T092155_20200601T092455_20200602T141257_0179_059_036_2160_LN1_O_NT_002.SEN3"
S5P = "S5P_OFFL_L2__AER_AI_20200601T091206_20200601T105317_13643_01_010302_20200602T225113"
LANDSAT = "LC08_L1TP_192029_20200601_20200824_02_T1"
OLD = "S2A_OPER_MSI_L1C_TL_EPAE_20200601T111106_A023619_T33UVQ_N02.09"


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (S2, "S2B_MSIL2A_20200601T092155_N0500_R022_T33TUK_20230401T010203"),
        (S2, "S2B_MSIL2A_20200601T092155_N0214_R022_T33TUK_20200601T121212"),
        (S1, S1.replace("6F9C", "0A1B")),
        (S1, f"{S1}_COG"),
        (S3, S3.replace("20200602T141257", "20210102T141257").replace("002.SEN3", "003.SEN3")),
        (S5P, "S5P_RPRO_L2__AER_AI_20200601T091206_20200601T105317_13643_03_020400_20220602T225113"),
        (LANDSAT, "LC08_L1GT_192029_20200601_20200601_02_RT"),
        (OLD, "S2A_OPER_MSI_L1C_TL_VGS4_20200601T131106_A023619_T33UVQ_N02.13"),
    ],
)
def test_other_processing_and_other_station_are_versions(first: str, second: str) -> None:
    assert are_one(read(first), read(second, at="2020-06-01T09:22:03Z"))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (S2, S2.replace("S2B", "S2C")),
        (S2, S2.replace("T33TUK", "T33TUL")),
        (S2, S2.replace("20200601T092155", "20200611T092155")),
        (S1, "S1A_IW_GRDH_1SDV_20200607T165715_20200607T165740_032913_03CFF1_1111"),
        (S1, S1.replace("S1A_IW", "S1A_EW")),
        (S3, S3.replace("_2160_", "_2340_")),
        (S5P, S5P.replace("AER_AI", "NO2___")),
        (S5P, S5P.replace("OFFL", "NRTI")),
        (LANDSAT, LANDSAT.replace("LC08", "LC09")),
        ("DEM_a", "DEM_b"),
    ],
)
def test_other_satellite_place_time_or_product_is_another_acquisition(first: str, second: str) -> None:
    at = {"at": "2020-06-11T09:22:03Z"} if "0611T" in second else {}
    other = read(second, **at)
    if first.startswith("DEM"):
        other = read(second, at="2020-06-01T09:30:00Z")
    assert not are_one(read(first), other)


@given(st.integers(0, 10**7), st.integers(-290, 290))
def test_seconds_between_versions_do_not_matter_at_any_time(at: int, seconds: int) -> None:
    moments = [NOW + timedelta(seconds=at), NOW + timedelta(seconds=at + seconds)]
    first, second = (read(OLD, at=each.isoformat()) for each in moments)
    assert are_one(first, second)


@given(st.integers(0, 10**7), st.integers(-4, 4))
def test_pieces_of_a_strip_stay_apart(at: int, seconds: int) -> None:
    def piece(moment: datetime) -> Acquisition:
        start, end = (f"{each:%Y%m%dT%H%M%S}" for each in (moment, moment + timedelta(seconds=25)))
        return read(f"S1A_IW_GRDH_1SDV_{start}_{end}_032913_03CFF1_6F9C", at=moment.isoformat())

    first = NOW + timedelta(seconds=at)
    assert are_one(piece(first), piece(first + timedelta(seconds=seconds)))
    assert not are_one(piece(first), piece(first + timedelta(seconds=25 + seconds)))


def test_says_what_the_item_says() -> None:
    said: dict[str, Any] = {"platform": "sentinel-2b", "eo:cloud_cover": 12.5}
    found = read(S2, **said)
    assert (found.platform, found.orbit, found.tile, found.baseline, found.cloud_cover) == (
        "sentinel-2b", "022", "33TUK", 214, 12.5,
    )  # fmt: skip
    assert read(S2.replace("N0214", "N0500")).rank > found.rank
    assert read(S2.replace("T115442", "T235442")).rank > found.rank
    assert read(S1).rank == 0
    # What an item says goes before its name, and names of tiles are written in several ways.
    assert read("x", platform="new-1", **{"grid:code": "MGRS-33TUK"}).tile == found.tile
    assert are_one(read("x", platform="p", **{"grid:code": "A1"}), read("y", platform="P", **{"grid:code": "A1"}))
    assert read("MCD43A4.A2020153.h18v04.006").tile == "h18v04"


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=8) | st.integers(), st.lists, max_leaves=5
)


@given(
    st.dictionaries(st.sampled_from(["id", "bbox", "properties", "collection"]), JSON),
    st.dictionaries(st.sampled_from(["datetime", "platform", "grid:code", "created", "eo:cloud_cover"]), JSON),
)
def test_any_item_is_read_or_left_out(item: dict[str, Any], properties: dict[str, Any]) -> None:
    acquisition_of(item)
    found = acquisition_of({"id": "x", **item, "properties": {"datetime": "2026-01-01T00:00:00Z", **properties}})
    assert found is None or found.keys


# ----------------------------------------------------------------------------------------------------------- memory


def number(of: int, at: datetime = NOW) -> Acquisition:
    return read(f"S2B_MSIL2A_20200601T092155_N0214_R022_T{of:05}_20200601T115442", at=at.isoformat())


@pytest.mark.parametrize("policy", list(Policy))
def test_what_was_stored_is_read_again_and_each_part_is_small(policy: Policy) -> None:
    memory = Memory(policy, NOW - timedelta(days=60), NOW, NOW, NOW)
    for each in range(12_000):
        memory.remember(number(each).keys[0], number(each, NOW - timedelta(days=each % 50)))
    parts = memory.divided()
    assert max(map(len, parts)) < 65_535
    again = Memory.read(policy, memory.head())
    for part in parts:
        again.read_part(part)
    assert (len(again), again.head()) == (12_000, memory.head())
    assert sorted(again.divided()) == sorted(parts)
    if policy is not Policy.EVERY:
        assert again.key_of_new(number(7)) is None


def test_too_much_to_remember_is_forgotten_from_the_oldest_day_and_not_reported_again() -> None:
    memory = Memory(Policy.FIRST)
    for each in range(100):
        memory.remember(number(each).keys[0], number(each, NOW - timedelta(days=each)))
    assert memory.forget_excess(100) is None
    floor = memory.forget_excess(40)
    assert floor is not None
    assert len(memory) <= 40
    assert memory.key_of_new(number(99, NOW - timedelta(days=99))) is None
    assert memory.key_of_new(number(1000, NOW)) is not None


def test_a_look_reaches_over_an_outage_and_once_a_day_far_back() -> None:
    memory = Memory(Policy.FIRST, NOW - timedelta(days=60))
    first = memory.window(NOW, BACK)
    assert (first.start, first.is_wide) == (NOW - timedelta(days=60), True)
    memory.looked(first, BACK)
    soon = memory.window(NOW + timedelta(hours=1), BACK)
    assert (soon.start, soon.is_wide) == (NOW - timedelta(days=10), False)
    memory.looked(soon, BACK)
    late = memory.window(NOW + timedelta(days=100), BACK)
    assert (late.start, late.is_wide) == (NOW - timedelta(days=60), True)
    assert late.end >= late.at


def test_one_look_reports_the_newest_version_of_each_acquisition_up_to_a_limit() -> None:
    news = News(Memory(Policy.FIRST), most=2)
    for baseline in ("0213", "0215", "0214"):
        news.take(read(S2.replace("N0214", f"N{baseline}")))
    news.take(number(1))
    assert news.is_complete
    news.take(number(2))
    assert not news.is_complete
    assert {each.baseline for _, each in news} == {215, 214}
