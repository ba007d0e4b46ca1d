"""Public names of a package, imported only when they are used (PEP 562): a DAG file pays for nothing else."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def lazy(package: str, modules: Mapping[str, tuple[str, ...]]) -> Callable[[str], Any]:
    """
    Return the ``__getattr__`` of a package, and let ``dir()`` list the public names too.

    :param package: The package's ``__name__``.
    :param modules: The public names of each of its modules.
    """
    module_of = {name: f"{package}.{module}" for module, names in modules.items() for name in names}

    def find(name: str) -> Any:
        if name not in module_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        from importlib import import_module  # noqa: TID251 - the names come from the table that each package writes

        found = getattr(import_module(module_of[name]), name)
        # From now on the name is found without this function.
        setattr(sys.modules[package], name, found)
        return found

    # dir() and help() list the public names as well.
    here = vars(sys.modules[package])
    here["__dir__"] = lambda: sorted({*here, *module_of})
    return find
