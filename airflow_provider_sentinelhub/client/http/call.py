"""
One request as data: what is sent, how the answer is parsed, and whether it may be sent again.

Work that takes several requests is a :data:`Procedure`: a generator that yields Calls and pauses and does no I/O.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Generic, Literal, Protocol, TypeVar

if TYPE_CHECKING:
    from airflow_provider_sentinelhub.client.http.deployments import Service

T = TypeVar("T")

MIB = 1024 * 1024


class Repeat(StrEnum):
    """Whether a call may be sent again after its answer was lost."""

    ALWAYS = "always"
    """The call only reads, or the service refuses the second request without harm."""

    NEVER = "never"
    """The second request would do the work twice."""


class Sink(Protocol):
    """
    Where the body of an answer is written: a file that is open for writing, or ``io.BytesIO``.

    It is emptied before anything is written to it, so an answer that broke off leaves nothing.
    """

    def seek(self, offset: int, /) -> Any:
        """Go to a position."""

    def truncate(self) -> Any:
        """Drop what lies behind the position."""

    def write(self, data: bytes, /) -> Any:
        """Write bytes."""


@dataclass(frozen=True, slots=True)
class Received:
    """
    An answer whose body was written to a :class:`Sink`.

    :param headers: Its headers, names in lower case.
    :param size: Size of the body in bytes, decompressed.
    """

    headers: Mapping[str, str]
    size: int


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """
    One request to the service.

    :param method: HTTP method.
    :param service: The API; together with the path layout it determines the URL.
    :param path: Path below the API's prefix.
    :param parse: Turns the decoded JSON answer (``None`` if it is empty) into the result; with a ``sink``, turns
        :class:`Received` into it.
    :param what: What the call does, for messages, e.g. ``start task 6aa8765a``.
    :param query: Query parameters.
    :param body: JSON body.
    :param repeat: Whether it may be sent again after its answer was lost.
    :param fresh: The resource was created moments ago: a 404 may only mean that a replica lags behind.
    :param conflict: What to do if the service answers 409, for the message.
    :param secrets: Values in the body that must not appear in messages.
    :param patience_s: Read timeout: seconds without a byte after which the answer counts as lost.
    :param total_s: Total timeout: seconds after which an incomplete answer counts as lost.
    :param max_bytes: Maximum size of the answer in bytes, decompressed; a longer one is an error.
    :param accept: Media type of the answer, for the header ``Accept``. Default: not sent.
    :param form: The type that msgspec reads the JSON answer as, e.g. with ``msgspec.Raw`` for parts that stay text.
        An answer that does not fit is decoded as usual. Default: dicts and lists.
    :param sink: Where the body of a successful answer is written as it arrives, of whatever type it is. Default: it is
        kept in memory and read as JSON. Errors are read as usual.
    """

    method: Literal["GET", "POST", "PUT", "DELETE"]
    service: Service
    path: str
    parse: Callable[[Any], T]
    what: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, Any] | None = field(default=None, repr=False)
    repeat: Repeat = Repeat.ALWAYS
    fresh: bool = False
    conflict: str = "Wait until the task is not being processed"
    secrets: tuple[str, ...] = field(default=(), repr=False)
    patience_s: float = 60.0
    total_s: float = 600.0
    max_bytes: int = 8 * MIB
    accept: str | None = None
    form: Any = field(default=Any, repr=False, compare=False)
    sink: Sink | None = field(default=None, repr=False, compare=False)

    def when_fresh(self) -> Call[T]:
        """Return the same call for a resource that was created moments ago."""
        return replace(self, fresh=True)


def nothing(_: Any) -> None:
    """Parse the empty answer of an action."""


@dataclass(frozen=True, slots=True)
class Pause:
    """
    A procedure waits.

    :param seconds: How long.
    """

    seconds: float


Procedure = Generator[Call[Any] | Pause, Any, T]
