"""
Writes the full signature of every public operator and sensor into its class: ``python -m devtools.signatures``.

The bases are the source: each documents and takes the parameters it uses. A public class shows all of them at once, so
that ``help()``, an IDE and a reader of the file see them. What is written into a class is its ``__init__`` and the
``:param:`` lines at the end of its docstring; the rest of the file is left alone. A class whose bases take no
parameters, such as ``SentinelHubStatisticalOperator``, is its own source and is not touched.

``tests/airflow/test_signatures.py`` fails where a class and its bases differ.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import sys
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_provider_sentinelhub.get_provider_info import get_provider_info

if TYPE_CHECKING:
    from collections.abc import Iterator

REPOSITORY = Path(__file__).resolve().parent.parent
PACKAGE = REPOSITORY / "airflow_provider_sentinelhub"
PARAMETER = re.compile(r"^:param (?P<name>\w+): (?P<text>.*?)(?=^:|\Z)", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Parameter:
    """
    A parameter of an operator, as the source writes it.

    :param name: Its name.
    :param annotation: Its type.
    :param default: Its default; ``None`` if it is required.
    :param doc: The ``:param:`` lines, without indentation.
    """

    name: str
    annotation: str
    default: str | None
    doc: str

    @property
    def text(self) -> str:
        """The parameter as it is written in a signature."""
        default = "" if self.default is None else f" = {self.default}"
        return f"{self.name}: {self.annotation}{default}"


def public_classes() -> list[Any]:
    """Return the public operators and sensors, in the order of ``get_provider_info``."""
    info = get_provider_info()
    names = [name for part in ("operators", "sensors") for group in info[part] for name in group["python-modules"]]
    return [
        found
        for module in map(importlib.import_module, names)
        for found in vars(module).values()
        if inspect.isclass(found)
        and found.__module__ == module.__name__
        and re.fullmatch(r"SentinelHub\w+(Operator|Sensor)", found.__name__)
    ]


def bases_of(cls: Any) -> list[Any]:
    """
    Return the bases of a class that are this package's own, the nearest first.

    :param cls: The class.
    """
    return [base for base in cls.__mro__[1:] if base.__module__.startswith(PACKAGE.name)]


def parameters_of(cls: Any) -> list[Parameter]:
    """
    Return all parameters that the bases of a class take, the required ones first.

    :param cls: The class.
    """
    found: dict[str, Parameter] = {}
    docs: dict[str, str] = {}
    for base in bases_of(cls):
        node = class_node(base.__name__)
        for parameter in own_parameters(node):
            found.setdefault(parameter.name, parameter)
        for doc in PARAMETER.finditer(ast.get_docstring(node) or ""):
            docs.setdefault(doc["name"], doc[0].rstrip())
    documented = [replace(parameter, doc=docs[name]) for name, parameter in found.items()]
    return sorted(documented, key=lambda parameter: parameter.default is not None)


def own_parameters(node: ast.ClassDef) -> Iterator[Parameter]:
    """
    Yield the keyword-only parameters of a class's own ``__init__``.

    :param node: The class.
    """
    for method in node.body:
        if isinstance(method, ast.FunctionDef) and method.name == "__init__":
            for argument, default in zip(method.args.kwonlyargs, method.args.kw_defaults, strict=True):
                annotation = _source(argument.annotation) if argument.annotation else "Any"
                yield Parameter(argument.arg, annotation, _source(default) if default else None, "")


def class_node(name: str) -> ast.ClassDef:
    """
    Return the source of a class of the package.

    :param name: Its name.
    :raises KeyError: There is none.
    """
    return _classes()[name]


@cache
def _classes() -> dict[str, ast.ClassDef]:
    trees = (ast.parse(path.read_text(encoding="utf-8")) for path in sorted(PACKAGE.rglob("*.py")))
    return {node.name: node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}


def _source(node: ast.expr) -> str:
    # ast writes single quotes, the formatter double ones.
    return ast.unparse(node).replace("'", '"')


def refreshed(text: str, classes: list[Any]) -> str:
    """
    Return a module with the signatures of its public classes written anew.

    :param text: The module.
    :param classes: The public classes in it.
    """
    for cls in classes:
        if parameters := parameters_of(cls):
            text = _with_signature(text, cls.__name__, parameters)
    return text


def _with_signature(text: str, name: str, parameters: list[Parameter]) -> str:
    node = next(each for each in ast.parse(text).body if isinstance(each, ast.ClassDef) and each.name == name)
    lines = text.splitlines()
    init = next((each for each in node.body if isinstance(each, ast.FunctionDef) and each.name == "__init__"), None)
    if init is not None:
        # With the blank line before it.
        del lines[init.lineno - 2 : init.end_lineno]
    attributes = [each for each in node.body if not isinstance(each, ast.FunctionDef)]
    after = attributes[-1].end_lineno or 0
    lines[after:after] = ["", *_init(parameters)]
    docstring = node.body[0]
    start, end = docstring.lineno - 1, docstring.end_lineno or 0
    kept = PARAMETER.sub("", inspect.cleandoc("\n".join(lines[start + 1 : end - 1]))).rstrip().splitlines()
    written = [*kept, "", *(line for parameter in parameters for line in parameter.doc.splitlines())]
    lines[start + 1 : end - 1] = [f"    {line}".rstrip() for line in written]
    return "\n".join(lines) + "\n"


def _init(parameters: list[Parameter]) -> list[str]:
    return [
        "    def __init__(",
        "        self,",
        "        *,",
        *(f"        {parameter.text}," for parameter in parameters),
        "        **kwargs: Any,",
        "    ) -> None:",
        "        super().__init__(",
        *(f"            {parameter.name}={parameter.name}," for parameter in parameters),
        "            **kwargs,",
        "        )",
    ]


def modules() -> Iterator[tuple[Path, list[Any]]]:
    """Yield the files of the public operators and sensors, and the classes in each."""
    found: dict[str, list[Any]] = {}
    for cls in public_classes():
        found.setdefault(cls.__module__, []).append(cls)
    for module, classes in found.items():
        yield REPOSITORY / f"{module.replace('.', '/')}.py", classes


def main() -> int:
    """Write the signatures anew; print the files that have changed."""
    for path, classes in modules():
        before = path.read_text(encoding="utf-8")
        after = refreshed(before, classes)
        if after != before:
            path.write_text(after, encoding="utf-8")
            print(path.relative_to(REPOSITORY))
    return 0


if __name__ == "__main__":
    sys.exit(main())
