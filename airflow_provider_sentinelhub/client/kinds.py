"""Kinds of requests: what each is checked against, and which kind a request is of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from airflow_provider_sentinelhub.client.api import statistical
from airflow_provider_sentinelhub.client.batch import BATCH_STATISTICAL, BATCH_V2


class RequestKind(Protocol):
    """What can be said of a request by the API it is for; every asynchronous API is one."""

    @property
    def key(self) -> str:
        """What its rules are found by."""

    @property
    def check(self) -> Callable[[Any], dict[str, Any]]:
        """Checks what a user wrote and returns the JSON to send, without credentials."""

    @property
    def storages(self) -> tuple[tuple[str, ...], ...]:
        """Paths in that JSON of the places that need credentials."""


@dataclass(frozen=True, slots=True)
class DirectApi:
    """
    An API that answers at once, without a task.

    :param key: What its rules are found by.
    :param check: Checks what a user wrote and returns the JSON to send.
    :param storages: Paths in that JSON of the places that need credentials.
    """

    key: str
    check: Callable[[Any], dict[str, Any]]
    storages: tuple[tuple[str, ...], ...] = ()


STATISTICAL = DirectApi("statistical", statistical.check)


def kind_of(request: Any) -> RequestKind:
    """
    Tell which API a request is for: statistics have an aggregation, and those of one geometry no output.

    :param request: JSON of any shape; what looks like none of them is taken for a Batch V2 request.
    """
    fields = request if isinstance(request, dict) else {}
    if "aggregation" not in fields:
        return BATCH_V2
    given = fields.get("input")
    has_features = isinstance(given, dict) and "features" in given
    return BATCH_STATISTICAL if has_features or "output" in fields else STATISTICAL
