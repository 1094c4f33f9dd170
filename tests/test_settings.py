import re
from dataclasses import fields
from pathlib import Path

import msgspec
import pytest
import tomllib

from observability import catalog
from observability.option_types import hints_of
from observability.settings import (
    RedactionSettings,
    SettingsError,
    config_file,
    default_home,
    load_settings,
    sections,
)
from observability.settings_source import ANOTHER_USER


def test_defaults_stand_where_nothing_is_set(tmp_path):
    assert load_settings(environ={}).relay.sinks == ("embedded",)


def test_a_variable_wins_over_the_file(tmp_path):
    path = tmp_path / "contrail.toml"
    path.write_text("[statsd]\nport = 1\nhost = 'file'\n")
    options = load_settings(path, {"CONTRAIL_STATSD__PORT": "2"})
    assert (options.statsd.port, options.statsd.host) == (2, "file")


def test_a_list_in_a_variable_is_split_at_commas():
    assert load_settings(environ={"CONTRAIL_RELAY__SINKS": "embedded, elasticsearch"}).relay.sinks == (
        "embedded",
        "elasticsearch",
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[relay]\nsink = ['embedded']\n", "{file}: unknown key 'sink' in [relay]; did you mean 'sinks'?"),
        ("[realy]\n", "{file}: unknown section [realy]; did you mean 'relay'?"),
        ("[statsd]\nport = 'no'\n", "{file}: [statsd] port must be a whole number from 1 to 65,535; it is 'no'"),
        ("[statsd]\nenabled = 'maybe'\n", "{file}: [statsd] enabled must be true or false; it is 'maybe'"),
        (
            "[relay]\nsinks = [1]\n",
            "{file}: [relay] sinks must be a list of texts; each {one}; it is [1]",
        ),
        (
            "[redaction]\npatterns = ['(']\n",
            "{file}: [redaction] patterns must be regular expressions, and '(' is {why}",
        ),
        ("relay = 1\n", "{file}: [relay] must be a section, not a value"),
    ],
)
def test_a_mistake_in_the_file_names_file_key_and_remedy(tmp_path, text, expected):
    path = tmp_path / "contrail.toml"
    path.write_text(text)
    with pytest.raises(SettingsError) as caught:
        load_settings(path, {})
    assert str(caught.value) == expected.format(
        file=path,
        one="must be one of embedded, elasticsearch, cloudwatch, otlp",
        why="not one: missing ), unterminated subpattern at position 0",
    )


def test_a_file_that_is_no_toml_names_file_and_line(tmp_path):
    path = tmp_path / "contrail.toml"
    path.write_text("[relay\n")
    with pytest.raises(SettingsError, match=r"contrail\.toml: .*line 1"):
        load_settings(path, {})


def test_a_file_that_is_no_utf8_is_named(tmp_path):
    path = tmp_path / "contrail.toml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsError, match=r"contrail\.toml"):
        load_settings(path, {})


@pytest.mark.parametrize(
    ("variable", "value", "expected"),
    [
        ("CONTRAIL_STATSD__PROT", "1", "unknown variable CONTRAIL_STATSD__PROT; did you mean 'CONTRAIL_STATSD__PORT'?"),
        ("CONTRAIL_STATSD__PORT", "x", "CONTRAIL_STATSD__PORT must be a whole number from 1 to 65,535; it is 'x'"),
        ("CONTRAIL_STATSD__ENABLED", "x", "CONTRAIL_STATSD__ENABLED must be true or false; it is 'x'"),
    ],
)
def test_a_mistake_in_a_variable_names_it_and_the_remedy(variable, value, expected):
    with pytest.raises(SettingsError) as caught:
        load_settings(environ={variable: value})
    assert str(caught.value) == expected


def test_a_named_file_that_is_not_there_is_an_error():
    with pytest.raises(SettingsError, match="CONTRAIL_CONFIG names /no/such/file, which is not a file"):
        config_file({"CONTRAIL_CONFIG": "/no/such/file"})


def test_the_file_in_the_home_is_found(tmp_path, monkeypatch):
    monkeypatch.setenv("CONTRAIL_HOME", str(tmp_path))
    (tmp_path / "contrail.toml").write_text("[core]\nenvironment = 'prod'\n")
    assert load_settings().core.environment == "prod"


def test_every_option_has_a_sentence():
    missing = [
        f"{name}.{key}"
        for name, kind in sections().items()
        for key, part in kind.__dataclass_fields__.items()
        if not part.metadata.get("doc", "").endswith((".", ")", "}"))
    ]
    assert missing == []


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("CONTRAIL_CORE__ENVIRONMENT", "PROD"),
        ("CONTRAIL_CORE__ENVIRONMENT", "eu west"),
        ("CONTRAIL_CORE__ENVIRONMENT", "a/b"),
        ("CONTRAIL_CORE__ENVIRONMENT", "a*"),
        ("CONTRAIL_CORE__ENVIRONMENT", "-a"),
        ("CONTRAIL_CORE__ENVIRONMENT", "prüfung"),
        ("CONTRAIL_CORE__ENVIRONMENT", "x" * 101),
        ("CONTRAIL_CORE__ENVIRONMENT", "prod\n"),
        ("CONTRAIL_CORE__ENVIRONMENT", ""),
        ("CONTRAIL_CLOUDWATCH__LOG_GROUP_PREFIX", "/con trail"),
        ("CONTRAIL_CLOUDWATCH__LOG_GROUP_PREFIX", "aws/contrail"),
        ("CONTRAIL_CLOUDWATCH__NAMESPACE", "AWS/Contrail"),
        ("CONTRAIL_CLOUDWATCH__NAMESPACE", " "),
        ("CONTRAIL_WATCH__KIBANA_ALERTS", "Kibana-Alerts"),
        ("CONTRAIL_WATCH__KIBANA_ALERTS", "a,b"),
        ("CONTRAIL_RELAY__SINKS", "embedded,elastic"),
        ("CONTRAIL_STORE__BACKEND", "opensearch"),
    ],
)
def test_a_name_that_a_service_would_refuse_is_refused_at_the_start(variable, value):
    with pytest.raises(SettingsError, match=f"{variable} must be .*; it is "):
        load_settings(environ={variable: value})


@pytest.mark.parametrize("name", ["prod", "eu-west-1.prod_2", "1", "x" * 100])
def test_an_environment_that_every_service_takes_is_taken(name):
    assert load_settings(environ={"CONTRAIL_CORE__ENVIRONMENT": name}).core.environment == name


def test_a_variable_mends_a_name_in_the_file(tmp_path):
    path = tmp_path / "contrail.toml"
    path.write_text("[core]\nenvironment = 'Prod'\n")
    with pytest.raises(SettingsError, match=r"\[core\] environment must be .*; it is 'Prod'"):
        load_settings(path, {})
    assert load_settings(path, {"CONTRAIL_CORE__ENVIRONMENT": "prod"}).core.environment == "prod"


def bounds(name, part, hint):
    """The bounds of an option that is a number, None for others."""
    metas = [meta for meta in getattr(hint, "__metadata__", ()) if meta.ge is not None or meta.le is not None]
    return (name, part.name, type(part.default), metas[0].ge, metas[0].le) if metas else None


OPTIONS = [(name, part, hints_of(kind)[part.name]) for name, kind in sections().items() for part in fields(kind)]
NUMBERS = list(filter(None, (bounds(*option) for option in OPTIONS)))


def test_every_number_has_bounds_and_every_default_is_within_them():
    bounded = {(name, key) for name, key, *_ in NUMBERS}
    without = [
        f"[{name}] {part.name}"
        for name, part, hint in OPTIONS
        if type(part.default) in (int, float) and (name, part.name) not in bounded and part.name != "compat_with"
    ]
    assert without == []
    for _, part, hint in OPTIONS:
        assert msgspec.convert(part.default, hint) == part.default


@pytest.mark.parametrize(
    ("option", "least", "most"),
    [
        ("relay.poll_ms", 1, 60_000),
        ("relay.batch_bytes", 4_096, 67_108_864),
        ("relay.series_budget", 1, 1_000_000),
        ("relay.flush_timeout_s", 0, 3_600),
        ("elasticsearch.mapped_keys", 0, 1_500),
        ("watch.act_link_hours", 0, 720),
        ("airflow.parallelism", 1, 1_024),
    ],
)
def test_bounds_of_a_single_option_are_what_they_were_meant_to_be(option, least, most):
    assert {f"{name}.{key}": found for name, key, _, *found in NUMBERS}[option] == [least, most]


@pytest.mark.parametrize("number", NUMBERS, ids=lambda number: f"{number[0]}.{number[1]}")
def test_a_number_outside_its_bounds_is_refused_in_file_and_variable(tmp_path, number):
    section, key, kind, least, most = number
    path, variable = tmp_path / "contrail.toml", f"CONTRAIL_{section}__{key}".upper()
    words = f"must be a {'whole ' if kind is int else ''}number from {least:,} to {most:,}; it is"
    for value in (least, most):
        path.write_text(f"[{section}]\n{key} = {value}\n")
        assert getattr(getattr(load_settings(path, {}), section), key) == value
        assert getattr(getattr(load_settings(environ={variable: str(value)}), section), key) == value
    for value in ("-5", str(most * 2), "nan", "inf", "true", "'x'", "[1]", *(["1.5"] if kind is int else [])):
        path.write_text(f"[{section}]\n{key} = {value}\n")
        with pytest.raises(SettingsError) as caught:
            load_settings(path, {})
        assert str(caught.value).startswith(f"{path}: [{section}] {key} {words} ")
        with pytest.raises(SettingsError) as caught:
            load_settings(environ={variable: value})
        assert str(caught.value) == f"{variable} {words} {value!r}"


def test_every_fault_of_file_and_variables_is_named_at_once(tmp_path):
    path = tmp_path / "contrail.toml"
    path.write_text("[relay]\npoll_ms = -5\npol_ms = 1\n[store]\nbackend = 'floppy'\n[wach]\n")
    with pytest.raises(SettingsError) as caught:
        load_settings(path, {"CONTRAIL_STATSD__PORT": "70000"})
    assert str(caught.value).splitlines() == [
        f"{path}: unknown section [wach]; did you mean 'watch'?",
        "CONTRAIL_STATSD__PORT must be a whole number from 1 to 65,535; it is '70000'",
        f"{path}: unknown key 'pol_ms' in [relay]; did you mean 'poll_ms'?",
        f"{path}: [relay] poll_ms must be a whole number from 1 to 60,000; it is -5",
        f"{path}: [store] backend must be one of embedded, elasticsearch, cloudwatch; it is 'floppy'",
    ]


@pytest.mark.parametrize(
    ("variable", "meant"),
    [
        ("CONTRAIL_RELAY_POLL_MS", "CONTRAIL_RELAY__POLL_MS"),
        ("CONTRAIL_STATSD_PORT", "CONTRAIL_STATSD__PORT"),
        ("contrail_relay__sinks", "CONTRAIL_RELAY__SINKS"),
        ("CONTRAIL__RELAY__SINKS", "CONTRAIL_RELAY__SINKS"),
    ],
)
def test_a_variable_that_is_nearly_an_options_name_is_named_with_it(variable, meant):
    with pytest.raises(SettingsError) as caught:
        load_settings(environ={variable: "1"})
    assert str(caught.value) == f"unknown variable {variable}; did you mean {meant!r}?"


@pytest.mark.parametrize("variable", ["CONTRAIL_HOME", "CONTRAIL_API_TOKEN", "CONTRAIL_IMAGE", "CONTRAIL_ENVIRONMENT"])
def test_variables_that_are_not_options_are_left_alone(variable):
    assert load_settings(environ={variable: "1"}).relay.poll_ms == 200


@pytest.mark.parametrize(
    ("variable", "value", "allowed"),
    [
        ("CONTRAIL_CORE__PUBLIC_URL", "airflow.example.com", "must be an address that begins with http"),
        ("CONTRAIL_ELASTICSEARCH__URL", "ftp://es", "must be an address that begins with http"),
        ("CONTRAIL_WATCH__API_URL", "http:// x", "must be an address that begins with http"),
        ("CONTRAIL_WATCH__LEDGER_URL", "/var/lib/ledger.db", "must be an SQLAlchemy URL"),
        ("CONTRAIL_RELAY__STATSD_FORWARD", "statsd.example.com", "must be host:port"),
        ("CONTRAIL_RELAY__STATSD_HOST", "", "must be a text that is not empty"),
        ("CONTRAIL_CLOUDWATCH__REGION", "eu central", "must be the name of a region"),
        ("CONTRAIL_ELASTICSEARCH__COMPAT_WITH", "7", "must be one of 0, 8, 9"),
    ],
)
def test_an_address_that_could_not_be_used_is_refused(variable, value, allowed):
    with pytest.raises(SettingsError) as caught:
        load_settings(environ={variable: value})
    assert str(caught.value).startswith(f"{variable} {allowed}")


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("CONTRAIL_WATCH__LEDGER_URL", "postgresql+psycopg2://u:p@h/d?sslmode=require"),
        ("CONTRAIL_WATCH__LEDGER_URL", "sqlite:////tmp/ledger.db"),
        ("CONTRAIL_RELAY__STATSD_FORWARD", "[::1]:8125"),
        ("CONTRAIL_RELAY__STATSD_FORWARD", "::1:8125"),
        ("CONTRAIL_WATCH__API_URL", "https://[::1]:8080/airflow/"),
        ("CONTRAIL_ELASTICSEARCH__COMPAT_WITH", "8"),
        ("CONTRAIL_JOURNAL__FSYNC", "On"),
    ],
)
def test_a_value_that_can_be_used_is_taken(variable, value):
    load_settings(environ={variable: value})


@pytest.mark.parametrize("value", ["ftp://ann:hunter2@es:9200", "ann:hunter2@es:9200", "ftp://es/?a=@:hunter2@es"])
def test_a_message_does_not_repeat_the_password_of_an_address(value):
    with pytest.raises(SettingsError) as caught:
        load_settings(environ={"CONTRAIL_ELASTICSEARCH__URL": value})
    assert "hunter2" not in str(caught.value)


PREVIOUS = Path(__file__).parent / "production" / "previous" / "contrail.toml"
"""A file that `contrail config template` wrote before options were renamed."""


def test_a_whole_file_of_before_the_renaming_sets_the_same(tmp_path):
    path = tmp_path / "contrail.toml"
    path.write_text(re.sub(r"(?m)^# (\w+ = )", r"\1", PREVIOUS.read_text("utf-8")))
    assert "[contrail]" in path.read_text()
    assert load_settings(path, {}) == load_settings(environ={})


def test_a_file_of_before_the_renaming_is_read(tmp_path):
    path = tmp_path / "contrail.toml"
    given = {
        "home": '"/srv/contrail"', "environment": '"prod"',
        "keep_days": "3", "catch_up_s": "4.0", "routes": '"/etc/a.yaml"',
    }  # fmt: skip
    text = PREVIOUS.read_text("utf-8").replace("# history_days = 0", "history_days = 5")
    for key, value in given.items():
        text = re.sub(rf"(?m)^# {key} = .*", f"{key} = {value}", text)
    path.write_text(text)
    found = load_settings(path, {})
    assert (found.core.environment, found.core.home, found.journal.retention_days) == ("prod", "/srv/contrail", 3)
    assert (found.relay.flush_timeout_s, found.relay.ignore_older_days) == (4.0, 5)
    assert found.watch.rules_file == "/etc/a.yaml"


def test_variables_of_before_the_renaming_are_read_and_win_over_a_file(tmp_path):
    path = tmp_path / "contrail.toml"
    path.write_text("[core]\nenvironment = 'file'\n[watch]\nrules_file = 'file'\n")
    old = {"CONTRAIL_CONTRAIL__ENVIRONMENT": "old", "CONTRAIL_WATCH__ROUTES": "old", "CONTRAIL_RELAY__CATCH_UP_S": "2"}
    found = load_settings(path, old)
    assert (found.core.environment, found.watch.rules_file, found.relay.flush_timeout_s) == ("old", "old", 2.0)


def test_where_the_old_and_the_new_name_stand_the_new_one_counts(tmp_path):
    path = tmp_path / "contrail.toml"
    for text in ("[core]\nhome='new'\n[contrail]\nhome='old'\n", "[contrail]\nhome='old'\n[core]\nhome='new'\n"):
        path.write_text(text + "[watch]\nrules_file='new'\nroutes='old'\n")
        found = load_settings(path, {"CONTRAIL_CONTRAIL__ENVIRONMENT": "old", "CONTRAIL_CORE__ENVIRONMENT": "new"})
        assert (found.core.home, found.watch.rules_file, found.core.environment) == ("new", "new", "new")


def test_a_fault_under_an_old_name_says_what_the_option_is_called_now(tmp_path):
    path = tmp_path / "contrail.toml"
    path.write_text("[contrail]\nenvironment = 'Prod'\n")
    with pytest.raises(SettingsError) as caught:
        load_settings(path, {})
    fault, note = str(caught.value).splitlines()
    assert fault.startswith(f"{path}: [core] environment must be")
    assert note == "[contrail] is called [core] now"


@pytest.mark.parametrize("text", ["contrail = 1\n", "[contrail]\nhome = 1\n[core]\n[watch]\nroutes = ['a']\n"])
def test_a_misshapen_file_with_old_names_is_refused_by_name(tmp_path, text):
    path = tmp_path / "contrail.toml"
    path.write_text(text)
    with pytest.raises(SettingsError, match=r"contrail\.toml: \[core\]"):
        load_settings(path, {})


@pytest.mark.parametrize(
    ("given", "address"),
    [
        ({}, "http://127.0.0.1:8080"),
        ({"AIRFLOW__API__PORT": "9090"}, "http://127.0.0.1:9090"),
        ({"AIRFLOW__API__PORT": "9090", "AIRFLOW__API__SSL_CERT": "/cert.pem"}, "https://127.0.0.1:9090"),
        ({"AIRFLOW__API__PORT": "9090", "CONTRAIL_AIRFLOW__PORT": "7070"}, "http://127.0.0.1:7070"),
        ({"AIRFLOW__API__PORT": "9090", "CONTRAIL_WATCH__API_URL": "http://there:1/"}, "http://there:1"),
    ],
)
def test_the_api_server_is_where_airflow_has_it_unless_an_option_says_otherwise(given, address, monkeypatch, tmp_path):
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path))
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    assert load_settings().api_url == address


def test_the_port_of_airflows_file_counts_except_for_a_platform_of_ours(monkeypatch, tmp_path):
    (tmp_path / "airflow.cfg").write_text("[api]\nport = 9191\n")
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path))
    monkeypatch.setenv("CONTRAIL_HOME", str(tmp_path / "contrail"))
    assert load_settings().api_url == "http://127.0.0.1:9191"
    (tmp_path / "contrail" / "keys").mkdir(parents=True)
    assert load_settings().api_url == "http://127.0.0.1:8080"


def test_the_file_that_we_ship_names_every_option_with_its_default(tmp_path):
    shipped = (Path(__file__).parents[1] / "config" / "contrail.toml").read_text("utf-8")
    path = tmp_path / "contrail.toml"
    path.write_text(re.sub(r"(?m)^# (?=\w+ = )", "", shipped), "utf-8")
    assert load_settings(path, {}) == load_settings(environ={})
    named = {section: set(values) for section, values in tomllib.loads(path.read_text("utf-8")).items()}
    assert named == {section: {option.name for option in fields(kind)} for section, kind in sections().items()}


@pytest.mark.parametrize(
    ("name", "given", "expected"),
    [
        ("home", {}, "H"),
        ("journal_directory", {}, "H/journal"),
        ("journal_directory", {"CONTRAIL_JOURNAL__DIRECTORY": "/j"}, "/j"),
        ("store_path", {}, "H/store.db"),
        ("store_path", {"CONTRAIL_STORE__PATH": "/s.db"}, "/s.db"),
        ("ledger_url", {}, "sqlite:///H/ledger.db"),
        ("ledger_url", {"CONTRAIL_WATCH__LEDGER_URL": "postgresql://l"}, "postgresql://l"),
        ("log_folder", {}, "A/logs"),
        ("log_folder", {"AIRFLOW__LOGGING__BASE_LOG_FOLDER": "/a"}, "/a"),
        ("log_folder", {"CONTRAIL_RELAY__LOG_FOLDER": "/o", "AIRFLOW__LOGGING__BASE_LOG_FOLDER": "/a"}, "/o"),
        ("public_url", {"CONTRAIL_AIRFLOW__PORT": "81"}, "http://127.0.0.1:81"),
        ("public_url", {"AIRFLOW__API__BASE_URL": "https://a/x/"}, "https://a/x"),
        ("public_url", {"CONTRAIL_CORE__PUBLIC_URL": "https://o/", "AIRFLOW__API__BASE_URL": "https://a"}, "https://o"),
        ("alert_index", {"CONTRAIL_ELASTICSEARCH__INDEX_PREFIX": "p-"}, f"p-{catalog.ALERT_INDEX}"),
        ("alert_index", {"CONTRAIL_WATCH__KIBANA_ALERTS": "mine"}, "mine"),
        ("statsd_prefix", {}, "airflow"),
        ("statsd_prefix", {"AIRFLOW__METRICS__STATSD_PREFIX": "acme"}, "acme"),
        ("statsd_prefix", {"CONTRAIL_RELAY__STATSD_PREFIX": "own", "AIRFLOW__METRICS__STATSD_PREFIX": "acme"}, "own"),
        ("statsd_socket_path", {}, ""),
        ("statsd_socket_path", {"AIRFLOW__METRICS__STATSD_SOCKET_PATH": "/a.sock"}, "/a.sock"),
        ("statsd_socket_path", {"CONTRAIL_RELAY__STATSD_SOCKET_PATH": "/o.sock"}, "/o.sock"),
    ],
)
def test_where_no_option_says_so_airflow_does_and_else_the_home(monkeypatch, tmp_path, name, given, expected):
    home, airflow = tmp_path / "home", tmp_path / "airflow"
    monkeypatch.setenv("AIRFLOW_HOME", str(airflow))
    for variable, value in given.items():
        if variable.startswith("AIRFLOW"):
            monkeypatch.setenv(variable, value)
    settings = load_settings(environ={"CONTRAIL_CORE__HOME": str(home), **given})
    here = re.sub(r"\bH\b", str(home), re.sub(r"\bA\b", str(airflow), expected))
    assert str(getattr(settings, name)) == here


@pytest.mark.parametrize(
    ("airflow_home", "folders", "expected"),
    [
        ("A", (), "A/contrail"), ("A", ("W/.contrail",), "A/contrail"), ("", (), "W/.contrail"),
        ("", ("U/airflow/contrail",), "U/airflow/contrail"),
        ("", ("U/airflow/contrail", "W/.contrail"), "W/.contrail"), ("", ("W/.contrail",), "W/.contrail"),
    ],
)  # fmt: skip
def test_the_home_is_airflows_where_it_is_named_or_there_and_else_the_working_folders(
    monkeypatch, tmp_path, airflow_home, folders, expected
):
    for name in ("W", "U", *folders):
        (tmp_path / name).mkdir(parents=True, exist_ok=True)
    monkeypatch.delenv("CONTRAIL_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "U"))
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path / airflow_home))
    if not airflow_home:
        monkeypatch.delenv("AIRFLOW_HOME")
    monkeypatch.chdir(tmp_path / "W")
    assert default_home() == tmp_path / expected
    monkeypatch.setenv("CONTRAIL_HOME", "~/mine")
    assert default_home() == tmp_path / "U" / "mine"


@pytest.mark.parametrize(
    ("pattern", "says"),
    [
        ("a(", "must be regular expressions, and 'a(' is not one: missing ), unterminated subpattern"),
        (r"(?<=a)b", "'(?<=a)b' cannot be matched in linear time: invalid perl operator: (?<"),
        (r"(a)\1", r"'(a)\\1' cannot be matched in linear time: invalid escape sequence: \1"),
    ],
)
def test_a_pattern_of_personal_data_that_takes_no_linear_time_is_refused_with_the_reason(capfd, pattern, says):
    with pytest.raises(SettingsError) as refused:
        RedactionSettings(patterns=("fine", pattern))
    assert says in str(refused.value)
    assert capfd.readouterr() == ("", "")


def test_a_named_file_that_a_task_of_another_user_may_not_see_is_no_error(tmp_path):
    named = tmp_path / "contrail.toml"
    assert config_file({"CONTRAIL_CONFIG": str(named), ANOTHER_USER: "1"}) == named
    with pytest.raises(SettingsError, match="which is not a file; correct or unset it"):
        config_file({"CONTRAIL_CONFIG": str(named)})
    named.write_text("")
    assert config_file({"CONTRAIL_CONFIG": str(named)}) == named
