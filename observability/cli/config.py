"""``contrail config``: the options, their values on this host, and a documented configuration file."""

from __future__ import annotations

import os
from dataclasses import asdict, fields
from pathlib import Path  # noqa: TC003 - typer reads the annotation
from typing import TYPE_CHECKING, Annotated, Any

import orjson
import typer

from observability.cli.plain_typer import PlainTyper
from observability.cli.printing import console, table
from observability.option_types import allowed, hints_of
from observability.renamed_options import old_variables
from observability.settings import config_file, get_settings, old_names, sections

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["app", "template"]

app = PlainTyper(
    help="Show the options and their values on this host, or print a documented configuration file.",
    no_args_is_help=True,
)

_HEAD = """\
# All options of Contrail with their defaults. `contrail config template` writes this file; do not edit this copy.
# Copy it to $CONTRAIL_HOME/contrail.toml (or name the copy in CONTRAIL_CONFIG), and uncomment what you change.
# A variable CONTRAIL_<SECTION>__<OPTION> overrides the file: CONTRAIL_RELAY__SINKS=elasticsearch,cloudwatch
# Do not put secrets here. They belong into Airflow Connections, which some options name by their id.
"""


@app.command()
def show(*, json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False) -> None:
    """Print the value of each option, and where it was set.

    Examples:
      contrail config show
      contrail config show --json
    """
    known = get_settings()
    for renamed in old_names():
        typer.echo(f"note: {renamed}; the old name still works", err=True)
    values = {name: asdict(getattr(known, name)) for name in sections()}
    if json:
        typer.echo(orjson.dumps(values).decode())
        return
    shown = table("option", "value", "set by")
    for name, kind in sections().items():
        for part in fields(kind):
            value = values[name][part.name]
            shown.add_row(f"[{name}] {part.name}", _toml(value), _origin(name, part.name, value, part.default))
    console().print(shown)


@app.command("template")
def write_template(
    path: Annotated[Path | None, typer.Option("--write", help="Write it to this file instead of printing it.")] = None,
) -> None:
    """Print a configuration file with all options, documented, with their defaults.

    Examples:
      contrail config template --write contrail.toml
    """
    if path is None:
        typer.echo(template(), nl=False)
    else:
        path.write_text(template(), "utf-8")


def template() -> str:
    """The documented file: each option with its sentence and its default, commented out."""
    return _HEAD + "".join(f"\n{line}" if line.startswith("[") else line for line in _lines())


def _lines() -> Iterator[str]:
    for name, kind in sections().items():
        yield f"[{name}]  # {(kind.__doc__ or '').partition(chr(10))[0]}\n"
        hints = hints_of(kind)
        for part in fields(kind):
            yield f"# {part.metadata['doc']}{_bounds(hints[part.name])}\n# {part.name} = {_toml(part.default)}\n"


def _bounds(hint: Any) -> str:
    """Return the bounds of an option that is a number: " From 1 to 65,535."."""
    _, number, bounds = allowed(hint).partition("number from ")
    return f" From {bounds}." if number else ""


def _toml(value: Any) -> str:
    """``value`` as TOML writes it; what JSON writes for text, numbers and booleans is TOML, too."""
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_toml, value))}]"
    return orjson.dumps(value).decode()


def _origin(section: str, key: str, value: Any, default: Any) -> str:
    variable = f"CONTRAIL_{section}__{key}".upper()
    if (found := next((old for old in (variable, *old_variables(variable)) if old in os.environ), None)) is not None:
        return found
    return "" if value == default else str(config_file())


if __name__ == "__main__":
    app()
