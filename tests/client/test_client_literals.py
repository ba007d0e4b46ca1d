"""What is read of an evalscript where no JavaScript engine is installed."""

from __future__ import annotations

import json
import math
import random
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from airflow_provider_sentinelhub.client.evalscript import Input, Output, Setup, read_literal
from airflow_provider_sentinelhub.client.javascript.literals import UNKNOWN, literal_at, tokens
from airflow_provider_sentinelhub.simulator.sample import EVALSCRIPT

EXAMPLES = Path(__file__).parents[2] / "dags_examples" / "evalscripts"


def literal(text: str) -> Any:
    return literal_at(tokens(text), 0)


def of(body: str) -> Setup:
    return read_literal(
        f"//VERSION=3\nfunction setup() {{ {body} }}\nfunction evaluatePixel(s) {{ return {{a: [1]}}; }}"
    )


RGB = Setup((Input(None, ("B04",), "SIMPLE"),), (Output("default", 1, "AUTO"),))
PLAIN = '{input: ["B04"], output: {bands: 1}}'


def test_the_usual_script_is_read() -> None:
    bands = Input(None, ("B04", "B08", "dataMask"), "SIMPLE", ("DN",))
    expected = Setup((bands,), (Output("default", 2, "UINT16"),))
    assert read_literal(EVALSCRIPT) == expected


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.js")), ids=lambda path: path.name)
def test_every_script_of_the_examples_is_read_to_the_last_value(path: Path) -> None:
    setup = read_literal(path.read_text(encoding="utf-8"))
    assert setup.inputs
    assert setup.outputs
    assert setup.notes == ()


@pytest.mark.parametrize(
    "script",
    [
        f"function setup() {{ return {PLAIN}; }}",
        f"function setup ( ) {{ return({PLAIN}) }}",
        f"function setup() {{ const unused = 1; return {PLAIN} }}",
        f"const setup = () => ({PLAIN});",
        f"let setup = () => {{ return {PLAIN} }}",
        f"var setup = function () {{ return {PLAIN}; }}",
        f"var setup = function setup() {{ return {PLAIN}; }}",
        f"setup = function named() {{ return {PLAIN}; }}",
        f'// function setup() {{ return {{}} }}\nfunction setup() {{ /* return 1 */ return {PLAIN}; }}\n"setup"',
        f"const half = 4 / 2; const text = 'a / b'; function setup() {{ return {PLAIN}; }} x = a / b",
        f"const pattern = /[/}}{{\"']\\//g; function setup() {{ return {PLAIN}; }}",
        f"function other() {{ return {{input: 1}} }} function setup() {{ return {PLAIN}; }}",
        f"function setup() {{ return {{input: ['x']}} }} function setup() {{ return {PLAIN}; }}",
        f"let a = `${{'}}'}} function setup() {{`; function setup() {{ return {PLAIN}; }}",
        f"\ufeff//VERSION=3\r\nfunction setup() {{\r\n  return {PLAIN};\r\n}}\r\n",
        f"x.setup = 3; function setup() {{ return {PLAIN}; }} module.setup = 4",
    ],
)
def test_setup_is_found_however_it_is_written(script: str) -> None:
    assert read_literal(script) == RGB


@pytest.mark.parametrize(
    "script",
    [
        "",
        "return [B04]",
        "function setup() {}  function evaluatePixel() { return {input: ['B04'], output: {bands: 1}} }",
        "function setup() { return build(); }",
        "function setup() { if (x) { return {input: ['B04']} } return {input: ['B08']} }",
        "function setup() { if (x) return {input: ['B04']}; return {input: ['B08']} }",
        "function setup() { if (x) y(); else return {input: ['B04']}; return {input: ['B08']} }",
        "function setup() { const s = {input: ['B04']}; return s; }",
        "function setup() { return Object.assign({}, base) }",
        "function setup() { return {...base}.x }",
        "const setup = makeSetup({input: ['B04']})",
        "function setup() { return",
        "async function setup() { return {input: ['B04'], output: {bands: 1}} }",
        "const setup = async () => ({input: ['B04'], output: {bands: 1}})",
        "setup",
        "function setup",
        "function setup() { return (",
    ],
)
def test_what_cannot_be_known_is_not_guessed(script: str) -> None:
    setup = read_literal(script)
    assert (setup.inputs, setup.outputs) == (None, None)
    assert "setup()" in setup.notes[0]


def test_the_enumerations_and_all_forms_of_keys_are_read() -> None:
    setup = of(
        "return {'input': [{\"bands\": [`B04`, 'B0\\x38',], units: 'DN'},], output: [{id: 'a', bands: 0x2, "
        "sampleType: SampleType.FLOAT32, nodataValue: -1.5e3}, {id: \"b\", bands: ['x', 'y', 'z'], "
        "sampleType: 'uint8'}], mosaicking: Mosaicking.ORBIT}"
    )
    assert setup.inputs == (Input(None, ("B04", "B08"), "ORBIT", ("DN",)),)
    assert setup.outputs == (Output("a", 2, "FLOAT32"), Output("b", 3, "UINT8", ("x", "y", "z")))
    assert setup.notes == ()


def test_each_data_source_has_its_own_bands_and_mosaicking() -> None:
    setup = of(
        'return {input: [{datasource: "l2a", bands: ["SCL"], mosaicking: "TILE"}, '
        '{datasource: "s1", bands: ["VV", "dataMask"]}], output: {bands: 1}, mosaicking: "ORBIT"}'
    )
    assert setup.inputs == (Input("l2a", ("SCL",), "TILE"), Input("s1", ("VV", "dataMask"), "ORBIT"))


@pytest.mark.parametrize(
    ("body", "inputs", "outputs"),
    [
        ("return {input: BANDS, output: {bands: 1}}", None, RGB.outputs),
        ('return {input: ["B04", X], output: {bands: 1}}', None, RGB.outputs),
        ("return {input: [{bands: [...BANDS]}], output: {bands: 1}}", (Input(None, None, "SIMPLE"),), RGB.outputs),
        ('return {input: ["B04"].concat(X), output: {bands: 1}}', None, RGB.outputs),
        ('return {input: ["B04"], output: [{bands: 1}].map(f)}', RGB.inputs, None),
        ('return {input: ["B04"], output: {bands: N + 1}}', RGB.inputs, (Output("default", None, "AUTO"),)),
        ('return {input: ["B04"], output: {bands: 1 + 1}}', RGB.inputs, (Output("default", None, "AUTO"),)),
        ('return {input: ["B04"], output: {bands: 1, sampleType}}', RGB.inputs, (Output("default", 1, None),)),
        ('return {input: ["B04"], output: {id: `a${1}`, bands: 1}}', RGB.inputs, (Output(None, 1, "AUTO"),)),
        ('return {input: ["B04"], output: {bands: 1}, mosaicking: M}', (Input(None, ("B04",), None),), RGB.outputs),
        (
            'return {input: ["B04"], output: {bands: 1}, mosaicking: x ? "ORBIT" : "TILE"}',
            (Input(None, ("B04",), None),),
            RGB.outputs,
        ),
        ("return {...base, output: {bands: 1}}", None, RGB.outputs),
        ('return {input: ["B04"], output: {bands: 1}, ...base}', None, None),
        ('return {...base, input: ["B04"], output: {bands: 1}}', (Input(None, ("B04",), None),), RGB.outputs),
        (
            'return {input: ["B04"], output: {...base, bands: 1, id: "default"}}',
            RGB.inputs,
            (Output("default", 1, None),),
        ),
        ('return {["in" + "put"]: ["B04"], output: {bands: 1}}', None, RGB.outputs),
        ('return {input() { return ["B04"] }, output: {bands: 1}}', None, RGB.outputs),
        ("return {output: {bands: 1}}", None, RGB.outputs),
        ("return {input: [], output: []}", None, None),
    ],
)
def test_a_computed_part_is_unknown_and_the_rest_is_known(body: str, inputs: Any, outputs: Any) -> None:
    setup = of(body)
    assert (setup.inputs, setup.outputs) == (inputs, outputs)
    assert setup.notes


def test_a_script_is_never_run() -> None:
    assert literal("{a: (() => { throw 1 })(), b: 2, c: `${x}`}") == {"a": UNKNOWN, "b": 2, "c": UNKNOWN}


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


class Writer:
    """Writes values as JavaScript, in every way there is."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)

    def gap(self) -> str:
        return self.chance.choice(["", " ", "\n\t", "/* } ' */", '// ] "\n'])

    def string(self, text: str) -> str:
        quote = self.chance.choice("\"'`")
        plain = text.replace("\\", "\\\\").replace(quote, "\\" + quote).replace("\r", "\\r").replace("$", "\\x24")
        return quote + plain.replace("\n", self.chance.choice(["\\n", "\\u000a", "\\u{A}"])) + quote

    def key(self, name: str) -> str:
        plain = name.isascii() and name.isidentifier() and self.chance.random() < 0.7
        return name if plain else self.string(name)

    def write(self, value: Any) -> str:
        if isinstance(value, str):
            return self.string(value)
        if isinstance(value, list):
            return self.enclosed("[", [self.write(each) for each in value], "]")
        if isinstance(value, dict):
            pairs = [f"{self.key(k)}{self.gap()}:{self.gap()}{self.write(each)}" for k, each in value.items()]
            return self.enclosed("{", pairs, "}")
        return json.dumps(value)

    def enclosed(self, opening: str, parts: list[str], closing: str) -> str:
        comma = "," if parts and self.chance.random() < 0.5 else ""
        inner = ",".join(f"{self.gap()}{part}{self.gap()}" for part in parts)
        return f"{opening}{self.gap()}{inner}{comma}{self.gap()}{closing}"


@given(VALUES, st.integers())
def test_any_literal_comes_back(value: Any, seed: int) -> None:
    script = Writer(seed).write(value)
    assert literal(script) == value, script


@given(VALUES, st.integers())
def test_any_literal_comes_back_out_of_a_setup(value: Any, seed: int) -> None:
    given = {"input": ["B04"], "other": value, "output": {"bands": 1}}
    assert of(f"return {Writer(seed).write(given)};") == RGB


PIECES = st.sampled_from(
    [*"{}[]()'\"`/\\,:;.=$-+*\n 019", "=>", "...", "//", "/*", "*/", "${", "return", "function", "setup", "input"]
)


@given(st.text() | st.lists(PIECES).map("".join))
@example("\\")
@example("9" * 5000)
@example("0x" + "f" * 5000)
@example("'\\u{fffff}'")
@settings(max_examples=500)
def test_no_text_at_all_is_too_much(text: str) -> None:
    assert isinstance(read_literal(text), Setup)
    assert isinstance(of(f"return {text}"), Setup)
    assert isinstance(of(f"return {{input: {text}"), Setup)
    literal(text)


@pytest.mark.parametrize(
    "piece", ["[", "{", "{a:", "(", "[{", "'", '"\\', "`", "/[", "/\\", "/*", "-", "...", "setup="]
)
def test_time_is_linear_in_the_length_and_depth_does_not_matter(piece: str) -> None:
    script = "function setup() { return {input: " + piece * 20_000
    started = time.process_time()
    read_literal(script)
    assert time.process_time() - started < 2


def test_numbers_are_numbers() -> None:
    assert literal("[1, -1, +2, .5, 1., 1e3, 0x1F, -0x1]") == [1, -1, 2, 0.5, 1.0, 1000.0, 31, -1]
    assert math.isinf(literal("9" * 5000))


@pytest.mark.parametrize(
    ("bands", "names"),
    [
        ("2", ("B0", "B1")),
        ('["red", "nir"]', ("red", "nir")),
        ('["red", NAME]', None),
        ("N", None),
    ],
)
def test_statistics_call_bands_by_their_names(bands: str, names: tuple[str, ...] | None) -> None:
    script = f'function setup() {{ return {{input: ["B04"], output: [{{id: "a", bands: {bands}}}]}}; }}'
    (output,) = read_literal(script).outputs or ()
    assert output.band_names == names
