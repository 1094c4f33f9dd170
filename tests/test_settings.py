import pytest

from observability.settings import SettingsError, config_file, load_settings, sections


def test_defaults_stand_where_nothing_is_set(tmp_path):
    assert load_settings(environ={}).relay.sinks == ("embedded",)


def test_a_variable_wins_over_the_file(tmp_path):
    path = tmp_path / "contrail.toml"
    path.write_text("[statsd]\nport = 1\nhost = 'file'\n")
    knobs = load_settings(path, {"CONTRAIL_STATSD__PORT": "2"})
    assert (knobs.statsd.port, knobs.statsd.host) == (2, "file")


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
        ("[statsd]\nport = 'no'\n", "{file}: [statsd] port must be a number, not 'no'"),
        ("[statsd]\nenabled = 'maybe'\n", "{file}: [statsd] enabled must be true or false, not 'maybe'"),
        ("[relay]\nsinks = [1]\n", "{file}: [relay] sinks must be a list of strings, not [1]"),
        (
            "[redaction]\npatterns = ['(']\n",
            "[redaction] patterns: '(' is no regular expression: missing ), unterminated subpattern at position 0",
        ),
        ("relay = 1\n", "{file}: [relay] must be a section, not a value"),
    ],
)
def test_a_mistake_in_the_file_names_file_key_and_remedy(tmp_path, text, expected):
    path = tmp_path / "contrail.toml"
    path.write_text(text)
    with pytest.raises(SettingsError) as caught:
        load_settings(path, {})
    assert str(caught.value) == expected.format(file=path)


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
        ("CONTRAIL_STATSD__PORT", "x", "CONTRAIL_STATSD__PORT must be a number, not 'x'"),
        ("CONTRAIL_STATSD__ENABLED", "x", "CONTRAIL_STATSD__ENABLED must be true or false, not 'x'"),
    ],
)
def test_a_mistake_in_a_variable_names_it_and_the_remedy(variable, value, expected):
    with pytest.raises(SettingsError) as caught:
        load_settings(environ={variable: value})
    assert str(caught.value) == expected


def test_a_named_file_that_is_not_there_is_an_error():
    with pytest.raises(SettingsError, match="CONTRAIL_CONFIG names /no/such/file, which is no file"):
        config_file({"CONTRAIL_CONFIG": "/no/such/file"})


def test_the_file_in_the_home_is_found(tmp_path, monkeypatch):
    monkeypatch.setenv("CONTRAIL_HOME", str(tmp_path))
    (tmp_path / "contrail.toml").write_text("[contrail]\nenvironment = 'prod'\n")
    assert load_settings().contrail.environment == "prod"


def test_every_knob_has_a_sentence():
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
        ("CONTRAIL_CONTRAIL__ENVIRONMENT", "PROD"),
        ("CONTRAIL_CONTRAIL__ENVIRONMENT", "eu west"),
        ("CONTRAIL_CONTRAIL__ENVIRONMENT", "a/b"),
        ("CONTRAIL_CONTRAIL__ENVIRONMENT", "a*"),
        ("CONTRAIL_CONTRAIL__ENVIRONMENT", "-a"),
        ("CONTRAIL_CONTRAIL__ENVIRONMENT", "prüfung"),
        ("CONTRAIL_CONTRAIL__ENVIRONMENT", "x" * 101),
        ("CONTRAIL_CONTRAIL__ENVIRONMENT", "prod\n"),
        ("CONTRAIL_CONTRAIL__ENVIRONMENT", ""),
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
    assert load_settings(environ={"CONTRAIL_CONTRAIL__ENVIRONMENT": name}).contrail.environment == name


def test_a_variable_mends_a_name_in_the_file(tmp_path):
    path = tmp_path / "contrail.toml"
    path.write_text("[contrail]\nenvironment = 'Prod'\n")
    with pytest.raises(SettingsError, match=r"\[contrail\] environment must be .*; it is 'Prod'"):
        load_settings(path, {})
    assert load_settings(path, {"CONTRAIL_CONTRAIL__ENVIRONMENT": "prod"}).contrail.environment == "prod"
