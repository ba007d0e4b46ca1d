"""
Writes into the documentation what the code says, so that it is said once: ``python -m devtools.docs``.

Markdown cannot include, so what stands between such a comment and ``<!-- end -->`` is written anew:

``<!-- from dags_examples/x.py: region -->``
    The lines between ``[START region]`` and ``[END region]``, after the file's imports of this package they need.
``<!-- parameters of SentinelHubBatchProcessOperator -->``
    A table of the parameters of a class.
``<!-- columns of airflow_provider_sentinelhub/artifacts/report/table.py -->``
    A table of a module's ``COLUMNS``: name, type and meaning.
``<!-- listing of airflow_provider_sentinelhub/client/errors.py -->``
    The literal block in a module's docstring.
``<!-- operations of devtools/operations.py -->``
    Tables of all operations of the service, and of where each is in this package.
``<!-- messages of tests/bad_inputs/requests.py: REQUESTS -->``
    A table of bad inputs, and of what users are told about them.

``tests/test_docs.py`` fails where a page and the code differ.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import sys
import textwrap
from typing import TYPE_CHECKING, Any

from devtools import operations
from devtools.signatures import PACKAGE, PARAMETER, REPOSITORY, class_node, own_parameters

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from devtools.signatures import Parameter

_BLOCK = re.compile(
    r"(?P<head><!-- (?P<kind>from|[a-z]+ of) (?P<what>.+?) -->\n)(?P<body>.*?)(?P<tail><!-- end -->)", re.DOTALL
)
_ROLE = re.compile(r":(?:class|meth|func|mod|data):`~?([^`]+)`")
_TEMPLATED = re.compile(r" ?Templated\.")
# What a signature cannot say in a word.
_DEFAULTS = {
    "SentinelHubHook.default_conn_name": '`"sentinelhub_default"`',
    'conf.getboolean("operators", "default_deferrable", fallback=False)': "`[operators] default_deferrable`",
}


class DocsError(Exception):
    """A page asks for something the code does not have."""


def pages() -> list[Path]:
    """Return every page of the documentation."""
    return [REPOSITORY / "README.md", REPOSITORY / "CHANGELOG.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]


def refreshed(text: str) -> str:
    """
    Return a page with everything that is taken from the code written anew.

    :param text: The page.
    :raises DocsError: It asks for something the code does not have.
    """
    kinds = {
        "from": _region,
        "parameters of": _parameters,
        "columns of": _columns,
        "listing of": _listing,
        "messages of": _messages,
        "operations of": _operations,
    }

    def replace(found: re.Match[str]) -> str:
        if found["kind"] not in kinds:
            raise DocsError(f"{found['head'].strip()}: no such kind of block. Use one of {', '.join(kinds)}.")
        return f"{found['head']}{kinds[found['kind']](found['what'])}\n{found['tail']}"

    return _BLOCK.sub(replace, text)


def _region(what: str) -> str:
    name, _, region = what.partition(": ")
    path = REPOSITORY / name
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    marks = [
        number for number, line in enumerate(lines) if line.strip() in {f"# [START {region}]", f"# [END {region}]"}
    ]
    if len(marks) != 2:  # noqa: PLR2004 - a start and an end
        raise DocsError(f"{name} has no region {region!r}")
    code = textwrap.dedent("\n".join(lines[marks[0] + 1 : marks[1]]))
    imports = "".join(f"{line}\n" for line in _imports("\n".join(lines), code))
    return _fenced("python", f"{imports}\n{code}" if imports else code)


def _imports(module: str, code: str) -> Iterator[str]:
    """Yield the imports of this package that a part of a module needs and does not hold itself."""
    used = {node.id for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Name)}
    used -= {name.name for node in ast.walk(ast.parse(code)) if isinstance(node, ast.ImportFrom) for name in node.names}
    for node in ast.parse(module).body:
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(PACKAGE.name):
            yield from (f"from {node.module} import {name.name}" for name in node.names if name.name in used)


def _fenced(language: str, text: str) -> str:
    return f"```{language}\n{text}\n```"


def _parameters(what: str) -> str:
    try:
        node = class_node(what)
    except KeyError:
        raise DocsError(f"the package has no class {what!r}") from None
    docs = {found["name"]: _markdown(found["text"]) for found in PARAMETER.finditer(ast.get_docstring(node) or "")}
    rows = [f"| `{each.name}` | {_default(each)} | {docs[each.name]} |" for each in own_parameters(node)]
    return "\n".join(["| parameter | default | |", "|---|---|---|", *rows])


def _default(parameter: Parameter) -> str:
    if parameter.default is None:
        return "required"
    return _DEFAULTS.get(parameter.default, f"`{parameter.default}`")


def _markdown(text: str) -> str:
    if "<" in text and "``" not in text:
        return f"`{text}`"
    line = _ROLE.sub(lambda found: f"`{found[1].rpartition('.')[2]}`", " ".join(text.split())).replace("``", "`")
    return _TEMPLATED.sub(" *Templated.*", line).replace("|", "\\|")


def _docstring(name: str) -> str:
    path = REPOSITORY / name
    return (
        inspect.cleandoc(ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "") if path.is_file() else ""
    )


def _columns(what: str) -> str:
    rows = (
        f"| `{each.name}` | {_markdown(each.kind)} | {_markdown(each.meaning)} |" for each in _constant(what, "COLUMNS")
    )
    return "\n".join(["| column | type | meaning |", "|---|---|---|", *rows])


def _listing(what: str) -> str:
    found = re.search(r"^::\n\n((?:(?: {4}.*)?\n)+)", _docstring(what), re.MULTILINE)
    if found is None:
        raise DocsError(f"the docstring of {what} has no literal block")
    return _fenced("text", textwrap.dedent(found[1]).strip("\n"))


def _messages(what: str) -> str:
    name, _, constant = what.partition(": ")
    rows = [f"| {_cell(bad.title)} | {_code_cell(bad.message)} |" for bad in _constant(name, constant)]
    return "\n".join(["| bad input | message |", "|---|---|", *rows])


def _operations(_what: str) -> str:
    return operations.table()


def _constant(name: str, constant: str) -> Any:
    if not (REPOSITORY / name).is_file():
        raise DocsError(f"there is no {name}")
    module = importlib.import_module(name.removesuffix(".py").replace("/", "."))
    if not hasattr(module, constant):
        raise DocsError(f"{name} has no {constant}")
    return getattr(module, constant)


def _cell(text: str) -> str:
    return re.sub(r"(<[^>]*>)", r"`\1`", text).replace("|", "\\|")


def _code_cell(text: str) -> str:
    """Return a text as code, line for line; a message may hold anything but a backtick."""
    return "<br>".join(f"`{line}`" for line in text.replace("|", "\\|").splitlines())


def main() -> int:
    """Write the pages anew; say which have changed."""
    for page in pages():
        before = page.read_text(encoding="utf-8")
        after = refreshed(before)
        if after != before:
            page.write_text(after, encoding="utf-8")
            print(page.relative_to(REPOSITORY))
    return 0


if __name__ == "__main__":
    sys.exit(main())
