//VERSION=3
// NDVI of a collection of our own: brown without vegetation, green with it.
function setup() {
  return {
    input: ["default", "dataMask"],
    output: { bands: 4 },
  };
}

const RAMP = [[0, 0x8c6d46], [0.3, 0xd9c98a], [0.6, 0x5fa84b], [0.9, 0x14531c]];
const visualizer = new ColorRampVisualizer(RAMP);

function evaluatePixel(sample) {
  return [...visualizer.process(sample.default), sample.dataMask];
}
