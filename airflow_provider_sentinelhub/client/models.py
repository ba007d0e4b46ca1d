"""Bases of all models: strict fields, rules with a fix, and lists and dicts that templating turned into strings."""

from __future__ import annotations

import ast
import json
import re
from typing import Annotated, Any, NoReturn, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

from airflow_provider_sentinelhub.client.errors import InvalidParameter

M = TypeVar("M", bound=BaseModel)

_SECRET = re.compile("key|secret|credential|token|password", re.IGNORECASE)
_RULE = "sentinelhub_rule"
_PART = "Write an object with the fields in it."
_WHOLE = "Give the request as a dict or as its JSON text."


class RequestModel(BaseModel):
    """A part of a request with a fixed set of fields: an unknown field is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, alias_generator=to_camel, allow_inf_nan=False)


class OpenRequestModel(BaseModel):
    """A part of a request to which data collections may add fields."""

    model_config = ConfigDict(extra="allow", frozen=True, alias_generator=to_camel, validate_by_name=False)


class AnswerModel(BaseModel):
    """A part of an answer: unknown fields are kept, and few are required."""

    model_config = ConfigDict(extra="allow", frozen=True, alias_generator=to_camel, validate_by_name=True)


def broken(rule: str, fix: str) -> NoReturn:
    """
    Fail a validator with a rule and a fix.

    :param rule: The rule that the field breaks.
    :param fix: What to write instead.
    """
    raise PydanticCustomError(_RULE, "{rule}", {"rule": rule, "fix": fix})


def from_text(value: Any) -> Any:
    """
    Convert a string that templating made of a list or dict back into it.

    :param value: Any value; only a string that starts like a list or dict is converted.
    """
    if not isinstance(value, str):
        return value
    # Files written on Windows begin with a byte order mark.
    text = value.strip().removeprefix("\ufeff")
    if not text.startswith(("[", "{", "(")):
        return value
    for read in (json.loads, ast.literal_eval):
        try:
            return read(text)
        except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
            continue
    return value


def without_nulls(value: Any) -> Any:
    """
    Remove every field that is null, including fields the models do not know.

    :param value: JSON.
    """
    if isinstance(value, dict):
        return {key: without_nulls(item) for key, item in value.items() if item is not None}
    return [without_nulls(item) for item in value] if isinstance(value, list) else value


def _flag(value: Any) -> bool:
    # The service accepts only true and false; templating turns them into strings.
    read = {"true": True, "false": False}.get(value.strip().lower()) if isinstance(value, str) else value
    if not isinstance(read, bool):
        broken("must be true or false", "Write true or false, without quotes.")
    return read


def _no_flag(value: Any) -> Any:
    # To Python, True is 1.
    if isinstance(value, bool):
        broken("is not a number", "Write a number.")
    return value


def _filled(text: str) -> str:
    if not text.strip():
        broken("is empty", "Write a name, or leave it out if it is optional.")
    return text


def _script(text: str) -> str:
    # Editors on Windows write a byte order mark, with which the service cannot read a script.
    text = text.removeprefix("\ufeff")
    if not text.strip():
        broken("is empty", "Give the script's text, or a path that ends in .js.")
    return text


Text = BeforeValidator(from_text)
Name = Annotated[str, AfterValidator(_filled)]
Flag = Annotated[bool, BeforeValidator(_flag)]
Real = Annotated[float, BeforeValidator(_no_flag)]
Whole = Annotated[int, BeforeValidator(_no_flag), Field(ge=-(2**31), lt=2**31)]
Numbers = Annotated[list[Real], Text]
JsonObject = Annotated[dict[str, Any], Text]
Evalscript = Annotated[str, AfterValidator(_script)]


class Request(RequestModel):
    """A whole request."""

    def body(self) -> dict[str, Any]:
        """Return the JSON to send: only what was given, and no nulls, which the service refuses."""
        given: dict[str, Any] = without_nulls(self.model_dump(mode="json", by_alias=True, exclude_unset=True))
        return given


def validated(model: type[M], value: Any, where: str = "") -> M:
    """
    Check a value against a model.

    :param model: The model.
    :param value: The value.
    :param where: Path of the value in the request, prepended to each field's path.
    :raises InvalidParameter: Names every field that is wrong, its value, its rule and its fix.
    """
    try:
        return model.model_validate(value)
    except ValidationError as e:
        problems = [_problem(error, where) for error in e.errors(include_url=False)]
    first, *others = problems
    raise first.with_others(others)


def _problem(error: Any, where: str) -> InvalidParameter:
    # pydantic's path contains the tags of union members; the service's path does not.
    steps = [str(step) for step in error["loc"] if str(step) not in _TAGS]
    field = ".".join([where, *steps] if where else steps) or "request"
    value = "***" if steps and _SECRET.search(steps[-1]) else _masked(error["input"])
    kind, context = error["type"], error.get("ctx", {})
    if kind == _RULE:
        return InvalidParameter(field, value, context["rule"], context["fix"])
    rules = {
        "missing": (field, None, "is required", "Add it."),
        "extra_forbidden": (field, value, "is not a field of this part of the request", "Check the spelling."),
        "union_tag_not_found": (f"{field}.type", None, "is required", "Add it."),
        "union_tag_invalid": (
            f"{field}.type",
            context.get("tag"),
            f"must be one of {context.get('expected_tags')}",
            "Choose one.",
        ),
        **dict.fromkeys(
            ("model_type", "model_attributes_type", "dict_type"),
            (field, value, "must be a JSON object", _PART if steps or where else _WHOLE),
        ),
    }
    if kind in rules:
        return InvalidParameter(*rules[kind])
    return InvalidParameter(field, value, error["msg"][:1].lower() + error["msg"][1:], "Correct the value.")


def _masked(value: Any) -> Any:
    # A misspelt field and a string that could not be parsed may contain a secret as well.
    if isinstance(value, dict):
        return {key: "***" if _SECRET.search(str(key)) else _masked(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_masked(item) for item in value]
    return "***" if isinstance(value, str) and _SECRET.search(value) else value


_TAGS = frozenset({"tiling-grid", "geopackage", "raster", "zarr", "function-before[from_text(), dict[str,any]]"})
