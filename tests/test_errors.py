"""One tree of errors, each with an exit code and a remedy, and every command of the command line ends by them."""

from __future__ import annotations

import inspect
import os
import pkgutil
import re
import sys
import threading
from importlib import import_module
from pathlib import Path

import pytest
import typer

import observability
from observability import cli, errors, settings
from observability.errors import ContrailError
from observability.settings import get_settings

PAGE = Path(__file__).resolve().parents[1] / "docs/reference/exit-codes.md"
STEERING = {"AnswerTooLong", "AuditError", "Broken", "KqlError", "NotRegular", "Off", "Replaced", "UnknownName"}
WITHOUT_SETTINGS = {
    "alerts replay",
    "alerts schema",
    "config template",
    "dashboards build",
    "dashboards check",
    "tee",
    "airflow",
}


def tree(kind=ContrailError):
    return {kind} | {one for below in kind.__subclasses__() for one in tree(below)}


def commands(command, name=()):
    """Every command below ``command`` that does something, with its words."""
    below = getattr(command, "commands", None)
    names = list(below or ()) or (command.list_commands(None) if hasattr(command, "list_commands") else [])
    for one in names:
        found = below[one] if below else cli.load_command(one)
        yield from commands(found, (*name, one))
    if not names or getattr(command, "invoke_without_command", False):
        yield name, command


COMMANDS = {" ".join(name): command for name, command in commands(typer.main.get_command(cli.app)) if name}


def arguments_of(name, folder):
    """Return the arguments that the command cannot do without."""
    taken = {
        "dashboards install": ["kibana"], "dashboards export": ["kibana"],
        "logs": ["flights_daily"], "alerts silence": ["--until", "2h"],
        "alerts edit-silence": ["1", "--until", "2h"], "alerts mark": ["1", "useful"], "demo": ["--home", str(folder)],
    }  # fmt: skip
    needed = [one for one in COMMANDS[name].params if one.required and name not in taken]
    return taken.get(name, ["1" for _ in needed])


def run(monkeypatch, *words):
    monkeypatch.setattr(sys, "argv", ["contrail", *words])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return ended.value.code or 0


@pytest.fixture(autouse=True)
def same_environment():
    """A command may put what a platform was started with into the environment; the next test is another process."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)
    get_settings.cache_clear()


def test_the_walk_finds_the_commands_and_those_below_them():
    assert len(COMMANDS) >= 34
    assert {"demo", "alerts silence", "relay", "relay replay", "dashboards install", "watch"} <= set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_refuses_an_option_that_it_does_not_have(monkeypatch, capsys, name):
    if name in {"tee", "airflow"}:
        pytest.skip("hands its options on")
    assert run(monkeypatch, *name.split(), "--no-such-option") == 2
    assert "no-such-option" in capsys.readouterr().err


@pytest.mark.parametrize("kind", [errors.SettingsError, errors.StoreError, errors.ApiUnavailable, errors.NodeError])
@pytest.mark.parametrize("name", sorted(set(COMMANDS) - WITHOUT_SETTINGS))
def test_every_command_ends_by_the_code_of_the_error_with_one_line(monkeypatch, capsys, tmp_path, name, kind):
    if name == "doctor" and kind is not errors.SettingsError:
        pytest.skip("only its configuration can be at fault before it looks at the links")

    load, mine = settings.load_settings, threading.current_thread()

    def fail(*args, **named):
        if threading.current_thread() is not mine:  # the metrics of an earlier test are still on their way
            return load(*args, **named)
        raise kind("the thing is broken")

    monkeypatch.setattr(settings, "load_settings", fail)
    settings.get_settings.cache_clear()
    code = run(monkeypatch, *name.split(), *arguments_of(name, tmp_path))
    out = capsys.readouterr()
    if name == "doctor":  # a configuration that cannot be used is a finding to it
        assert (code, "the thing is broken" in out.out) == (1, True)
        return
    assert (code, out.err) == (kind.exit_code, f"contrail: the thing is broken; {kind.remedy}\n")


def test_every_error_has_a_code_of_the_documented_ones_a_remedy_and_a_contract():
    for kind in tree():
        assert kind.exit_code in {2, 4}
        assert kind.remedy
        assert inspect.getdoc(kind).endswith(".")


def test_the_tree_at_the_top_of_the_module_is_the_tree():
    drawn = set(
        re.findall(r"\b[A-Z]\w+(?:Error|Unavailable|Refused|Unreachable|Unanswered|Server|TooLarge)\b", errors.__doc__)
    )
    assert {kind.__name__ for kind in tree()} == drawn - {"ValueError", "OSError", "AuditError"}
    assert {kind.__name__ for kind in tree()} == set(errors.__all__)


def test_the_page_gives_each_error_the_code_that_it_has():
    found = {}
    for code, names in re.findall(r"^\| ([24]) \| (`.*) \|$", PAGE.read_text("utf-8"), re.MULTILINE):
        found |= dict.fromkeys(re.findall(r"`(\w+)`", names), int(code))
    assert found == {kind.__name__: kind.exit_code for kind in tree() if kind is not ContrailError}


def test_no_module_of_ours_has_an_error_beside_the_tree():
    strays = set()
    for module in pkgutil.walk_packages(observability.__path__, "observability."):
        if ".ui" in module.name or module.name.endswith(("__main__", ".tee")):
            continue
        for name, kind in vars(import_module(module.name)).items():
            own = inspect.isclass(kind) and issubclass(kind, Exception) and kind.__module__ == module.name
            if own and not issubclass(kind, ContrailError) and name not in STEERING:
                strays.add(f"{module.name}.{name}")
    assert strays == set()


@pytest.mark.parametrize(
    ("message", "shown"),
    [("away", f"away; {errors.StoreError.remedy}"), ("away; start it", "away; start it")],
)
def test_a_message_without_a_remedy_gets_that_of_its_kind(message, shown):
    assert errors.StoreError(message).advice == shown
