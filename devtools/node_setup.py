"""
What Node makes of the evalscripts in ``tests/client/evalscript_corners.py``.

Usage: ``python -P -m devtools.node_setup``. It needs ``node`` on the path; the answers that are committed come from
version 20. They are written to ``evalscript_corners.json`` beside the scripts, so that the tests need no Node.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from tests.client.evalscript_corners import SCRIPTS

ANSWERS = Path(__file__).parents[1] / "tests" / "client" / "evalscript_corners.json"

# Each script runs in a realm of its own, with what the service predefines.
_PROGRAM = r"""
const vm = require("vm");
const PREDEFINED = `
  const any = new Proxy(function () {}, {get: () => any, apply: () => any, construct: () => any});
  for (const name of ["SampleType", "Mosaicking"]) globalThis[name] = new Proxy({}, {get: (_, key) => key});
  for (const name of ["ColorMapVisualizer", "ColorGradientVisualizer", "index"]) globalThis[name] = any;
`;
const CALL = `JSON.stringify(setup(), (key, value) =>
  typeof value === "function" || typeof value === "symbol" || typeof value === "bigint" ||
  (typeof value === "number" && !Number.isFinite(value)) ? {} : value) ?? "null"`;
const placed = (stage, error) => {
  const frame = /evalscript\.js:(\d+)/.exec(error?.stack ?? "");
  return {stage, error: error?.name ?? "thrown", line: frame ? Number(frame[1]) : null};
};
const answer = (text) => {
  const realm = vm.createContext();
  vm.runInContext(`{${PREDEFINED}}`, realm);
  let script;
  try { script = new vm.Script(text, {filename: "evalscript.js"}); } catch (error) { return placed("syntax", error); }
  try { script.runInContext(realm); } catch (error) { return placed("top level", error); }
  if (vm.runInContext("typeof setup", realm) !== "function") return {stage: "no setup"};
  let value;
  try { value = JSON.parse(vm.runInContext(CALL, realm)); } catch (error) { return placed("setup", error); }
  if (typeof value !== "object" || value === null || Array.isArray(value)) return {stage: "no object"};
  if (vm.runInContext("typeof evaluatePixel", realm) !== "function") return {stage: "no evaluatePixel"};
  return {value};
};
const scripts = JSON.parse(require("fs").readFileSync(0, "utf8"));
const answers = Object.entries(scripts).map(([name, text]) => [name, answer(text)]);
process.stdout.write(JSON.stringify(Object.fromEntries(answers)));
"""


def main() -> None:
    """Ask Node, and write its answers."""
    done = subprocess.run(
        ["node", "-e", _PROGRAM], input=json.dumps(SCRIPTS), stdout=subprocess.PIPE, text=True, check=True
    )
    answers = json.loads(done.stdout)
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(answers[name])}" for name in SCRIPTS)
    ANSWERS.write_text(f"{{\n{lines}\n}}\n", encoding="utf-8")
    print(f"{len(answers)} scripts, {sum('value' in each for each in answers.values())} with a value: {ANSWERS.name}")


if __name__ == "__main__":
    main()
