"""Print for people: whole names where a program reads them, and no markup of others obeyed."""

from __future__ import annotations

import os

from rich.console import Console
from rich.table import Table

__all__ = ["console", "table"]

_PIPE_WIDTH = 10_000
"""Columns of a pipe or file: a name that is folded is not found by grep."""


def console(*, stderr: bool = False) -> Console:
    """A console that obeys no markup in a text. It folds lines at a terminal's width, and in a pipe not at all."""
    made = Console(stderr=stderr, markup=False, emoji=False, highlight=False)
    if not made.is_terminal and "COLUMNS" not in os.environ:
        made.width = _PIPE_WIDTH
    return made


def table(*columns: str) -> Table:
    """A table without a frame; what is too long for a terminal is folded, not cut."""
    made = Table(box=None, pad_edge=False)
    for column in columns:
        made.add_column(column, overflow="fold")
    return made
