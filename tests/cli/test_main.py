"""The command line itself: fast, and plain in its errors."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import import_module

import pytest
from airflow_platform import CONTRAIL, clean_environment
from typer.testing import CliRunner

from observability.cli import COMMANDS, app, load_command
from observability.cli.plain_typer import plain_help
from observability.settings import get_settings

HELP = """
import sys
from observability.cli import app
try:
    app(["--help"])
except SystemExit as end:
    heavy = {"airflow", "boto3", "elasticsearch", "httpx", "pandas", "rich", "sqlalchemy"} & set(sys.modules)
    sys.exit(f"imported {heavy}" if heavy or end.code else 0)
"""


def contrail(*arguments, **variables):
    environment = clean_environment(**variables)
    return subprocess.run(
        [*CONTRAIL, *arguments], env=environment, capture_output=True, check=False, text=True, timeout=60
    )


def test_help_lists_every_command_and_imports_none():
    shown = subprocess.run([sys.executable, "-c", HELP], capture_output=True, check=False, text=True, timeout=60)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert [name for name in COMMANDS if f"  {name} " not in shown.stdout] == []


READS_A_PLATFORM = {
    "status", "doctor", "alerts", "deadlines", "logs", "events", "metrics", "dashboards", "elasticsearch", "cloudwatch"
}  # fmt: skip


@pytest.mark.parametrize("name", [name for name in COMMANDS if name not in {"airflow", "tee"}])  # others take our place
def test_a_command_that_reads_has_the_options_that_the_platform_was_started_with(name, tmp_path, monkeypatch):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "environment.json").write_text('{"CONTRAIL_AIRFLOW__PORT": "1234"}')
    environ = {key: value for key, value in os.environ.items() if not key.startswith("CONTRAIL_")}
    monkeypatch.setattr(os, "environ", {**environ, "CONTRAIL_HOME": str(tmp_path)})
    help_of_it = CliRunner().invoke(app, [name, "--help"], env=None)
    assert "completion" not in help_of_it.output
    assert ("CONTRAIL_AIRFLOW__PORT" in os.environ) == (name in READS_A_PLATFORM)
    get_settings.cache_clear()


def leaves(words, node):
    """Every command below ``node`` that does something, with the words that lead to it."""
    found = getattr(node, "commands", {})
    if not found or getattr(node, "invoke_without_command", False):
        yield words, node
    for name, one in found.items():
        yield from leaves([*words, name], one)


def test_the_help_of_each_command_shows_how_it_is_typed():
    known = [found for name in COMMANDS for found in leaves([name], load_command(name))]
    assert len(known) > 35
    examples = {" ".join(words): plain_help(node.help).partition("\nExamples:\n")[2] for words, node in known}
    assert [words for words, shown in examples.items() if f"  contrail {words}" not in shown] == []


def test_help_shows_names_in_brackets_and_folds_neither_examples_nor_the_list():
    assert "else [airflow] port." in CliRunner().invoke(app, ["up", "--help"]).output
    asked = CliRunner().invoke(app, ["alerts", "backtest", "--help"], terminal_width=60).output
    assert "  contrail alerts backtest new-alerts.yaml --since 30d  what would change with these rules\n" in asked
    shown = CliRunner().invoke(app, ["alerts", "--help"]).output
    assert "and why a notice is held back." in " ".join(shown.split())


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_of_the_table_exists(name):
    module, _, attribute = COMMANDS[name][0].partition(":")
    assert callable(getattr(import_module(f"observability.cli.{module}"), attribute))


def test_a_wrong_option_is_one_line_that_names_it(tmp_path):
    said = contrail("status", CONTRAIL_HOME=str(tmp_path), CONTRAIL_RELAY__SINKZ="x")
    assert (said.returncode, said.stdout) == (2, "")
    assert said.stderr == "contrail: unknown variable CONTRAIL_RELAY__SINKZ; did you mean 'CONTRAIL_RELAY__SINKS'?\n"


def test_a_home_that_cannot_be_made_is_one_line_that_names_it(tmp_path):
    (tmp_path / "file").touch()
    said = contrail("up", CONTRAIL_HOME=str(tmp_path / "file" / "home"))
    assert (said.returncode, said.stderr.count("\n")) == (4, 1)
    assert said.stderr.startswith(f"contrail: cannot create {tmp_path / 'file' / 'home'}: Not a directory;")


def test_an_unknown_command_is_refused():
    assert contrail("uq").returncode == 2


def test_status_of_nothing_says_so_and_how_to_start_it(tmp_path):
    said = contrail("status", CONTRAIL_HOME=str(tmp_path))
    assert (said.returncode, said.stdout) == (3, f"No platform of {tmp_path} is running; start it by: contrail up\n")
