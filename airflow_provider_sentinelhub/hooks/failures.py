"""How an Airflow task fails: whether Airflow retries it, what it returns, and whether the remote task may still run."""

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

    from airflow.sdk import Context

UNSEEN = (AuthenticationError, PermissionDenied, UnexpectedAnswer, InvalidConfiguration)
"""Errors that prevent polling a remote task, and that a user may be fixing."""


@contextmanager
def airflow_failures() -> Iterator[None]:
    """
    Re-raise errors that a retry can fix, and turn others into a failure that Airflow does not retry.

    The original error is its ``__cause__``.

    :raises AirflowFailException: Instead of a :class:`SentinelHubError` that no retry can fix.
    """
    try:
        yield
    except SentinelHubError as e:
        if e.retryable:
            raise
        raise AirflowFailException(str(e)) from e


@contextmanager
def published(context: Context) -> Iterator[None]:
    """
    Push what is known of the remote task as the return value of a failing Airflow task.

    :param context: The task's context.
    """
    try:
        yield
    except TaskError as error:
        if error.result is not None:
            context["ti"].xcom_push(key="return_value", value=dict(error.result))
        raise


def may_run_on(error: Exception) -> bool:
    """
    Return whether the remote task may still run after an operator failed with an error.

    :param error: The error.
    """
    # The task has ended, is over budget or does not exist; or, below, it was not started.
    if isinstance(error, (TaskError, NotFound)):
        return False
    return not (isinstance(error, ApiError) and error.refuses_action)
