"""
Requests for regions and periods, each with its number of tiles and its estimated cost, to map batches over.

Nothing is sent to the service. A bucket is read only where the regions are given by URL.
"""

from __future__ import annotations

import copy
import json
import logging
import re
from calendar import monthrange
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypedDict

from airflow_provider_sentinelhub.client.costs.amounts import pu_text
from airflow_provider_sentinelhub.client.errors import InvalidParameter
from airflow_provider_sentinelhub.client.text import one_line

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

    from airflow_provider_sentinelhub.artifacts.features.features import Batch
    from airflow_provider_sentinelhub.client.costs.estimate import Price
    from airflow_provider_sentinelhub.client.lifecycle.spec import TaskApiSpec

log = logging.getLogger(__name__)

MAX_BYTES: Final = 1_000_000
"""A plan may pass through an XCom, so its requests together are not longer than that as JSON."""
_MAP_LENGTH: Final = 1024
_MONTH = re.compile(r"(\d{4})-(0[1-9]|1[0-2])")
# Braces of a template are double.
_PLACEHOLDER = re.compile(r"(?<!\{)\{(region|period)\}(?!\})")
_UNSAFE = re.compile(r"[^A-Za-z0-9_.-]+")
_SIDES: Final = 4
_EXAMPLE: Final = 'Write e.g. {"2024-01": ("2024-01-01T00:00:00Z", "2024-02-01T00:00:00Z")}, or months("2024-01").'


class PlannedBatch(TypedDict):
    """
    One batch of a plan.

    :param request: The request: the template with this region and period.
    :param name: Region and period, e.g. ``golo 2024-01``.
    :param tiles: How many tiles of the grid meet the region.
    :param estimate_pu: What the batch will probably cost, in processing units.
    :param warning: Whether the minimum charge of a task is most of that, and what would help; or empty.
    """

    request: dict[str, Any]
    name: str
    tiles: int
    estimate_pu: float
    warning: str


def months(first: str, last: str | None = None) -> dict[str, tuple[str, str]]:
    """
    Return the months from one to another as periods: no image is in two of them, and none is left out.

    :param first: The first month, e.g. ``2024-01``.
    :param last: The last month, which is included. Default: the first.
    :returns: Beginning and end of each month by its name. The end is a millisecond before the next month.
    :raises InvalidParameter: One is not a month, or the last comes before the first.
    """
    found = {name: _MONTH.fullmatch(value) for name, value in (("first", first), ("last", last or first))}
    for name, match in found.items():
        if match is None:
            raise InvalidParameter(name, first if name == "first" else last, "is not a month", "Write e.g. 2024-01.")
    start, end = (12 * int(match[1]) + int(match[2]) - 1 for match in found.values() if match)
    if end < start:
        raise InvalidParameter("last", last, f"is before the first month, {first}", "Swap the two.")
    periods = {}
    for number in range(start, end + 1):
        year, month = number // 12, number % 12 + 1
        name = f"{year:04}-{month:02}"
        periods[name] = (f"{name}-01T00:00:00Z", f"{name}-{monthrange(year, month)[1]}T23:59:59.999Z")
    return periods


def plan_batches(
    aoi: Any,
    periods: Mapping[str, Any] | Sequence[Any],
    request: Mapping[str, Any],
    *,
    one_region: bool = False,
    as_boxes: bool = False,
    script_folder: str | Path | None = None,
    columns: Mapping[str, str] | None = None,
    epsg: int | None = None,
    layer: str | None = None,
    aws_conn_id: str | None = "aws_default",
    gcp_conn_id: str | None = None,
) -> list[PlannedBatch]:
    """
    Return one request for each region and period, with its number of tiles and its estimated cost.

    Works in a Python task, and in a DAG file where the regions are not given by URL. Sends nothing to the service:
    tiles are counted and costs estimated here. Both are logged.

    .. seealso:: ``docs/howto/plan_batches.md``

    :param aoi: The regions: a box ``[west, south, east, north]`` in degrees; boxes or geometries (GeoJSON, WKT or
        shapely) in a list, or in a dict by name; a GeoJSON Feature or FeatureCollection; or the URL or absolute path of
        a GeoPackage, GeoParquet, GeoJSON or Shapefile. Each feature is a region.
    :param periods: From and to of each period, in a dict by name or a list: as a pair, or as a dict ``timeRange``.
        :func:`months` makes them.
    :param request: A request of Batch Processing on a tiling grid. Its ``bounds`` and all its ``timeRange`` are filled
        in, and its ``description`` if it has none. ``{region}`` and ``{period}`` in its texts become the names of both.
    :param one_region: Make all regions one, so that each period is one batch.
    :param as_boxes: Use the bounding box of each region: shorter requests, and mostly more tiles.
    :param script_folder: Where a relative path of the evalscript starts, for the estimate. The operator starts at the
        folder of the DAG file: ``Path(__file__).parent`` there. Needed only for a relative path.
    :param columns: Names of the columns of a file or the properties of features, e.g. ``{"identifier": "name"}``.
    :param epsg: EPSG code of the coordinates. Default: what a file says, and 4326 (degrees) for all else.
    :param layer: Layer to read of a file with several. Default: all.
    :param aws_conn_id: The AWS connection, for ``s3://`` URLs.
    :param gcp_conn_id: The Google Cloud connection, for ``gs://`` URLs.
    :returns: The batches, by region, then by period; small enough for an XCom. Map an operator over their requests.
    :raises InvalidParameter: Names what is wrong with a region, a period or the request; or two batches would write to
        the same place, or there are more batches than Airflow maps, or their outlines are too long.
    :raises StorageUnavailable: A bucket cannot be read.
    """
    from airflow_provider_sentinelhub.client.as_json import as_json

    template = _Template.of(as_json(request), script_folder)
    regions = _regions(
        _batches(aoi, columns=columns, epsg=epsg, layer=layer, conn_ids=(aws_conn_id, gcp_conn_id)),
        one_region=one_region,
        as_boxes=as_boxes,
        template=template,
    )
    spans = _spans(periods)
    _check_length(len(regions) * len(spans))
    plan = [template.batch(region, name, span) for region in regions for name, span in spans.items()]
    _check_places(template.api, plan)
    _check_bytes(plan)
    _warn(template, regions, list(spans), plan)
    for each in plan:
        log.info(
            "%s: %s tiles, about %s%s", each["name"], f"{each['tiles']:,}", pu_text(each["estimate_pu"]), _but(each)
        )
    total = sum(each["estimate_pu"] for each in plan)
    log.info("%d batch(es), %d tile(s), about %s", len(plan), sum(each["tiles"] for each in plan), pu_text(total))
    return plan


def _but(batch: PlannedBatch) -> str:
    return f"; {batch['warning']}" if batch["warning"] else ""


@dataclass(frozen=True, slots=True)
class _Region:
    """
    A region.

    :param name: Its name, fit for a URL, and no other's.
    :param bounds: Its area, as a request has it.
    :param shape: The same.
    :param epsg: EPSG code of its coordinates.
    :param tiles: How many tiles meet it.
    """

    name: str
    bounds: dict[str, Any]
    shape: BaseGeometry
    epsg: int
    tiles: int


@dataclass(slots=True)
class _Template:
    """
    The request without region and period.

    :param api: Its API.
    :param body: The request.
    :param script: The text of its evalscript.
    :param side: Width and height of its tiles in pixels, with their buffers.
    """

    api: TaskApiSpec
    body: dict[str, Any]
    script: str
    side: tuple[int, int]

    @classmethod
    def of(cls, body: Any, folder: str | Path | None) -> _Template:
        from airflow_provider_sentinelhub.client.apis.registry import TASK_APIS, request_type
        from airflow_provider_sentinelhub.client.preflight.area import grid_of
        from airflow_provider_sentinelhub.client.requests.findings import is_number, objects, part

        api = TASK_APIS.get(request_type(body).key)
        grid = None if api is None else grid_of(body, api.tiling_grid)
        if api is None or grid is None:
            where = ".".join(api.tiling_grid) if api else "input"
            rule = "must be a request of Batch Processing on a tiling grid"
            fix = 'Write e.g. {"type": "tiling-grid", "id": 0, "resolution": 60}.'
            raise InvalidParameter(f"request.{where}", part(body, "input"), rule, fix)
        where, settings = ".".join(api.tiling_grid), part(body, *api.tiling_grid)
        resolution = part(settings, "resolution")
        if not is_number(resolution) or resolution not in grid.resolutions:
            known = ", ".join(f"{each:g}" for each in grid.resolutions)
            raise InvalidParameter(
                f"request.{where}.resolution", resolution, f"must be one of {known} to count pixels", "Choose one."
            )
        if not objects(body, *api.input, "data"):
            field = ".".join(("request", *api.input, "data"))
            raise InvalidParameter(field, part(body, *api.input, "data"), "must be a list of data sources", "Add one.")
        buffers = (part(settings, "bufferX"), part(settings, "bufferY"))
        x, y = (2 * int(each) if is_number(each) else 0 for each in buffers)
        pixels = grid.tile_pixels(resolution)
        return cls(api, body, _script(body, api, folder), (pixels + x, pixels + y))

    def tiles_of(self, shape: BaseGeometry, epsg: int) -> int:
        from airflow_provider_sentinelhub.client.preflight.area import grid_of
        from airflow_provider_sentinelhub.client.requests.tiles import count_tiles

        grid = grid_of(self.body, self.api.tiling_grid)
        return 0 if grid is None else count_tiles(grid, shape, epsg)

    def batch(self, region: _Region, period: str, span: dict[str, str]) -> PlannedBatch:
        from airflow_provider_sentinelhub.client.requests.findings import part

        body = _filled(copy.deepcopy(self.body), {"region": region.name, "period": period})
        name = f"{region.name} {period}"
        part(body, *self.api.input)["bounds"] = region.bounds
        for source in part(body, *self.api.input, "data"):
            source["dataFilter"] = {**(source.get("dataFilter") or {}), "timeRange": dict(span)}
        body.setdefault("description", name)
        estimate, _ = self.cost(body, region.tiles)
        return PlannedBatch(request=body, name=name, tiles=region.tiles, estimate_pu=round(estimate, 2), warning="")

    def cost(self, body: Mapping[str, Any], tiles: int) -> tuple[float, float]:
        """Return what a batch costs, and what it would cost without the minimum of a task."""
        from airflow_provider_sentinelhub.client.costs.estimate import estimate_cost

        found = estimate_cost(self._price(body), [(*self.side, tiles)])
        return found.pu, prod(factor.value for factor in found.factors) + found.surcharge.pu

    def _price(self, body: Mapping[str, Any]) -> Price:
        holder = self.api.script_holder
        return self.api.price({**body, holder: {**body[holder], "evalscript": self.script}})


def _script(body: Any, api: TaskApiSpec, folder: str | Path | None) -> str:
    from airflow_provider_sentinelhub.client.requests.findings import part

    field, script = f"request.{api.script_holder}.evalscript", part(body, api.script_holder, "evalscript")
    if not isinstance(script, str):
        raise InvalidParameter(field, script, "is required", "Give its text, or a path that ends in .js.")
    if not script.endswith(".js") or "\n" in script:
        return script
    if not Path(script).is_absolute() and folder is None:
        rule = "is a relative path, and the folder it starts at is not known"
        raise InvalidParameter(field, script, rule, "Give script_folder=Path(__file__).parent.")
    try:
        return (Path(folder or "/") / script).read_text(encoding="utf-8").removeprefix("\ufeff")
    except (OSError, UnicodeError) as e:
        rule = f"cannot be read ({one_line(e)})"
        raise InvalidParameter(field, script, rule, "Correct the path, or script_folder.") from None


def _filled(value: Any, names: Mapping[str, str]) -> Any:
    """Fill in the names of region and period, but not in an evalscript, whose braces are JavaScript."""
    if isinstance(value, str):
        return _PLACEHOLDER.sub(lambda found: names[found[1]], value)
    if isinstance(value, list):
        return [_filled(each, names) for each in value]
    if isinstance(value, dict):
        return {key: each if key == "evalscript" else _filled(each, names) for key, each in value.items()}
    return value


def _spans(periods: Any) -> dict[str, dict[str, str]]:
    from airflow_provider_sentinelhub.client.models import validated
    from airflow_provider_sentinelhub.client.requests.data import TimeRange

    named = periods.items() if isinstance(periods, Mapping) else [("", each) for each in periods]
    spans: dict[str, dict[str, str]] = {}
    for number, (name, given) in enumerate(named, start=1):
        where = f"periods.{name or number}"
        is_pair = isinstance(given, Sequence) and not isinstance(given, str) and len(given) == 2  # noqa: PLR2004 - two ends
        span = {"from": given[0], "to": given[1]} if is_pair else given
        if not isinstance(span, Mapping) or set(span) != {"from", "to"} or None in span.values():
            raise InvalidParameter(where, given, "must have a beginning and an end", _EXAMPLE)
        found = validated(TimeRange, dict(span), where)
        start, end = str(found.start), str(found.end)
        spans[_unique(str(name) or start[:10], spans)] = {"from": start, "to": end}
    if not spans:
        raise InvalidParameter("periods", periods, "has no periods", _EXAMPLE)
    return spans


def _batches(
    aoi: Any,
    *,
    columns: Mapping[str, str] | None,
    epsg: int | None,
    layer: str | None,
    conn_ids: tuple[str | None, str | None],
) -> list[Batch]:
    from airflow_provider_sentinelhub.artifacts.features.features import Columns
    from airflow_provider_sentinelhub.artifacts.features.sources import from_geometries
    from airflow_provider_sentinelhub.artifacts.statistics.geometries import boxes_as_polygons
    from airflow_provider_sentinelhub.client.models import from_text
    from airflow_provider_sentinelhub.client.requests.crs import WGS84
    from airflow_provider_sentinelhub.hooks.bucket_connections import open_buckets
    from airflow_provider_sentinelhub.hooks.input_features import from_urls

    how = Columns(**(columns or {}))
    given = from_text(aoi)
    if isinstance(given, str) and ("://" in given or given.startswith("/")):
        return list(from_urls([given], storage=open_buckets(*conn_ids), columns=how, epsg=epsg, layer=layer))
    return list(from_geometries(boxes_as_polygons(given), columns=how, epsg=epsg or WGS84))


def _regions(batches: list[Batch], *, one_region: bool, as_boxes: bool, template: _Template) -> list[_Region]:
    from airflow_provider_sentinelhub.artifacts.statistics.geometries import places_of
    from airflow_provider_sentinelhub.client.preflight.area import Area

    found = []
    for place in places_of(batches):
        # As in a request, where an area that cannot be used is an error that names the field.
        area = Area(f"aoi.{place.label}", place.bounds)
        problems = [each for each in area.check([]) if isinstance(each, InvalidParameter)]
        if area.shape is None or problems:
            rule = problems[0].rule if problems else "is not a polygon"
            raise InvalidParameter(f"aoi.{place.label}", None, rule, "Give a polygon or a box.")
        found.append((place.name, area.shape, area.epsg or 0))
    if one_region:
        found = [("all", _merged([shape for _, shape, _ in found], {epsg for *_, epsg in found}), found[0][2])]
    names: dict[str, None] = {}
    regions = []
    for name, given, epsg in found:
        shape = given.envelope if as_boxes else given
        unnamed = "area" if len(found) == 1 else f"region-{len(names) + 1}"
        safe = _unique(_UNSAFE.sub("-", name or unnamed).strip("-.") or unnamed, names)
        names[safe] = None
        if not (tiles := template.tiles_of(shape, epsg)):
            rule = "meets no tile of the grid"
            raise InvalidParameter(f"aoi.{one_line(name or safe)}", None, rule, "Choose a grid that covers it.")
        regions.append(_Region(safe, _bounds(shape, epsg), shape, epsg, tiles))
    return regions


def _merged(shapes: list[BaseGeometry], codes: set[int]) -> BaseGeometry:
    import shapely

    if len(codes) > 1:
        rule = "has regions in several coordinate reference systems, which cannot be one region"
        raise InvalidParameter("one_region", True, rule, "Reproject them, e.g. with GeoPandas.")  # noqa: FBT003 - the value
    return shapely.union_all(shapes)


def _bounds(shape: BaseGeometry, epsg: int) -> dict[str, Any]:
    import shapely

    from airflow_provider_sentinelhub.client.requests.crs import WGS84

    crs = "OGC/1.3/CRS84" if epsg == WGS84 else f"EPSG/0/{epsg}"
    properties = {"crs": f"http://www.opengis.net/def/crs/{crs}"}
    if shape.equals(shape.envelope):
        return {"bbox": list(shape.bounds), "properties": properties}
    return {"geometry": json.loads(shapely.to_geojson(shape)), "properties": properties}


def _unique(name: str, taken: Mapping[str, Any]) -> str:
    number, found = 1, name
    while found in taken:
        number += 1
        found = f"{name}-{number}"
    return found


def _check_length(batches: int) -> None:
    from airflow.sdk.configuration import conf

    most = conf.getint("core", "max_map_length", fallback=_MAP_LENGTH)
    if batches > most:
        rule = f"gives {batches:,} batches with these regions, more than Airflow maps (max_map_length = {most:,})"
        raise InvalidParameter("periods", batches, rule, "Plan fewer at a time, or make larger regions.")


def _check_bytes(plan: list[PlannedBatch]) -> None:
    size = len(json.dumps([each["request"] for each in plan]))
    if size > MAX_BYTES:
        rule = f"gives requests of {size:,} bytes, more than the {MAX_BYTES:,} of a plan: outlines or script are long"
        fix = "Simplify the outlines, use as_boxes=True, or give the evalscript as a path."
        raise InvalidParameter("aoi", None, rule, fix)


def _check_places(api: TaskApiSpec, plan: list[PlannedBatch]) -> None:
    """Refuse a plan in which two batches would write to the same place."""
    from airflow_provider_sentinelhub.artifacts.storage.layout import REQUEST_ID, is_shared
    from airflow_provider_sentinelhub.client.requests.findings import part

    urls = Counter(api.delivery_url(each["request"]) for each in plan)
    url, count = urls.most_common(1)[0]
    is_zarr = part(plan[0]["request"], "output", "type") == "zarr" or part(plan[0]["request"], "zarrOutput") is not None
    if count > 1 and (is_shared(url) or (is_zarr and REQUEST_ID not in url)):
        rule = f"is where {count} of these batches would write, and one would overwrite the other"
        fix = f"Put {{region}} and {{period}} into it, or {REQUEST_ID}."
        raise InvalidParameter("request: the delivery URL", url, rule, fix)


def _warn(template: _Template, regions: list[_Region], periods: list[str], plan: list[PlannedBatch]) -> None:
    """Say where the minimum of a task is more than its tiles cost, and what one region would cost instead."""
    together = _tiles_together(template, regions)
    for number, _ in enumerate(periods):
        batches = plan[number :: len(periods)]
        costs = [template.cost(each["request"], each["tiles"]) for each in batches]
        most, total = template.api.price(template.body).minimum, sum(pu for pu, _ in costs)
        merged = template.cost(batches[0]["request"], together)[0] if together else total
        advice = f"; as one region, all {len(regions)} would cost {pu_text(merged)} instead of {pu_text(total)}"
        for batch, (_, alone) in zip(batches, costs, strict=True):
            if alone < most:
                helps = advice if merged < total else ""
                batch["warning"] = f"a task costs at least {most:g} PU, its tiles alone {pu_text(alone)}{helps}"


def _tiles_together(template: _Template, regions: list[_Region]) -> int:
    import shapely

    codes = {region.epsg for region in regions}
    if len(regions) == 1 or len(codes) > 1:
        return 0
    return template.tiles_of(shapely.union_all([region.shape for region in regions]), codes.pop())
