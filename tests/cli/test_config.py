import re
from pathlib import Path

import orjson
from typer.testing import CliRunner

from observability.cli.config import app, template
from observability.settings import get_settings, load_settings

COMMITTED = Path(__file__).parents[2] / "config" / "contrail.toml"


def test_the_committed_file_is_what_the_options_say():
    assert COMMITTED.read_text("utf-8") == template(), "run: contrail config template --write config/contrail.toml"


def test_the_file_with_every_line_uncommented_sets_the_defaults(tmp_path):
    path = tmp_path / "contrail.toml"
    path.write_text(re.sub(r"(?m)^# (\w+ = )", r"\1", template()))
    assert load_settings(path, {}) == load_settings(environ={})


def test_show_prints_the_value_of_every_option_as_json():
    result = CliRunner().invoke(app, ["show", "--json"])
    assert orjson.loads(result.stdout)["statsd"]["port"] == 8125


def test_show_says_which_variable_set_a_value():
    result = CliRunner().invoke(app, ["show"], env={"COLUMNS": "200"})
    assert re.search(r"\[statsd\] enabled\W+false\W+CONTRAIL_STATSD__ENABLED", result.stdout)


def test_show_names_options_by_old_names_and_what_they_are_called_now(monkeypatch):
    monkeypatch.setenv("CONTRAIL_WATCH__ROUTES", "/etc/alerts.yaml")
    get_settings.cache_clear()
    result = CliRunner().invoke(app, ["show"], env={"COLUMNS": "200"})
    assert "note: CONTRAIL_WATCH__ROUTES is called CONTRAIL_WATCH__RULES_FILE now" in result.stderr
    assert re.search(r"\[watch\] rules_file\W+/etc/alerts.yaml\W+CONTRAIL_WATCH__ROUTES", result.stdout)
