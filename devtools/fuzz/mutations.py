"""Odd requests: a valid one with a value or a name changed, or a field added or left out."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator

Path = tuple[str | int, ...]

_ODD: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 5, 7.5, -0.0, 1e308, 10**20, 10**400, "", " ", "x", "5", "true", "\x00", "\U0001f6f0",
    "{{ ds }}", [], {}, [1], ["a"], [[]], {"a": 1}, {"type": "x"}, [{}], [None],
)  # fmt: skip
_UUID = "0a1b2c3d-1111-2222-3333-444455556666"
_SQUARE = [[[9.21, 42.07], [9.27, 42.07], [9.27, 42.11], [9.21, 42.07]]]
_PARCEL = [[[600_000, 5_330_000], [600_200, 5_330_000], [600_200, 5_330_300], [600_000, 5_330_000]]]

# Values that a field of this name has in somebody's request: right ones, and ones that are nearly right.
_LIKELY: dict[str, tuple[Any, ...]] = {
    "type": (
        "raster", "zarr", "tiling-grid", "geopackage", "Raster", "Polygon", "MultiPolygon", "Point", "image/tiff",
        "image/png", "image/jpeg", "application/json", "zarr/array", "sentinel-1-grd", "S2L2A", f"byoc-{_UUID}", "dem",
    ),
    "id": (0, 1, 2, 3, 4, 6, 7, "0", 3.0, "first"),
    "resolution": (10, 20, 30, 60, 100, 0.0001, 0, -10, "60", 60.0),
    "bufferX": (0, 5, 32767, 32768, 2.5, "5"),
    "bufferY": (0, 5, 32767, 32768, 2.5, "5"),
    "instanceType": ("normal", "large", "huge", ""),
    "identifier": ("default", "userdata", "other", ""),
    "region": ("eu-central-1", "us-west-2", "EU-Central-1", "Frankfurt", ""),
    "from": (
        "2024-04-01", "2024-04-01T00:00:00", "2024-04-01T24:00:00Z", "2024-13-01T00:00:00Z", "yesterday",
        "2024-04-01T00:00:00+02:00", "0001-01-01T00:00:00+14:00", "2024-07-01T00:00:00.123456Z", "20240701T000000Z",
    ),
    "to": (
        "2024-08-01", "2024-08-01T00:00:00", "2024-04-01T00:00:00Z", "2024-02-30T00:00:00Z", "now",
        "9999-12-31T23:59:59-12:00", "2024-W20-1T00:00:00Z",
    ),
    "of": (
        "P1D", "P10D", "P1M", "PT36H", "P0D", "P1DT1H", "p7d", "P-1D", "1 day", "P99999999999D", "P999999999W", "PT23H",
        "P400Y", "P", "PT", "P1W", " P7D ", "P0.5M",
    ),
    "lastIntervalBehavior": ("SKIP", "SHORTEN", "EXTEND", "skip", "DROP"),
    "crs": (
        "http://www.opengis.net/def/crs/EPSG/0/32632", "http://www.opengis.net/def/crs/EPSG/0/4326", "EPSG:4326",
        "http://www.opengis.net/def/crs/EPSG/0/99999", "urn:ogc:def:crs:OGC::CRS84", "urn:ogc:def:crs:EPSG::32632",
        "http://www.opengis.net/def/crs/EPSG/0/31467", "https://www.opengis.net/def/crs/OGC/1.3/CRS84",
    ),
    "bbox": (
        [9.21, 42.07, 9.27], [9.27, 42.07, 9.21, 42.11], [9.21, 42.07, 9.21, 42.11], [9.21, 42.07, 9.27, "42.11"],
        [9.21, 42.07, 9.27, 42.11, 1], [9.21, 42.07, 1e999, 42.11], [200, 42.07, 201, 42.11], [9, 91, 9.1, 92],
        [600_000, 5_330_000, 600_200, 5_330_300], [-170, -85, -169.9, -84.9], "9.21,42.07,9.27,42.11",
    ),
    "coordinates": (
        _SQUARE, _PARCEL, [_SQUARE], _SQUARE[0], [], [[]], [[[9, 42], [10, 42], [9, 42]]], [[[9, 42, 1], [10, 42, 1]]],
        [[[9, 42], [10, 43], [10, 42], [9, 43], [9, 42]]], [[[9, 42], [10, 42], [10, 43], [9, 43]]], [[["a", "b"]] * 4],
        [[[9, 42], [10, 42], [10, None], [9, 42]]], [[[9, 42], [9, 42], [9, 42], [9, 42]]],
    ),
    "mosaickingOrder": ("mostRecent", "leastRecent", "leastCC", "mostrecent"),
    "maxCloudCoverage": (0, 30, 100, 101, -1, "30", "30%"),
    "resamplingAlgorithm": ("nearest", "mode", "best", "NEAREST"),
    "zarr_format": (2, 3, "2", 2.0),
    "dtype": ("<u2", "<f4", "|u1", "u2", "float32"),
    "order": ("C", "F", "c"),
    "chunks": ([1, 500, 500], [1, 333, 500], [2, 500, 500], [1, 0, 500], [1, -5, 5], [1, 500], [1, 500.5, 500], [1]),
    "fill_value": (0, "NaN", "x", 0.5, 1e6, "Infinity"),
    "k": ([5, 50, 95], [0.5], [101], [-1], ["5"], [5, 5], 50),
    "bins": ([0, 0.5, 1], [1, 0], [0], [0, 0], [0, "1"]),
    "nBins": (10, 0, -1, 2.5, "10", 1e9),
    "binWidth": (0.1, 0, -0.1, "0.1"),
    "lowEdge": (0, 2, "0"),
    "highEdge": (1, -2, "1"),
    "width": (1, 256, 2500, 2501, 0, 99.5, "256"),
    "height": (1, 256, 2500, 2501, 0, 99.5, "256"),
    "resx": (10, 0.001, 1, 0, -10, "10"),
    "resy": (10, 0.001, 1, 0, -10, "10"),
    "evalscript": (
        "x", "script.js", "//VERSION=2\nreturn [1]", "\ud800", "//VERSION=3\nfunction setup() {}", 5,
    ),
}  # fmt: skip

# Fields that requests may have beside those of the samples, and some that they may not, by the part they are in.
_FURTHER: dict[str, tuple[tuple[str, tuple[Any, ...]], ...]] = {
    "": (
        ("description", ("text", 5, {"a": 1})), ("instanceType", _LIKELY["instanceType"]), ("status", ("DONE",)),
        ("id", (_UUID,)), ("calculations", ({}, [], {"other": {}})), ("tilingGrid", ({"id": 0, "resolution": 60},)),
        ("userAction", ("START",)),
    ),
    "output": (
        ("overwrite", (True, False, "yes", "true", 1)), ("skipExisting", (True, "no", 0)),
        ("cogOutput", (True, False, "true", 1)), ("createCollection", (True, "true", 1)),
        ("collectionId", (_UUID, f"byoc-{_UUID}", "mine", 5)), ("group", ({}, {"zarr_format": 2})),
        (
            "cogParameters",
            (
                {}, {"blockxsize": 100}, {"blockxsize": 512, "blockysize": 512}, {"blockxsize": 0}, {"usePredictor": 2},
                {"overviewLevels": [2, 4]}, {"overviewLevels": [0]}, {"overviewLevels": "2"}, {"overviewMinSize": 0},
                {"overviewMinSize": 64}, {"blocksize": 256}, {"resamplingAlgorithm": "best"}, {"usePredictor": False},
            ),
        ),
        ("arrayParameters", ({}, {"dtype": "<u2"}, [], {"dtype": "x", "chunks": 5})),
        ("arrayOverrides", ({"default": {"dtype": "<f4"}}, {"default": 5}, {"other": {}})),
        ("width", (512,)), ("resx", (10,)), ("responses", ([], {}, [{}], [{"identifier": "default"}])),
    ),
    "input": (
        ("bufferX", _LIKELY["bufferX"]), ("bufferY", _LIKELY["bufferY"]), ("tileSize", (5,)),
        ("defaults", ({}, {"width": 10, "height": 10}, {"width": 10}, {"resolution": 0}, {"resolution": "5"})),
        ("bounds", ({}, {"bbox": [9.21, 42.07, 9.27, 42.11]})), ("geometry", ({},)),
    ),
    "data": (
        ("id", ("first", 5)), ("processing", ({}, [], {"upsampling": "BICUBIC"}, {"speckleFilter": "LEE"})),
        ("dataFilter", ({}, "x", [], {"mosaikingOrder": "leastCC"}, {"maxCloudCoverage": 200}, {"timeRange": []})),
    ),
    "aggregation": (
        ("width", _LIKELY["width"]), ("height", _LIKELY["height"]), ("resx", _LIKELY["resx"]), ("step", (5,)),
        ("evalscriptReference", ({"s3": {"url": "s3://bucket/script.js"}}, "s3://bucket/script.js")),
    ),
    "s3": (("region", _LIKELY["region"]), ("endpoint", ("x",))),
    "bounds": (("properties", ({}, [], {"crs": 5})), ("geometry", ({"type": "Polygon", "coordinates": _SQUARE}, {}))),
    "default": (
        ("histograms", ({"default": {"nBins": 5}}, {"default": {}}, {"default": 5}, [], {"default": {"bins": 5}})),
        ("statistics", ({"default": {}}, {"default": {"percentiles": {}}}, {"default": 5}, [])),
    ),
}  # fmt: skip

_URLS = (
    "s3://{bucket}/{folder}", "s3://{bucket}/{folder}/", "s3://{bucket}/{folder}/../up", "s3://{bucket}", "s3://",
    "s3://{bucket}/{folder}/./x", "s3://{bucket}//{folder}", "s3://{bucket}/{folder}/<tileName>.tif",
    "s3://{bucket}/{folder}/<tileId>.tif", "s3://{bucket}/{folder}/<requestId>", "s3://b", "s3://{bucket}/{folder}?a=b",
    "s3://{bucket}/{folder}/<requestId>/<tileName>/<outputId>.<format>", "s3://{bucket}/{folder}/<outputId>.tif",
    "s3://{bucket}/{folder}/<ID>.json", "s3://{bucket}/{folder}/<REQUEST_ID>/<IDENTIFIER>.json", "gs://{bucket}/x",
    "s3://{bucket}/{folder}/<REQUEST_ID>", "https://{bucket}.s3.amazonaws.com/x", "s3://{bucket}/{folder}/<tileName",
    "s3://{bucket}/{folder}/é", "s3://{bucket}/{folder}/a b#c", "s3://tenant:{bucket}/x", "s3://{bucket}/{folder}\n",
    "s3://Bu_cket/x", "S3://{bucket}/x",
)  # fmt: skip

_BODIES = (
    b"", b"{", b"[]", b"5", b'"x"', b"null", b"\xff\xfe{", b'{"a": NaN}', b'{"a": 1e999}', b"[" * 100_000,
    b'{"a":' * 100_000, b'{"description": "\\ud800"}', b"\xef\xbb\xbf{}", b"9" * 5000,
)  # fmt: skip


class Mutator:
    """
    Makes odd requests of valid ones.

    :param choice: Decides; seeded by the caller.
    :param bucket: Bucket of the URLs it writes.
    """

    def __init__(self, choice: random.Random, bucket: str) -> None:
        self._choice = choice
        self._bucket = bucket

    def mutate(self, request: dict[str, Any], folder: str) -> tuple[dict[str, Any], list[str]]:
        """
        Return an odd request, and what was done to it.

        :param request: A valid request; not changed.
        :param folder: Folder of the URLs it writes.
        """
        odd = copy.deepcopy(request)
        times = self._choice.choice((1, 1, 1, 1, 1, 2))
        return odd, [self._once(odd, folder) for _ in range(times)]

    def body(self, request: dict[str, Any]) -> bytes:
        """
        Return a body that is not JSON, or not JSON as the service reads it.

        :param request: A valid request.
        """
        text = json.dumps(request)
        number = self._choice.choice(("NaN", "-Infinity", "1e999", '"\\ud83d"', "1" * 400))
        fields = [part for part in (': "', ": [", ": {") if part in text]
        broken = text.replace(self._choice.choice(fields), f': {number}, "more": "', 1).encode()
        return self._choice.choice((*_BODIES, text[: len(text) // 2].encode(), broken, broken, broken))

    def _once(self, request: dict[str, Any], folder: str) -> str:
        places = list(_places(request))
        if self._choice.random() < 0.25:  # noqa: PLR2004 - a quarter adds a field
            parts = [path for path, value in places if isinstance(value, dict) and _name(path) in _FURTHER]
            path = self._choice.choice([(), *parts])
            name, values = self._choice.choice(_FURTHER[_name(path)])
            value = copy.deepcopy(self._choice.choice(values))
            _at(request, path)[name] = value
            return f"{_written((*path, name))} := {value!r}"
        if not places:
            return "nothing"
        path, value = self._choice.choice(places)
        return self._choice.choice((*(4 * [self._replace]), self._drop, self._rename))(request, path, value, folder)

    def _replace(self, request: dict[str, Any], path: Path, value: Any, folder: str) -> str:
        name = _name(path)
        likely = _LIKELY.get(name, ())
        if name == "url":
            likely = tuple(each.format(bucket=self._bucket, folder=folder) for each in _URLS)
        structural = ([value], {"value": value}, str(value))
        pool = likely if likely and self._choice.random() < 0.75 else (*_ODD, *structural)  # noqa: PLR2004 - three in four
        new = copy.deepcopy(self._choice.choice(pool))
        _at(request, path[:-1])[path[-1]] = new
        return f"{_written(path)} = {new!r}"

    def _drop(self, request: dict[str, Any], path: Path, _value: Any, _folder: str) -> str:
        del _at(request, path[:-1])[path[-1]]
        return f"{_written(path)} left out"

    def _rename(self, request: dict[str, Any], path: Path, value: Any, _folder: str) -> str:
        parent, name = _at(request, path[:-1]), path[-1]
        if isinstance(name, int):
            parent.insert(name, copy.deepcopy(value))
            return f"{_written(path)} twice"
        new = self._choice.choice((name.upper(), f"{name}s", name[:-1] or "x", f" {name}"))
        parent[new] = parent.pop(name)
        return f"{_written(path)} renamed to {new!r}"


def _places(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in items:
        yield (*path, key), each
        yield from _places(each, (*path, key))


def _at(value: Any, path: Path) -> Any:
    for step in path:
        value = value[step]
    return value


def _name(path: Path) -> str:
    return next((step for step in reversed(path) if isinstance(step, str)), "")


def _written(path: Path) -> str:
    return ".".join(map(str, path))
