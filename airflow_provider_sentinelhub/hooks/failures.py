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


@contextmanager
def published(context: Context) -> Iterator[None]:
    """
    Where an Airflow task fails, push what is known of the remote one as its return value.

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
    Whether the remote task may run on behind an error of an operator that works on it.

    :param error: The error.
    """
    # The task has ended, is not worth its price, or is gone; or it was not started.
    if isinstance(error, (TaskError, NotFound)):
        return False
    return not (isinstance(error, ApiError) and error.refuses_action)
