"""
How the fields of a report are stored as JSON, read back and shown.

Each field of a report says so where it is declared: ``name: Annotated[type, Form(...)]``. Writer, reader and text
follow from that.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar, get_type_hints

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from _typeshed import DataclassInstance

_Model = TypeVar("_Model", bound="DataclassInstance")

_MAX_TEXT = 200


@dataclass(frozen=True, slots=True)
class Limits:
    """
    How much of a report fits into an XCom.

    :param groups: Groups of errors.
    :param examples: Examples of each group.
    :param names: Names of each list of names.
    """

    groups: int
    examples: int
    names: int


@dataclass(frozen=True, slots=True)
class Form:
    """
    How a field is stored and shown. By default its value is stored as it is, and not shown.

    :param write: Returns the value as JSON, within limits.
    :param read: Reads that back.
    :param clean: Makes a value given to the report fit to be shown.
    :param text: Returns the lines of the report's text about the field, given the whole report.
    :param is_flat: Whether ``write`` returns entries for the report's own JSON object, and ``read`` takes that object.
    """

    write: Callable[[Any, Limits], Any] = lambda value, _: value
    read: Callable[[Any], Any] = lambda value: value
    clean: Callable[[Any], Any] | None = None
    text: Callable[[Any], Iterator[str]] | None = None
    is_flat: bool = False


_PLAIN = Form()


def clean(model: DataclassInstance) -> None:
    """
    Make the values of a new report or a part of it fit to be shown.

    :param model: A frozen dataclass whose fields have forms.
    """
    for name, form in _forms(model):
        if form.clean is not None:
            object.__setattr__(model, name, form.clean(getattr(model, name)))


def as_json(model: DataclassInstance, limits: Limits) -> dict[str, Any]:
    """
    Return a report or a part of it as plain JSON values.

    :param model: A dataclass whose fields have forms.
    :param limits: How much fits.
    """
    found: dict[str, Any] = {}
    for name, form in _forms(model):
        value = form.write(getattr(model, name), limits)
        found.update(value if form.is_flat else {name: value})
    return found


def from_json(kind: type[_Model], found: dict[str, Any]) -> _Model:
    """
    Read back what :func:`as_json` returned.

    :param kind: The dataclass.
    :param found: The JSON object; other entries are ignored.
    :raises KeyError: A field is missing.
    """
    return kind(**{name: form.read(found if form.is_flat else found[name]) for name, form in _forms(kind)})


def lines(model: DataclassInstance) -> Iterator[str]:
    """
    Yield the text of a report, in the order of its fields.

    :param model: A dataclass whose fields have forms.
    """
    for _, form in _forms(model):
        if form.text is not None:
            yield from form.text(model)


def shortened(text: str) -> str:
    """
    Shorten a text by what it takes in JSON, where a character outside ASCII takes six bytes or twelve.

    :param text: The text.
    """
    size = len(json.dumps(text))
    if size <= _MAX_TEXT:
        return text
    kept = text[: _MAX_TEXT - 5]
    while len(json.dumps(kept)) > _MAX_TEXT - 3:
        kept = kept[: len(kept) * 9 // 10]
    return f"{kept}..."


def _forms(model: DataclassInstance | type[DataclassInstance]) -> tuple[tuple[str, Form], ...]:
    return _forms_of(model if isinstance(model, type) else type(model))


@cache
def _forms_of(kind: type[DataclassInstance]) -> tuple[tuple[str, Form], ...]:
    hints = get_type_hints(kind, include_extras=True)
    metadata = ((each.name, getattr(hints[each.name], "__metadata__", ())) for each in fields(kind))
    return tuple((name, next((one for one in said if isinstance(one, Form)), _PLAIN)) for name, said in metadata)
