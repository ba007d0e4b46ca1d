"""How long a remote task may take: the operator's own timeout and Airflow's, whichever is shorter."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import timedelta

# Airflow's alarm rings in the worker, and leaves no time to stop anything.
_ALARM_MARGIN_S = 30.0
_ALARM_MARGIN_SHARE = 0.1

Limits = Mapping[str, timedelta | float | None]


def deadline(limits: Limits, *, in_worker: bool) -> float | None:
    """
    Return the moment at which a wait that starts now is over, in seconds since the epoch; ``None`` for never.

    Airflow does not apply ``execution_timeout`` to a deferred task (apache/airflow#69678), so it counts here.

    :param limits: ``timeout`` and ``execution_timeout``, in seconds where they are numbers.
    :param in_worker: Whether the wait holds a worker.
    """
    given = {
        name: limit.total_seconds() if isinstance(limit, timedelta) else float(limit)
        for name, limit in limits.items()
        if limit is not None
    }
    if in_worker and "execution_timeout" in given:
        alarm = given["execution_timeout"]
        given["execution_timeout"] = alarm - min(_ALARM_MARGIN_S, _ALARM_MARGIN_SHARE * alarm)
    return time.time() + min(given.values()) if given else None


def said(limits: Limits) -> str:
    """
    Say what the limits are, as a user wrote them.

    :param limits: As in :func:`deadline`.
    """
    return " and ".join(f"{name} = {limit}" for name, limit in limits.items() if limit is not None)
