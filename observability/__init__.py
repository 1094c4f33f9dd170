"""Contrail: what a DAG author imports. Each name is loaded on first use, so a DAG file pays for what it touches."""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from observability.__about__ import __version__

if TYPE_CHECKING:
    from observability import callbacks, metrics
    from observability.callbacks import default_args
    from observability.emit import emit
    from observability.logs import get_logger
    from observability.measure import measure

__all__ = ["__version__", "callbacks", "default_args", "emit", "get_logger", "measure", "metrics"]

_HOME = {
    "callbacks": "observability.callbacks",
    "default_args": "observability.callbacks",
    "emit": "observability.emit",
    "get_logger": "observability.logs",
    "measure": "observability.measure",
    "metrics": "observability.metrics",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'observability' has no attribute {name!r}; it has {', '.join(__all__)}")
    module = import_module(_HOME[name])
    found = globals()[name] = getattr(module, name, module)
    return found


def __dir__() -> list[str]:
    return __all__


class _Face(ModuleType):
    """``emit`` and ``measure`` are functions here, also after somebody has imported the modules of the same names."""

    def __setattr__(self, name: str, value: Any) -> None:
        shadowed = isinstance(value, ModuleType) and _HOME.get(name) == value.__name__
        super().__setattr__(name, getattr(value, name, value) if shadowed else value)


sys.modules[__name__].__class__ = _Face
