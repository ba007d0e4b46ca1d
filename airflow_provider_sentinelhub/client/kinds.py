"""Kinds of requests: what each is checked against, and which kind a request is of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from airflow_provider_sentinelhub.client.api import statistical
from airflow_provider_sentinelhub.client.batch import BATCH_STATISTICAL, BATCH_V2
from airflow_provider_sentinelhub.client.preflight.findings import Json, mapping


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


KINDS: Final[Mapping[str, RequestKind]] = {kind.key: kind for kind in (BATCH_V2, BATCH_STATISTICAL, STATISTICAL)}
"""All kinds by their key."""


def kind_of(request: Any) -> RequestKind:
    """
    Tell which API a request is for: statistics have an aggregation, and those of one geometry no output.

    One whose ``aggregation`` is misspelt is known by what else stands in it.

    :param request: JSON of any shape; what looks like none of them is taken for a Batch V2 request.
    """
    fields, given = mapping(request), mapping(request, "input")
    if "aggregation" not in fields and not _looks_like_statistics(fields, given):
        return BATCH_V2
    return BATCH_STATISTICAL if "features" in given or "output" in fields else STATISTICAL


def other_kind(kind: RequestKind, request: Any) -> RequestKind | None:
    """
    Tell which other API a request is for, where that is beyond doubt; ``None`` where it is not.

    :param kind: The API it was given to.
    :param request: JSON of any shape.
    """
    fields, given = mapping(request), mapping(request, "input")
    likely = kind_of(request)
    if likely.key == kind.key or ("processRequest" in fields) == ("aggregation" in fields):
        return None
    if BATCH_V2.key in {likely.key, kind.key}:
        return likely
    # A mistake in a single field does not make another request of it.
    signs = {"features" in given, "bounds" not in given, "output" in fields}
    return likely if len(signs) == 1 else None


def _looks_like_statistics(fields: Json, given: Json) -> bool:
    # Batch V2 has its data within processRequest; a request with an evalscript at the top is for none of these APIs.
    return not {"processRequest", "evalscript"} & fields.keys() and ("data" in given or "calculations" in fields)
