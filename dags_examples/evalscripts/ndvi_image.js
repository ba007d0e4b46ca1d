//VERSION=3
// NDVI of Sentinel-2 as whole numbers from -10,000 to 10,000.
function setup() {
  return {
    input: ["B04", "B08", "dataMask"],
    output: { bands: 1, sampleType: "INT16", nodataValue: -32768 },
  };
}

function evaluatePixel(sample) {
  const sum = sample.B08 + sample.B04;
  return [sample.dataMask && sum ? Math.round((10000 * (sample.B08 - sample.B04)) / sum) : -32768];
}
