"""Settings as a process reads them: once, from what it may read, with the names that are old said."""

import pytest

from observability import settings as settings_module
from observability.settings import SettingsError, get_settings, load_settings, old_names
from observability.settings_source import ANOTHER_USER


@pytest.mark.parametrize(
    ("environ", "may_read", "home"),
    [
        ({ANOTHER_USER: "1"}, False, "FOLDER"),
        ({ANOTHER_USER: "1", "CONTRAIL_HOME": "/h"}, False, "/h"),
        ({ANOTHER_USER: "1"}, True, None),
        ({}, False, None),
        ({ANOTHER_USER: "0"}, False, None),
    ],
)
def test_a_file_that_cannot_be_read_is_an_error_unless_it_is_that_of_another_user(
    tmp_path, monkeypatch, environ, may_read, home
):
    path = tmp_path / "contrail.toml"
    path.write_text("[core]\nenvironment = 'prod'\n")
    monkeypatch.setattr(settings_module, "read_toml", lambda _path: ({}, f"cannot read {path}"))
    monkeypatch.setattr(settings_module.os, "access", lambda _path, _mode: may_read)
    if home is None:
        with pytest.raises(SettingsError, match=f"^cannot read {path}$"):
            load_settings(path, environ)
    else:
        found = load_settings(path, {**environ, "CONTRAIL_STATSD__PORT": "77"}).core
        assert (found.home, found.environment) == (home.replace("FOLDER", str(tmp_path)), "dev")
        assert load_settings(path, {**environ, "CONTRAIL_STATSD__PORT": "77"}).statsd.port == 77


def test_old_names_in_file_and_variables_are_told_and_new_ones_are_not(tmp_path, monkeypatch):
    monkeypatch.setenv("CONTRAIL_HOME", str(tmp_path))
    monkeypatch.delenv("CONTRAIL_CONFIG", raising=False)
    assert old_names() == []
    (tmp_path / "contrail.toml").write_text("[contrail]\nenvironment = 'prod'\n")
    monkeypatch.setenv("CONTRAIL_WATCH__ROUTES", "x")
    assert [one.split(" is called ")[0] for one in old_names()] == ["[contrail]", "CONTRAIL_WATCH__ROUTES"]


def test_settings_are_read_once_until_they_are_to_be_read_anew(monkeypatch):
    get_settings.cache_clear()
    first = get_settings()
    monkeypatch.setenv("CONTRAIL_STATSD__PORT", "77")
    assert get_settings() is first
    get_settings.cache_clear()
    assert get_settings().statsd.port == 77
    monkeypatch.delenv("CONTRAIL_STATSD__PORT")
    get_settings.cache_clear()


@pytest.mark.parametrize(("named", "expected"), [("~/mine", "HOME/mine"), ("/srv/x", "/srv/x")])
def test_a_home_that_is_named_may_be_in_that_of_the_user(tmp_path, monkeypatch, named, expected):
    monkeypatch.setenv("HOME", str(tmp_path))
    found = load_settings(environ={"CONTRAIL_CORE__HOME": named}).home
    assert str(found) == expected.replace("HOME", str(tmp_path))


def test_an_option_has_a_default_a_sentence_and_a_check_of_its_texts():
    made = settings_module.option(7, "Seven.", settings_module.linear_pattern)
    assert (made.default, dict(made.metadata)) == (7, {"doc": "Seven.", "check": settings_module.linear_pattern})
    assert settings_module.option("", "").metadata["check"] is None


def test_airflows_template_of_log_names_is_taken_where_it_is_set(monkeypatch):
    assert load_settings(environ={}).log_filename_template == ""
    monkeypatch.setenv("AIRFLOW__LOGGING__LOG_FILENAME_TEMPLATE", "{{ x }}")
    assert load_settings(environ={}).log_filename_template == "{{ x }}"
