"""How a request is templated: everything in it except the evalscript, whose braces are JavaScript."""

from __future__ import annotations

import ast
import json
import os
import re
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from airflow_provider_sentinelhub.client.errors import InvalidParameter
from airflow_provider_sentinelhub.hooks.failures import airflow_failures

if TYPE_CHECKING:
    import jinja2
    from airflow.sdk import Context

_EVALSCRIPT = "evalscript"
# In JSON, or in what Python prints of a dict.
_IN_TEXT = re.compile(r"""(["'])evalscript\1\s*:\s*(?P<script>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')""", re.DOTALL)


class RequestTemplateMixin(BaseOperator):
    """
    Renders the ``request`` of an operator.

    If ``request`` is a path ending in ``.json``, the file is read, and so is an ``evalscript`` that is a path ending
    in ``.js``. Both are searched for beside the DAG file and in the DAG's ``template_searchpath``. The text of an
    evalscript is not templated, in a dict, a file or a JSON text.
    """

    def render_template(
        self,
        content: Any,
        context: Context,
        jinja_env: jinja2.Environment | None = None,
        seen_oids: set[int] | None = None,
    ) -> Any:
        """
        Render a value; see :meth:`airflow.sdk.BaseOperator.render_template`.

        :param content: The value.
        :param context: The task's context.
        :param jinja_env: The DAG's environment.
        :param seen_oids: Ids of the objects already rendered.
        """
        environment = jinja_env or self.get_template_env()
        is_request = content is getattr(self, "request", None)
        if is_request and isinstance(content, os.PathLike):
            content = os.fspath(content)
        if isinstance(content, Mapping) and not isinstance(content, dict):
            # Airflow renders dicts only.
            content = dict(content)
        if isinstance(content, dict) and _is_text(content.get(_EVALSCRIPT)):
            rest = {key: value for key, value in content.items() if key != _EVALSCRIPT}
            rendered = super().render_template(rest, context, environment, seen_oids)
            return {**rendered, _EVALSCRIPT: content[_EVALSCRIPT]}
        # What another task returned is not rendered.
        if isinstance(content, str) and id(content) not in (seen_oids or ()):
            aside: dict[str, str] = {}
            rendered = super().render_template(_without_scripts(content, aside), context, environment, seen_oids)
            rendered = _with_scripts(rendered, aside)
        else:
            rendered = super().render_template(content, context, environment, seen_oids)
        # Only the request as a whole: a URL in it may end in .json as well.
        if is_request and _is_path(rendered, ".json"):
            return self.render_template(_read_json(rendered, environment), context, environment, seen_oids)
        return rendered

    def with_files(self, request: Any) -> Any:
        """
        Return a rendered request as JSON, with the contents of the files it names.

        Called when the task runs, because the output of another task is not rendered.

        :param request: The request: a dict, its JSON text, the path of a file, or an object that holds a request.
        """
        from airflow_provider_sentinelhub.client.as_json import as_json
        from airflow_provider_sentinelhub.client.models import from_text

        request = as_json(from_text(request))
        if _is_path(request, ".json"):
            request = _read_json(request, self.get_template_env())
        if isinstance(request, str):
            raise _unreadable(request)
        if not isinstance(request, dict):
            return request
        parts = {key: self._with_script(f"{key}.{_EVALSCRIPT}", value) for key, value in request.items()}
        return self._with_script(_EVALSCRIPT, parts)

    def _with_script(self, field: str, part: Any) -> Any:
        from airflow_provider_sentinelhub.client.models import from_text

        given = from_text(part)
        if not isinstance(given, dict) or not _is_path(given.get(_EVALSCRIPT), ".js"):
            return part
        return {**given, _EVALSCRIPT: _read(field, given[_EVALSCRIPT], self.get_template_env())}


def _is_text(script: Any) -> bool:
    return isinstance(script, str) and not _is_path(script, ".js")


def _is_path(value: Any, ending: str) -> bool:
    return isinstance(value, str) and value.endswith(ending) and "\n" not in value


def _without_scripts(text: str, aside: dict[str, str]) -> str:
    """Return the text of a request with a mark in place of each evalscript, and keep the scripts by their marks."""

    def put_aside(found: re.Match[str]) -> str:
        script = found["script"]
        if _is_path(script[1:-1], ".js") and "\\n" not in script:
            return found[0]
        mark = f"evalscript-{uuid.uuid4()}"
        aside[mark] = script
        return f'{found[0].removesuffix(script)}"{mark}"'

    return _IN_TEXT.sub(put_aside, text) if _EVALSCRIPT in text else text


def _with_scripts(rendered: Any, aside: Mapping[str, str]) -> Any:
    """Put the scripts back: into text, or into what ``render_template_as_native_obj`` has made of it."""
    if not aside:
        return rendered
    if isinstance(rendered, dict):
        return {key: _with_scripts(value, aside) for key, value in rendered.items()}
    if isinstance(rendered, list):
        return [_with_scripts(value, aside) for value in rendered]
    if rendered in aside:
        return _read_literal(aside[rendered])
    if isinstance(rendered, str):
        for mark, script in aside.items():
            rendered = rendered.replace(f'"{mark}"', script)
    return rendered


def _read_literal(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return ast.literal_eval(text)


def _unreadable(text: str) -> InvalidParameter:
    try:
        json.loads(text)
    except (ValueError, RecursionError) as e:
        return InvalidParameter("request", text, f"is not JSON ({e})", "Correct it.")
    return InvalidParameter("request", text, "is not a request", "Give a dict, or its JSON text.")


def _read_json(path: str, environment: jinja2.Environment) -> Any:
    text = _read("request", path, environment)
    with airflow_failures():
        try:
            return json.loads(text)
        except ValueError as e:
            raise InvalidParameter("request", path, f"this file is not JSON ({e})", "Correct it.") from None


def _read(field: str, path: str, environment: jinja2.Environment) -> str:
    from jinja2 import TemplateNotFound

    with airflow_failures():
        try:
            if Path(path).is_absolute() or environment.loader is None:
                text = Path(path).read_text(encoding="utf-8")
            else:
                text = environment.loader.get_source(environment, path)[0]
        except (TemplateNotFound, OSError) as e:
            raise InvalidParameter(
                field,
                path,
                f"this file cannot be read ({e})",
                "Put it beside the DAG file or into the DAG's template_searchpath, or give an absolute path.",
            ) from None
        except UnicodeError as e:
            raise InvalidParameter(field, path, f"this file is not text in UTF-8 ({e})", "Save it as UTF-8.") from None
    # Editors on Windows write a byte order mark.
    return text.removeprefix("\ufeff")
