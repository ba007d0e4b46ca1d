"""The values in statistics, computed once more from the documented formula, without numpy and pixel by pixel."""

from __future__ import annotations

import datetime as dt
import math
import struct
import zlib
from functools import cache
from typing import Any

import numpy as np
import pytest
from pyproj import Transformer
from shapely.geometry import Polygon, box

from airflow_provider_sentinelhub.simulator.evalscript import parse
from airflow_provider_sentinelhub.simulator.features.features import Feature
from airflow_provider_sentinelhub.simulator.problems import AnalysisFailed
from airflow_provider_sentinelhub.simulator.statistics.answers import Plan, answer, edges, histogram, rounded
from airflow_provider_sentinelhub.simulator.statistics.parcels import parcel
from airflow_provider_sentinelhub.simulator.statistics.values import MAX_SAMPLED, pixels

Json = dict[str, Any]
SCRIPT = """//VERSION=3
function setup() {
  return {
    input: ["B04", "B08", "SCL", "dataMask"],
    output: [
      { id: "indices", bands: ["ndvi", "evi"] },
      { id: "classes", bands: 1, sampleType: "UINT8" },
      { id: "dataMask", bands: 1 },
    ],
  };
}
function evaluatePixel(sample) {}
"""
TRIANGLE = Polygon([(600_000, 5_330_000), (600_180, 5_330_020), (600_090, 5_330_210)])


def aggregation(start: str = "2024-04-01", end: str = "2024-10-01", **more: Any) -> Json:
    every = {"of": "P7D", "lastIntervalBehavior": "SKIP"}
    return {"timeRange": {"from": start, "to": end}, "aggregationInterval": every, "resx": 10, "resy": 10, **more}


def answered(outline: Polygon, calculations: Json | None = None, crs: int = 32632, **changes: Any) -> Json:
    request = {"aggregation": aggregation(**changes), "calculations": calculations or {}}
    plan = Plan.of(request, SCRIPT)
    feature = parcel(outline, crs, request["aggregation"], 1)
    return answer(plan, feature, [None] * len(plan.intervals))


def chance(text: str) -> float:
    return zlib.crc32(text.encode()) / 2**32


@cache
def overlapping(outline: Polygon, width: int, height: int) -> set[tuple[int, int]]:
    """Row and column of the pixels that overlap an outline."""
    west, south, east, north = outline.bounds
    across, down = (east - west) / width, (north - south) / height
    return {
        (row, column)
        for row in range(height)
        for column in range(width)
        if outline.intersection(
            box(
                west + column * across,
                north - (row + 1) * down,
                west + (column + 1) * across,
                north - row * down,
            )
        ).area
        > 0
    }


def expected(outline: Polygon, day: dt.date, output: str, band: str) -> list[float]:
    """All valid pixel values of an interval, as documented."""
    west, south, east, north = outline.bounds
    width, height = round((east - west) / 10), round((north - south) / 10)
    degrees = Transformer.from_crs(32632, 4326, always_xy=True).transform
    middle = degrees((west + east) / 2, (south + north) / 2)
    c = chance(f"{day.isoformat()}/{math.floor(10 * middle[0])}/{math.floor(10 * middle[1])}")
    season = 0.5 - 0.5 * math.cos(2 * math.pi * (day.timetuple().tm_yday - 15) / 365)
    h = chance(f"{output}/{band}")
    counted = overlapping(outline, width, height)
    values = []
    for row in range(height):
        for column in range(width):
            x = west + (column + 0.5) * (east - west) / width
            y = north - (row + 0.5) * (north - south) / height
            lon, lat = degrees(x, y)
            clouds = math.cos(2 * math.pi * (50 * lon + c)) * math.cos(2 * math.pi * (50 * lat - c))
            if (row, column) not in counted or c < 0.125 or (c < 0.375 and clouds > 0.5):
                continue
            texture = math.sin(2 * math.pi * (250 * lon + h)) * math.cos(2 * math.pi * (250 * lat - h))
            if "ndvi" in f"{output}/{band}".lower():
                value = 0.10 + 0.65 * season + 0.10 * texture
            else:
                value = 0.05 + 0.20 * h + 0.10 * season + 0.04 * texture
            values.append(float(int(250 * value)) if output == "classes" else value)
    return values


def test_statistics_are_those_of_the_documented_formula() -> None:
    response = answered(TRIANGLE)
    assert response["status"] == "OK"
    empty = clouded = 0
    for entry in response["data"]:
        day = dt.date.fromisoformat(entry["interval"]["from"][:10])
        for output, band in (("indices", "ndvi"), ("indices", "evi"), ("classes", "B0")):
            stats = entry["outputs"][output]["bands"][band]["stats"]
            values = expected(TRIANGLE, day, output, band)
            assert stats["sampleCount"] == 18 * 21
            assert stats["sampleCount"] - stats["noDataCount"] == len(values)
            if not values:
                empty += 1
                assert {stats[name] for name in ("min", "max", "mean", "stDev")} == {"NaN"}
                continue
            clouded += len(values) < len(expected(TRIANGLE, dt.date(2024, 4, 15), output, band))
            mean = sum(values) / len(values)
            assert stats["min"] == pytest.approx(min(values), rel=1e-6)
            assert stats["max"] == pytest.approx(max(values), rel=1e-6)
            assert stats["mean"] == pytest.approx(mean, rel=1e-6)
            deviation = math.sqrt(sum((value - mean) ** 2 for value in values) / len(values))
            assert stats["stDev"] == pytest.approx(deviation, rel=1e-4)
    # The season has weeks without data and weeks with some clouds, otherwise this test would prove little.
    assert empty > 0
    assert clouded > 0


def test_every_pixel_that_overlaps_the_outline_counts() -> None:
    # Of most pixels it covers less than a tenth.
    cross = Polygon([(0, 0), (30, 0), (30, 0.5), (20.5, 0.5), (20.5, 30), (9.5, 30), (9.5, 0.5), (0, 0.5)])
    response = answered(cross, crs=32632, resx=10, resy=10)
    assert response["geometryPixelCount"] == 9
    stats = response["data"][2]["outputs"]["classes"]["bands"]["B0"]["stats"]
    assert (stats["sampleCount"], stats["noDataCount"]) == (9, 0)
    diamond = Polygon([(20, 0), (40, 20), (20, 40), (0, 20)])
    # Its sides run through the corners of the pixels they do not enter.
    assert answered(diamond, crs=32632)["geometryPixelCount"] == 12


@pytest.mark.parametrize(
    ("longitude", "days"), [(9.0, ["2020-06-08", "2020-06-13"]), (14.0, ["2020-06-06", "2020-06-11"])]
)
def test_sentinel_2_leaves_out_days_without_an_image(longitude: float, days: list[str]) -> None:
    every = {"of": "P1D", "lastIntervalBehavior": "SKIP"}
    request = {
        "input": {"data": [{"type": "sentinel-2-l2a"}]},
        "aggregation": {**aggregation("2020-06-06", "2020-06-14"), "aggregationInterval": every},
    }
    feature = parcel(box(longitude, 46, longitude + 0.01, 46.01), 4326, {}, 1)

    def answered_of(request: Json) -> Json:
        plan = Plan.of(request, SCRIPT)
        return answer(plan, feature, plan.settled(feature, [None] * len(plan.intervals), empty=False))

    response = answered_of(request)
    assert [entry["interval"]["from"][:10] for entry in response["data"]] == days
    assert (response["status"], response["geometryPixelCount"]) == ("OK", 256 * 256)
    nothing = answered_of(
        {**request, "aggregation": {**request["aggregation"], **aggregation("2020-06-09", "2020-06-10")}}
    )
    assert nothing == {"data": [], "status": "OK", "geometryPixelCount": None}
    weekly = answered_of({**request, "aggregation": aggregation("2020-06-01", "2020-07-06")})
    assert len(weekly["data"]) == 5
    fused = answered_of({**request, "input": {"data": [{"type": "sentinel-2-l2a"}, {"type": "dem"}]}})
    assert len(fused["data"]) == 8


def test_floating_point_values_have_32_bits() -> None:
    stats = answered(TRIANGLE)["data"][2]["outputs"]["indices"]["bands"]["ndvi"]["stats"]
    assert struct.unpack("f", struct.pack("f", stats["min"]))[0] == stats["min"]


def test_vegetation_follows_the_seasons_of_its_hemisphere() -> None:
    def mean(latitude: float, month: str) -> float:
        place = box(10, latitude, 10.002, latitude + 0.002)
        data = answered(place, crs=4326, start=f"2024-{month}-01", end=f"2024-{month}-29", resx=0.0001, resy=0.0001)[
            "data"
        ]
        stats = [each["outputs"]["indices"]["bands"]["ndvi"]["stats"] for each in data]
        return float(np.mean([each["mean"] for each in stats if each["mean"] != "NaN"]))

    assert mean(45, "07") > 2 * mean(45, "01")
    assert mean(-45, "01") > 2 * mean(-45, "07")


def test_percentiles_are_values_that_occur() -> None:
    wanted = {"default": {"statistics": {"default": {"percentiles": {"k": [0, 33, 50, 100]}}}}}
    bands = answered(TRIANGLE, wanted)["data"][2]["outputs"]["indices"]["bands"]
    stats = bands["ndvi"]["stats"]
    values = sorted(expected(TRIANGLE, dt.date(2024, 4, 15), "indices", "ndvi"))
    assert list(stats["percentiles"]) == ["0.0", "33.0", "50.0", "100.0"]
    assert (stats["percentiles"]["0.0"], stats["percentiles"]["100.0"]) == (stats["min"], stats["max"])
    median = stats["percentiles"]["50.0"]
    assert min(abs(median - value) for value in values) < 1e-6
    assert sum(value < median - 1e-6 for value in values) < len(values) / 2
    assert sum(value <= median + 1e-6 for value in values) >= len(values) / 2


def test_an_interval_without_data_has_nan_and_empty_bins_everywhere() -> None:
    wanted = {
        "default": {
            "statistics": {"default": {"percentiles": {"k": [50]}}},
            "histograms": {"ndvi": {"nBins": 2, "lowEdge": 0.0, "highEdge": 1.0}, "default": {"nBins": 2}},
        }
    }
    data = answered(TRIANGLE, wanted)["data"]
    empty = [
        each["outputs"]["indices"]["bands"]
        for each in data
        if each["outputs"]["indices"]["bands"]["ndvi"]["stats"]["mean"] == "NaN"
    ]
    assert empty
    for bands in empty:
        stats = bands["ndvi"]["stats"]
        assert stats["sampleCount"] == stats["noDataCount"]
        assert stats["percentiles"] == {"50.0": "NaN"}
        assert [each["count"] for each in bands["ndvi"]["histogram"]["bins"]] == [0, 0]
        # Without values the bins are undefined.
        assert bands["evi"]["histogram"]["bins"] == []


def test_calculations_of_a_name_come_before_those_of_default() -> None:
    wanted: Json = {
        "indices": {"statistics": {"evi": {"percentiles": {"k": [50]}}}},
        "default": {"histograms": {"default": {"binWidth": 10}}},
    }
    outputs = answered(TRIANGLE, wanted)["data"][2]["outputs"]
    assert set(outputs) == {"indices", "classes"}
    assert "percentiles" not in outputs["indices"]["bands"]["ndvi"]["stats"]
    assert "histogram" not in outputs["indices"]["bands"]["evi"]
    assert "histogram" in outputs["classes"]["bands"]["B0"]


def test_edges_as_in_published_answers() -> None:
    some = np.array([-0.04, 0.5338])
    assert edges({"nBins": 3, "lowEdge": 0.0, "highEdge": 0.3}, some) == [
        0.0,
        0.09999999999999999,
        0.19999999999999998,
        0.3,
    ]
    assert edges({"nBins": 10, "lowEdge": -1.0, "highEdge": 1.0}, some)[3] == -0.3999999999999999
    by_width = edges({"binWidth": 0.05, "lowEdge": 0.0}, some)
    assert (len(by_width), by_width[3], by_width[-1]) == (12, 0.15000000000000002, 0.55)
    assert edges({"bins": [0, 1, 2]}, some) == [0, 1, 2]
    assert edges({"binWidth": 0.1, "lowEdge": 0.0, "highEdge": 0.3}, some)[1:] == [0.1, 0.2, 0.3]
    assert edges({"binWidth": 0.4, "lowEdge": 0.0, "highEdge": 1.0}, some) == [0.0, 0.4, 0.8, 1.0]


def test_every_value_is_in_a_bin_above_or_below() -> None:
    values = np.array([-1, 0, 0.5, 1, 1.5, 2, 3], np.float64)
    counted = histogram({"bins": [0, 1, 2]}, values, 1)
    assert [each["count"] for each in counted["bins"]] == [2, 3]
    assert (counted["underflowCount"], counted["overflowCount"]) == (1, 1)


@pytest.mark.parametrize("wanted", [{"nBins": 3}, {"binWidth": 0.1}, {"nBins": 2, "lowEdge": 9.0}])
def test_values_that_are_all_the_same_are_counted_as_well(wanted: Json) -> None:
    counted = histogram(wanted, np.full(5, 0.25), 1)
    total = sum(each["count"] for each in counted["bins"])
    assert total + counted["underflowCount"] + counted["overflowCount"] == 5


def test_scaled_counts_stay_whole_and_add_up() -> None:
    assert rounded([1, 1, 1], 2.5) == [2, 3, 3]
    assert sum(rounded([7, 0, 13, 1], 9.7)) == round(21 * 9.7)


def test_large_rasters_are_sampled_and_counted_in_full() -> None:
    wanted: Json = {"default": {"histograms": {"default": {"nBins": 4, "lowEdge": 0.0, "highEdge": 1.0}}}}
    large = Polygon([(600_000, 5_330_000), (620_000, 5_330_000), (600_000, 5_350_000)])
    band = answered(large, wanted)["data"][2]["outputs"]["indices"]["bands"]["ndvi"]
    stats, counted = band["stats"], band["histogram"]
    assert stats["sampleCount"] == 2000 * 2000
    assert stats["noDataCount"] == pytest.approx(2000 * 2000 / 2, rel=0.02)
    total = sum(each["count"] for each in counted["bins"]) + counted["overflowCount"] + counted["underflowCount"]
    assert total == stats["sampleCount"] - stats["noDataCount"]
    feature = parcel(large, 32632, aggregation(), 1)
    assert pixels(feature).sampled <= MAX_SAMPLED


def test_a_raster_has_the_size_it_has_in_published_examples() -> None:
    def size(*bounds: float, **given: Any) -> tuple[int, int]:
        feature: Feature = parcel(box(*bounds), 32633, given, 1)
        return feature.width, feature.height

    assert size(414315, 4958219, 414859, 4958819, resx=10, resy=10) == (54, 60)
    assert size(414315, 4958219, 414859, 4958819, resx=20, resy=20) == (27, 30)
    assert size(457813.83, 5096313.77, 458146.64, 5097236.83, resx=10, resy=10) == (33, 92)
    assert size(0, 0, 1, 1, resx=10, resy=10) == (1, 1)
    assert size(0, 0, 1, 1) == (256, 256)


@pytest.mark.parametrize(
    ("script", "calculations", "text"),
    [
        (SCRIPT.replace("dataMask", "mask"), {}, "dataMask is missing"),
        (SCRIPT, {"ndwi": {}}, "Output ndwi requested"),
        (SCRIPT, {"dataMask": {}}, "Output dataMask requested"),
        (SCRIPT, {"indices": {"histograms": {"B0": {"nBins": 2}}}}, "Band B0 requested"),
        (SCRIPT, {"classes": {"statistics": {"ndvi": {}}}}, "Band ndvi requested"),
        ("//VERSION=3\nfunction setup() {}", {}, "does not return an object"),
    ],
)
def test_an_evalscript_must_have_what_is_asked_for(script: str, calculations: Json, text: str) -> None:
    with pytest.raises(AnalysisFailed, match=text):
        Plan.of({"aggregation": aggregation(), "calculations": calculations}, script)


def test_some_failed_intervals_are_partial_and_all_of_them_failed() -> None:
    request = {"aggregation": aggregation(end="2024-04-22")}
    plan = Plan.of(request, SCRIPT)
    feature = parcel(TRIANGLE, 32632, request["aggregation"], 1)
    partial = answer(plan, feature, [None, "TIMEOUT", "no_data"])
    assert partial["status"] == "PARTIAL"
    assert partial["data"][1] == {
        "interval": {"from": "2024-04-08T00:00:00Z", "to": "2024-04-15T00:00:00Z"},
        "error": {"type": "TIMEOUT"},
    }
    stats = partial["data"][2]["outputs"]["classes"]["bands"]["B0"]["stats"]
    assert stats["noDataCount"] == stats["sampleCount"]
    assert answer(plan, feature, ["TIMEOUT"] * 3)["status"] == "FAILED"
    assert len(answer(plan, feature, [None, "absent", None])["data"]) == 2


def test_bands_have_the_names_the_evalscript_gives_them() -> None:
    outputs = parse(SCRIPT).outputs
    assert (outputs["indices"].names, outputs["classes"].names) == (("ndvi", "evi"), ("B0",))
