"""The registry of benchmarks: the modules of this folder that define ``run``."""

from __future__ import annotations

import ast
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.figure import Figure, Options

__all__ = ["UnknownBenchmarkError", "load", "titles"]


class UnknownBenchmarkError(LookupError):
    """No benchmark has that name; the message lists those that there are."""


def titles() -> dict[str, str]:
    """Each benchmark's name and title, without importing it."""
    found = {}
    for path in sorted(Path(__file__).parent.glob("*.py")):
        tree = ast.parse(path.read_text("utf-8"))
        if any(isinstance(node, ast.FunctionDef) and node.name == "run" for node in tree.body):
            found[path.stem.replace("_", "-")] = (ast.get_docstring(tree) or "").partition("\n")[0]
    return found


def load(name: str) -> Callable[[Options], list[Figure]]:
    """The ``run`` of the benchmark called ``name``. Raises :class:`UnknownBenchmarkError`."""
    if name not in titles():
        raise UnknownBenchmarkError(f"no benchmark is called {name!r}; there are {', '.join(titles())}")
    module = import_module(f"benchmarks.{name.replace('-', '_')}")
    return cast("Callable[[Options], list[Figure]]", module.run)
