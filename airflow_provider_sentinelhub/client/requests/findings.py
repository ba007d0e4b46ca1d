"""What is wrong with a request, and what is merely worth knowing: found without asking anybody."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_sentinelhub.client.errors import InvalidParameter

if TYPE_CHECKING:
    from airflow_provider_sentinelhub.client.http.deployments import Deployment

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Advice:
    """
    Something to know before a request is sent; it does not stand in the way.

    :param field: Path of the field as the service spells it.
    :param fact: What was noticed.
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
class Findings:
    """
    Everything that was found in one request.

    :param errors: Reasons for the service to refuse it, or to fail it in analysis.
    :param warnings: Facts to know.
    """

    errors: tuple[InvalidParameter, ...] = ()
    warnings: tuple[Advice, ...] = ()

    @classmethod
    def of(cls, found: Iterator[Finding]) -> Findings:
        """
        Sort what rules found.

        :param found: Errors and warnings in any order; kept within each kind.
        """
        listed = list(found)
        return cls(
            tuple(each for each in listed if isinstance(each, InvalidParameter)),
            tuple(each for each in listed if isinstance(each, Advice)),
        )

    def raise_errors(self) -> None:
        """
        Raise all errors as one; do nothing where there is none.

        :raises InvalidParameter: The first error, with the others in it and all of them in its message.
        """
        if self.errors:
            raise self.errors[0].with_others(self.errors[1:])


def each_of(error: InvalidParameter) -> tuple[InvalidParameter, ...]:
    """
    Take apart an error that holds others.

    :param error: The error.
    """
    alone = InvalidParameter(error.field, error.value, error.rule, error.fix)
    return (alone, *error.others)


def part(value: Any, *path: str | int) -> Any:
    """
    Return what lies at a path, ``None`` where there is nothing; whatever the JSON looks like.

    :param value: JSON.
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
    Return the object at a path; an empty one where there is none.

    :param value: JSON.
    :param path: Names of fields and positions in lists.
    """
    found = part(value, *path)
    return found if isinstance(found, Mapping) else {}


def objects(value: Any, *path: str | int) -> list[Json]:
    """
    Return the objects of the list at a path; an empty object in place of what is none.

    :param value: JSON.
    :param path: Names of fields and positions in lists.
    """
    found = part(value, *path)
    return [each if isinstance(each, Mapping) else {} for each in found] if isinstance(found, (list, tuple)) else []


def is_number(value: Any) -> bool:
    """
    Say whether a value is a number; ``True`` and ``False`` are none.

    :param value: JSON.
    """
    return isinstance(value, (int, float)) and not isinstance(value, bool)
