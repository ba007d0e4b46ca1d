"""What an analysed task will cost, and whether it may."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from airflow_provider_sentinelhub.client.errors import BudgetExceeded
from airflow_provider_sentinelhub.hooks.scripts import with_script

if TYPE_CHECKING:
    from airflow_provider_sentinelhub.client.estimate import Estimate
    from airflow_provider_sentinelhub.client.models.answers import BatchTask
    from airflow_provider_sentinelhub.hooks.batch import SentinelHubBatchHook

log = logging.getLogger(__name__)


def estimate(hook: SentinelHubBatchHook, task: BatchTask) -> Estimate:
    """
    Estimate what an analysed task will cost; see the hook's method of the same name.

    :param hook: Reads the bucket.
    :param task: The task.
    """
    from airflow_provider_sentinelhub.client.estimate import estimate_cost

    return estimate_cost(with_script(hook, task.request), hook.results.pixel_counts(task))


def check_budget(hook: SentinelHubBatchHook, task: BatchTask, max_pu: float, spent_pu: float = 0.0) -> None:
    """
    Fail if starting an analysed task would cost too much.

    :param hook: Reads the bucket.
    :param task: The task.
    :param max_pu: Processing units it may cost at most.
    :param spent_pu: How many of them were spent already, by the tasks it is a restart of.
    :raises BudgetExceeded: It would; it was not started.
    """
    from airflow_provider_sentinelhub.client.estimate import MINIMUM_PU

    found = estimate(hook, task)
    left = max_pu - spent_pu
    if found.pu > left:
        advice = "Raise max_pu, or ask for less: a smaller area, a coarser resolution, fewer bands."
        if left < MINIMUM_PU:
            advice = f"Raise max_pu: no task costs less than {MINIMUM_PU:g} PU."
        limit = f"max_pu = {max_pu:g}" + (f" less the {spent_pu:.1f} PU spent before" if spent_pu else "")
        raise BudgetExceeded(
            f"Task {task.id} would cost about {found.pu:.1f} PU for {found.features} features, more than {limit}. It "
            f"was not started and is left as it is, {task.status}.\n{found.text()}\n"
            f"{advice}"
        )
    log.info("%s", found.text())
    if found.high_pu is None or found.high_pu > left:
        log.warning("It may cost more than the %.1f PU left of max_pu; it is stopped when it has spent that", left)
