"""One option is enough for a first route: everything goes to the address that it refers to."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from observability.cli.alerts import app
from observability.settings import SettingsError, get_settings, load_settings
from observability.watch.ledger.database import Ledger
from observability.watch.notify.channels.channel import open_channel
from observability.watch.rules.in_force import usable_rules
from observability.watch.rules.loader import open_rules

HOOK = "https://hooks.slack.com/services/T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ"


@pytest.fixture
def settings(tmp_path, monkeypatch):
    monkeypatch.setenv("CONTRAIL_HOME", str(tmp_path))
    monkeypatch.setenv("CONTRAIL_WATCH__ALERTS_TO", "env:TEAM_CHAT")
    monkeypatch.setenv("TEAM_CHAT", HOOK)
    get_settings.cache_clear()
    yield get_settings()
    get_settings.cache_clear()


@pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")  # Apprise looks for it
def test_everything_goes_to_the_address_and_into_the_file(settings):
    rules = open_rules(settings).rules
    assert rules.receivers["everybody"].channels == ["people", "file"]
    assert rules.channels["people"].url == "env:TEAM_CHAT"
    open_channel("people", rules.channels["people"], None, settings.home).close()  # a real service takes this address


def test_the_command_line_says_who_would_hear_of_it_and_from_where(settings):
    said = CliRunner().invoke(app, ["explain", "flights"]).output
    assert "people" in said
    assert "[watch] alerts_to env:TEAM_CHAT" in CliRunner().invoke(app, ["check"]).output
    assert HOOK not in said


def test_a_rules_file_in_the_home_stands_above_it(settings):
    (settings.home / "alerts.yaml").write_text(
        "channels: {log: {type: log}}\nreceivers: {all: {channels: [log]}}\nroutes: [{receiver: all}]\n"
    )
    assert list(open_rules(settings).rules.channels) == ["log"]


def test_a_watcher_takes_the_same_rules(settings):
    ledger = Ledger(settings.ledger_url)
    try:
        assert list(usable_rules(settings, ledger).rules.channels) == ["people", "file", "log"]
    finally:
        ledger.close()


@pytest.mark.parametrize("address", [HOOK, "env:", "connection:a b", "secret:x", "env:A}, x: {y"])
def test_an_address_that_is_written_out_is_refused_without_being_repeated_as_a_rule(address):
    with pytest.raises(SettingsError, match="ALERTS_TO"):
        load_settings(environ={"CONTRAIL_WATCH__ALERTS_TO": address})
