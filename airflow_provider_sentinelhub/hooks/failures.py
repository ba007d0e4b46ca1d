"""Which errors Airflow should retry: those that may mend by themselves, and no others."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from airflow.sdk.exceptions import AirflowFailException

from airflow_provider_sentinelhub.client.errors import SentinelHubError


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
