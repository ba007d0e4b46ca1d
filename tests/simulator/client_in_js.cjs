// What a user of sentinelhub-js does: a token, scenes and dates of the Catalog, an image of the Process API.
//
// The client is unmodified. It has the service's addresses in its code, and its own addAxiosRequestInterceptor, which is
// there for such purposes, sends the requests to the simulator instead. Reads one JSON object; its last line is what it
// saw, as JSON.

"use strict";

const { readFileSync } = require("node:fs");

const given = JSON.parse(readFileSync(0, "utf-8"));
const client = require(`${given.folder}/node_modules/@sentinel-hub/sentinelhub-js`);
const sent = [];

client.addAxiosRequestInterceptor(async (config) => {
  const url = new URL(config.url);
  sent.push(`${config.method.toUpperCase()} ${url.hostname}${url.pathname}`);
  config.url = given.base_url + url.pathname + url.search;
  return config;
});

async function main() {
  client.setAuthToken(await client.requestAuthToken(given.client_id, given.client_secret));
  const box = new client.BBox(client.CRS_EPSG4326, ...given.bbox);
  const [from, to] = [new Date(given.from), new Date(given.to)];
  const layer = new client.S2L2ALayer({ evalscript: given.evalscript, maxCloudCoverPercent: 80 });
  const seen = {};

  const found = await layer.findTiles(box, from, to, 5, 0);
  const further = await layer.findTiles(box, from, to, 5, 5);
  seen.tiles = found.tiles.length;
  seen.more = found.hasMore;
  const name = (tile) => JSON.stringify([tile.sensingTime, tile.geometry]);
  const known = new Set(found.tiles.map(name));
  seen.repeated = further.tiles.filter((tile) => known.has(name(tile))).length;
  seen.clouds = found.tiles.map((tile) => tile.meta.cloudCoverPercent);
  seen.dates = (await layer.findDatesUTC(box, from, to)).map((date) => date.toISOString());

  const params = { bbox: box, fromTime: from, toTime: to, width: 64, height: 48, format: client.MimeTypes.PNG };
  const image = Buffer.from(await layer.getMap(params, client.ApiType.PROCESSING));
  seen.image = { kind: image.subarray(1, 4).toString("latin1"), width: image.readUInt32BE(16), height: image.readUInt32BE(20) };
  try {
    await layer.getMap({ ...params, width: 3000 }, client.ApiType.PROCESSING);
  } catch (error) {
    seen.refused = error.response.status;
  }
  seen.sent = [...new Set(sent)];
  console.log(JSON.stringify(seen));
  // Timers of the client's cache would keep the process alive.
  process.exit(0);
}

main().catch((error) => {
  const body = error.response && error.response.data;
  console.error(error.message, body instanceof ArrayBuffer || Buffer.isBuffer(body) ? Buffer.from(body).toString() : JSON.stringify(body));
  process.exit(1);
});
