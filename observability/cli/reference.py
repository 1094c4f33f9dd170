"""``python -m observability.cli.reference <file>``: the help of every command, as one page of the docs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from observability.cli import COMMANDS, load_command

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["page"]

_WIDTH = 100
_HEAD = """\
<!-- Generated from the commands themselves by `make generate`; do not edit. -->

# Commands

What `contrail <command> --help` says, on one page. [Exit codes](exit-codes.md) are the same everywhere.
"""


def page() -> str:
    """Return the page: a heading for each command, and what its ``--help`` prints."""
    return _HEAD + "".join(f"\n## {path}\n```\n{said}```\n" for name in COMMANDS for path, said in _help(name, name))


def _help(path: str, name: str, node: Any = None) -> Iterator[tuple[str, str]]:
    """The help of a command, and of the commands below it."""
    node = node or load_command(name)
    with node.context_class(
        node, info_name=f"contrail {path}", max_content_width=_WIDTH, terminal_width=_WIDTH
    ) as context:
        yield path, f"{node.get_help(context)}\n"
    for below, found in getattr(node, "commands", {}).items():
        yield from _help(f"{path} {below}", below, found)


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(page(), encoding="utf-8")
