"""Evalscripts run by the JavaScript engine: what Node says, limits, and what a script cannot reach."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_sentinelhub.client.evalscript import Version, read_literal, read_setup, read_version
from airflow_provider_sentinelhub.client.javascript.engine import MAX_CHARACTERS, Ran, run_setup
from airflow_provider_sentinelhub.simulator.evalscript import Setup, parse
from airflow_provider_sentinelhub.simulator.problems import AnalysisFailed
from tests.client.evalscript_corners import OBJECT, PIXEL, SCRIPTS, SETUP

NODE: dict[str, dict[str, Any]] = json.loads(Path(__file__).with_name("evalscript_corners.json").read_text("utf-8"))
# Where an unclosed token begins, instead of where the script ends; and no place in a regular expression.
OTHER_LINE = {"unclosed template": 2, "unclosed regular expression": None}
STAGES = {
    "syntax": "is not JavaScript",
    "top level": "fails (line",
    "setup": "fails in setup()",
    "no setup": "has no function setup()",
    "no object": "has a setup() that does not return an object",
    "no evaluatePixel": "has no function evaluatePixel()",
}


def ran(script: str) -> Ran:
    found = run_setup(script)
    assert found is not None
    return found


def simulated(script: str) -> Setup | None:
    try:
        return parse(script)
    except AnalysisFailed:
        return None


def test_node_was_asked_about_every_script() -> None:
    assert NODE.keys() == SCRIPTS.keys()
    assert len(SCRIPTS) > 150


@pytest.mark.parametrize("name", SCRIPTS)
def test_preflight_and_simulator_agree_with_node(name: str) -> None:
    script, node = SCRIPTS[name], NODE[name]
    found, trouble = ran(script), ran(script).trouble
    if "value" in node:
        assert (found.value, trouble) == (node["value"], None)
    else:
        assert trouble is not None
        assert trouble.certain
        assert trouble.fact.startswith(STAGES[node["stage"]])
        line = OTHER_LINE.get(name, node.get("line"))
        assert trouble.line == line or node.get("line") is None
        if node["stage"] in {"top level", "setup"} and node["error"] != "thrown":
            assert f"{node['error']}: " in trouble.fact
    read, simulation = read_setup(script), simulated(script)
    assert read.trouble == trouble or not script
    if simulation is None:
        # The one difference: an id that is not a text, or no input at all.
        assert trouble is not None or read.inputs is None or not read.knows_outputs
    else:
        assert {each.id: (each.bands, each.sample_type) for each in read.outputs or ()} == {
            each.id: (each.bands, each.sample_type) for each in simulation.outputs.values()
        }
        assert {each.mosaicking for each in read.inputs or ()} >= {simulation.mosaicking}


def test_without_the_engine_a_plain_object_is_read_as_node_reads_it() -> None:
    plain = {name: read_literal(script) for name, script in SCRIPTS.items() if "value" in NODE[name]}
    complete = {name for name, setup in plain.items() if not setup.notes}
    assert {name for name in complete if plain[name] != read_setup(SCRIPTS[name])} == {
        "octal escape",
        "emoji and surrogates",
        "template over lines",
        "an enumeration of one's own",
    }
    assert len(complete) > 40


LIMITS = {
    "a loop without an end": "for (;;) {}",
    "a loop inside the engine that no limit of its own interrupts": "Array(2 ** 32 - 1).join('')",
    "a recursion without an end": "const f = () => f() + 1; f()",
    "objects without an end": "for (const a = [];;) a.push({x: 1, y: 2, z: 3})",
    "one large object": "new Uint8Array(1e9)",
    "a long text": "'x'.repeat(2 ** 29).split('')",
    "brackets that nest": "[" * 100_000,
}


@pytest.mark.parametrize("name", LIMITS)
def test_a_script_that_takes_too_much_ends_and_is_only_a_warning(name: str) -> None:
    script = f"//VERSION=3\nfunction setup() {{ {LIMITS[name]}; return {OBJECT} }}{PIXEL}"
    found = ran(script)
    assert found.value is None
    assert found.trouble is not None
    assert not found.trouble.certain
    assert simulated(script) is None


@pytest.mark.parametrize(
    "script",
    [
        f"{SETUP}{PIXEL}// \0",
        f"{SETUP}{PIXEL}//{'x' * MAX_CHARACTERS}",
        f"function setup() {{ return {{...{OBJECT}, x: 'x'.repeat(2e6)}} }}{PIXEL}",
        f"function setup() {{ let x = 0; for (let i = 0; i < 2000; i++) x = [x]; return {{...{OBJECT}, x}} }}{PIXEL}",
    ],
)
def test_what_is_too_long_or_deep_is_only_a_warning(script: str) -> None:
    found = ran(script)
    assert found.value is None
    assert found.trouble is not None
    assert not found.trouble.certain


def test_where_the_engine_gives_up_a_plain_object_is_read_nevertheless() -> None:
    setup = read_setup(f"{SETUP}{PIXEL}//{'x' * MAX_CHARACTERS}")
    assert setup.knows_outputs
    assert setup.trouble is not None


def test_a_name_that_only_the_service_may_know_is_a_warning_and_setup_is_read() -> None:
    found = ran(f"//VERSION=3\nconst v = new SomeVisualizer();\n{SETUP}{PIXEL}")
    assert found.value == {"input": ["B04"], "output": {"bands": 1}}
    assert found.trouble is not None
    assert (found.trouble.certain, found.trouble.line) == (False, 2)
    assert "SomeVisualizer is not defined" in found.trouble.fact


@pytest.mark.parametrize("name", ["console", "Intl", "structuredClone", "WebAssembly"])
def test_a_name_that_other_engines_know_is_a_warning_in_setup_too(name: str) -> None:
    found = ran(
        f"//VERSION=3\nfunction setup() {{ {name}.x; return {{input: ['B04'], output: {{bands: 1}}}}; }}\n{PIXEL}"
    )
    assert found.trouble is not None
    assert (found.trouble.certain, found.trouble.line) == (False, 2)
    assert f"in setup() (line 2, column 20): ReferenceError: {name} is not defined" in found.trouble.fact


def test_a_message_is_one_printable_line() -> None:
    trouble = ran(f"function setup() {{ throw new Error('a\\nb\\x1b[31m\\u202e' + 'c'.repeat(1e6)) }}{PIXEL}").trouble
    assert trouble is not None
    assert trouble.fact.isprintable()
    assert len(trouble.fact) < 500


@pytest.mark.parametrize("word", ["() => 'function '", "() => 'a b c d'", "() => 5", "null"])
def test_a_script_may_replace_what_the_engine_has(word: str) -> None:
    found = ran(f"//VERSION=3\nArray.prototype.join = String.prototype.concat = {word};\n{SETUP}{PIXEL}")
    assert (found.value, found.trouble) == ({"input": ["B04"], "output": {"bands": 1}}, None)


def test_a_script_reaches_nothing_outside() -> None:
    names = "require process std os print console fetch XMLHttpRequest setTimeout Deno module WebAssembly importScripts"
    typed = " + ".join(f"typeof {name}" for name in names.split())
    found = ran(f"function setup() {{ return {{all: {typed}}} }}{PIXEL}")
    assert found.value == {"all": "undefined" * len(names.split())}
    started = f"function setup() {{ import('os'); return {OBJECT} }}{PIXEL}"
    assert ran(started).trouble is None or ran(started).value is None


def test_the_engine_stays_out_of_this_process() -> None:
    threads, found = threading.active_count(), []
    several = [threading.Thread(target=lambda: found.append(ran(f"{SETUP}{PIXEL}"))) for _ in range(3)]
    for each in several:
        each.start()
    for each in several:
        each.join()
    assert [each.trouble for each in found] == [None] * 3
    assert "_quickjs" not in sys.modules
    assert threading.active_count() == threads


WITHOUT = """
import sys
sys.modules["_quickjs"] = None
from airflow_provider_sentinelhub.client.evalscript import read_setup
from airflow_provider_sentinelhub.simulator.evalscript import parse
for script in sys.argv[1:]:
    setup = read_setup(script)
    print(setup.knows_outputs, setup.trouble and setup.trouble.fix)
try:
    parse(sys.argv[1])
except Exception as error:
    print(error)
"""


def test_without_the_engine_it_says_what_to_install() -> None:
    scripts = [f"{SETUP}{PIXEL}", f"function setup() {{ return make() }}{PIXEL}"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    said = subprocess.run(
        [sys.executable, "-c", WITHOUT, *scripts], env=environment, capture_output=True, text=True, check=True
    )
    plain, computed, simulator = said.stdout.splitlines()
    assert plain == "True None"
    assert computed.startswith("False Install airflow-provider-sentinelhub[evalscript]")
    assert simulator.startswith("Install airflow-provider-sentinelhub[simulator]")


@pytest.mark.parametrize(
    ("script", "version"),
    [
        ("//VERSION=3\n", Version(3, first=True)),
        ("\ufeff \n// version = 3 (converted)\n", Version(3, first=True)),
        ("// NDVI\n//VERSION=3\n", Version(3, first=False)),
        ("/* NDVI */ /* of ours */ //VERSION=2", Version(2, first=False)),
        ("/* //VERSION=3 */ function setup() {}", Version(None)),
        ("'use strict'\n//VERSION=3\n", Version(None)),
        ("//VERSION=" + "9" * 5000, Version(999_999_999, first=True)),
        ("/*" * 50_000, Version(None)),
        ("//\n" * 50_000, Version(None)),
        ("", Version(None)),
    ],
)
def test_the_version_stands_in_the_comments_before_the_code(script: str, version: Version) -> None:
    assert read_version(script) == version
