"""Cost and size of a task, and whether it may be started."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from airflow_provider_sentinelhub.client.costs.amounts import pu_text
from airflow_provider_sentinelhub.client.errors import BudgetExceeded, InvalidParameter, SentinelHubError
from airflow_provider_sentinelhub.hooks.outcome import result_so_far

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow_provider_sentinelhub.artifacts.features.size import InputSize
    from airflow_provider_sentinelhub.artifacts.statistics.geometries import Place
    from airflow_provider_sentinelhub.client.costs.estimate import Estimate
    from airflow_provider_sentinelhub.client.lifecycle.spec import ApiSpec, TaskApiSpec
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

    Never, if the service cannot analyse it: then its request is judged, see :func:`check_request`.

    :param hook: Has the connection and, if they were read, the features.
    :param task: The task.
    :param max_pu: The operator's parameter.
    """
    return hook.api.can.analyse and (limit_of(hook, max_pu) is not None or _is_large(hook, task) is not False)


def check_start(hook: SentinelHubBatchHook, task: BatchTask, max_pu: float | str | None, spent_pu: float = 0.0) -> None:
    """
    Fail if a task must not be started: it would cost too much, or it might and is not analysed.

    :param hook: Has the connection and reads the bucket.
    :param task: The task.
    :param max_pu: Maximum cost in processing units; see :func:`check_budget`.
    :param spent_pu: Processing units already spent by the tasks that it reruns.
    :raises BudgetExceeded: It was not started.
    """
    if task.user_action == "START" or not hook.api.can.start:
        return
    if not hook.api.can.analyse and task.status == "CREATED":
        check_request(hook, task.request, max_pu, spent_pu, state=_state_of(task))
    elif task.status == "ANALYSIS_DONE":
        check_budget(hook, task, max_pu, spent_pu)
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
    if _is_rerun(hook.api, task.request):
        # Part of a task that passed this check.
        return False
    features = _features(hook, task.request)
    if features is None:
        return None
    pu = _estimate_of(hook, task.request, features).pu
    km2 = 0.0 if features.extent is None else features.extent.km2
    return pu * _MARGIN > LARGE_PU or km2 > LARGE_KM2


def _features(hook: SentinelHubBatchHook, request: Mapping[str, Any]) -> InputSize | None:
    """Return what is known of the features of a request: they were read, or are tiles; ``None`` if nothing is."""
    url = hook.api.features_url(request)
    return hook.measured.get(url) if url else _tiles(hook.api, request)


def _estimate_of(hook: SentinelHubBatchHook, request: Mapping[str, Any], features: InputSize) -> Estimate:
    side = math.ceil(math.sqrt(features.pixels / max(features.features, 1)))
    return hook.api.estimate(request, [(side, side, features.features)], hook.address.deployment)


def estimate_of_task(hook: SentinelHubBatchHook, task: BatchTask) -> Estimate:
    """
    Estimate the cost of a task: as the service does, from its analysis, or else from its request.

    :param hook: Reads the bucket.
    :param task: The task, analysed where it can be.
    :raises ArtifactMissing: The feature manifest does not exist yet.
    :raises InvalidParameter: The features cannot be told from the request.
    """
    if (told := hook.api.estimate_of(task)) is not None:
        return told
    if hook.api.can.analyse:
        return hook.estimate(task)
    if (found := estimate_of_request(hook, task.request)) is None:
        rule = "is of a request from which its features cannot be told, and the service analyses nothing"
        raise InvalidParameter("batch_task_id", task.id, rule, "Its cost is known when it has ended.")
    return found


def estimate_of_request(hook: SentinelHubBatchHook, request: Mapping[str, Any]) -> Estimate | None:
    """
    Estimate the cost of a task from its request and its input features, for APIs that analyse nothing.

    :param hook: Reads the input features, if they were not read yet.
    :param request: The request, also as the service returns it.
    :returns: ``None`` if the features cannot be told from the request.
    :raises StorageUnavailable: The bucket cannot be read.
    """
    url = hook.api.features_url(request)
    if url and url not in hook.measured:
        hook.check_features(request)
    features = _features(hook, request)
    return None if features is None else _estimate_of(hook, hook.with_script(request), features)


def check_request(
    hook: SentinelHubBatchHook,
    request: Mapping[str, Any],
    max_pu: float | str | None,
    spent_pu: float = 0.0,
    *,
    state: str = "Nothing was created.",
) -> None:
    """
    Fail if a task that the service cannot analyse would cost too much, as estimated from its request.

    :param hook: Has the connection, and reads the input features.
    :param request: The request.
    :param max_pu: The operator's maximum cost in PU; see :func:`check_budget`.
    :param spent_pu: Processing units already spent by the tasks that it reruns.
    :param state: What was done so far, as a sentence.
    :raises BudgetExceeded: It would cost more than its limit; or that is not known, and it could not be stopped.
    """
    limit, found = limit_of(hook, max_pu), estimate_of_request(hook, request)
    if found is None:
        said = "What a task for this request would cost is not known: its features cannot be told from it"
        if limit is None or hook.api.can.stop:
            log.warning("%s. The service cannot analyse it first", said)
            return
        raise BudgetExceeded(
            f"{said}, the service can neither analyse nor stop it, and the limit is {describe_limit(hook, max_pu)}. "
            f"{state}"
        )
    judged = _Judged("A task for this request", state, spent_pu, is_rerun=_is_rerun(hook.api, request))
    _judge(hook, found, _extent(hook, request), max_pu, judged)


def _tiles(api: TaskApiSpec, request: Mapping[str, Any]) -> InputSize | None:
    """Count the tiles of a request; ``None`` if it cannot be read."""
    from airflow_provider_sentinelhub.artifacts.features.size import InputSize
    from airflow_provider_sentinelhub.client.preflight.area import Area, grid_of
    from airflow_provider_sentinelhub.client.requests.findings import is_number, part
    from airflow_provider_sentinelhub.client.requests.tiles import count_tiles

    area = Area.of(request, *api.input, "bounds")
    grid, shape = grid_of(request, api.tiling_grid), area.shape
    resolution = part(request, *api.tiling_grid, "resolution")
    if grid is None or shape is None or not is_number(resolution) or not resolution:
        return None
    tiles = count_tiles(grid, shape, area.epsg)
    return InputSize(tiles, tiles * float(grid.tile_pixels(resolution)) ** 2, area.extent)


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
    limit, extent = limit_of(hook, max_pu), _extent(hook, task.request)
    try:
        found = estimate_of_task(hook, task)
    except SentinelHubError as e:
        if limit is not None or _is_large(hook, task) is not False:
            raise
        log.warning("The cost of task %s cannot be estimated; the task is not large. %s", task.id, e)
        return
    judged = _Judged(f"Task {task.id}", _state_of(task), spent_pu, is_rerun=_is_rerun(hook.api, task.request))
    try:
        _judge(hook, found, extent, max_pu, judged)
    except BudgetExceeded as error:
        if limit is not None:
            error.result = result_so_far(task)
        raise


def _state_of(task: BatchTask) -> str:
    spent = f"{pu_text(task.cost_pu)} were" if task.cost_pu else "nothing was"
    return f"It was not started and is left as it is, {task.status}; {spent} charged."


def _is_rerun(api: TaskApiSpec, request: Mapping[str, Any]) -> bool:
    from airflow_provider_sentinelhub.client.lifecycle.intent import Intent

    intent = Intent.found_in(api.tag_of(request))
    return intent is not None and intent.rerun > 0


@dataclass(frozen=True, slots=True)
class _Judged:
    """
    What may cost too much.

    :param subject: What it is called.
    :param state: What was done so far, as a sentence.
    :param spent_pu: Processing units already spent by the tasks that it reruns.
    :param is_rerun: Whether it is part of a task that was not large.
    """

    subject: str
    state: str
    spent_pu: float = 0.0
    is_rerun: bool = False


def _judge(
    hook: SentinelHubBatchHook, found: Estimate, extent: Extent | None, max_pu: float | str | None, judged: _Judged
) -> None:
    """
    Log an estimate.

    :raises BudgetExceeded: It is above the limit.
    """
    subject, spent_pu = f"{judged.subject} would cost", judged.spent_pu
    limit = limit_of(hook, max_pu)
    if limit is None:
        if not judged.is_rerun:
            _refuse_large(found, extent, subject, judged.state)
        _tell(found, extent)
        return
    left = limit - spent_pu
    # Written so that nothing passes if a template rendered the limit to nan.
    if not found.pu <= left:
        less = "a smaller area, a coarser resolution, fewer bands"
        less += ", a bucket in the deployment's own region" if found.surcharge.pu else ""
        advice = f"Raise max_pu and clear the Airflow task, or request less: {less}."
        if left < (least := hook.api.price({}).minimum):
            advice = f"Raise max_pu: no task costs less than {least:g} PU."
        said = describe_limit(hook, max_pu) + (f" less the {pu_text(spent_pu)} spent before" if spent_pu else "")
        where = "" if extent is None else f" Area: {extent.text()}."
        raise BudgetExceeded(
            f"{subject} about {pu_text(found.pu)} for {found.features} features, more than {said}. "
            f"{judged.state}{where}\n{found.text()}\n{advice}"
        )
    _tell(found, extent)
    if found.high_pu is None or found.high_pu > left:
        then = "it is stopped once it has spent them" if hook.api.can.stop else "the service cannot stop it then"
        if not hook.api.can.tells_cost:
            then = "the service does not tell what a running task has spent, so it is not stopped"
        log.warning("It may cost more than the %s left of max_pu; %s", pu_text(left), then)


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
    them = "1 geometry" if len(places) == 1 else f"{len(places)} geometries"
    less = "longer intervals, a coarser resolution, fewer bands"
    check_budget_of_answers(hook, found, extent, max_pu, what=f"Statistics of {them}", less=less)


def check_budget_of_answers(
    hook: SentinelHubHook,
    found: Estimate,
    extent: Extent | None,
    max_pu: float | str | None,
    *,
    what: str,
    less: str,
) -> None:
    """
    Fail if requests that are answered at once would cost too much; log their estimated cost and their area.

    :param hook: Has the connection.
    :param found: What they would cost.
    :param extent: Their area.
    :param max_pu: The operator's maximum cost in PU; see :func:`check_budget_of_places`.
    :param what: What is requested, for messages.
    :param less: How to request less, for messages.
    :raises BudgetExceeded: Nothing was requested.
    """
    limit = limit_of(hook, max_pu)
    where = "" if extent is None else f" Area: {extent.text()}."
    if limit is None:
        _refuse_large(found, extent, f"{what} would cost", "Nothing was requested.")
    # Written so that nothing passes if a template rendered the limit to nan.
    elif not found.pu <= limit:
        raise BudgetExceeded(
            f"{what} would cost about {pu_text(found.pu)}, more than {describe_limit(hook, max_pu)}. "
            f"Nothing was requested.{where}\n{found.text()}\nRaise max_pu, or request less: {less}."
        )
    _tell(found, extent)
    if limit is not None and (found.high_pu is None or found.high_pu > limit):
        log.warning("It may cost more than max_pu = %g, which is compared only with the estimate", limit)


def _tell(found: Estimate, extent: Extent | None) -> None:
    if extent is not None:
        log.info("Area: %s", extent.text())
    log.info("%s", found.text())


def _extent(hook: SentinelHubBatchHook, request: Mapping[str, Any]) -> Extent | None:
    from airflow_provider_sentinelhub.client.preflight.area import Area

    measured = hook.measured.get(hook.api.features_url(request) or "")
    return measured.extent if measured else Area.of(request, *hook.api.input, "bounds").extent


def _refuse_large(found: Estimate, extent: Extent | None, subject: str, state: str) -> None:
    if found.pu <= LARGE_PU and (extent is None or extent.km2 <= LARGE_KM2):
        return
    where = "" if extent is None else f" of {extent.text()}"
    raise BudgetExceeded(
        f"{subject} about {pu_text(found.pu)} for {found.features:,} features{where}; {_LARGE}. {state}\n"
        f"{found.text()}\n"
        f"If this is what you want, write max_pu={_rounded_up(found.pu):.0f}, or set max_pu in the connection for all "
        "tasks, and clear the Airflow task; otherwise correct the area, the resolution or the period."
    )


def _rounded_up(pu: float) -> float:
    step = 10.0 ** max(0, math.floor(math.log10(max(pu, 1.0))) - 1)
    return math.ceil(pu / step) * step
