"""What a finished batch tells those who wait for its data: an asset event for the delivered folder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_sentinelhub.hooks.outcome import counts_in

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from airflow.sdk import Context

    from airflow_provider_sentinelhub.client.lifecycle.answers import BatchTask
    from airflow_provider_sentinelhub.hooks.batch import SentinelHubBatchHook


def announce(
    context: Context, hook: SentinelHubBatchHook, outlets: list[Any], task: BatchTask, result: Mapping[str, Any]
) -> None:
    """
    Describe what was delivered in the events of a task's outlets.

    An ``AssetAlias`` among the outlets is given the asset of the delivered folder, and only where something was
    delivered: without that, nobody who waits for it is woken. An ``Asset`` has its event described; Airflow itself
    sends that whenever the task succeeds, also where ``delivered`` is 0.

    The event's ``extra`` holds ``task_id``, ``task_ids``, ``outcome``, ``cost_pu``, the number of features by outcome,
    ``delivered_url``, ``report_url``, and, where the request has them, ``bbox`` with its ``crs``, and ``time_range``.

    :param context: The task's context.
    :param hook: Knows what is delivered where.
    :param outlets: The outlets of the Airflow task.
    :param task: The last remote task.
    :param result: What :func:`~airflow_provider_sentinelhub.hooks.outcome.conclude` returned.
    """
    if not outlets:
        return
    from airflow.sdk import Asset, AssetAlias

    url = hook.results.delivered_url(hook.get(result["task_id"]))
    extra = {
        **{key: result[key] for key in ("task_id", "task_ids", "outcome", "cost_pu") if key in result},
        **counts_in(result),
        "delivered_url": url,
        "report_url": result.get("report_url"),
        **_what(task.request),
    }
    for outlet in outlets:
        if isinstance(outlet, Asset):
            context["outlet_events"][outlet].extra.update(extra)
        elif isinstance(outlet, AssetAlias) and result.get("delivered"):
            context["outlet_events"][outlet].add(Asset(url), extra)


def _what(request: Mapping[str, Any]) -> dict[str, Any]:
    """Return area and time of a request."""
    found: dict[str, Any] = {}
    source = request.get("processRequest", request).get("input", {})
    bounds = source.get("bounds") or {}
    points = list(_points((bounds.get("geometry") or {}).get("coordinates")))
    if bbox := bounds.get("bbox"):
        found["bbox"] = list(bbox)
    elif points:
        xs, ys = zip(*points, strict=True)
        found["bbox"] = [min(xs), min(ys), max(xs), max(ys)]
    if found:
        found["crs"] = (bounds.get("properties") or {}).get("crs", "http://www.opengis.net/def/crs/OGC/1.3/CRS84")
    ranges = [(each.get("dataFilter") or {}).get("timeRange") for each in source.get("data") or []]
    ranges.append((request.get("aggregation") or {}).get("timeRange"))
    given = [each for each in ranges if each]
    # Where one has no end, neither have all together.
    span = {
        side: choose(each[side] for each in given)
        for side, choose in (("from", min), ("to", max))
        if given and all(each.get(side) for each in given)
    }
    if span:
        found["time_range"] = span
    return found


def _points(coordinates: Any) -> Iterator[tuple[float, float]]:
    if not isinstance(coordinates, list) or not coordinates:
        return
    if isinstance(coordinates[0], (int, float)):
        yield coordinates[0], coordinates[1]
        return
    for each in coordinates:
        yield from _points(each)
