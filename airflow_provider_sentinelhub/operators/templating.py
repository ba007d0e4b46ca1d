"""How a request is templated: everything in it except the evalscript, whose braces are JavaScript."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from airflow_provider_sentinelhub.client.errors import InvalidParameter
from airflow_provider_sentinelhub.hooks.failures import airflow_failures

if TYPE_CHECKING:
    import jinja2
    from airflow.sdk import Context

_EVALSCRIPT = "evalscript"


class RequestTemplateMixin(BaseOperator):
    """
    Renders the ``request`` of an operator.

    If ``request`` is a path ending in ``.json``, the file is read, and so is an ``evalscript`` that is a path ending
    in ``.js``. Both are searched for beside the DAG file and in the DAG's ``template_searchpath``. The text of an
    evalscript is not templated.
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
        if isinstance(content, dict) and _is_text(content.get(_EVALSCRIPT)):
            rest = {key: value for key, value in content.items() if key != _EVALSCRIPT}
            rendered = super().render_template(rest, context, environment, seen_oids)
            return {**rendered, _EVALSCRIPT: content[_EVALSCRIPT]}
        # Only the request as a whole: a URL in it may end in .json as well.
        if content is getattr(self, "request", None) and _is_path(content, ".json"):
            path = super().render_template(content, context, environment, seen_oids)
            return self.render_template(_read_json(path, environment), context, environment, seen_oids)
        return super().render_template(content, context, environment, seen_oids)

    def with_files(self, request: Any) -> Any:
        """
        Return a rendered request with the contents of the files it names.

        Called when the task runs, because the output of another task is not rendered.

        :param request: The request.
        """
        if _is_path(request, ".json"):
            request = _read_json(request, self.get_template_env())
        if not isinstance(request, dict):
            return request
        return {key: self._with_script(key, value) for key, value in request.items()}

    def _with_script(self, name: str, part: Any) -> Any:
        if not isinstance(part, dict) or not _is_path(part.get(_EVALSCRIPT), ".js"):
            return part
        return {**part, _EVALSCRIPT: _read(f"{name}.{_EVALSCRIPT}", part[_EVALSCRIPT], self.get_template_env())}


def _is_text(script: Any) -> bool:
    return isinstance(script, str) and not _is_path(script, ".js")


def _is_path(value: Any, ending: str) -> bool:
    return isinstance(value, str) and value.endswith(ending) and "\n" not in value


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
                return Path(path).read_text(encoding="utf-8")
            return environment.loader.get_source(environment, path)[0]
        except (TemplateNotFound, OSError) as e:
            raise InvalidParameter(
                field,
                path,
                f"this file cannot be read ({e})",
                "Put it beside the DAG file or into the DAG's template_searchpath, or give an absolute path.",
            ) from None
