"""Which errors Airflow should retry, and which leave it open whether a remote task runs on."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from airflow.sdk.exceptions import AirflowFailException

from airflow_provider_sentinelhub.client.errors import (
    ApiError,
    AuthenticationError,
    InvalidConfiguration,
    NotFound,
    PermissionDenied,
    SentinelHubError,
    TaskError,
    UnexpectedAnswer,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

UNSEEN = (AuthenticationError, PermissionDenied, UnexpectedAnswer, InvalidConfiguration)
"""Errors that keep us from looking at a remote task, and that somebody may be mending."""


@contextmanager
def airflow_failures() -> Iterator[None]:
    """
    Let errors that may mend pass, which Airflow retries; raise the others so that it does not.

    The original error is the ``__cause__``.

    :raises AirflowFailException: In place of a :class:`SentinelHubError` that no retry can mend.
    """
    try:
        yield
    except SentinelHubError as e:
        if e.retryable:
            raise
        raise AirflowFailException(str(e)) from e


def may_run_on(error: Exception) -> bool:
    """
    Whether the remote task may run on behind an error of an operator that works on it.

    :param error: The error.
    """
    # The task has ended, is not worth its price, or is gone; or it was not started.
    if isinstance(error, (TaskError, NotFound)):
        return False
    return not (isinstance(error, ApiError) and error.refuses_action)
