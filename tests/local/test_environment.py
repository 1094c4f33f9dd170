"""The environment that the components are started with."""

from __future__ import annotations

import json
import os
import stat

import pytest

from observability.local.environment import environment, join, read_env_file
from observability.local.errors import PlatformError
from observability.local.keys import create_keys, password
from observability.local.layout import Layout
from observability.settings import get_settings, load_settings


@pytest.fixture
def layout(tmp_path):
    made = Layout(tmp_path)
    made.create()
    return made


def test_comments_and_empty_lines_of_an_env_file_are_passed_over(tmp_path):
    (tmp_path / "x.env").write_text("# why\n\nA=1\n B = two = 2 \n")
    assert read_env_file(tmp_path / "x.env") == {"A": "1", "B": "two = 2"}


def test_a_line_that_is_no_assignment_is_named_with_its_number(tmp_path):
    (tmp_path / "x.env").write_text("A=1\nexport B\n")
    with pytest.raises(PlatformError, match=r"x\.env:2: 'export B' is not NAME=value"):
        read_env_file(tmp_path / "x.env")


def test_a_variable_of_the_caller_wins_over_the_documented_one(layout, monkeypatch):
    monkeypatch.setenv("AIRFLOW__CORE__LOAD_EXAMPLES", "True")
    assert environment(layout, load_settings())["AIRFLOW__CORE__LOAD_EXAMPLES"] == "True"


def test_the_options_and_the_layout_win_over_a_variable_of_the_caller(layout, monkeypatch):
    monkeypatch.setenv("AIRFLOW__CORE__DAGS_FOLDER", "/elsewhere")
    settings = load_settings(environ={"CONTRAIL_AIRFLOW__DAGS_FOLDER": "/dags", "CONTRAIL_AIRFLOW__PORT": "1234"})
    given = environment(layout, settings)
    assert (given["AIRFLOW__CORE__DAGS_FOLDER"], given["AIRFLOW__API__PORT"]) == ("/dags", "1234")


def test_no_secret_is_in_the_environment(layout):
    settings = load_settings()
    create_keys(layout, settings)
    given = " ".join(environment(layout, settings).values())
    secrets = [path.read_text() for path in layout.keys.iterdir() if path.suffix != ".json"]
    assert [secret for secret in [*secrets, password(layout)] if secret in given] == []


def test_a_secret_of_the_caller_is_not_remembered_for_commands_that_join_in(layout, monkeypatch):
    monkeypatch.setenv("CONTRAIL_API_PASSWORD", "hush-hush")
    monkeypatch.setenv("AIRFLOW_CONN_X", "postgres://u:hush-hush@h")
    environment(layout, load_settings())
    assert "hush-hush" not in layout.environment.read_text()
    assert stat.S_IMODE(layout.environment.stat().st_mode) == 0o600


def test_a_command_joins_with_what_the_platform_was_started_with_and_keeps_its_own(layout, monkeypatch):
    environment(layout, load_settings(environ={"CONTRAIL_AIRFLOW__PORT": "1234"}))
    monkeypatch.setattr(os, "environ", {**os.environ, "AIRFLOW_HOME": "/mine"})
    join(layout)
    assert (os.environ["CONTRAIL_AIRFLOW__PORT"], os.environ["AIRFLOW_HOME"]) == ("1234", "/mine")
    get_settings.cache_clear()


def test_keys_are_made_once(layout):
    settings = load_settings()
    create_keys(layout, settings)
    before = {path.name: path.read_text() for path in layout.keys.iterdir()}
    create_keys(layout, settings)
    assert {path.name: path.read_text() for path in layout.keys.iterdir()} == before


def test_connections_that_people_added_stay_and_ours_follow_the_port(layout):
    create_keys(layout, load_settings())
    mine = {"team_chat": {"conn_type": "http"}}
    layout.connections.write_text(json.dumps({**json.loads(layout.connections.read_text()), **mine}))
    create_keys(layout, load_settings(environ={"CONTRAIL_AIRFLOW__PORT": "1234"}))
    found = json.loads(layout.connections.read_text())
    assert (found["team_chat"], found["airflow_api"]["port"]) == (mine["team_chat"], 1234)


def test_connections_that_are_no_json_are_named(layout):
    create_keys(layout, load_settings())
    layout.connections.write_text("{")
    with pytest.raises(PlatformError, match=r"connections\.json is not JSON"):
        create_keys(layout, load_settings())
