from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_sentinelhub.simulator.evalscript import parse
from airflow_provider_sentinelhub.simulator.problems import AnalysisFailed
from airflow_provider_sentinelhub.simulator.tasks.cost import feature_pu

TAIL = "\nfunction evaluatePixel(s) { return [1]; }"


def script(setup: str) -> str:
    return f"//VERSION=3\n{setup}{TAIL}"


def test_comments_strings_and_enumerations_are_understood() -> None:
    setup = parse(
        script("""
        /* function setup() { return 1; } */
        function setup() { // return { input: [] }
          return {
            input: [{ bands: ["B04", 'B08', "dataMask"], units: "DN" }], // }
            output: [
              { id: "a}b", bands: 2, sampleType: SampleType.FLOAT32, },
              { id: 'mask', bands: 1, sampleType: "UINT8", nodataValue: 255 },
            ],
            mosaicking: Mosaicking.ORBIT
          };
        }""")
    )
    assert (setup.bands, setup.mosaicking) == (2, "ORBIT")
    assert {name: (out.bands, out.dtype, out.nodata) for name, out in setup.outputs.items()} == {
        "a}b": (2, "float32", None),
        "mask": (1, "uint8", 255.0),
    }


@pytest.mark.parametrize(
    "setup",
    [
        "function setup() { return { input: ['B04'], output: { bands: 1 } } }",
        "const setup = () => ({ input: ['B04'], output: { bands: 1 } });",
        "var setup = function () { return { input: ['B04'], output: [{ bands: 1 }] } }",
        "function setup ( ) {\n  return {\n input: ['B04'], output: { bands: ['x'] } } }",
    ],
)
def test_all_ways_to_write_a_setup(setup: str) -> None:
    parsed = parse(script(setup))
    assert [(out.id, out.bands, out.sample_type) for out in parsed.outputs.values()] == [("default", 1, "AUTO")]


@pytest.mark.parametrize(
    ("setup", "text"),
    [
        ("", "has no function setup"),
        ("function setup() { }", "does not return an object"),
        ("function setup() { return { input: ['B04'], output: { bands: 1 }", r"is not JavaScript \(line 3, column 1\)"),
        ("function setup() { return { input: ['B04'], output: { bands: n } } }", "n is not defined"),
        ("function setup() { return { output: { bands: 1 } } }", "'input'"),
        ("function setup() { return { input: ['B04'] } }", "'output'"),
        ("function setup() { return { input: ['B04'], output: { bands: 0 } } }", "positive number"),
        ("function setup() { return { input: ['B04'], output: { bands: 1e9 } } }", "positive number"),
        ("function setup() { return { input: ['B04'], output: { bands: 1, sampleType: 'UINT64' } } }", "UINT64"),
        ("function setup() { return { input: ['B04'], output: [{ bands: 1 }, { bands: 1 }] } }", "used twice"),
    ],
)
def test_what_cannot_be_read_says_why(setup: str, text: str) -> None:
    with pytest.raises(AnalysisFailed, match=text):
        parse(script(setup))


def process_request(**source: Any) -> dict[str, Any]:
    return {"input": {"data": [{"type": "sentinel-2-l2a", **source}]}}


THREE = parse(script("function setup() { return { input: ['B02', 'B03', 'B04'], output: { bands: 3 } } }"))
FLOAT = parse(script("function setup() { return { input: ['VV'], output: { bands: 1, sampleType: 'FLOAT32' } } }"))
ORBIT = parse(
    script("function setup() { return { input: ['B02', 'B03', 'B04'], output: { bands: 3 }, mosaicking: 'ORBIT' } }")
)


def test_the_published_formula() -> None:
    # One unit is 512 x 512 pixels of three bands in 8 or 16 bits; a batch costs a third.
    assert feature_pu(512, 512, THREE, process_request()) == pytest.approx(1 / 3)
    assert feature_pu(1024, 512, THREE, process_request()) == pytest.approx(2 / 3)
    assert feature_pu(512, 512, FLOAT, process_request()) == pytest.approx(2 / 3 / 3)
    terrain = {"processing": {"backCoeff": "GAMMA0_TERRAIN", "orthorectify": True}}
    assert feature_pu(512, 512, FLOAT, process_request(**terrain)) == pytest.approx(2.5 * 2 / 3 / 3)
    month = {"dataFilter": {"timeRange": {"from": "2024-06-01T00:00:00Z", "to": "2024-07-01T00:00:00Z"}}}
    assert feature_pu(512, 512, ORBIT, process_request(**month)) == pytest.approx(10 / 3)


def test_small_tiles_pay_the_full_price() -> None:
    assert feature_pu(99, 99, THREE, process_request()) == pytest.approx(99 * 99 / 512**2)
    assert feature_pu(10, 10, THREE, process_request()) == 0.01
