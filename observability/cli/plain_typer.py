"""Help as plain text: what stands in brackets is shown, and examples stand as they are typed."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperCommand, TyperGroup

if TYPE_CHECKING:
    from collections.abc import Callable


__all__ = ["PlainTyper", "plain_help"]

_LONGEST_LINE = 500
"""Characters of a command's line in the list of commands: it is folded, not cut."""


def plain_help(docstring: str | None) -> str:
    """Return what a docstring says, for a terminal."""
    return inspect.cleandoc(docstring or "").replace("``", "")


class _PlainCommand(TyperCommand):
    def format_help_text(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 - the parent's signature
        _write(self.help, formatter)

    def get_short_help_str(self, limit: int = _LONGEST_LINE) -> str:
        return plain_help(super().get_short_help_str(max(limit, _LONGEST_LINE)))


class _PlainGroup(TyperGroup):
    def format_help_text(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 - the parent's signature
        _write(self.help, formatter)


def _write(docstring: str | None, formatter: Any) -> None:
    """Write a docstring; the lines below ``Examples:`` are neither joined nor folded."""
    said, heading, examples = plain_help(docstring).partition("\nExamples:\n")
    formatter.write_paragraph()
    with formatter.indentation():
        formatter.write_text(said.rstrip())
    formatter.write(f"{heading}{examples}\n" if examples else "")


class PlainTyper(typer.Typer):
    """A Typer that obeys no markup in what it shows, and folds no example."""

    def __init__(self, **options: Any) -> None:
        super().__init__(cls=_PlainGroup, add_completion=False, rich_markup_mode=None, **options)

    def command(self, name: str | None = None, **options: Any) -> Callable[[Any], Any]:  # noqa: D102 - the parent's
        return super().command(name, cls=_PlainCommand, **options)
