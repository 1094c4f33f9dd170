"""The command line: ``contrail <command>``.

A command's module is imported when the command is run, so that ``--help`` answers at once.
"""

from __future__ import annotations

import errno
import os
import sys
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup

from observability.__about__ import __version__
from observability.cli.plain_typer import PlainTyper
from observability.errors import ContrailError

__all__ = ["COMMANDS", "app", "load_command", "main"]

COMMANDS: dict[str, tuple[str, str]] = {
    "demo": ("demo:demo", "Process real data once, observed end to end, and print what happened."),
    "up": ("up:up", "Start the platform: Airflow, the relay and the watcher."),
    "down": ("up:down", "Stop the platform and every process of it."),
    "status": ("status:status", "Show the health of each component."),
    "doctor": ("doctor:doctor", "Check the whole chain, and say what is broken and how to fix it."),
    "airflow": ("airflow_command:airflow", "Run Airflow's own command line in the platform's environment."),
    "relay": ("relay:app", "Carry logs, events and metrics from disk to the sinks."),
    "watch": ("watch:app", "Find what is wrong and notify the people who own it."),
    "tee": ("tee_command:tee", "Run a component, and keep a copy of what it says where the relay reads it."),
    "alerts": ("alerts:app", "Incidents, silences, routes and what was sent."),
    "deadlines": ("deadlines:app", "What is due, what may be late, what was missed, and what was kept."),
    "logs": ("read:logs", "Read task logs back from the store."),
    "events": ("read:events", "Read events back from the store."),
    "metrics": ("read:metrics", "Read metrics back from the store."),
    "config": (
        "config:app",
        "Show the options and their values on this host, or print a documented configuration file.",
    ),
    "dashboards": ("dashboards:app", "Generate and install dashboards, rules and alarms."),
    "elasticsearch": ("elasticsearch:app", "Install and check what Elasticsearch needs."),
    "cloudwatch": ("cloudwatch:app", "Install and check what CloudWatch needs."),
}
"""Command → where it stands below this package (``module:attribute``), and its line in the help."""

_OF_A_PLATFORM = {
    "status", "doctor", "alerts", "deadlines", "logs", "events", "metrics", "dashboards", "elasticsearch", "cloudwatch",
}  # fmt: skip
"""The commands that ask what ``contrail up`` started: they have the options that it was started with."""

_NOT_OURS = {
    errno.EACCES: "run contrail as the user who owns it, or name another folder by CONTRAIL_HOME",
    errno.EPERM: "run contrail as the user who owns it, or name another folder by CONTRAIL_HOME",
    errno.EROFS: "name a folder that can be written by CONTRAIL_HOME",
    errno.ENOSPC: "free space on that disk",
}
"""The errors by which the machine refuses, and the remedies: a line for the user as well."""
_PASSED_ON: dict[str, Any] = {
    "context_settings": {"ignore_unknown_options": True, "allow_extra_args": True},
    "add_help_option": False,
    "options_metavar": "[ARGS]...",
}
"""Options of a command that passes its arguments on to the program that it starts."""


class _Commands(TyperGroup):
    """The commands of the table: listed without being imported, imported when resolved."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - the signature of the parent
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002 - the signature of the parent
        if cmd_name not in COMMANDS:
            return None
        line = PlainTyper()
        line.command(cmd_name, help=COMMANDS[cmd_name][1])(_listed)
        return typer.main.get_command(line)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and args[0] in COMMANDS:
            return args[0], load_command(args[0]), args[1:]
        return super().resolve_command(ctx, args)


def _listed() -> None:
    """Stand for a command in the help."""


def load_command(name: str) -> Any:
    """Import the command of the table and return it, as click knows it."""
    if name in _OF_A_PLATFORM:
        _join_the_platform()
    module, _, attribute = COMMANDS[name][0].partition(":")
    found = getattr(import_module(f"observability.cli.{module}"), attribute)
    if not isinstance(found, typer.Typer):
        function, found = found, PlainTyper()
        found.command(name, **(_PASSED_ON if name in {"airflow", "tee"} else {}))(function)
    command = typer.main.get_command(found)
    command.name = name
    return command


def _join_the_platform() -> None:
    """Take the variables of the platform in this home, if one was ever started there."""
    from observability.local.environment import join
    from observability.local.layout import Layout
    from observability.settings import default_home

    join(Layout(default_home().absolute()))


app = typer.Typer(cls=_Commands, no_args_is_help=True, add_completion=False, rich_markup_mode=None)


def _say_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"contrail {__version__}")
        raise typer.Exit


@app.callback()
def _contrail(
    *,
    version: bool = typer.Option(False, "--version", help="Print the version.", is_eager=True, callback=_say_version),
) -> None:
    """Observability-first ETL on Apache Airflow: every DAG observed, every failure reported once, with its cause."""


def main() -> None:
    """Run the command line. An error of ours becomes one line on stderr, and its exit code that of the process."""
    try:
        app(prog_name="contrail")
    except ContrailError as error:
        print(f"contrail: {error.advice}", file=sys.stderr)  # noqa: T201 - this is the command line
        sys.exit(error.exit_code)
    except BrokenPipeError:
        # Whoever read our output has gone (``| head``); keep Python from flushing into the pipe at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        if error.errno not in _NOT_OURS:
            raise
        print(f"contrail: cannot write {error.filename}: {error.strerror}; {_NOT_OURS[error.errno]}", file=sys.stderr)  # noqa: T201
        sys.exit(ContrailError.exit_code)
