"""Evalscripts that are run for every pixel: what they are given, what they return, and their mistakes."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from airflow_provider_sentinelhub.simulator.features.features import Feature
from airflow_provider_sentinelhub.simulator.imagery.evaluation import child
from airflow_provider_sentinelhub.simulator.imagery.evaluation.engine import Evaluation
from airflow_provider_sentinelhub.simulator.imagery.rendering import Renderer
from airflow_provider_sentinelhub.simulator.imagery.sources import Block, source_of
from airflow_provider_sentinelhub.simulator.problems import RenderingFailed
from airflow_provider_sentinelhub.simulator.process import Simulator
from airflow_provider_sentinelhub.simulator.sample import (
    EVALSCRIPT,
    STATISTICS_EVALSCRIPT,
    sample_parcels,
    sample_request,
    sample_statistical,
    sample_statistics,
    upload,
)

Json = dict[str, Any]
Arrays = dict[str, np.ndarray]

# On both sides of the edge between two orbits, near Munich.
PLACE = Feature("a", 32632, 12, 8, 499_400, 5_330_000, 100, 100)
JUNE = {"from": "2024-06-01T00:00:00Z", "to": "2024-06-30T23:59:59Z"}


def request(script: str, *data: Json, **filters: Any) -> Json:
    sources = data or ({"type": "sentinel-2-l2a"},)
    given = [{**each, "dataFilter": {"timeRange": JUNE, **filters, **each.get("dataFilter", {})}} for each in sources]
    return {"input": {"data": given}, "evalscript": script}


def script(bands: str, output: str, body: str, more: str = "", after: str = "") -> str:
    return f"""//VERSION=3
function setup() {{ return {{ input: {bands}, output: {output}{more} }}; }}
function evaluatePixel(samples, scenes, inputMetadata, customData, outputMetadata) {{
  {body}
}}
{after}"""


def rendered(asked: Json, place: Feature = PLACE, rows: int | None = None, **options: Any) -> tuple[Arrays, Any]:
    with Renderer(asked, place, **options) as renderer:
        blocks = list(renderer.blocks(rows=rows))
        userdata = json.loads(renderer.userdata)
    return {
        name: np.concatenate([each.outputs[name] for each in blocks], axis=1) for name in blocks[0].outputs
    }, userdata


def read(kind: str, bands: list[str], place: Feature = PLACE) -> list[tuple[Any, Arrays]]:
    """Return every scene in June with its digital numbers, the most recent first."""
    source, block = source_of({"type": kind}), Block(place, 0, place.height)
    assert source is not None
    asked = script('["dataMask"]', "{ bands: 1 }", "return [0]", ', mosaicking: "TILE"')
    with Renderer(request(asked, {"type": kind}), place) as renderer:
        scenes = [scene for each in renderer._reads for sample in each.samples for scene in sample]
    return [(scene, source.read(scene, bands, block)) for scene in scenes]


NDVI = script(
    '["B04", "B08", "dataMask"]', '{ bands: 1, sampleType: "FLOAT32" }', "return [index(samples.B08, samples.B04)]"
)
DN = script(
    '[{ bands: ["B04", "dataMask"], units: "DN" }]',
    '{ bands: 2, sampleType: "UINT16" }',
    "return [samples.B04, samples.dataMask]",
)


# -------------------------------------------------------------------------------------- what scripts are given


def test_a_simple_mosaic_is_the_most_recent_scene_with_data() -> None:
    found = rendered(request(DN))[0]["default"]
    expected = np.zeros_like(found[0])
    seen = np.zeros(expected.shape, bool)
    for _, each in read("sentinel-2-l2a", ["B04"]):
        fills = ~seen & (each["dataMask"] == 1)
        expected[fills] = each["B04"][fills]
        seen |= fills
    assert_array_equal(found[0], expected)
    assert found[1].all()


@pytest.mark.parametrize("order", ["mostRecent", "leastRecent", "leastCC"])
def test_tiles_come_in_the_order_of_the_request(order: str) -> None:
    tile = script(
        '["B04"]', "{ bands: 1 }", "outputMetadata.userData = scenes.tiles; return [0]", ', mosaicking: "TILE"'
    )
    _, tiles = rendered(request(tile, mosaickingOrder=order))
    keys = {"mostRecent": [each["date"] for each in tiles][::-1], "leastRecent": [each["date"] for each in tiles]}
    found = keys.get(order, [each["cloudCoverage"] for each in tiles])
    assert found == sorted(found)
    assert tiles[0].keys() == {"date", "dataPath", "shId", "tileId", "orbitId", "cloudCoverage"}


def test_an_orbit_is_a_day_with_all_its_tiles() -> None:
    asked = script(
        '[{ bands: ["B04", "dataMask"], units: "DN" }]',
        '{ bands: 12, sampleType: "UINT16" }',
        "outputMetadata.userData = scenes; return samples.map((each) => each.B04)",
        ', mosaicking: "ORBIT"',
        "function updateOutput(outputs, collection) { outputs.default.bands = collection.scenes.length; }",
    )
    found, scenes = rendered(request(asked))
    days = [each["dateFrom"][:10] for each in scenes["orbits"]]
    assert len(set(days)) == len(days) == len(found["default"]) == 12
    assert days == sorted(days, reverse=True)
    for scene, each in read("sentinel-2-l2a", ["B04"]):
        band = found["default"][days.index(scene.sensed.date().isoformat())]
        mask = each["dataMask"] == 1
        assert_array_equal(band[mask], each["B04"][mask])
        assert scene.sensed.strftime("%Y-%m-%dT%H:%M:%SZ") in json.dumps(scenes)
    # Each orbit sees one side of the edge only.
    assert all(0 < (band == 0).mean() < 1 for band in found["default"])


def test_the_script_chooses_scenes() -> None:
    asked = script(
        '["B04"]',
        "{ bands: 1 }",
        "outputMetadata.userData = { n: samples.length, first: scenes[0].date, orbits: scenes.orbits }; return [0]",
        ', mosaicking: "ORBIT"',
        """function preProcessScenes(collections) {
          const limit = collections.to.getTime() - 15 * 24 * 3600 * 1000;
          const all = collections.scenes.orbits;
          if (all.some((each) => each.tiles)) throw new Error("tiles");
          collections.scenes.orbits = all.filter((each) => new Date(each.dateFrom).getTime() > limit).reverse();
          return collections;
        }""",
    )
    _, userdata = rendered(request(asked))
    days = [each["dateFrom"] for each in userdata["orbits"]]
    assert userdata["n"] == len(days) == 6
    assert days == sorted(days)
    assert min(days) > "2024-06-15"
    assert userdata["first"].startswith(days[0][:10])


def test_clouds_are_filtered_by_scene() -> None:
    count = script('["B04"]', '{ bands: 1, sampleType: "UINT8" }', "return [samples.length]", ', mosaicking: "TILE"')
    scenes = [scene for scene, _ in read("sentinel-2-l2a", [])]
    limit = sorted(scene.cloud_cover for scene in scenes)[len(scenes) // 2]
    found, _ = rendered(request(count, maxCloudCoverage=limit))
    assert (found["default"] == sum(scene.cloud_cover <= limit for scene in scenes)).all()
    none, _ = rendered(request(count, maxCloudCoverage=-1))
    assert not none["default"].any()


def test_several_sources_have_names() -> None:
    asked = script(
        '[{ datasource: "now", bands: ["B04"], units: "DN" },'
        ' { datasource: "radar", bands: ["VV"], mosaicking: "ORBIT" }]',
        '{ bands: 3, sampleType: "FLOAT32" }',
        "outputMetadata.userData = Object.keys(scenes);"
        "return [samples.now[0].B04, samples.radar.length, samples.radar[0].VV]",
    )
    radar, now = {"type": "sentinel-1-grd", "id": "radar"}, {"type": "sentinel-2-l1c", "id": "now"}
    found, names = rendered(request(asked, radar, now))
    assert names == ["now", "radar"]
    assert (found["default"][0] > 100).all()
    assert (found["default"][1] > 2).all()
    by_place = asked.replace('datasource: "now", ', "").replace('datasource: "radar", ', "")
    by_place = by_place.replace("samples.now", 'samples["0"]').replace("samples.radar", 'samples["1"]')
    again, _ = rendered(request(by_place, now, radar))
    assert_array_equal(found["default"], again["default"])


def test_units_scale_digital_numbers() -> None:
    both = script(
        '[{ bands: ["B04", "AOT", "dataMask"], units: ["reflectance", "DN", "DN"] }]',
        '{ bands: 2, sampleType: "FLOAT32" }',
        "return [samples.B04 * 10000, samples.AOT]",
    )
    found, _ = rendered(request(both))
    exact, _ = rendered(request(DN))
    assert_array_equal(np.rint(found["default"][0]), exact["default"][0])
    assert (found["default"][1] == 120).all()


def test_a_height_has_no_date() -> None:
    asked = script('["DEM"]', '{ bands: 1, sampleType: "FLOAT32" }', "return [samples.DEM]")
    found, _ = rendered(request(asked, {"type": "dem"}))
    assert ((found["default"] >= 0) & (found["default"] <= 800)).all()


# -------------------------------------------------------------------------------------- what becomes of their values


@pytest.mark.parametrize(
    ("sample_type", "value", "stored"),
    [
        ("AUTO", "0.5", 128), ("AUTO", "-1", 0), ("AUTO", "7", 255), ("AUTO", "NaN", 0), ("AUTO", "true", 255),
        ("UINT8", "40.6", 41), ("UINT8", "310", 255), ("UINT8", "-3", 0), ("UINT8", "Infinity", 255),
        ("INT8", "-130", -128), ("INT8", "2.5", 3), ("UINT16", "70000", 65535),
        ("INT16", "-32769", -32768),
        ("FLOAT32", "0.1", np.float32(0.1)), ("FLOAT32", "NaN", np.nan), ("FLOAT32", "1e300", np.inf),
    ],
)  # fmt: skip
def test_values_are_converted_to_the_type_of_the_output(sample_type: str, value: str, stored: float) -> None:
    asked = script('["B04"]', f'{{ bands: 1, sampleType: "{sample_type}" }}', f"return [{value}]")
    found, _ = rendered(request(asked))
    assert_array_equal(found["default"], np.full((1, 8, 12), stored, found["default"].dtype))


def test_outputs_that_are_not_wanted_may_be_missing() -> None:
    asked = script('["B04"]', '[{ id: "a", bands: 1 }, { id: "b", bands: 1 }]', "return { a: [1] }")
    found, _ = rendered(request(asked), wanted=["a"])
    assert found.keys() == {"a"}
    with pytest.raises(RenderingFailed, match="returns nothing for output b"):
        rendered(request(asked))


def test_metadata_are_written_at_the_end() -> None:
    asked = script(
        '["B04"]',
        "{ bands: 1 }",
        "outputMetadata.userData.count = (outputMetadata.userData.count || 0) + 1; return [0]",
        after="""function updateOutputMetadata(scenes, inputMetadata, outputMetadata) {
          outputMetadata.userData.factor = inputMetadata.normalizationFactor;
        }""",
    )
    assert rendered(request(asked), rows=3)[1] == {"count": 96, "factor": 0.0001}
    # With userdata alone, nothing has to be returned.
    nothing = script('["B04"]', "{ bands: 1 }", "outputMetadata.userData = { norm: 1 };")
    assert rendered(request(nothing), wanted=[])[1] == {"norm": 1}


def test_a_raster_without_scenes_says_so() -> None:
    early = {"from": "2001-01-01T00:00:00Z", "to": "2001-02-01T00:00:00Z"}
    with Renderer(request(NDVI, timeRange=early), PLACE) as renderer:
        assert not renderer.has_scenes
        assert not next(renderer.blocks()).outputs["default"].any()


# -------------------------------------------------------------------------------------- any blocks, any tiles


@settings(max_examples=12, deadline=None)
@given(st.integers(1, 9), st.integers(0, 11), st.integers(0, 7), st.sampled_from([NDVI, DN]))
def test_blocks_and_tiles_fit_together(rows: int, column: int, row: int, asked: str) -> None:
    whole, _ = rendered(request(asked))
    assert_array_equal(rendered(request(asked), rows=rows)[0]["default"], whole["default"])
    width, height = 12 - column, 8 - row
    part = Feature("b", 32632, width, height, 499_400 + 100 * column, 5_330_000 - 100 * row, 100, 100)
    found, _ = rendered(request(asked), part)
    assert_array_equal(found["default"], whole["default"][:, row:, column:])


def test_a_row_with_many_samples_is_cut() -> None:
    # More samples than a script is given at once.
    months = {"from": "2019-01-01T00:00:00Z", "to": "2019-02-28T00:00:00Z"}
    count = script('["B04"]', '{ bands: 1, sampleType: "UINT16" }', "return [samples.length]", ', mosaicking: "TILE"')
    wide = Feature("w", 4326, 5000, 1, 9.5, 48.0, 0.0001, 0.0001)
    found, _ = rendered(request(count, {"type": "sentinel-3-olci"}, timeRange=months), wide)
    assert found["default"].shape == (1, 1, 5000)
    assert (found["default"] == found["default"][0, 0, 0]).all()
    assert found["default"][0, 0, 0] > 50


def test_quick_pixels_run_no_script() -> None:
    found, userdata = rendered(request(script('["B04"]', "{ bands: 2 }", "throw new Error()")), pixels="quick")
    assert found["default"].shape == (2, 8, 12)
    assert userdata["synthetic"] is True
    unknown = request(script('["B1"]', "{ bands: 1 }", "throw new Error()"), {"type": "hls"})
    assert rendered(unknown)[0]["default"].shape == (1, 8, 12)


# -------------------------------------------------------------------------------------- their mistakes


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("return [samples.B99]", "evalscript.js:4: Error: Band B99 is not among the inputs of setup()."),
        ("return [samples.B08]", "evalscript.js:4: Error: Band B08 is not among the inputs of setup()."),
        ("return [nothing.B04]", "evalscript.js:4: ReferenceError: nothing is not defined"),
        ("throw new Error('debug ' + 1)", "evalscript.js:4: Error: debug 1\nthrow new Error('debug ' + 1)"),
        ("return [samples.B04, 1]", "evaluatePixel() returns 2 values, and not 1, for output default."),
        ("return samples.B04", "evaluatePixel() returns number 0."),
        ("return", "evaluatePixel() returns nothing for output default."),
        ("return { other: [1] }", "evaluatePixel() returns nothing for output default."),
        ("return { default: 1 }", "evaluatePixel() returns number 1, and not an array, for output default."),
        (
            "return [samples.ndvi]",
            "evaluatePixel() returns undefined for band 0, and not a number, for output default.",
        ),
        ("return ['a']", "evaluatePixel() returns string for band 0, and not a number, for output default."),
        ("return new DefaultVisualizer(0, 1).process(1)", "The simulator has no DefaultVisualizer"),
    ],
)
def test_a_mistake_is_told_with_its_line(body: str, told: str) -> None:
    with pytest.raises(RenderingFailed) as failed:
        rendered(request(script('["B04"]', "{ bands: 1 }", body)))
    assert str(failed.value).startswith("Failed to evaluate script!\n")
    assert told in str(failed.value)


@pytest.mark.parametrize(
    ("bands", "more", "after", "told"),
    [
        ('["B99"]', "", "", "Band B99 not found in sentinel-2-l2a."),
        ('[{ bands: ["B04"], units: "KELVIN" }]', "", "", "Unit KELVIN is not available for band B04"),
        ('["B04"]', ', mosaicking: "ORBIT"', "function preProcessScenes() { return {} }", "scenes.orbits"),
        (
            '["B04"]',
            ', mosaicking: "TILE"',
            "function preProcessScenes(c) { c.scenes.tiles[0] = {}; return c }",
            "not given",
        ),
        ('["B04"]', "", "function updateOutput(o) { o.default.bands = 0 }", "sets 0 bands for output default"),
    ],
)  # fmt: skip
def test_mistakes_beside_evaluate_pixel(bands: str, more: str, after: str, told: str) -> None:
    with pytest.raises(RenderingFailed, match=told.replace("(", r"\(")):
        rendered(request(script(bands, "{ bands: 1 }", "return [1]", more, after)))


def test_a_script_without_end_is_ended() -> None:
    with pytest.raises(RenderingFailed, match=f"{child.SECONDS} s of CPU time"):
        rendered(request(script('["B04"]', "{ bands: 1 }", "while (true);")))


def test_a_script_that_takes_all_memory_fails_alone() -> None:
    hungry = script('["B04"]', "{ bands: 1 }", "const all = []; for (;;) all.push(new Float64Array(1e6));")
    with pytest.raises(RenderingFailed):
        rendered(request(hungry))
    assert rendered(request(NDVI))[0]["default"].shape == (1, 8, 12)


def test_a_script_has_a_world_of_its_own() -> None:
    first = script('["B04"]', "{ bands: 1 }", "globalThis.index = () => 9; globalThis.left = 1; return [1]")
    rendered(request(first))
    second = script(
        '["B04"]', '{ bands: 1, sampleType: "UINT8" }', "return [typeof left === 'undefined' ? index(3, 1) * 2 : 9]"
    )
    assert (rendered(request(second))[0]["default"] == 1).all()
    reach = script('["B04"]', "{ bands: 1 }", "return [typeof require + typeof process + typeof std + typeof os]")
    with pytest.raises(RenderingFailed, match="returns string"):
        rendered(request(reach))


def test_a_child_that_was_killed_is_replaced() -> None:
    with Evaluation("function evaluatePixel() {}") as held:
        assert held._child is not None
        held._child._process.terminate()
        with pytest.raises(RenderingFailed, match="ended its engine with status"):
            held.end()
    assert held._child is None
    assert rendered(request(NDVI))[0]["default"].shape == (1, 8, 12)


# -------------------------------------------------------------------------------------- documented functions


@pytest.mark.parametrize(
    ("call", "result"),
    [
        ("new ColorMapVisualizer([[200, 0xff0000], [300, 0x0000ff]]).process(199)", [1, 0, 0]),
        ("new ColorMapVisualizer([[200, 0xff0000], [300, 0x0000ff]]).process(300)", [0, 0, 1]),
        ("new ColorRampVisualizer([[200, 0xff0000], [300, 0x0000ff]]).process(250)", [127 / 255, 0, 127 / 255]),
        ("new ColorRampVisualizer([[200, [1, 0, 0]], [300, [0, 0, 1]]]).process(299)", [2 / 255, 0, 252 / 255]),
        ("ColorRampVisualizer.createRedTemperature(0, 1).process(0.8)", [1, 0.8, 147 / 255]),
        ("ColorRampVisualizer.createWhiteGreen(0, 1).process(0.5)", [1 / 3, 0.6, 0]),
        ("ColorRampVisualizer.createBlueRed(0, 1).process(0.3)", [0, 178 / 255, 1]),
        ("ColorGradientVisualizer.createRedTemperature(0, 1).process(0.5)", [183 / 255, 12 / 255, 0]),
        ("ColorGradientVisualizer.createWhiteGreen(0, 1).process(0.3)", [0, 76 / 255, 0]),
        ("ColorGradientVisualizer.createBlueRed(0, 1).process(0.3)", [0, 179 / 255, 1]),
        ("new HighlightCompressVisualizer(0.1, 0.4).processList([0, 0.25, 0.376, 0.7, 1.1])", [0, 0.5, 0.92, 1, 1]),
        ("[new HighlightCompressVisualizer(0.1, 0.4).process(0.4)]", [0.92 + 0.08 * 0.08 / 1.08]),
        ("int2rgb(65537)", [1, 0, 1]),
        ("[rgb2int([0, 1, 0])]", [256]),
        ("combine([100, 0, 0], [0, 100, 0], 0.5)", [50, 50, 0]),
        ("[index(0.5, -0.5), inverse(5), inverse(0)]", [0, 0.2, 1.7976931348623157e308]),
        ("[1, 2, 5, 12].map((v) => valueMap(v, [1, 3, 5, 7, 10], [100, 300, 500, 700, 900]))", [100, 300, 500, 900]),
        ("[-10, 0, 9].map((v) => valueInterpolate(v, [-10, -5, 0, 5, 10], [-9, -50, 0, 50, 1000]))", [-9, 0, 810]),
        ("valueInterpolate(0.1, [0, 0.2], [[0, 0, 0], [0.1, 0.2, 0.5]])", [0.05, 0.1, 0.25]),
        ("Object.values(decodeL8C2Qa(55052))", [0, 0, 1, 1, 0, 0, 0, 0, 3, 1, 1, 3]),
        ("[decodeS3OLCIQualityFlags(0x80000001).land, decodeS3OLCIQualityFlags(1).saturatedB21]", [1, 1]),
    ],
)  # fmt: skip
def test_functions_do_what_their_documentation_shows(call: str, result: list[float]) -> None:
    plan = {"fused": False, "sources": [{"key": "0", "mosaicking": "SIMPLE", "from": "", "to": "", "scenes": [],
            "known": [], "bands": []}], "outputs": []}  # fmt: skip
    asked = f"function evaluatePixel(s, c, i, d, out) {{ out.userData = {call}; }}"
    with Evaluation(asked) as running:
        running.begin(plan)
        running.block(1, [], {})
        assert json.loads(running.end()) == pytest.approx(result)


# -------------------------------------------------------------------------------------- the whole simulator


@pytest.fixture(scope="module")
def running() -> Any:
    with Simulator.start(speed=3600) as simulator:
        yield simulator


def finished(sim: Simulator, path: str, body: Json) -> Json:
    task = sim.call("POST", path, body).body
    sim.call("POST", f"{path}/{task['id']}/start")
    while True:
        found: Json = sim.call("GET", f"{path}/{task['id']}").body
        if found["status"] in {"DONE", "FAILED"}:
            return found
        sim.advance_clock(600)


def test_a_batch_runs_the_script(running: Simulator) -> None:
    task = finished(running, "/batch/v2/process", sample_request(running.ready, "images"))
    assert task["status"] == "DONE"
    [path] = (running.bucket_folder / "images").rglob("32TNM_0_1/default.tif")
    with rasterio.open(path) as file:
        values = file.read()
        crs, transform = file.crs.to_epsg(), file.transform
    tile = Feature("t", crs, values.shape[2], values.shape[1], transform.c, transform.f, transform.a, -transform.e)
    asked = request(EVALSCRIPT, timeRange={"from": "2024-07-01T00:00:00Z", "to": "2024-07-31T00:00:00Z"})
    assert_array_equal(values, rendered(asked, tile)[0]["default"])
    assert len(np.unique(values[1])) > 1000


def test_a_mistake_fails_the_features_of_a_batch(running: Simulator) -> None:
    wrong = EVALSCRIPT.replace("sample.B04", "sample.B03")
    asked = sample_request(running.ready, "wrong", processRequest__evalscript=wrong)
    task = finished(running, "/batch/v2/process", asked)
    features = running.task(task["id"])["features"]
    assert {each["status"] for each in features} == {"FATAL"}
    assert all("evalscript.js:8: Error: Band B03 is not among the inputs" in each["error"] for each in features)
    early = sample_request(running.ready, "early")
    early["processRequest"]["input"]["data"][0]["dataFilter"]["timeRange"] = {
        "from": "2001-01-01T00:00:00Z",
        "to": "2001-02-01T00:00:00Z",
    }
    features = running.task(finished(running, "/batch/v2/process", early)["id"])["features"]
    assert {(each["status"], each["error"], each["delivered"]) for each in features} == {("DONE", "No data", False)}


def test_statistics_run_the_script(running: Simulator) -> None:
    body = sample_statistical()
    answered = running.call("POST", "/statistics/v1", body)
    assert answered.status == 200
    data = answered.body["data"]
    assert len(data) == 6
    means = [each["outputs"]["ndvi"]["bands"]["B0"]["stats"]["mean"] for each in data]
    assert len(set(means)) == 6
    body["aggregation"]["evalscript"] = STATISTICS_EVALSCRIPT.replace("sample.dataMask", "0")
    stats = [
        each["outputs"]["ndvi"]["bands"]["B0"]["stats"]
        for each in running.call("POST", "/statistics/v1", body).body["data"]
    ]
    assert {(each["mean"], each["noDataCount"]) for each in stats} == {("NaN", 600)}
    body["aggregation"]["evalscript"] = STATISTICS_EVALSCRIPT.replace("sample.B08", "sample.B03")
    refused = running.call("POST", "/statistics/v1", body)
    assert (refused.status, refused.body["error"]["code"]) == (400, "RENDERER_EXCEPTION")
    assert "evalscript.js:9: Error: Band B03" in refused.body["error"]["message"]


def test_days_without_a_scene_are_left_out(running: Simulator) -> None:
    body = sample_statistical(aggregation__aggregationInterval__of="P1D")
    answered = running.call("POST", "/statistics/v1", body).body
    days = [each["interval"]["from"][:10] for each in answered["data"]]
    source = source_of({"type": "sentinel-2-l2a"})
    assert source is not None
    scenes = source.scenes(
        (10.35, 48.1, 10.35, 48.1), datetime(2024, 4, 1, tzinfo=UTC), datetime(2024, 5, 13, tzinfo=UTC)
    )
    assert days == sorted({each.sensed.date().isoformat() for each in scenes})


def test_batch_statistics_run_the_script(running: Simulator) -> None:
    upload(running.ready, "parcels/parcels.gpkg", sample_parcels(["meadow", "wood"]))
    assert finished(running, "/statistics/batch/v1", sample_statistics(running.ready, "parcels"))["status"] == "DONE"
    found = [json.loads(each.read_text()) for each in (running.bucket_folder / "parcels").rglob("*.json")]
    assert {each["response"]["status"] for each in found} == {"OK"}
    wrong = sample_statistics(running.ready, "parcels", output__s3__url=f"s3://{running.ready.bucket}/failed")
    wrong["aggregation"]["evalscript"] = STATISTICS_EVALSCRIPT.replace("sample.B08", "sample.B03")
    features = running.task(finished(running, "/statistics/batch/v1", wrong)["id"])["features"]
    assert all("Band B03 is not among the inputs" in each["error"] for each in features)


def test_the_switch_is_in_the_script_and_on_the_command_line(running: Simulator) -> None:
    assert running.admin("GET", "/script")["pixels"] == "evalscript"
    try:
        running.set_script({"pixels": "quick"})
        wrong = sample_statistical()
        wrong["aggregation"]["evalscript"] = STATISTICS_EVALSCRIPT.replace("sample.B08", "sample.B03")
        assert running.call("POST", "/statistics/v1", wrong).status == 200
    finally:
        running.set_script({})
