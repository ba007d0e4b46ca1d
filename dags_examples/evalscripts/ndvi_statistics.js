//VERSION=3
// NDVI of clear observations. Statistics are taken where dataMask is 1.
function setup() {
  return {
    input: [{ bands: ["B04", "B08", "SCL", "dataMask"] }],
    output: [
      { id: "ndvi", bands: 1, sampleType: "FLOAT32" },
      { id: "dataMask", bands: 1 }
    ]
  };
}

// Scene classification: no data, saturated, cloud shadow, clouds, cirrus, snow.
const UNUSABLE = {0: true, 1: true, 3: true, 8: true, 9: true, 10: true, 11: true};

function evaluatePixel(sample) {
  const isClear = sample.dataMask && !UNUSABLE[sample.SCL];
  return {ndvi: [index(sample.B08, sample.B04)], dataMask: [isClear ? 1 : 0]};
}
