"""Errors and warnings about a request, and access to JSON of any shape."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from airflow_provider_sentinelhub.client.errors import InvalidParameter

if TYPE_CHECKING:
    from airflow_provider_sentinelhub.client.http.call import Call
    from airflow_provider_sentinelhub.client.http.deployments import Deployment

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Advice:
    """
    A warning about a request; it does not prevent sending it.

    :param field: Path of the field as the service spells it.
    :param fact: What was found.
    :param fix: What can be done about it.
    """

    field: str
    fact: str
    fix: str

    def __str__(self) -> str:
        return f"{self.field}: {self.fact}. {self.fix}"


Finding = InvalidParameter | Advice
Rule = Callable[[Json, "Deployment | None"], Iterator[Finding]]


@dataclass(frozen=True, slots=True)
class Lookup:
    """
    Something at the service that a request refers to and that can be read at no cost.

    :param field: Path of the reference in the request.
    :param value: The reference.
    :param call: Reads it.
    :param compare: Finds where the request does not fit it.
    """

    field: str
    value: str
    call: Call[Any]
    compare: Callable[[Any], Iterator[Finding]]


@dataclass(frozen=True, slots=True)
class Findings:
    """
    All errors and warnings about one request.

    :param errors: Reasons why the service would refuse the request or fail the task.
    :param warnings: Warnings.
    """

    errors: tuple[InvalidParameter, ...] = ()
    warnings: tuple[Advice, ...] = ()

    @classmethod
    def of(cls, found: Iterator[Finding]) -> Findings:
        """
        Separate errors and warnings.

        :param found: Errors and warnings; the order of each is kept.
        """
        listed = list(found)
        return cls(
            tuple(each for each in listed if isinstance(each, InvalidParameter)),
            tuple(each for each in listed if isinstance(each, Advice)),
        )

    def raise_errors(self) -> None:
        """
        Raise all errors as one, if there are any.

        :raises InvalidParameter: The first error, with the others attached and all of them in its message.
        """
        if self.errors:
            raise self.errors[0].with_others(self.errors[1:])


def each_of(error: InvalidParameter) -> tuple[InvalidParameter, ...]:
    """
    Return an error and the errors attached to it.

    :param error: The error.
    """
    alone = InvalidParameter(error.field, error.value, error.rule, error.fix)
    return (alone, *error.others)


def part(value: Any, *path: str | int) -> Any:
    """
    Return the value at a path; ``None`` if there is none.

    :param value: JSON of any shape.
    :param path: Names of fields and positions in lists.
    """
    for step in path:
        if isinstance(step, str):
            value = value.get(step) if isinstance(value, Mapping) else None
        else:
            value = value[step] if isinstance(value, (list, tuple)) and step < len(value) else None
    return value


def mapping(value: Any, *path: str | int) -> Json:
    """
    Return the object at a path; an empty one if there is none.

    :param value: JSON.
    :param path: Names of fields and positions in lists.
    """
    found = part(value, *path)
    return found if isinstance(found, Mapping) else {}


def objects(value: Any, *path: str | int) -> list[Json]:
    """
    Return the objects of the list at a path, with an empty object for every item that is not an object.

    :param value: JSON.
    :param path: Names of fields and positions in lists.
    """
    found = part(value, *path)
    return [each if isinstance(each, Mapping) else {} for each in found] if isinstance(found, (list, tuple)) else []


def misspelt(field: str, given: Json, known: Sequence[str], kind: str = "field") -> Iterator[InvalidParameter]:
    """
    Find misspelt fields in a part that may have fields of other names: one that resembles no known name may be right.

    :param field: Path of the part.
    :param given: The part.
    :param known: Names of its usual fields.
    :param kind: What they are called.
    """
    by_lower = {each.lower(): each for each in known}
    for name, value in given.items():
        meant = get_close_matches(str(name).strip().lower(), by_lower, n=1, cutoff=0.8)
        if meant and name not in known:
            right = by_lower[meant[0]]
            yield InvalidParameter(f"{field}.{name}", value, f"is not a {kind}, and nearly {right}", f"Write {right}.")


def is_number(value: Any) -> bool:
    """
    Say whether a value is a number; ``True`` and ``False`` are not.

    :param value: JSON.
    """
    return isinstance(value, (int, float)) and not isinstance(value, bool)
