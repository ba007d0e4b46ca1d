"""The arrows, the absence of cycles and the names of APIs that docs/architecture.md promises, and the lint itself."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from airflow_provider_sentinelhub.client.apis.registry import APIS
from airflow_provider_sentinelhub.get_provider_info import get_provider_info

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
PACKAGE = "airflow_provider_sentinelhub"
CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]

# ------------------------------------------------------------------------------------------- contracts of import-linter

# For each contract a module, and an import in it that breaks the contract.
PLANTED = {
    "Arrows point one way": ("client/__init__.py", f"{PACKAGE}.hooks"),
    "Rooms of the client point one way": ("client/http/__init__.py", f"{PACKAGE}.client.apis"),
    "Rooms of the artifacts point one way": ("artifacts/storage/__init__.py", f"{PACKAGE}.artifacts.results"),
    "The client and the artifacts know nothing of Airflow": ("artifacts/__init__.py", "airflow.sdk"),
    "The client knows nothing of buckets": ("client/__init__.py", "obstore"),
    "Nothing in the provider uses the simulator": ("hooks/__init__.py", f"{PACKAGE}.simulator"),
    "The simulator knows nothing of Airflow": ("simulator/__init__.py", f"{PACKAGE}.hooks"),
    "Rooms of the simulator point one way": ("simulator/bucket/__init__.py", f"{PACKAGE}.simulator.http"),
    "The simulator's APIs know nothing of each other": (
        "simulator/apis/batch_v2.py",
        f"{PACKAGE}.simulator.apis.statistical",
    ),
    "No import cycle anywhere": ("hooks/sentinel_hub.py", f"{PACKAGE}.hooks.batch"),
}


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package and of its contracts."""
    folder = tmp_path_factory.mktemp("planted")
    shutil.copytree(ROOT / PACKAGE, folder / PACKAGE, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def broken(folder: Path) -> set[str]:
    """Return the names of the contracts that lint-imports finds broken."""
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert f"{len(CONTRACTS)} kept" in done.stdout or " broken." in done.stdout, done.stdout + done.stderr
    return {line.partition(" BROKEN")[0] for line in done.stdout.splitlines() if " BROKEN" in line}


def test_each_contract_has_a_planted_violation() -> None:
    assert PLANTED.keys() == {contract["name"] for contract in CONTRACTS}


@pytest.mark.parametrize("contract", PLANTED)
def test_a_planted_violation_breaks_its_contract(contract: str, copied: Path) -> None:
    file, imported = PLANTED[contract]
    path = copied / PACKAGE / file
    original = path.read_text(encoding="utf-8")
    path.write_text(f"{original}\nimport {imported}\n", encoding="utf-8")
    try:
        assert contract in broken(copied)
    finally:
        path.write_text(original, encoding="utf-8")


@pytest.mark.parametrize(
    "line",
    [
        'import importlib; importlib.import_module("airflow")',
        'from importlib import import_module as load; load("airflow")',
        'import importlib; importlib.__import__("airflow")',
        'import runpy; runpy.run_module("airflow")',
    ],
)
def test_imports_that_the_contracts_do_not_see_are_banned(line: str) -> None:
    file = f"{PACKAGE}/client/planted.py"
    command = [str(Path(sys.executable).with_name("ruff")), "check", "--no-cache", "--stdin-filename", file, "-"]
    done = subprocess.run(command, cwd=ROOT, input=line, capture_output=True, text=True, check=False)
    assert "banned-api" in done.stdout, done.stdout + done.stderr


def test_nothing_calls_the_built_in_import() -> None:
    # ruff cannot ban a built-in function.
    files = [path.read_text(encoding="utf-8") for path in (ROOT / PACKAGE).rglob("*.py")]
    calls = [node.func for text in files for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)]
    assert not [call for call in calls if isinstance(call, ast.Name) and call.id == "__import__"]


# ---------------------------------------------------------------------------------------------------- names of the APIs

# Files and folders, below the package, that may know an API by name, and why.
MAY_NAME = {
    **{f"client/apis/{key.replace('-', '_')}/": "its own folder" for key in APIS},
    "client/apis/registry.py": "the client's registry",
    "artifacts/results/": "one module for each API, and their registry",
    **{
        module.removeprefix(f"{PACKAGE}.").replace(".", "/") + ".py": "a public class of that API"
        for room in ("operators", "sensors")
        for entry in get_provider_info()[room]
        for module in entry["python-modules"]
    },
    "__init__.py": "exports the public classes by name",
    "hooks/__init__.py": "exports the public classes by name",
    "operators/__init__.py": "exports the public classes by name",
    "sensors/__init__.py": "exports the public classes by name",
    "hooks/async_process.py": "the public hook of Async Process",
    "triggers/async_process.py": "the public trigger of Async Process",
    "triggers/__init__.py": "exports the public classes by name",
    "hooks/batch.py": "SentinelHubBatchHook() is one of Batch V2: the default of a public parameter",
    "hooks/batch_v1.py": "the public hook of Batch Processing V1",
    "hooks/statistical.py": "the public hook of the Statistical API",
    "hooks/process.py": "the public hook of the Process API",
    "hooks/image_parts.py": "requests the parts of an image for that hook",
    "client/http/deployments.py": "Service: the path of each API, and which deployment lacks which",
    "cli/convert.py": "converts requests of one API to those of another",
    "cli/definition.py": "a tuple, because every airflow command imports it; test_validate.py compares it",
    "get_provider_info.py": "lists the public modules, and may import nothing",
    "simulator/": "the service itself",
}


def _pattern(key: str) -> str:
    module = key.replace("-", "_")
    if "-" not in key:
        # A word of the language as well: the whole text, or the module of the API.
        return rf"^({key}|{key.upper()})$|\b(client\.apis|artifacts\.results)\.{module}\b"
    return f"(?i:{key.replace('-', '[-_]?')})"


NAMES = re.compile("|".join(_pattern(key) for key in APIS))


def api_names(source: str) -> Iterator[tuple[int, str]]:
    """Yield line and text wherever code, not a docstring or a comment, knows an API by name."""
    if not re.search("|".join(key.replace("-", "[-_]?") for key in APIS), source, re.IGNORECASE):
        # Most files; to parse them takes seconds.
        return
    tree = ast.parse(source)
    prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        for text in _texts(node, prose):
            if NAMES.search(text):
                yield getattr(node, "lineno", 0), text


def _texts(node: ast.AST, prose: set[int]) -> Iterator[str]:
    match node:
        case ast.Constant(value=str(text)) if id(node) not in prose:
            yield text
        case ast.Name(id=name) | ast.Attribute(attr=name) | ast.arg(arg=name) | ast.keyword(arg=str(name)):
            yield name
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            yield name
        case ast.ImportFrom(module=module, names=names):
            yield from (f"{module or ''}.{each.name}" for each in names)
            yield from (each.name for each in names)
        case ast.Import(names=names):
            yield from (each.name for each in names)


def may_name(file: str) -> list[str]:
    return [allowed for allowed in MAY_NAME if file == allowed or (allowed.endswith("/") and file.startswith(allowed))]


def names_in(package: Path) -> dict[str, list[tuple[int, str]]]:
    files = {path.relative_to(package).as_posix(): path for path in package.rglob("*.py")}
    found = {file: list(api_names(path.read_text(encoding="utf-8"))) for file, path in files.items()}
    return {file: names for file, names in found.items() if names}


def test_apis_are_named_only_where_they_may_be() -> None:
    found = names_in(ROOT / PACKAGE)
    assert not {file: names for file, names in found.items() if not may_name(file)}


def test_each_place_that_may_name_an_api_exists() -> None:
    assert not [allowed for allowed in MAY_NAME if not (ROOT / PACKAGE / allowed).exists()]


@pytest.mark.parametrize(
    "line",
    [
        'if api.key == "batch-v2": pass',
        'DEFAULT = "batch-statistical"',
        'is_one = key == "statistical"',
        "from airflow_provider_sentinelhub.client.apis.batch_v2.spec import BATCH_V2 as THE_API",
        "from airflow_provider_sentinelhub.client.apis import statistical",
        "import airflow_provider_sentinelhub.client.apis.statistical.ask",
        "from airflow_provider_sentinelhub.client.apis.registry import STATISTICAL",
        "from . import batch_v2",
        "x = Service.BATCH_STATISTICAL",
        "def of_batch_v2(task): ...",
        "class BatchV2Thing: ...",
        'text = f"{x}/batch_v2"',
    ],
)
def test_a_planted_name_is_found(line: str, tmp_path: Path) -> None:
    (tmp_path / "watch.py").write_text(f'"""Of batch-v2, the statistical API and Batch Statistical."""\n{line}\n')
    assert {number for number, _ in names_in(tmp_path)["watch.py"]} == {2}
