"""
``airflow sentinelhub validate``: check requests offline, e.g. in CI.

A Jinja template can be checked only after Airflow has rendered it; errors in one are printed as warnings.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_provider_sentinelhub.artifacts.results.preflight import examine
from airflow_provider_sentinelhub.client.apis.registry import APIS, request_type
from airflow_provider_sentinelhub.client.errors import InvalidParameter
from airflow_provider_sentinelhub.client.http.deployments import DEPLOYMENTS, Deployment
from airflow_provider_sentinelhub.client.requests.findings import part

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence

    from airflow_provider_sentinelhub.client.lifecycle.spec import ApiSpec

STDIN = "-"
_JINJA = ("{{", "{%")
_NOT_UTF_8 = "this file is not text in UTF-8"
_SAVE = "Save it as UTF-8."


@dataclass(frozen=True, slots=True)
class Problem:
    """
    One line of output.

    :param file: The file it was found in.
    :param level: ``error`` or ``warning``.
    :param field: Path of the field as the service spells it.
    :param message: All of it, in one line.
    """

    file: str
    level: str
    field: str
    message: str

    def text(self) -> str:
        """Return the line of text."""
        return f"{self.file}: {self.level}: {self.message}"

    def json(self) -> str:
        """Return the line of JSON."""
        return json.dumps({"file": self.file, "level": self.level, "field": self.field, "message": self.message})


def validate(args: argparse.Namespace) -> None:
    """
    Print the problems in requests, one on a line, and exit with 1 if there is an error.

    :param args: ``requests``, ``deployment``, ``api`` and ``json``.
    """
    deployment = DEPLOYMENTS[args.deployment] if args.deployment else None
    api = APIS[args.api] if args.api else None
    problems = [problem for name in args.requests for problem in problems_in(name, deployment, api)]
    for problem in problems:
        sys.stdout.write(f"{problem.json() if args.json else problem.text()}\n")
    errors = sum(problem.level == "error" for problem in problems)
    if not args.json:
        found = f"{_counted(errors, 'error')}, {_counted(len(problems) - errors, 'warning')}"
        sys.stdout.write(f"{_counted(len(args.requests), 'request')} checked: {found}\n")
    sys.stdout.flush()
    sys.exit(1 if errors else 0)


def problems_in(name: str, deployment: Deployment | None = None, api: ApiSpec | None = None) -> Iterator[Problem]:
    """
    Find the problems in the request of a file.

    :param name: The file of the request, or ``-`` for standard input.
    :param deployment: Where it will be sent; ``None`` if that is not known.
    :param api: Its API; ``None`` to recognise it from the request.
    """
    try:
        request = read(name)
    except InvalidParameter as e:
        yield problem_of(name, e)
    else:
        yield from problems_of(name, request, deployment, api)


def problems_of(
    name: str, request: Any, deployment: Deployment | None = None, api: ApiSpec | None = None
) -> Iterator[Problem]:
    """
    Find the problems in a request.

    :param name: Its file. The path of an ``evalscript`` that ends in ``.js`` is relative to it.
    :param request: The request; with the path of an evalscript its text is checked.
    :param deployment: Where it will be sent; ``None`` if that is not known.
    :param api: Its API; ``None`` to recognise it from the request.
    """
    request, unread = _with_script(request, Path(name).parent)
    if unread:
        yield problem_of(name, unread)
    findings = examine(api or request_type(request), request, deployment).findings
    for error in findings.errors:
        if unread and error.field == unread.field:
            continue
        if _is_rendered(error.field, error.value):
            message = f"{error.field} is a template: it can be checked only after Airflow has rendered it"
            yield Problem(name, "warning", error.field, message)
        else:
            yield problem_of(name, error)
    for warning in findings.warnings:
        yield Problem(name, "warning", warning.field, _line(str(warning)))


def problem_of(name: str, error: InvalidParameter) -> Problem:
    """
    Return an error as a problem.

    :param name: The file of the request.
    :param error: The error.
    """
    return Problem(name, "error", error.field, _line(str(error)))


def read(name: str) -> Any:
    """
    Return the JSON in a file.

    :param name: The file, or ``-`` for standard input.
    :raises InvalidParameter: The file cannot be read, or is not JSON.
    """
    try:
        content = sys.stdin.buffer.read() if name == STDIN else Path(name).read_bytes()
        return json.loads(content.decode("utf-8-sig"))
    except OSError as e:
        raise InvalidParameter("request", name, f"cannot be read ({e})", "Give the path of a file.") from None
    except UnicodeError as e:
        raise InvalidParameter("request", name, f"{_NOT_UTF_8} ({e})", _SAVE) from None
    except (ValueError, RecursionError) as e:
        raise InvalidParameter("request", name, f"is not JSON ({e})", "Correct it.") from None


def _with_script(request: Any, folder: Path) -> tuple[Any, InvalidParameter | None]:
    """Return a request with its evalscript read from its file, and the error if that fails: the rest is checked."""
    path = request_type(request).script_path
    field, script = ".".join(path), part(request, *path)
    if not isinstance(script, str) or not script.endswith(".js") or "\n" in script or _is_template(script):
        return request, None
    try:
        text = (folder / script).read_text(encoding="utf-8")
    except OSError as e:
        rule, fix = f"cannot be read ({e})", "Paths are relative to the request's file."
        return request, InvalidParameter(field, script, rule, fix)
    except UnicodeError as e:
        return request, InvalidParameter(field, script, f"{_NOT_UTF_8} ({e})", _SAVE)
    return _with_value(request, path, text), None


def _with_value(given: Any, path: Sequence[str], value: Any) -> Any:
    return {**given, path[0]: _with_value(given[path[0]], path[1:], value)} if path else value


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'s' * (count != 1)}"


def _is_rendered(field: str, value: Any) -> bool:
    """Say whether Airflow renders a value before it is sent."""
    if field.rpartition(".")[2] == "evalscript":
        # Only a path is rendered; braces in a script are JavaScript.
        return isinstance(value, str) and _is_template(value) and value.endswith(".js") and "\n" not in value
    if field.endswith(".geometry"):
        # Errors in coordinates name the whole geometry.
        return _is_template(repr(value))
    return isinstance(value, str) and _is_template(value)


def _is_template(text: str) -> bool:
    return any(mark in text for mark in _JINJA)


def _line(text: str) -> str:
    return " ".join(text.split())
