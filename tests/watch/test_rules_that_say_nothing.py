"""Rules that can't mean what they say are refused with file, line, key and the choices; what is obvious is taken."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from observability.watch.deadlines import beside_dag
from observability.watch.rules import lint
from observability.watch.rules.config import RulesError, parse_rules, read_rules
from observability.watch.rules.loader import RulesFile

SECTIONS = {
    "channels": "channels: {file: {type: file}, log: {type: log}}",
    "receivers": "receivers: {all: {channels: [file], fallback: log}}",
    "routes": "routes: [{receiver: all}]",
}


def whole(*parts):
    """The parts with the sections that they leave out before them."""
    rest = [text for name, text in SECTIONS.items() if not any(part.startswith(name) for part in parts)]
    return "\n".join([*rest, *parts]) + "\n"


def refused(*parts):
    with pytest.raises(RulesError) as caught:
        parse_rules(whole(*parts), "alerts.yaml")
    return str(caught.value)


@pytest.mark.parametrize(
    ("written", "days"),
    [
        ("[monday]", ["mon"]),
        ("[Mon, TUE]", ["mon", "tue"]),
        ("Mondays", ["mon"]),
        ("[thurs, Weds]", ["thu", "wed"]),
        ("mon-fri", ["mon", "tue", "wed", "thu", "fri"]),
        ("[Friday-Monday]", ["fri", "sat", "sun", "mon"]),
        ("[sun, sunday]", ["sun"]),
    ],
)
def test_a_day_is_taken_however_it_is_written(written, days):
    deadline = f"deadlines: [{{name: a, dag: x, starts_by: '06:00', days: {written}}}]"
    match = f"routes: [{{receiver: all, match: {{days: {written}}}}}, {{receiver: all}}]"
    rules = parse_rules(whole(deadline, match), "alerts.yaml")
    assert rules.deadlines[0].days == rules.routes[0].match.days == days


@pytest.mark.parametrize("written", ["[someday]", "[m]", "[mo]", "[1]", "[mon-]", "weekdays", "['']", "7", "[[mon]]"])
@pytest.mark.parametrize("where", ["deadlines", "routes"])
def test_a_word_that_is_no_day_is_refused_with_the_choices(written, where):
    rule = {
        "deadlines": f"deadlines:\n  - name: a\n    dag: x\n    starts_by: '06:00'\n    days: {written}",
        "routes": f"routes:\n  - match:\n      days: {written}\n    receiver: all",
    }[where]
    said = refused(rule)
    assert "days" in said
    assert f"alerts.yaml:{ {'deadlines': 8, 'routes': 5}[where] }:" in said
    assert "mon, tue, wed" in said


@pytest.mark.parametrize(
    ("key", "condition"),
    [
        ("days: [mon]", "run_finishes_within: 2h"),
        ("days: [mon]", "success_within: 2h"),
        ("days: [mon]", "rows_at_least: 5"),
        ("timezone: Europe/Berlin", "task_finishes_within: 2h"),
        ("timezone: UTC", "fails_more_than_usual: 4"),
        ("task: load", "run_finishes_within: 2h"),
        ("task: load", "starts_by: '06:00'"),
        ("step: load", "success_within: 2h"),
        ("history_least: 7", "rows_at_least: 7"),
        ("warn: 0.5", "rows_at_least: 7"),
        ("warn: 0.5", "rows_unlike_usual: 7"),
        ("days: [mon]", "asset: s3://x, fresh_within: 1d"),
    ],
)
def test_a_key_that_does_nothing_beside_a_condition_is_refused_with_where_it_goes(key, condition):
    said = refused(f"deadlines:\n  - {{name: a, dag: x, {condition}, {key}}}")
    assert said.startswith("alerts.yaml:5: deadlines.0")
    assert key.partition(":")[0] in said
    assert "it goes with" in said


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("'load a'", "there is no ' ' in one"),
        ("'load, clean'", "write several as a list: [load, clean]"),
        ("'load_%'", "there is no '%' in one"),
        ("'^load_.*$'", "there is no '$ ^' in one"),
        ("'!load'", "a glob cannot exclude"),
        ("'.*'", "a regular expression"),
        ("''", "an empty glob"),
        (f"'{'x' * 251}'", "more than 250 characters"),
        ("'dags/load.py'", "there is no '/' in one"),
        ("'(load|clean)'", "there is no"),
    ],
)
@pytest.mark.parametrize(
    "rule",
    [
        "routes: [{{receiver: all, match: {{dag: {}}}}}, {{receiver: all}}]",
        "routes: [{{receiver: all, match: {{task: [x, {}]}}}}, {{receiver: all}}]",
        "silences: [{{match: {{dag: {}}}, comment: x}}]",
        "deadlines: [{{name: a, dag: {}, success_within: 1d}}]",
        "deadlines: [{{name: a, dag: x, task: {}, task_finishes_within: 1d}}]",
    ],
    ids=["route", "second of a route", "silence", "deadline", "task of a deadline"],
)
def test_a_glob_that_no_id_can_match_is_refused_with_the_reason(rule, pattern, said):
    if "dag: x, task: {}" in rule and pattern == "''":
        pytest.skip("an empty task is none")
    assert said in refused(rule.format(pattern))


@pytest.mark.parametrize("pattern", ["load", "load_*", "*", "team-?.x", "l[ab]*", "Übersicht.*", "[!_]*", "é" * 250])
def test_a_glob_that_an_id_can_match_is_taken(pattern):
    parse_rules(whole(f"silences: [{{match: {{dag: '{pattern}'}}}}]"), "alerts.yaml")


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ("routes: [{receiver: all}, {receiver: all, match: {dag: x}}]", "routes.1: no incident gets here: route 1"),
        ("routes: [{receiver: all, match: {timezone: UTC, dag: x}}, {receiver: all}]", "match.timezone: it does noth"),
        ("routes: [{receiver: all, match: {kind: tsk}}]", "'tsk' is none of task, run, stuck"),
        ("routes: [{receiver: all, match: {kind: [task, 'x*']}}]", "'x*' is none of task, run, stuck"),
        ("routes: [{receiver: all, match: {kind: import, task: x}}]", "an incident about import has no task"),
        ("routes: [{receiver: all, match: {severity: fatal}}]", "'fatal' is none of info, warning"),
        ("routes: [{receiver: all, match: {cause: crash}}]", "'crash' is none of app"),
        ("routes: [{receiver: all, match: {owner: ''}}]", "an empty word"),
        ("routes: [{receiver: all, match: {hours: '08:00-08:00'}}]", "is an empty span"),
        ("routes: [{receiver: all, match: {hours: '8-18'}}]", "routes.0.match.hours"),
        ("channels: {file: {type: file, url: env:X}, log: {type: log}}", "channels.file.url: a channel of type file"),
        ("channels: {file: {type: file, to: [a@b]}, log: {type: log}}", "it is for smtp"),
        ("receivers: {all: {channels: [file], fallback: file}}", "cannot stand in for itself; other channels are log"),
        (
            "receivers: {all: {channels: [file], escalate: [{after: 1h, receiver: all}, {after: 5m, receiver: all}]}}",
            "the soonest first",
        ),
        ("deadlines: [{name: a, dag: x, success_within: 1d}, {name: a, dag: y, success_within: 1d}]", "another deadli"),
        ("silences: [{comment: everything}]", "it silences everything for ever"),
        ("silences: [{starts: 2026-01-02T00:00, ends: 2026-01-01T00:00}]", "before it begins"),
        ("silences: [{starts: 20260102, ends: 20260103}]", "write a moment such as"),
        ("silences: [{match: {dag: x, timezone: Europe/Berlin}}]", "silences.0.match.timezone: it does nothing"),
        ("silences: [{match: {dag: x, timezone: Europe/Berlinn}, ends: 2026-01-02}]", "unknown time zone"),
        ("timing: {remind_every: .inf}", "timing.remind_every"),
        ("timing: {remind_every: 9e99}", "timing.remind_every"),
        ("deadlines: [{name: a, dag: x, slower_than_usual: .inf}]", "slower_than_usual"),
        (f"deadlines: [{{name: a, dag: x, success_within: {'9' * 400}d}}]", "success_within"),
        ("timing: {group_wait: 1}\ntiming: {group_wait: 2}", "timing: stands in line 4 already"),
        ("routes: [{receiver: all, receiver: all}]", "routes.0.receiver: stands in line"),
    ],
)
def test_what_cannot_mean_what_it_says_is_refused(rules, said):
    found = refused(rules)
    assert said in found
    assert found.startswith("alerts.yaml:")


@pytest.mark.parametrize(
    ("rules", "remark"),
    [
        ("receivers: {all: {channels: [file]}, spare: {channels: [log]}}", "receivers.spare: no route"),
        ("channels: {file: {type: file}, log: {type: log}, more: {type: log}}", "channels.more: no receiver"),
        ("routes: [{receiver: all, continue: yes}]", "routes.0.continue: there is no route after"),
    ],
)
def test_what_does_nothing_yet_is_remarked_on_and_in_force(rules, remark):
    found, remarks = read_rules(whole(rules), "alerts.yaml")
    assert found.routes
    assert len(remarks) == 1
    assert remark in remarks[0]


@pytest.mark.parametrize(
    ("rule", "place"),
    [
        ("silences: [{match: {dag: x}, ends: 2026-02-30}]", "alerts.yaml:4: silences.0.ends"),
        ("silences: [{match: {dag: x}, ends: 2026-02-30T10:00:00}]", "alerts.yaml:4: silences.0.ends"),
        ("silences: [{match: {dag: x}, ends: 2026-01-01T25:00:00}]", "alerts.yaml:4: silences.0.ends"),
        (f"deadlines:\n  - {{name: a, dag: x, rows_at_least: {'9' * 5000}}}", "alerts.yaml:5: deadlines.0.rows_at_lea"),
        (f"timing: {{storm_messages: {'9' * 5000}}}", "alerts.yaml:4: timing.storm_messages"),
        (f"timing: {{group_wait: {'9' * 5000}}}", "alerts.yaml:4: timing.group_wait"),
        (f"version: {'1' * 5000}", "alerts.yaml:4: version"),
        (f"silences: {'[' * 3000}", "alerts.yaml:4: silences: nested more than"),
        (f"silences: {'{a: ' * 3000}", "alerts.yaml:4: silences: nested more than"),
        (f"silences: {'[' * 3000}{']' * 3000}", "alerts.yaml:4: silences: nested more than"),
        ("silences: &a [*a]", "alerts.yaml:4: silences"),
        ("silences: !!timestamp nonsense", "alerts.yaml:"),
        ("? [a, b]\n: c", "alerts.yaml:"),
        ("silences: !!int ''", "alerts.yaml:4: silences"),
        ("version: !!float x", "alerts.yaml:4: version"),
        ("timing: {group_wait: !!bool x}", "alerts.yaml:4: timing.group_wait"),
    ],
)
def test_values_that_no_one_can_read_name_file_line_and_key_at_the_start_and_on_reload(tmp_path, rule, place):
    path = tmp_path / "alerts.yaml"
    text = whole(rule)
    assert refused(rule).startswith(place)
    path.write_text(text)
    with pytest.raises(RulesError, match=r"alerts\.yaml:"):
        RulesFile(path)
    path.write_text(whole())
    file = RulesFile(path)
    path.write_text(text)
    assert file.reload()
    assert place.partition(":")[2] in file.problem
    assert file.rules.routes
    path.write_text(whole())
    assert file.reload()
    assert file.problem == ""


def test_bytes_that_are_no_text_name_the_line(tmp_path):
    path = tmp_path / "alerts.yaml"
    path.write_bytes(whole().encode() + b"# caf\xe9\n")
    with pytest.raises(RulesError, match=r"alerts\.yaml:4: the file must be UTF-8"):
        RulesFile(path)


@given(
    st.one_of(st.text(max_size=300), st.text(alphabet="{}[]:,-&*!?'\"\n a1.", max_size=200), st.binary(max_size=200))
)
@settings(max_examples=300, deadline=None)
def test_whatever_stands_in_the_file_is_rules_or_a_mistake_with_its_place(text):
    raw = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
    for candidate in (raw, whole().encode() + b"silences: " + raw, whole().encode() + b"deadlines: [{" + raw + b"}]"):
        try:
            read_rules(candidate, "alerts.yaml")
        except RulesError as error:
            assert str(error).startswith("alerts.yaml")  # noqa: PT017 - either is right


def test_a_section_whose_lines_are_all_comments_is_none():
    rules = parse_rules(whole("deadlines:\n  # - {name: a}", "timing:"), "alerts.yaml")
    assert (rules.deadlines, rules.timing.group_wait) == ([], 0.3)


def test_a_clock_without_quotes_and_yes_are_text_as_in_todays_yaml():
    rules = parse_rules(
        whole("deadlines: [{name: a, dag: no, starts_by: 10:30}]", "silences: [{match: {hours: 22:00-24:00}}]"), "r"
    )
    assert (rules.deadlines[0].dag, rules.deadlines[0].starts_by) == ("no", "10:30")
    assert rules.silences[0].match.hours == "22:00-24:00"


def test_an_asset_needs_no_dag():
    rules = parse_rules(whole("deadlines: [{name: a, asset: s3://x, fresh_within: 1d}]"), "alerts.yaml")
    assert rules.deadlines[0].fresh_within == 86_400.0


@pytest.mark.parametrize("declared", [5, "daily", {"success_within": "1d"}, None, [5, None], [["x"]]])
def test_a_dags_own_param_of_another_shape_is_no_deadline_and_stops_nothing(declared):
    assert beside_dag("load", {"deadlines": declared}) == []


def test_receivers_that_only_the_last_resort_the_canary_or_an_escalation_name_are_in_use():
    receivers = (
        "receivers: {first: {channels: [file], escalate: [{after: 1m, receiver: second}]},"
        " second: {channels: [log]}, canary: {channels: [log]}}"
    )
    rules = whole(receivers, "routes: [{receiver: second, match: {dag: x}}]", "proof: {canary_receiver: canary}")
    assert read_rules(rules, "alerts.yaml")[1] == []
    everything = rules.replace("{receiver: second, match: {dag: x}}", "{receiver: second}")
    said = read_rules(everything, "alerts.yaml")[1]
    assert ["receivers.first: no route, escalation or canary names this receiver" in one for one in said] == [True]


CALENDARS = "calendars: {bank: bank.txt, other: other.txt}"
DUE = "deadlines: [{name: a, dag: x, starts_by: '06:00', calendar: bank}]"


def test_a_calendar_that_no_deadline_uses_is_remarked_on_and_the_others_days_are_off(tmp_path):
    (tmp_path / "bank.txt").write_text("2026-01-01\n")
    (tmp_path / "other.txt").write_text("2026-01-02\n")
    rules, remarks = read_rules(whole(CALENDARS, DUE), "alerts.yaml", tmp_path)
    assert rules.days_off == {"bank": {date(2026, 1, 1)}, "other": {date(2026, 1, 2)}}
    assert ["calendars.other: no deadline here uses this calendar" in one for one in remarks] == [True]


def test_the_days_of_a_calendar_that_are_kept_are_not_read_again(tmp_path):
    (tmp_path / "other.txt").write_text("2026-01-02\n")
    kept = {"bank": frozenset({date(2026, 1, 5)})}
    rules, _ = read_rules(whole(CALENDARS, DUE), "alerts.yaml", tmp_path, kept)
    assert rules.days_off == {**kept, "other": {date(2026, 1, 2)}}
    with pytest.raises(RulesError, match=r"^alerts\.yaml:4: calendars\.bank: .*bank\.txt is not a file$"):
        read_rules(whole(CALENDARS, DUE), "alerts.yaml", tmp_path)


def test_a_dag_that_airflow_does_not_know_is_named_with_the_one_that_is_perhaps_meant():
    deadlines = (
        "deadlines: [{name: a, dag: load_flights, starts_by: '06:00'}, {name: b, dag: 'load_*', starts_by: '06:00'},"
        " {name: c, dag: load_flihgts, starts_by: '06:00'}, {name: d, dag: zzz, starts_by: '06:00'}]"
    )
    found = lint.unknown_dags(parse_rules(whole(deadlines), "alerts.yaml"), ["load_flights", "load_flight", "else"])
    assert list(found) == [
        (("deadlines", 2, "dag"), "of c: Airflow knows no DAG 'load_flihgts'; is 'load_flights' meant?"),
        (("deadlines", 3, "dag"), "of d: Airflow knows no DAG 'zzz'"),
    ]
