"""Cost and size of a task, and whether it may be started."""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING, Any, Final

from airflow_provider_sentinelhub.client.errors import BudgetExceeded, SentinelHubError
from airflow_provider_sentinelhub.hooks.outcome import result_so_far

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow_provider_sentinelhub.artifacts.features.size import InputSize
    from airflow_provider_sentinelhub.artifacts.statistics.geometries import Place
    from airflow_provider_sentinelhub.client.costs.estimate import Estimate
    from airflow_provider_sentinelhub.client.lifecycle.spec import ApiSpec
    from airflow_provider_sentinelhub.client.lifecycle.tasks import BatchTask
    from airflow_provider_sentinelhub.client.requests.extent import Extent
    from airflow_provider_sentinelhub.hooks.batch import SentinelHubBatchHook
    from airflow_provider_sentinelhub.hooks.sentinel_hub import SentinelHubHook

log = logging.getLogger(__name__)

LARGE_PU: Final = 10_000.0
"""Without ``max_pu``, nothing above this is started: the monthly processing units of a free CDSE account."""
LARGE_KM2: Final = 1_000_000.0
"""The same in square kilometres: more than any country of the European Union."""
# Estimates before the analysis are rough.
_MARGIN: Final = 2.0
_KM_OF_A_DEGREE: Final = 111.0
_LARGE = f"without max_pu nothing of more than {LARGE_PU:,.0f} PU or {LARGE_KM2:,.0f} km2 is started"


def limit_of(hook: SentinelHubHook, max_pu: float | str | None) -> float | None:
    """
    Return the limit in processing units: the operator's ``max_pu``, or else the connection's.

    :param hook: Has the connection.
    :param max_pu: The operator's parameter.
    :returns: ``None`` if neither sets one.
    """
    return hook.max_pu if max_pu is None else float(max_pu)


def describe_limit(hook: SentinelHubHook, max_pu: float | str | None) -> str:
    """
    Describe the limit, and where it is set.

    :param hook: Has the connection.
    :param max_pu: The operator's parameter.
    """
    limit = limit_of(hook, max_pu)
    return f"max_pu = {limit:g}" + (f" of connection {hook.sentinelhub_conn_id!r}" if max_pu is None else "")


def needs_analysis(hook: SentinelHubBatchHook, task: BatchTask, max_pu: float | str | None) -> bool:
    """
    Return whether a task must be analysed before it may be started, because it may cost too much.

    :param hook: Has the connection and, if they were read, the features.
    :param task: The task.
    :param max_pu: The operator's parameter.
    """
    return limit_of(hook, max_pu) is not None or _is_large(hook, task) is not False


def check_start(hook: SentinelHubBatchHook, task: BatchTask, max_pu: float | str | None) -> None:
    """
    Fail if a task must not be started: it would cost too much, or it might and is not analysed.

    :param hook: Has the connection and reads the bucket.
    :param task: The task.
    :param max_pu: Maximum cost in processing units; see :func:`check_budget`.
    :raises BudgetExceeded: It was not started.
    """
    if task.user_action == "START":
        return
    if task.status == "ANALYSIS_DONE":
        check_budget(hook, task, max_pu)
    elif task.status in {"CREATED", "ANALYSING"}:
        limit, is_large = limit_of(hook, max_pu), _is_large(hook, task)
        if limit is not None or is_large:
            said = _LARGE if limit is None else describe_limit(hook, max_pu)
            raise BudgetExceeded(
                f"Task {task.id} is {task.status}, so what it would cost is not known yet; {said}. It was not started; "
                "nothing was charged. Have it analysed first."
            )


def _is_large(hook: SentinelHubBatchHook, task: BatchTask) -> bool | None:
    """Return whether a task may be large by mistake; ``None`` if its features were not read."""
    intent = hook.api.intent_of(task)
    if intent is not None and intent.rerun:
        # Part of a task that passed this check.
        return False
    url = hook.api.features_url(task.request)
    features = hook.measured.get(url) if url else _tiles(hook.api, task.request)
    if features is None:
        return None
    side = math.ceil(math.sqrt(features.pixels / max(features.features, 1)))
    pu = hook.api.estimate(task.request, [(side, side, features.features)], hook.address.deployment).pu
    km2 = 0.0 if features.extent is None else features.extent.km2
    return pu * _MARGIN > LARGE_PU or km2 > LARGE_KM2


def _tiles(api: ApiSpec, request: Mapping[str, Any]) -> InputSize | None:
    """Estimate the tiles of a request; ``None`` if it cannot be read."""
    from airflow_provider_sentinelhub.artifacts.features.size import InputSize
    from airflow_provider_sentinelhub.client.preflight.area import Area, grid_of
    from airflow_provider_sentinelhub.client.requests.findings import is_number, part

    grid, extent = grid_of(request), Area.of(request, *api.input, "bounds").extent
    resolution = part(request, "input", "resolution")
    if grid is None or extent is None or not is_number(resolution) or not resolution:
        return None
    side_km = grid.tile_size * _KM_OF_A_DEGREE if grid.tile_size <= 1 else grid.tile_size / 1000
    tiles = math.ceil((math.sqrt(extent.km2) / side_km + 1) ** 2)
    return InputSize(tiles, tiles * float(grid.tile_pixels(resolution)) ** 2, extent)


def check_budget(
    hook: SentinelHubBatchHook, task: BatchTask, max_pu: float | str | None, spent_pu: float = 0.0
) -> None:
    """
    Fail if an analysed task would cost too much; log its estimated cost and its area.

    :param hook: Has the connection and reads the bucket.
    :param task: The task.
    :param max_pu: The operator's maximum cost in PU; ``None`` for the connection's or, if it has none, for
        anything that is not unusually large.
    :param spent_pu: Processing units already spent by the tasks that it reruns.
    :raises BudgetExceeded: It was not started.
    """
    from airflow_provider_sentinelhub.client.costs.estimate import MINIMUM_PU

    limit, extent = limit_of(hook, max_pu), _extent(hook, task)
    try:
        found = hook.estimate(task)
    except SentinelHubError as e:
        if limit is not None or _is_large(hook, task) is not False:
            raise
        log.warning("The cost of task %s cannot be estimated; the task is not large. %s", task.id, e)
        return
    where = "" if extent is None else f" Area: {extent.text()}."
    spent = f"{task.cost_pu:.1f} PU were" if task.cost_pu else "nothing was"
    state = f"It was not started and is left as it is, {task.status}; {spent} charged."
    if limit is None:
        intent = hook.api.intent_of(task)
        if not (intent and intent.rerun):
            _refuse_large(found, extent, f"Task {task.id} would cost", state)
        _tell(found, extent)
        return
    left = limit - spent_pu
    if found.pu > left:
        less = "a smaller area, a coarser resolution, fewer bands"
        less += ", a bucket in the deployment's own region" if found.surcharge.pu else ""
        advice = f"Raise max_pu and clear the Airflow task, or request less: {less}."
        if left < MINIMUM_PU:
            advice = f"Raise max_pu: no task costs less than {MINIMUM_PU:g} PU."
        said = describe_limit(hook, max_pu) + (f" less the {spent_pu:.1f} PU spent before" if spent_pu else "")
        error = BudgetExceeded(
            f"Task {task.id} would cost about {found.pu:.1f} PU for {found.features} features, more than {said}. "
            f"{state}{where}\n{found.text()}\n{advice}"
        )
        error.result = result_so_far(task)
        raise error
    _tell(found, extent)
    if found.high_pu is None or found.high_pu > left:
        log.warning("It may cost more than the %.1f PU left of max_pu; it is stopped once it has spent them", left)


def check_budget_of_places(
    hook: SentinelHubHook, api: ApiSpec, body: Mapping[str, Any], places: Sequence[Place], max_pu: float | str | None
) -> None:
    """
    Fail if statistics of geometries would cost too much; log their estimated cost and their area.

    :param hook: Has the connection.
    :param api: The API.
    :param body: A request.
    :param places: The geometries.
    :param max_pu: The operator's maximum cost in PU; ``None`` for the connection's or, if it has none, for
        anything that is not unusually large.
    :raises BudgetExceeded: Nothing was requested.
    """
    from airflow_provider_sentinelhub.artifacts.statistics.geometries import BOUNDS, pixel_counts
    from airflow_provider_sentinelhub.client.preflight.area import Area
    from airflow_provider_sentinelhub.client.requests.extent import Extent

    areas = (Area.of(place.request(body), *BOUNDS).extent for place in places)
    extent = Extent.of_all(area for area in areas if area is not None)
    found = api.estimate(body, pixel_counts(body, places))
    limit = limit_of(hook, max_pu)
    where = "" if extent is None else f" Area: {extent.text()}."
    them = "1 geometry" if len(places) == 1 else f"{len(places)} geometries"
    if limit is None:
        _refuse_large(found, extent, f"Statistics of {them} would cost", "Nothing was requested.")
    elif found.pu > limit:
        raise BudgetExceeded(
            f"Statistics of {them} would cost about {found.pu:.1f} PU, more than {describe_limit(hook, max_pu)}. "
            f"Nothing was requested.{where}\n{found.text()}\n"
            "Raise max_pu, or request less: longer intervals, a coarser resolution, fewer bands."
        )
    _tell(found, extent)
    if limit is not None and (found.high_pu is None or found.high_pu > limit):
        log.warning("It may cost more than max_pu = %g, which is compared only with the estimate", limit)


def _tell(found: Estimate, extent: Extent | None) -> None:
    if extent is not None:
        log.info("Area: %s", extent.text())
    log.info("%s", found.text())


def _extent(hook: SentinelHubBatchHook, task: BatchTask) -> Extent | None:
    from airflow_provider_sentinelhub.client.preflight.area import Area

    measured = hook.measured.get(hook.api.features_url(task.request) or "")
    return measured.extent if measured else Area.of(task.request, *hook.api.input, "bounds").extent


def _refuse_large(found: Estimate, extent: Extent | None, subject: str, state: str) -> None:
    if found.pu <= LARGE_PU and (extent is None or extent.km2 <= LARGE_KM2):
        return
    where = "" if extent is None else f" of {extent.text()}"
    raise BudgetExceeded(
        f"{subject} about {found.pu:,.0f} PU for {found.features:,} features{where}; {_LARGE}. {state}\n"
        f"{found.text()}\n"
        f"If this is what you want, write max_pu={_rounded_up(found.pu):.0f}, or set max_pu in the connection for all "
        "tasks, and clear the Airflow task; otherwise correct the area, the resolution or the period."
    )


def _rounded_up(pu: float) -> float:
    step = 10.0 ** max(0, math.floor(math.log10(max(pu, 1.0))) - 1)
    return math.ceil(pu / step) * step
