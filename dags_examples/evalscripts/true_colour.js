//VERSION=3
// True colours of Sentinel-2, and a mask of the pixels that have data.
function setup() {
  return {
    input: ["B02", "B03", "B04", "dataMask"],
    output: { bands: 4, sampleType: "UINT8" },
  };
}

function evaluatePixel(sample) {
  const colour = (value) => Math.min(255, 2.5 * 255 * value);
  return [colour(sample.B04), colour(sample.B03), colour(sample.B02), 255 * sample.dataMask];
}
