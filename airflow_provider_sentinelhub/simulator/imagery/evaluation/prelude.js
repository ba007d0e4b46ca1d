// What the service predefines for evalscripts, and what runs evaluatePixel() for many pixels.
//
// Source: https://documentation.dataspace.copernicus.eu/APIs/SentinelHub/Evalscript/Functions.html
"use strict";
((global) => {
  const define = (values) => Object.entries(values).forEach(([name, value]) =>
    Object.defineProperty(global, name, { value, writable: true, configurable: true }));
  const asIs = new Proxy({}, { get: (_, name) => name });

  // ------------------------------------------------------------------------------------------------ documented functions
  const int2rgb = (color) => [(color >> 16) & 255, (color >> 8) & 255, color & 255];
  const rgb2int = ([r, g, b]) => (r << 16) + (g << 8) + b;
  const normalizeRGB = (values) => values.map((each) => each / 255);
  const combine = (one, two, alpha) => one.map((each, i) => each * alpha + two[i] * (1 - alpha));
  const JAVA_DOUBLE_MAX_VAL = Number.MAX_VALUE;
  const index = (x, y) => (x + y === 0 ? 0 : (x - y) / (x + y));
  const inverse = (x) => (x === 0 ? JAVA_DOUBLE_MAX_VAL : 1 / x);

  function valueMap(value, intervals, values) {
    if (!intervals || !values) return value;
    const found = intervals.findIndex((each) => value <= each);
    return values[found < 0 ? values.length - 1 : found];
  }

  function valueInterpolate(value, intervals, values) {
    if (!intervals || !values) return value;
    const last = intervals.length - 1;
    if (!(value > intervals[0])) return values[0];
    if (value > intervals[last]) return values[last];
    const upper = intervals.findIndex((each) => value <= each);
    const share = (value - intervals[upper - 1]) / (intervals[upper] - intervals[upper - 1]);
    const between = (low, high) => low + (high - low) * share;
    const low = values[upper - 1], high = values[upper];
    return Array.isArray(low) ? low.map((each, i) => between(each, high[i])) : between(low, high);
  }

  const blueRed = [
    [1.0, 0x000080], [0.875, 0x0000ff], [0.625, 0x00ffff], [0.375, 0xffff00], [0.125, 0xff0000], [0.0, 0x800000],
  ];
  const redTemperature = [[1.0, 0x000000], [0.525, 0xae0000], [0.3, 0xff6e00], [0.25, 0xff8600], [0.0, 0xffffff]];
  const greenWhite = [[1.0, 0x000000], [0.6, 0x006600], [0.3, 0x80b300], [0.0, 0xffffff]];
  const oceanColor = [
    [0.0, [147, 0, 108]], [0.0471, [111, 0, 144]], [0.098, [72, 0, 183]], [0.149, [33, 0, 222]], [0.2, [0, 10, 255]],
    [0.2471, [0, 74, 255]], [0.298, [0, 144, 255]], [0.349, [0, 213, 255]], [0.4, [0, 255, 215]],
    [0.4471, [0, 255, 119]], [0.498, [0, 255, 15]], [0.549, [96, 255, 0]], [0.6, [200, 255, 0]],
    [0.6471, [255, 235, 0]], [0.698, [255, 183, 0]], [0.749, [255, 131, 0]], [0.8, [255, 79, 0]],
    [0.8471, [255, 31, 0]], [0.898, [230, 0, 0]], [0.949, [165, 0, 0]], [1.0, [105, 0, 0]],
  ].map(([value, color]) => [value, normalizeRGB(color)]);

  const ascending = (pairs) => [...pairs].sort((one, two) => one[0] - two[0]);
  const channels = (color) => (Array.isArray(color) ? color.map((each) => each * 255) : int2rgb(color));

  class ColorMapVisualizer {
    constructor(valColPairs) {
      this.pairs = ascending(valColPairs);
    }
    static createDefaultColorMap() {
      return new ColorMapVisualizer([
        [-1.0, 0x000000], [-0.2, 0xff0000], [-0.1, 0x9a0000], [0.0, 0x660000], [0.1, 0xffff33], [0.2, 0xcccc33],
        [0.3, 0x666600], [0.4, 0x33ffff], [0.5, 0x33cccc], [0.6, 0x006666], [0.7, 0x33ff33], [0.8, 0x33cc33],
        [0.9, 0x006600],
      ]);
    }
    process(val) {
      let found = this.pairs[0];
      for (const pair of this.pairs) if (val >= pair[0]) found = pair;
      return normalizeRGB(channels(found[1]));
    }
  }

  // The examples of both classes are kept: one rounds colors down, the other to the nearest.
  class ColorRampVisualizer {
    constructor(ramps, minVal, maxVal) {
      const pairs = ascending(ramps), low = pairs[0][0], high = pairs[pairs.length - 1][0];
      const from = minVal ?? low, to = maxVal ?? high;
      this.values = pairs.map(([value]) => (high === low ? from : from + ((value - low) / (high - low)) * (to - from)));
      this.colors = pairs.map(([, color]) => channels(color));
    }
    inverse() {
      const pairs = this.values.map((value, i) => [value, normalizeRGB(this.colors[this.colors.length - 1 - i])]);
      return new ColorRampVisualizer(pairs);
    }
    process(value) {
      return valueInterpolate(value, this.values, this.colors).map((each) => Math.floor(each + 1e-9) / 255);
    }
    // Colors are in the order in which they are listed, values in ascending order.
    static of(pairs, minVal, maxVal) {
      const values = pairs.map(([value]) => value).sort((one, two) => one - two);
      return new ColorRampVisualizer(pairs.map(([, color], i) => [values[i], color]), minVal, maxVal);
    }
    static createRedTemperature(minVal, maxVal) { return ColorRampVisualizer.of(redTemperature, minVal, maxVal); }
    static createWhiteGreen(minVal, maxVal) { return ColorRampVisualizer.of(greenWhite, minVal, maxVal); }
    static createBlueRed(minVal, maxVal) { return ColorRampVisualizer.of(blueRed, minVal, maxVal); }
    static createOceanColor(minVal, maxVal) { return ColorRampVisualizer.of(oceanColor, minVal, maxVal); }
  }

  // Its values go from the last to the first.
  class ColorGradientVisualizer {
    constructor(valColPairs, minVal = 0.0, maxVal = 1.0) {
      const pairs = ascending(valColPairs.map(([value, color]) => [1 - value, color]));
      this.values = pairs.map(([value]) => value);
      this.colors = pairs.map(([, color]) => channels(color));
      this.minVal = minVal;
      this.maxVal = maxVal;
    }
    process(val) {
      const at = (val - this.minVal) / (this.maxVal - this.minVal);
      return valueInterpolate(at, this.values, this.colors).map((each) => Math.round(each) / 255);
    }
    static createRedTemperature(minVal, maxVal) { return new ColorGradientVisualizer(redTemperature, minVal, maxVal); }
    static createWhiteGreen(minVal, maxVal) { return new ColorGradientVisualizer(greenWhite, minVal, maxVal); }
    static createBlueRed(minVal, maxVal) { return new ColorGradientVisualizer(blueRed, minVal, maxVal); }
  }

  class HighlightCompressVisualizer {
    constructor(minValue = 0.0, maxValue = 1.0, gain = 1.0, offset = 0.0, gamma = 1.0) {
      if (gain !== 1 || offset !== 0 || gamma !== 1) {
        throw new Error("The simulator has no gain, offset and gamma of HighlightCompressVisualizer.");
      }
      this.minValue = minValue;
      this.maxValue = maxValue;
    }
    process(val) {
      const share = (val - this.minValue) / (this.maxValue - this.minValue);
      if (share <= 0) return 0;
      const compresses = this.maxValue > 0 && this.maxValue < 1;
      if (share <= 0.92 || !compresses) return Math.min(1, share);
      return Math.min(1, 0.92 + (0.08 * (share - 0.92)) / 1.08);
    }
    processList(values) {
      return values.map((each) => this.process(each));
    }
  }

  function decodeL8C2Qa(value) {
    const bits = (at, mask = 1) => (value >> at) & mask;
    return {
      fill: bits(0), dilatedCloud: bits(1), cirrus: bits(2), cloud: bits(3), cloudShadow: bits(4), snow: bits(5),
      clear: bits(6), water: bits(7), cloudConfidence: bits(8, 3), cloudShadowConfidence: bits(10, 3),
      snowIceConfidence: bits(12, 3), cirrusConfidence: bits(14, 3),
    };
  }

  function decodeS3OLCIQualityFlags(value) {
    const names = ("land coastline fresh_inland_water tidal_region bright straylight_risk invalid cosmetic duplicated " +
      "sun_glint_risk dubious").split(" ");
    for (let band = 1; band <= 21; band++) names.push(`saturatedB${String(band).padStart(2, "0")}`);
    return Object.fromEntries(names.map((name, i) => [name, (value >>> (31 - i)) & 1]));
  }

  define({
    SampleType: asIs, Mosaicking: asIs, JAVA_DOUBLE_MAX_VAL, blueRed, redTemperature, greenWhite, oceanColor, int2rgb,
    rgb2int, normalizeRGB, combine, index, inverse, valueMap, valueInterpolate, colorBlend: valueInterpolate,
    ColorMapVisualizer, ColorRampVisualizer, ColorGradientVisualizer, HighlightCompressVisualizer, decodeL8C2Qa,
    decodeS3OLCIQualityFlags,
  });
  for (const name of ("DefaultVisualizer HighlightCompressVisualizerSingle Identity colorMap hex2rgb rgb2hex " +
    "decodeLs8Qa").split(" ")) {
    define({
      [name]: function () {
        throw new Error(`The simulator has no ${name}: what it does is not documented.`);
      },
    });
  }

  // ----------------------------------------------------------------------------------------------------- many pixels
  const { parse, stringify } = JSON;
  const { isArray } = Array;
  const { isView } = ArrayBuffer;
  const fromBase64 = Uint8Array.fromBase64.bind(Uint8Array);
  const toBase64 = Function.prototype.call.bind(Uint8Array.prototype.toBase64);
  const TYPES = {
    uint8: Uint8Array, int8: Int8Array, uint16: Uint16Array, int16: Int16Array, uint32: Uint32Array, int32: Int32Array,
    float32: Float32Array, float64: Float64Array,
  };
  const MAX_USERDATA = 10_000_000;
  const LIKE_A_BAND = /^B\d/;
  let script, plan, loop, scenes, slots, results;
  const inputMetadata = { serviceVersion: "simulator", normalizationFactor: 0.0001 };
  const customData = {};
  const compiled = {};
  let outputMetadata;

  // A band that setup() does not ask for is a mistake, and not undefined.
  const guard = (known, asked) => new Proxy(Object.prototype, {
    get(target, name, receiver) {
      if (typeof name === "string" && !asked.has(name) && (known.has(name) || LIKE_A_BAND.test(name))) {
        throw new Error(`Band ${name} is not among the inputs of setup().`);
      }
      return Reflect.get(target, name, receiver);
    },
  });

  const dated = (source) => source.scenes.map((each) => ({ date: new Date(each.date ?? each.dateFrom) }));
  const named = (source) => (source.mosaicking === "TILE" ? "tiles" : "orbits");
  const eachOf = (make) => (plan.fused
    ? Object.fromEntries(plan.sources.map((source) => [source.key, make(source)]))
    : make(plan.sources[0]));

  function choose() {
    const offered = eachOf((source) => ({
      from: new Date(source.from),
      to: new Date(source.to),
      scenes: {
        [named(source)]: source.scenes.map((each, i) => {
          const { tiles, ...rest } = each;
          return { ...rest, __idx: i };
        }),
      },
    }));
    const chosen = script.preProcessScenes(offered) ?? {};
    for (const source of plan.sources) {
      const list = (plan.fused ? chosen[source.key] : chosen)?.scenes?.[named(source)];
      if (!isArray(list)) throw new Error(`preProcessScenes() does not return scenes.${named(source)}.`);
      source.kept = list.map((each) => each.__idx);
      if (!source.kept.every((each) => Number.isInteger(each) && each >= 0 && each < source.scenes.length)) {
        throw new Error("preProcessScenes() returns scenes that it was not given.");
      }
      source.scenes = source.kept.map((each) => source.scenes[each]);
    }
  }

  function resize() {
    const output = Object.fromEntries(plan.outputs.map((each) => [each.id, { bands: each.bands }]));
    script.updateOutput(output, eachOf((source) => ({ scenes: dated(source) })));
    for (const each of plan.outputs) {
      const bands = output[each.id]?.bands;
      if (!Number.isInteger(bands) || bands < 1 || bands > 65535) {
        throw new Error(`updateOutput() sets ${bands} bands for output ${each.id}.`);
      }
      each.bands = bands;
    }
  }

  function told(source) {
    if (source.mosaicking === "SIMPLE") return {};
    const found = { [named(source)]: source.scenes };
    // As it was first: scenes[0].date.
    source.scenes.forEach((each, i) => Object.defineProperty(found, i, {
      value: { ...each, date: new Date(each.date ?? each.dateFrom) },
    }));
    return found;
  }

  const wrong = (output, what) => new Error(`evaluatePixel() returns ${what} for output ${output}.`);

  function pick(returned, id, single) {
    if (single && isView(returned)) return returned;
    if (returned === undefined || returned === null) throw wrong(id, "nothing");
    if (isArray(returned)) throw wrong(id, "an array, and not an object with the ids of all outputs,");
    if (typeof returned !== "object") throw wrong(id, `${typeof returned} ${String(returned)}, and not an array,`);
    const found = returned[id];
    if (found === undefined || found === null) throw wrong(id, "nothing");
    if (!isArray(found) && !isView(found)) throw wrong(id, `${typeof found} ${String(found)}, and not an array,`);
    return found;
  }

  function check(id, bands, values) {
    if (values.length !== bands) throw wrong(id, `${values.length} values, and not ${bands},`);
  }

  // NaN is a number, but what is not a number is a mistake.
  function refuse(id, band, value) {
    if (typeof value !== "number") throw wrong(id, `${typeof value} for band ${band}, and not a number,`);
  }

  function compile() {
    const sample = (source, at) => {
      const bands = source.bands.map((band) =>
        `${stringify(band.name)}:a${band.slot}[${at}]${band.divisor === 1 ? "" : `/${band.divisor}`}`);
      return `{__proto__:guards[${source.number}],${bands.join()}}`;
    };
    const list = (source) =>
      `x=[];for(let k=0,j=i;k<counts[${source.number}];k++,j+=n)x.push(${sample(source, "j")});`;
    let code = "let x;";
    if (plan.fused) {
      code += "const all={};";
      for (const source of plan.sources) code += `${list(source)}all[${stringify(source.key)}]=x;`;
      code += "x=all;";
    } else {
      const [source] = plan.sources;
      code += source.mosaicking === "SIMPLE" ? `x=${sample(source, "i")};` : list(source);
    }
    code += "const r=evaluatePixel(x,scenes,inputMetadata,customData,outputMetadata);";
    const single = plan.outputs.length === 1;
    plan.outputs.forEach(({ id, bands, wanted }, number) => {
      if (!wanted) return;
      const name = stringify(id), v = `v${number}`;
      code += `const ${v}=${single ? "isArray(r)?r:" : ""}pick(r,${name},${single});`;
      code += `if(${v}.length!==${bands})check(${name},${bands},${v});`;
      const store = (b) => `d=o${number}[${b}*n+i]=+${v}[${b}];if(d!==d)refuse(${name},${b},${v}[${b}]);`;
      code += bands <= 8
        ? Array.from({ length: bands }, (_, b) => store(b)).join("")
        : `for(let b=0;b<${bands};b++){${store("b")}}`;
    });
    const inputs = slots.map((_, i) => `a${i}=slots[${i}]`);
    const outputs = plan.outputs.map((_, i) => `o${i}=results[${i}]`);
    const body = `const ${[...inputs, ...outputs, "n=size"].join()};let d;for(let i=0;i<n;i++){${code}}`;
    // Lines this far down are not the script's.
    return compiled[body] ??= new Function(
      "evaluatePixel", "scenes", "inputMetadata", "customData", "outputMetadata", "guards", "counts", "isArray", "pick",
      "check", "refuse", "size", "slots", "results", "\n".repeat(plan.lines) + body,
    );
  }

  return {
    open(functions) {
      script = functions;
    },
    begin(text) {
      plan = parse(text);
      outputMetadata = { userData: {} };
      loop = null;
      plan.sources.forEach((source) => { source.kept = source.scenes.map((_, i) => i); });
      if (script.preProcessScenes && plan.sources.some((source) => source.mosaicking !== "SIMPLE")) choose();
      if (script.updateOutput) resize();
      scenes = eachOf((source) => (plan.fused ? { scenes: told(source), ...told(source) } : told(source)));
      slots = [];
      plan.sources.forEach((source, number) => {
        source.number = number;
        const asked = new Set(source.bands.map((band) => band.name));
        source.guard = guard(new Set(source.known), asked);
        source.count = source.mosaicking === "SIMPLE" ? Math.min(1, source.scenes.length) : source.scenes.length;
        for (const band of source.bands) {
          band.slot = slots.length;
          slots.push(null);
        }
      });
      return stringify({
        kept: plan.sources.map((source) => source.kept),
        bands: plan.outputs.map((output) => output.bands),
      });
    },
    put(slot, type, text) {
      slots[slot] = new TYPES[type](fromBase64(text).buffer);
    },
    run(size) {
      loop ??= compile();
      results = plan.outputs.map(({ bands, wanted }) => (wanted ? new Float64Array(bands * size) : null));
      const guards = plan.sources.map((source) => source.guard), counts = plan.sources.map((source) => source.count);
      loop(script.evaluatePixel, scenes, inputMetadata, customData, outputMetadata, guards, counts, isArray, pick, check,
        refuse, size, slots, results);
    },
    take(number) {
      const found = toBase64(new Uint8Array(results[number].buffer));
      results[number] = null;
      return found;
    },
    end() {
      script.updateOutputMetadata?.(scenes, inputMetadata, outputMetadata);
      const found = stringify(outputMetadata.userData) ?? "null";
      if (found.length > MAX_USERDATA) throw new Error("userData is too large.");
      return found;
    },
  };
})(globalThis);
