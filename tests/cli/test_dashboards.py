"""``contrail dashboards`` from the command line."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import datetime, timedelta, timezone

import pytest
from typer.testing import CliRunner

from observability.cli.dashboards import app
from observability.dashboard_installer.verify import verify_store
from observability.dashboards.boards import BOARDS
from observability.relay.relay import Relay
from observability.settings import load_settings
from observability.store.store import open_store

CONTRAIL = [sys.executable, "-m", "observability.cli", "dashboards"]
PANELS = sum(len(board.panels) for board in BOARDS)


def test_check_is_content_with_what_is_committed():
    answer = CliRunner().invoke(app, ["check"])

    assert (answer.exit_code, answer.output) == (0, "generated files are current and sound\n")


def test_build_in_a_current_checkout_changes_nothing():
    assert CliRunner().invoke(app, ["build"]).output == "nothing changed\n"


def test_a_target_that_is_none_is_refused():
    answer = CliRunner().invoke(app, ["install", "grafana"])

    assert answer.exit_code == 2
    assert "name kibana or cloudwatch" in answer.output


@pytest.mark.airflow
def test_every_panel_of_the_embedded_store_shows_the_demo_or_says_why_not(demo):
    settings = load_settings(environ={"CONTRAIL_CORE__HOME": str(demo.home)})
    store = open_store(settings)
    until = datetime.now(timezone.utc) + timedelta(minutes=1)

    verdicts = verify_store(store, until - timedelta(hours=6), until)
    store.close()

    assert len(verdicts) == PANELS
    assert {f"{one.board} / {one.panel}": one.reason for one in verdicts if one.rows == 0 and not one.quiet} == {}


@pytest.mark.airflow
def test_verify_lists_quiet_panels_by_name_and_reason(demo):
    answer = subprocess.run(
        [*CONTRAIL, "verify"], env=demo.environment(), capture_output=True, text=True, timeout=60, check=False
    )

    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert "quiet  Contrail: data health / Schema drift: No input changed its columns." in answer.stdout
    assert f"of {PANELS} panels have data" in answer.stdout.splitlines()[-1]


def test_verify_of_an_empty_store_names_every_panel_and_who_should_have_sent(tmp_path, monkeypatch):
    monkeypatch.setenv("CONTRAIL_CORE__HOME", str(tmp_path))
    monkeypatch.setenv("CONTRAIL_RELAY__LOG_FOLDER", str(tmp_path / "logs"))
    assert Relay(load_settings(), statsd=False).run(once=True)
    answer = subprocess.run([*CONTRAIL, "verify", "--json"], capture_output=True, text=True, timeout=60, check=False)

    found = {f"{one['board']} / {one['panel']}": one["reason"] for one in json.loads(answer.stdout)}
    assert answer.returncode == 1
    assert len(found) == PANELS
    assert found["Contrail: platform / Relay's memory"] == (
        "no contrail.relay.rss_bytes arrived; the relay sends it: is it running (contrail status)?"
    )
