"""
Evalscripts that use the corners of JavaScript in ``setup()``.

``evalscript_corners.json`` has what Node makes of each. After a change here, write it again:
``python -P -m devtools.node_setup``.
"""

from __future__ import annotations

OBJECT = '{input: ["B04"], output: {bands: 1}}'
SETUP = f"function setup() {{ return {OBJECT}; }}"
PIXEL = "\nfunction evaluatePixel(s) { return [1]; }\n"

_BODIES: dict[str, str] = {
    # ---------------------------------------------------------------------------------------- how setup() is declared
    "function": SETUP,
    "arrow": f"const setup = () => ({OBJECT});",
    "arrow with a block": f"let setup = () => {{ return {OBJECT} }}",
    "arrow with a parameter": f"var setup = _ => ({OBJECT})",
    "function expression": f"var setup = function () {{ return {OBJECT}; }};",
    "named function expression": f"setup = function named() {{ return {OBJECT}; }};",
    "property of the global object": f"globalThis.setup = () => ({OBJECT})",
    "property of this": f"this.setup = function () {{ return {OBJECT} }}",
    "method taken out of an object": f"const {{setup}} = {{setup() {{ return {OBJECT} }}}}",
    "destructured with another name": f"const {{make: setup}} = {{make: () => ({OBJECT})}}",
    "destructured from an array": f"const [, setup] = [0, () => ({OBJECT})]",
    "bound": "const setup = function () { return {...this, output: {bands: 1}} }.bind({input: ['B04']})",
    "returned by a function": "const make = (bands) => () => ({input: bands, output: {bands: bands.length}});\n"
    "const setup = make(['B02', 'B03'])",
    "immediately invoked": f"const setup = (function () {{ return function () {{ return {OBJECT} }} }})()",
    "static method of a class": f"class Script {{ static setup() {{ return {OBJECT} }} }}\nconst setup = Script.setup",
    "method of an instance": "class Script { #bands = 1; setup = () => ({input: ['B04'], output: {bands: "
    "this.#bands}}) }\nconst {setup} = new Script()",
    "the last of two declarations": f"function setup() {{ return {{}} }}\n{SETUP}",
    "assigned after it was declared": f"function setup() {{ return {{}} }}\nsetup = () => ({OBJECT})",
    "declared after the code that replaces it": f"setup = () => ({OBJECT});\nfunction setup() {{ return {{}} }}",
    "in a block": f"{{ {SETUP} }}",
    "in a branch that runs": f"if (true) {{ {SETUP} }}",
    "in a branch that does not run": f"if (false) {{ {SETUP} }}",
    "shadowed inside another function": f"function other() {{ function setup() {{ return {{}} }} }}\n{SETUP}",
    "by eval": f"eval('var setup = () => ({OBJECT})')",
    "by new Function": f"const setup = new Function('return {OBJECT}')",
    "a Proxy of a function": f"const setup = new Proxy(() => ({OBJECT}), {{}})",
    "default parameters": "function setup(bands = ['B04'], output = {bands: bands.length}) { return {input: bands, output} }",
    "arguments": "function setup() { return {input: ['B04'], output: {bands: arguments.length + 1}} }",
    "helper declared below": "function setup() { return make() }\nfunction make() { return " + OBJECT + " }",
    "helpers in any order": "function setup() { return {input: bands(), output: outputs()} }\n"
    "const bands = () => NAMES.slice(0, 2);\nvar outputs = () => ({bands: NAMES.length});\nconst NAMES = ['B02', 'B03', 'B04']",
    "recursion": "const names = (n) => n ? [...names(n - 1), `B0${n}`] : [];\n"
    "function setup() { return {input: names(4), output: {bands: names(4).length}} }",
    "unicode escape in the name": f"function s\\u0065tup() {{ return {OBJECT} }}",
    "unicode code point escape in the name": f"function s\\u{{65}}tup() {{ return {OBJECT} }}",
    "a state that top level leaves": "let n = 1;\nn += 2;\nfunction setup() { return {input: ['B04'], output: {bands: n}} }",
    "called twice": "let n = 0;\nfunction setup() { n++; return {input: ['B04'], output: {bands: n}} }\nsetup()",
    # ------------------------------------------------------------------------------------- comments and white space
    "a setup in a comment": f"// function setup() {{ return {{}} }}\n/* function setup() {{ return {{}} }} */ {SETUP}",
    "comments everywhere": "function /* a */ setup /* b */ ( /* c */ ) /* d */ { // e\n return /* f */ { input /* g */ : "
    "[ /* ] */ 'B04' // ]\n ], output: { /* } */ bands: 1 } } }",
    "a comment that looks closed": f"/* // */ {SETUP} // */",
    "stars in a comment": f"/***/ /* * / **/ {SETUP}",
    "comment with a line break after return": "function setup() { return /*\n*/ " + OBJECT + " }",
    "line break after return": "function setup() { return\n" + OBJECT + "}",
    "carriage returns": f"// a\r\nfunction setup() {{\r\n  return {OBJECT}\r\n}}\r\n",
    "line separators": f"// a\u2028{SETUP} // b\u2029",
    "non-breaking spaces": SETUP.replace(" ", "\u00a0"),
    "byte order mark in the middle": f"\ufeff{SETUP}",
    "HTML comments": f"<!-- {{{{{{ \n{SETUP}\n--> }}}}",
    "hash in a string": "function setup() { return {input: ['#!'], output: {bands: 1}} }",
    # ------------------------------------------------------------------------------------------------------ strings
    "quotes of all kinds": "function setup() { return {input: ['B04', \"B08\", `B8A`], output: {bands: 1}} }",
    "quotes in quotes": "function setup() { return {input: [\"a'b\", 'a\"b', `a'\"b`], output: {bands: 1}} }",
    "escapes": r"function setup() { return {input: ['\x42\u0030\u{34}', 'a\
b', '\t\n\\\'\"', '\q'], output: {bands: 1}} }",
    "octal escape": r"function setup() { return {input: ['\60\7'], output: {bands: 1}} }",
    "emoji and surrogates": r"function setup() { return {input: ['🛰', '\u{1f6f0}', '\ud83d\udef0', '\ud83d'], output: "
    "{bands: 1}} }",
    "letters of other languages": "const größe = 2, 高 = 1;\nfunction setup() { return {input: ['ž'], output: {id: 'ø', bands: "
    "größe + 高}} }",
    "template": "const n = 4;\nfunction setup() { return {input: [`B0${n}`, `B${`${n + 4}`.padStart(2, '0')}`], output: {bands: 1}} }",
    "template over lines": "function setup() { return {input: [`a\nb`, `c\r\nd`], output: {bands: 1}} }",
    "template with a brace in it": "function setup() { return {input: [`${'}'}`, `${{a: '`'}.a}`], output: {bands: 1}} }",
    "tagged template": "const tag = (parts, ...values) => parts.raw.join('|') + values;\n"
    "function setup() { return {input: [tag`a\\n${1}b${2}`, String.raw`\\u`], output: {bands: 1}} }",
    "string methods": "function setup() { return {input: 'B02,B03'.split(','), output: {id: 'NDVI'.toLowerCase(), bands: 'abc'.length}} }",
    "string as an object": "function setup() { return {input: Array.from('ab'), output: {bands: 'abc'.lastIndexOf('c')}} }",
    # ------------------------------------------------------------------------------------- regular expressions, slashes
    "regular expression with brackets": "const p = /[/}{\"']\\//g;\n" + SETUP,
    "regular expression with a quote": "const p = /'/;\n" + SETUP + '\nconst q = /"/',
    "regular expression after a bracket": "if (true) /}/.test('');\n" + SETUP,
    "regular expression after return": "const f = () => { return /[}]/ };\n" + SETUP,
    "division after a bracket": "const a = (4) / 2, b = [4][0] / 2 / 1;\nfunction setup() { return {input: ['B04'], output: {bands: a / b}} }",
    "division, not a regular expression": "let g = 1, i = 8;\nfunction setup() { return {input: ['B04'], output: {bands: i /2/ g}} }",
    "division after an increment": "let i = 7;\nfunction setup() { return {input: ['B04'], output: {bands: i++ / 7 /1}} }",
    "named groups": "const {groups: {n}} = /(?<n>\\d+)/u.exec('B12');\n"
    "function setup() { return {input: ['B04'], output: {bands: +n}} }",
    "lookbehind and sticky": "function setup() { return {input: 'B1B2'.match(/(?<=B)\\d/g), output: {bands: /a/y.lastIndex + 1}} }",
    "replace with a function": "function setup() { return {input: ['b4'.replace(/\\d/, (d) => d.padStart(2, 0)).toUpperCase()], output: {bands: 1}} }",
    # ------------------------------------------------------------------------------------------------------ numbers
    "numbers of all forms": "function setup() { return {input: ['B04'], output: [{id: 'a', bands: 0x2}, {id: 'b', bands: 0b11}, "
    "{id: 'c', bands: 0o4}, {id: 'd', bands: 1e1}, {id: 'e', bands: 1_0}, {id: 'f', bands: 010}, {id: 'g', bands: 08}, "
    "{id: 'h', bands: 3., nodataValue: -.5}]} }",
    "arithmetic": "function setup() { return {input: ['B04'], output: {bands: 2 ** 3 % 5 + (7 >> 1) - ~~1.5 + (true ? 1 : 0)}} }",
    "not a number": "function setup() { return {input: ['B04'], output: {bands: 1, nodataValue: NaN}} }",
    "infinite": "function setup() { return {input: ['B04'], output: {bands: 1 / 0}} }",
    "big integer": "function setup() { return {input: ['B04'], output: {bands: Number(3n), nodataValue: 3n}} }",
    "minus zero": "function setup() { return {input: ['B04'], output: {bands: 1, nodataValue: -0}} }",
    "rounding": "function setup() { return {input: ['B04'], output: {bands: Math.round(2.5), nodataValue: 0.1 + 0.2}} }",
    "parsed": "function setup() { return {input: ['B04'], output: {bands: parseInt('3 bands', 10), nodataValue: +'-1e3'}} }",
    # ------------------------------------------------------------------------------------------------------ objects
    "shorthand and computed keys": "const input = ['B04'], key = 'put';\nfunction setup() { return {input, ['out' + key]: {bands: 1}} }",
    "spread": "const base = {input: ['B04'], output: {bands: 9}}, more = ['B08'];\n"
    "function setup() { return {...base, input: [...base.input, ...more], output: {...base.output, bands: 2}} }",
    "keys that are quoted or numbers": "function setup() { return {'input': ['B04'], \"output\": {bands: 1}, 1: 2, 1.5e3: 3} }",
    "key with an escape": "function setup() { return {\\u0069nput: ['B04'], 'out\\x70ut': {bands: 1}} }",
    "keys that are keywords": "function setup() { return {input: ['B04'], output: {bands: 1}, class: 1, get: 2, set: 3, async: 4, of: 5} }",
    "a key twice": "function setup() { return {input: ['B08'], input: ['B04'], output: {bands: 2, bands: 1}} }",
    "getter": "function setup() { return {input: ['B04'], get output() { return {bands: this.input.length} }} }",
    "getter of a class": "class Out { get bands() { return 2 } }\nfunction setup() { return {input: ['B04'], output: {bands: new Out().bands}} }",
    "accessor defined later": "function setup() { const s = {input: ['B04']}; Object.defineProperty(s, 'output', "
    "{enumerable: true, get: () => ({bands: 1})}); return s }",
    "hidden property": "function setup() { const s = {input: ['B04'], output: {bands: 1}}; Object.defineProperty(s, 'mosaicking', "
    "{value: 'ORBIT'}); return s }",
    "inherited property": "function setup() { return Object.assign(Object.create({mosaicking: 'TILE'}), " + OBJECT + ") }",
    "instance of a class": "class Setup { constructor(b) { this.input = b; this.output = {bands: b.length} } }\n"
    "function setup() { return new Setup(['B02', 'B03']) }",
    "built step by step": "function setup() { const s = {}; s.input = ['B04']; s['output'] = {}; s.output.bands = 1; return s }",
    "deleted property": "function setup() { const s = {...{x: 1}, ...(" + OBJECT + "), mosaicking: 'TILE'}; delete s.mosaicking; return s }",
    "undefined and null": "function setup() { return {input: ['B04'], output: {id: undefined, bands: 1, sampleType: null}, mosaicking: undefined} }",
    "a method among the properties": "function setup() { return {input: ['B04'], output: {bands: 1, f() { return 1 }, *g() {}, async h() {}}} }",
    "symbol keys": "function setup() { return {input: ['B04'], output: {bands: 1}, [Symbol('x')]: 1} }",
    "toJSON": "function setup() { return {input: ['B04'], output: {toJSON: () => ({bands: 2})}} }",
    "date": "function setup() { return {input: ['B04'], output: {bands: 1}, on: new Date(0)} }",
    "frozen": f"function setup() {{ return Object.freeze({OBJECT}) }}",
    "a Proxy": f"function setup() {{ return new Proxy({OBJECT}, {{}}) }}",
    "from entries": "function setup() { return Object.fromEntries([['input', ['B04']], ['output', {bands: 1}]]) }",
    "from JSON": "function setup() { return JSON.parse('{\"input\": [\"B04\"], \"output\": {\"bands\": 1}}') }",
    "__proto__ as a key": "function setup() { return {__proto__: {mosaicking: 'TILE'}, input: ['B04'], output: {bands: 1}} }",
    # -------------------------------------------------------------------------------------------------------- arrays
    "map": "const B = ['B02', 'B03'];\nfunction setup() { return {input: B, output: B.map((id, n) => ({id, bands: n + 1}))} }",
    "filter, concat, flat": "function setup() { return {input: ['B02', '', 'B03'].filter(Boolean).concat(['B04']), output: [[{bands: 1}]].flat()} }",
    "reduce": "function setup() { return {input: ['B04'], output: {bands: [1, 2, 3].reduce((a, b) => a + b)}} }",
    "holes and trailing commas": "function setup() { return {input: ['B04', , 'B08', ], output: {bands: 1, }, } }",
    "keys and values": "const o = {a: 1, b: 2};\nfunction setup() { return {input: Object.keys(o), output: Object.entries(o)"
    ".map(([id, bands]) => ({id, bands}))} }",
    "sorted": "function setup() { return {input: ['B8A', 'B02', 'B11'].sort().reverse(), output: {bands: 1}} }",
    "sets and maps": "function setup() { return {input: [...new Set(['B04', 'B04', 'B08'])], output: {bands: new Map([[1, 2]]).get(1)}} }",
    "generator": "function* names() { yield 'B02'; yield* ['B03', 'B04'] }\nfunction setup() { return {input: [...names()], output: {bands: 3}} }",
    "typed array": "function setup() { return {input: ['B04'], output: {bands: new Uint8Array([3])[0]}} }",
    "array-like": "function setup() { return {input: Array.from({length: 3}, (_, n) => `B0${n + 1}`), output: {bands: 1}} }",
    "new array methods": "function setup() { return {input: ['B03', 'B02'].toSorted(), output: {bands: [1, 2].at(-1)}} }",
    "negative index by name": "function setup() { return {input: ['B04'], output: {bands: [1, 2]['length']}} }",
    # ------------------------------------------------------------------------------------------------------ statements
    "condition": "const wide = true;\nfunction setup() { if (wide) return {input: ['B02', 'B04'], output: {bands: 2}}; return {input: ['B04'], "
    "output: {bands: 1}} }",
    "early return that is not taken": "function setup() { if (false) { return {} } else { return " + OBJECT + " } }",
    "switch": "const kind = 'b';\nfunction setup() { switch (kind) { case 'a': return {}; case 'b': default: return " + OBJECT + " } }",
    "loop": "function setup() { const input = []; for (let i = 2; i < 5; i++) input.push('B0' + i); return {input, output: {bands: input.length}} }",
    "for of and in": "function setup() { const input = []; for (const b of ['B02']) input.push(b); for (const k in {B03: 1}) input.push(k); "
    "return {input, output: {bands: 2}} }",
    "while and do": "function setup() { let n = 0; while (n < 3) n++; do { n-- } while (n > 2); return {input: ['B04'], output: {bands: n}} }",
    "labels": "function setup() { let n = 0; outer: for (;;) { for (;;) { n++; if (n > 2) break outer; continue outer } } return {input: ['B04'], "
    "output: {bands: n}} }",
    "label before an object": "function setup() { input: ['B04']; return " + OBJECT + " }",
    "arrow whose block looks like an object": "const setup = () => { input: ['B04'] }",
    "try and finally": "function setup() { try { throw 1 } catch { return {} } finally { return " + OBJECT + " } }",
    "comma": f"function setup() {{ return 1, {OBJECT} }}",
    "conditional operators": "const o = {};\nfunction setup() { return {input: o.input ?? ['B04'], output: {bands: o?.x?.y || 1}} }",
    "logical assignment": "function setup() { let a = null; a ??= 2; a &&= 3; return {input: ['B04'], output: {bands: a}} }",
    "destructuring with defaults": "function setup() { const {a = 2, ...rest} = {b: 1}; const [x, [y = a]] = ['B04', []]; "
    "return {input: [x, ...Object.keys(rest)], output: {bands: y}} }",
    "swap": "function setup() { let [a, b] = [1, 2]; [a, b] = [b, a]; return {input: ['B04'], output: {bands: a}} }",
    "no semicolons": "const a = 1\nconst b = 2\nfunction setup() {\n  const c = a\n  + b\n  return {\n    input: ['B04'],\n    output: {bands: c}\n  }\n}",
    "a line that begins with a bracket": "let n = 1\nlet f = [3]\n[0] = n\nfunction setup() { return {input: ['B04'], output: {bands: f}} }",
    "with": "function setup() { with ({bands: 2}) { return {input: ['B04'], output: {bands}} } }",
    "var before its value": "function setup() { return {input: ['B04'], output: {bands: typeof n === 'undefined' ? 1 : n}} }\nvar n = 2",
    "closure over a loop": "const fs = []; for (let i = 0; i < 3; i++) fs.push(() => i);\n"
    "function setup() { return {input: ['B04'], output: {bands: fs.map((f) => f()).reduce((a, b) => a + b)}} }",
    "strict": "'use strict';\nfunction setup() { return {input: ['B04'], output: {bands: this === undefined ? 2 : 1}} }",
    "sloppy this": "function setup() { return {input: ['B04'], output: {bands: this === globalThis ? 2 : 1}} }",
    "typeof and void": "function setup() { return {input: ['B04'], output: {bands: typeof nothing === 'undefined' ? 1 : 2, id: void 0}} }",
    "names that look reserved": "let async = 1, of = 2, get = 3, let_ = 4, yield_ = 5;\nfunction setup() { return {input: ['B04'], output: {bands: async + of}} }",
    # ----------------------------------------------------------------------------------------- what the service predefines
    "the enumerations": "function setup() { return {input: ['B04'], output: [{id: 'a', bands: 1, sampleType: SampleType.FLOAT32}, {id: 'b', bands: 1, "
    "sampleType: SampleType['UINT' + 8]}], mosaicking: Mosaicking.ORBIT} }",
    "an enumeration in a variable": "const {UINT16} = SampleType, M = Mosaicking;\nfunction setup() { return {input: ['B04'], output: {bands: 1, sampleType: "
    "UINT16}, mosaicking: M.TILE} }",
    "an enumeration of one's own": "const SampleType = {AUTO: 'INT16'};\nfunction setup() { return {input: ['B04'], output: {bands: 1, sampleType: "
    "SampleType.AUTO}} }",
    "a utility at the top level": "const v = new ColorMapVisualizer([[0, 0xff0000]]), r = ColorGradientVisualizer.createRedTemperature(0, 1);\n" + SETUP,
    "a utility of one's own": "function index(a, b) { return (a - b) / (a + b) }\nfunction setup() { return {input: ['B04'], output: {bands: index(3, 1) * 4}} }",
    "several data sources": "function setup() { return {input: [{datasource: 's1', bands: ['VV'], units: ['LINEAR_POWER']}, {datasource: 's2', bands: ['B04', "
    "'dataMask'], mosaicking: 'ORBIT'}], output: [{id: 'default', bands: ['vv', 'red'], sampleType: 'FLOAT32'}]} }",
    # ------------------------------------------------------------------------------------------------------- mistakes
    "missing bracket": 'function setup() { return Object.assign({input: ["B04"], output: {bands: 1}}; }',
    "missing brace": 'function setup() {\n  return {input: ["B04"], output: {bands: 1}\n}',
    "missing comma": "function setup() {\n  return {\n    input: ['B04']\n    output: {bands: 1}\n  };\n}",
    "two values": "function setup() { return {input: ['B04' 'B08'], output: {bands: 1}} }",
    "unclosed string": "function setup() {\n  return {input: ['B04], output: {bands: 1}}\n}",
    "unclosed template": "function setup() { return {input: [`B04], output: {bands: 1}} }",
    "unclosed comment": SETUP + "\n/* the end",
    "unclosed regular expression": "const p = /a(/;\n" + SETUP,
    "a constant twice": "const a = 1;\nconst a = 2;\n" + SETUP,
    "Python in it": "function setup():\n    return {input: ['B04'], output: {bands: 1}}",
    "a curly quote": "function setup() {\n  return {input: [\u201cB04\u201d], output: {bands: 1}}\n}",
    "return outside": SETUP + "\nreturn 1",
    "import": "import x from 'y'\n" + SETUP,
    "await": "const x = await 1\n" + SETUP,
    "assignment to a value": SETUP + "\n1 = 2",
    "an unknown name in setup": "function setup() { return {input: ['B04'], output: {bands: n}} }",
    "a name before its value": "function setup() { return {input: BANDS, output: {bands: 1}} }\nsetup()\nconst BANDS = ['B04']",
    "a property of nothing": "function setup() {\n  const s = {}\n  return {input: s.a.b, output: {bands: 1}}\n}",
    "a call of what is no function": "function setup() { return {input: ['B04'].maps(1), output: {bands: 1}} }",
    "an error in a helper": "function helper() {\n  throw new RangeError('no bands')\n}\nfunction setup() { return helper() }",
    "an error that is no Error": "function setup() { throw 'no bands' }",
    "an error at the top level": SETUP + "\nnull.x",
    "a constant assigned": "const n = 1;\nfunction setup() { n = 2; return " + OBJECT + " }",
    "an assignment that strict mode refuses": "function setup() { 'use strict'; n = 2; return " + OBJECT + " }",
    "no setup": "function setUp() { return " + OBJECT + " }",
    "setup is an object": f"const setup = {OBJECT}",
    "setup is a class": "class setup { constructor() { this.input = ['B04'] } }",
    "returns nothing": f"function setup() {{ ({OBJECT}) }}",
    "returns an array": f"function setup() {{ return [{OBJECT}] }}",
    "returns a text": "function setup() { return 'B04' }",
    "asynchronous": f"async function setup() {{ return {OBJECT} }}",
    "a generator": f"function* setup() {{ return {OBJECT} }}",
}  # fmt: skip


SCRIPTS: dict[str, str] = {
    **{name: f"//VERSION=3\n{body}{PIXEL}" for name, body in _BODIES.items()},
    "evaluatePixel is missing": f"//VERSION=3\n{SETUP}\n// function evaluatePixel() {{}}",
    "evaluatePixel is an arrow": f"//VERSION=3\n{SETUP}\nconst evaluatePixel = (s) => [s.B04]",
    "byte order mark first": f"\ufeff//VERSION=3\n{SETUP}{PIXEL}",
    "empty": "",
}
