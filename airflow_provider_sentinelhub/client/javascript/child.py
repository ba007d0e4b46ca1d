"""
Run ``setup()`` of a script, in a process that has nothing to lose: no files, no environment, little time and memory.

``engine.py`` starts this file by its path. It imports only what an interpreter without ``site`` loads in a moment.
"""

import resource
import sys

SECONDS = 1
"""CPU time that each step of a script may take: its top level, and ``setup()``."""
MEMORY_MB = 64
"""Memory that a script may take."""
MAX_RESULT = 1_000_000
"""Length of the longest JSON that is returned."""

_MAX_THROWN = 10_000
# Some functions of the engine do not look at the clock, and a library may have errors: the kernel has the last word.
_LIMITS = (
    (resource.RLIMIT_CPU, SECONDS + 1),
    (resource.RLIMIT_AS, 512 << 20),
    (resource.RLIMIT_NOFILE, 0),
    (resource.RLIMIT_FSIZE, 0),
    (resource.RLIMIT_CORE, 0),
)
# What the service predefines. Of the utilities only the names matter: none of them says anything about inputs and
# outputs. https://documentation.dataspace.copernicus.eu/APIs/SentinelHub/Evalscript/Functions.html and what public
# scripts call besides.
_PREDEFINED = """(() => {
  const text = JSON.stringify;
  const word = new Proxy({}, {get: (_, name) => name});
  const utility = new Proxy(function () {}, {
    get: (_, name) => name === Symbol.toPrimitive ? () => 0 : name === Symbol.iterator ? function* () {} : utility,
    apply: () => utility,
    construct: () => utility,
  });
  const define = (names, value) => names.split(" ").forEach((name) =>
    Object.defineProperty(globalThis, name, {value, writable: true, configurable: true}));
  define("SampleType Mosaicking", word);
  define("ColorMapVisualizer ColorGradientVisualizer ColorRampVisualizer HighlightCompressVisualizer " +
    "HighlightCompressVisualizerSingle DefaultVisualizer Identity valueInterpolate valueMap colorBlend colorMap " +
    "index inverse combine normalizeRGB int2rgb rgb2int hex2rgb rgb2hex decodeLs8Qa decodeL8C2Qa " +
    "decodeS3OLCIQualityFlags blueRed redTemperature greenWhite oceanColor JAVA_DOUBLE_MAX_VAL", utility);
  const plain = (_, value) => ["function", "symbol", "bigint"].includes(typeof value) ||
    typeof value === "number" && !Number.isFinite(value) ? {} : value;
  return function __describe(setup) { return text(setup(), plain) ?? "null"; };
})()"""


def main(folder: str) -> None:
    """
    Read a script from standard input, and write what became of it.

    Written are four texts with NUL between them: what the top level threw; the types of ``setup``, ``evaluatePixel``
    and ``updateOutput``; what ``setup()`` threw; and what it returned, as JSON. What is not a JSON value becomes
    ``{}``.

    :param folder: Where the engine is.
    """
    script = sys.stdin.buffer.read().decode(errors="replace")
    sys.path.append(folder)
    # The module behind the package quickjs, which imports seven times as much.
    from _quickjs import Context

    for limit, most in _LIMITS:
        try:
            resource.setrlimit(limit, (most, most))
        except (ValueError, OSError):
            # The limit is lower already, or this system has none.
            continue
    context = Context()
    context.set_memory_limit(MEMORY_MB << 20)
    context.set_time_limit(SECONDS)
    describe = context.eval(_PREDEFINED)
    thrown = failed = types = value = ""
    try:
        context.eval(script)
    except Exception as error:  # noqa: BLE001 - the engine's errors, and those of the conversion to Python
        thrown = str(error) or type(error).__name__
    try:
        # Nothing here is a function, which the script may have replaced.
        types = context.eval("typeof setup + ' ' + typeof evaluatePixel + ' ' + typeof updateOutput")
        if types.startswith("function "):
            value = describe(context.eval("setup"))
    except Exception as error:  # noqa: BLE001 - as above
        failed = str(error) or type(error).__name__
    if len(value) > MAX_RESULT:
        value, failed = "", "InternalError: setup() returns too much"
    fields = (thrown[:_MAX_THROWN], types, failed[:_MAX_THROWN], value)
    sys.stdout.buffer.write("\0".join(field.replace("\0", " ") for field in fields).encode(errors="replace"))


if __name__ == "__main__":
    main(sys.argv[1])
