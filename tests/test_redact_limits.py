"""The limits of masking: the shortest secret, the deepest value, the longest time, and what stays as it is."""

from datetime import datetime, timezone
from types import SimpleNamespace

import pytest

from observability import redact
from observability.contain import take_losses
from observability.redact import MASK, add_secret, document, forget_secrets, inert, is_clean, structlog_processor, text
from observability.settings import RedactionSettings


@pytest.fixture(autouse=True)
def options(monkeypatch):
    """A function that sets the options of this test; without secrets of others."""
    monkeypatch.setattr(redact, "_secrets", {})
    redact._forget_rules()
    take_losses()

    def given(**values):
        settings = SimpleNamespace(redaction=RedactionSettings(**values))
        monkeypatch.setattr(redact, "get_settings", lambda: settings)
        redact._forget_rules()

    yield given
    redact._forget_rules()
    take_losses()


@pytest.mark.parametrize(("secret", "masked"), [("xq", False), ("xqz", True), ("xqzj", True)])
def test_a_value_of_three_letters_is_a_secret_and_a_shorter_one_is_not(secret, masked):
    add_secret(secret)
    assert text(f"a {secret} b") == (f"a {MASK} b" if masked else f"a {secret} b")
    assert is_clean(f"a {secret} b".encode()) is not masked


@pytest.mark.parametrize(
    ("line", "masked"), [("abcdefghijkl", False), ("abcdefghijklm", True), ("-----abcdefghijkl", False)]
)
def test_a_line_of_a_secret_is_one_itself_from_thirteen_letters_on(line, masked):
    add_secret(f"first line of it\n  {line}  \nx" if not line.startswith("-") else f"first line of it\n{line}")
    assert (text(f"[{line}]") == f"[{MASK}]") is masked
    assert text("[first line of it]") == f"[{MASK}]"


def test_secrets_are_known_until_they_are_forgotten():
    add_secret("swordfish")
    add_secret("swordfish")
    assert (text("swordfish"), list(redact._secrets)) == (MASK, ["swordfish"])
    forget_secrets()
    forget_secrets()
    assert (text("swordfish"), is_clean(b"swordfish")) == ("swordfish", True)


@pytest.mark.parametrize(
    ("line", "clean"),
    [
        (b"ann@example.com", True),
        (b"https://example.com", True),
        (b"https://ann@example.com", False),
        (b"plain", True),
        (b"PASSWORD", False),
    ],
)
def test_a_line_is_looked_at_closer_for_a_name_or_an_address_with_a_login(line, clean):
    assert is_clean(line) is clean


def test_names_that_airflow_gave_stay_and_the_names_of_other_fields_are_texts():
    add_secret("flights")
    given = {"airflow.dag_id": "flights", "message": "of flights", "x.flights": 1, "flights": "x"}
    assert document(given) == {"airflow.dag_id": "flights", "message": f"of {MASK}", f"x.{MASK}": 1, MASK: "x"}


MOMENT = datetime(2026, 1, 31, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("key", "value", "masked"),
    [
        ("password", "x", MASK),
        ("password", 5, MASK),
        ("password", None, None),
        ("password", True, True),
        ("password", {"a": "x", "b": ["y", None]}, {"a": MASK, "b": [MASK, None]}),
        ("a", {"password": "x", "b": "y"}, {"password": MASK, "b": "y"}),
        ("a", ("x", 12345), ["x", MASK]),
        ("a", {"x"}, ["x"]),
        ("a", 12345, MASK),
        ("a", 1234, 1234),
        ("a", 1.5, 1.5),
        ("a", MOMENT, MOMENT),
        ("a", b"x", "b'x'"),
        ("a", {12345: 1}, {MASK: 1}),
    ],
)
def test_a_value_is_masked_by_its_name_or_what_it_says_and_keeps_its_kind_else(key, value, masked):
    add_secret("12345")
    found = document({key: value})
    assert found == {key: masked}
    assert type(found[key]) is type(masked)


@pytest.mark.parametrize(("depth", "kept"), [(11, True), (12, True), (13, False)])
def test_values_are_followed_twelve_deep_and_below_it_as_text(depth, kept):
    value = "end"
    for _ in range(depth):
        value = [value]
    found = document({"a": value})["a"]
    levels = 0
    while isinstance(found, list):
        found, levels = found[0], levels + 1
    assert (levels, found) == ((depth, "end") if kept else (12, "['end']"))


def test_what_steps_of_a_pipeline_hand_on_is_left_to_them():
    theirs = {"exc_info": "password=hunter2", "_record": "password=hunter2"}
    event = {"event": "password=hunter2", **theirs}
    assert structlog_processor(None, "", dict(event)) == {"event": f"password={MASK}", **theirs}
    clean = {"event": "x", **theirs}
    assert structlog_processor(None, "", clean) is clean
    alone = {"event": "password=hunter2"}
    assert structlog_processor(None, "", alone) == {"event": f"password={MASK}"}
    assert alone == {"event": "password=hunter2"}


def test_a_persons_pattern_masks_what_it_finds_and_nothing_where_it_finds_no_letter(options):
    options(patterns=(r"\d*", r"x+"))
    assert text("a12b3c") == f"a{MASK}b{MASK}c"
    assert text("axxbx") == f"a{MASK}b{MASK}"
    assert text("abc") == "abc"
    assert is_clean(b"abc") is False


@pytest.mark.parametrize(("passed", "masked"), [(2.0, f"{MASK}b{MASK}c{MASK}d"), (2.001, f"{MASK}b{MASK}{MASK}")])
def test_a_pattern_that_takes_too_long_has_the_rest_masked_and_is_counted(options, monkeypatch, passed, masked):
    options(patterns=(r"\d",))
    text("")
    clock = iter([0.0, 1.0, passed, passed])
    monkeypatch.setattr(redact, "time", SimpleNamespace(thread_time=lambda: next(clock)))
    assert redact._without(redact._rules().patterns[0], "1b2c3d") == masked
    assert take_losses() == ({} if passed == 2.0 else {("redact", "too_slow"): 1})


def test_a_persons_own_words_name_secrets_too(options):
    options(keys=("Wohnort",))
    assert text("wohnort=Ulm") == f"wohnort={MASK}"
    assert document({"mein_wohnort": "Ulm"}) == {"mein_wohnort": MASK}
    assert is_clean(b"WOHNORT: Ulm") is False


def test_settings_that_cannot_be_read_take_no_rule_away(monkeypatch):
    def refuse():
        raise redact.SettingsError("no")

    monkeypatch.setattr(redact, "get_settings", refuse)
    redact._forget_rules()
    assert text("password=hunter2") == f"password={MASK}"
    assert take_losses()[("redact", "SettingsError")] >= 1


@pytest.mark.parametrize(("value", "shown"), [
    ("a\nb", "a b"), ("a\x1b[31mb", "a\N{REPLACEMENT CHARACTER}[31mb"), ("a\u202eb", "a\N{REPLACEMENT CHARACTER}b"),
    ("a\t\r\nb", "a b"), ("plain é", "plain é"),
])  # fmt: skip
def test_text_that_a_terminal_would_act_on_is_made_harmless(value, shown):
    assert inert(value) == shown


def test_many_secrets_are_found_as_few_are(monkeypatch):
    monkeypatch.setattr(redact, "_MOST_FAST", 10)
    for number in range(50):
        add_secret(f"secret number {number:03} of many")
    assert text("x secret number 049 of many y") == f"x {MASK} y"
    assert is_clean(b"secret number 007 of many") is False
    assert is_clean(b"secre") is True
