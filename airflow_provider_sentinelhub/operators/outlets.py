"""Asset events for what a remote task delivered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_sentinelhub.hooks.outcome import counts_in

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from airflow.sdk import Context

    from airflow_provider_sentinelhub.client.lifecycle.tasks import BatchTask
    from airflow_provider_sentinelhub.hooks.batch import SentinelHubBatchHook


def announce(
    context: Context, hook: SentinelHubBatchHook, outlets: list[Any], task: BatchTask, result: Mapping[str, Any]
) -> None:
    """
    Add what was delivered to the asset events of an Airflow task's outlets.

    An ``AssetAlias`` is resolved to the asset of the delivered folder, but only if something was delivered: otherwise
    no event is sent, and no DAG is triggered. For an ``Asset``, Airflow sends an event whenever the Airflow task
    succeeds, even if ``delivered`` is 0; only its ``extra`` is set.

    ``extra`` holds ``task_id``, ``task_ids``, ``outcome``, ``cost_pu``, the number of features by outcome,
    ``delivered_url`` and ``report_url``, and, if the request has them, ``bbox`` with its ``crs``, and ``time_range``.

    :param context: The task's context.
    :param hook: The hook of the remote task.
    :param outlets: The outlets of the Airflow task.
    :param task: The last remote task.
    :param result: The result of :func:`~airflow_provider_sentinelhub.hooks.outcome.conclude`.
    """
    if not outlets:
        return
    url = hook.results.delivered_url(hook.get(result["task_id"]))
    extra = {
        **{key: result[key] for key in ("task_id", "task_ids", "outcome", "cost_pu") if key in result},
        **counts_in(result),
        "delivered_url": url,
        "report_url": result.get("report_url"),
        **area_and_period(task.request),
    }
    add_events(context, outlets, url, extra, is_delivered=bool(result.get("delivered")))


def add_events(
    context: Context, outlets: list[Any], url: str, extra: Mapping[str, Any], *, is_delivered: bool = True
) -> None:
    """
    Add to the asset events of an Airflow task's outlets; see :func:`announce`.

    :param context: The task's context.
    :param outlets: The outlets of the Airflow task.
    :param url: URL of what was delivered.
    :param extra: ``extra`` of the events.
    :param is_delivered: Whether anything was delivered.
    """
    from airflow.sdk import Asset, AssetAlias

    for outlet in outlets:
        if isinstance(outlet, Asset):
            context["outlet_events"][outlet].extra.update(extra)
        elif isinstance(outlet, AssetAlias) and is_delivered:
            context["outlet_events"][outlet].add(Asset(url), dict(extra))


def area_and_period(request: Mapping[str, Any]) -> dict[str, Any]:
    """
    Return the area and the time range of a request.

    :param request: The request.
    """
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
    # If one of them is open, so is the whole span.
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
