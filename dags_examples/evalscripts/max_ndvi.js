//VERSION=3
// Maximum NDVI of all clear observations in the period.
function setup() {
  return {
    input: [{ bands: ["B04", "B08", "SCL", "dataMask"] }],
    output: [{ id: "default", bands: 1, sampleType: "FLOAT32" }],
    mosaicking: "ORBIT"
  };
}

// Scene classification: no data, saturated, cloud shadow, clouds, cirrus, snow.
const UNUSABLE = {0: true, 1: true, 3: true, 8: true, 9: true, 10: true, 11: true};

function evaluatePixel(samples) {
  let max = NaN;
  for (const sample of samples) {
    if (sample.dataMask && !UNUSABLE[sample.SCL]) {
      const {ndvi} = {ndvi: index(sample.B08, sample.B04)};
      if (!(ndvi <= max)) {max = ndvi;}
    }
  }
  return {default: [max]};
}
