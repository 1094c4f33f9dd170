"""Rules: what is refused and where, who hears of what."""

from __future__ import annotations

import json
import os
from datetime import date
from pathlib import Path

import jsonschema
import pytest
import yaml

from observability.watch.incidents import Incident
from observability.watch.rules.config import (
    RulesError,
    decide,
    json_schema,
    load_rules,
    parse_rules,
    policy_for,
    read_rules,
    route_wait,
)
from observability.watch.rules.loader import RulesFile

CONFIG = Path(__file__).resolve().parents[2] / "config"
RULES = """
channels: {file: {type: file}, log: {type: log}}
receivers:
  everybody: {channels: [file]}
  finance: {channels: [log]}
  night: {channels: [log, file]}
routes:
  - match: {severity: critical}
    receiver: night
    continue: true
  - match: {owner: finance, dag: "ledger_*"}
    receiver: finance
    severity: critical
  - match: {cause: [oom, killed], tag: heavy}
    receiver: night
  - match: {hours: "22:00-06:00", days: [mon, tue, wed, thu, fri], timezone: Europe/Berlin}
    receiver: night
  - receiver: everybody
"""
NOON, MIDNIGHT = 1_767_960_000.0, 1_767_913_200.0  # Fri 2026-01-09 12:00 UTC; Thu 23:00 UTC = Fri 00:00 in Berlin


def incident(**more):
    given = {"severity": "error", "cause": "app", "dag_id": "load", "task_id": "t", "about": {}, **more}
    return Incident(
        id="1", key="k", state="open", kind="task", reason="", certainty=3, first_seen=0, last_seen=0, **given
    )


@pytest.mark.parametrize(
    ("one", "moment", "receivers"),
    [
        (incident(), NOON, ("everybody",)),
        (incident(severity="critical"), NOON, ("night", "everybody")),
        (incident(dag_id="ledger_day", about={"owner": "finance"}), NOON, ("finance",)),
        (incident(dag_id="other", about={"owner": "finance"}), NOON, ("everybody",)),
        (incident(cause="oom", about={"tags": ["heavy"]}), NOON, ("night",)),
        (incident(cause="oom"), NOON, ("everybody",)),
        (incident(), MIDNIGHT, ("night",)),
    ],
)
def test_routes_decide_by_everything_they_can_match(one, moment, receivers):
    assert decide(parse_rules(RULES, "rules"), one, moment).receivers == receivers


def test_a_decision_says_why():
    found = decide(parse_rules(RULES, "rules"), incident(), NOON)
    assert found.why[0] == "route 1 (night): severity is error, not critical"
    assert found.why[-1] == "route 5 (everybody): matches"


def test_each_level_of_an_escalation_adds_the_next_receiver():
    rules = parse_rules(
        """
channels: {file: {type: file}, log: {type: log}}
receivers:
  everybody: {channels: [file], escalate: [{after: 30m, receiver: chief}, {after: 60m, receiver: boss}]}
  chief: {channels: [log]}
  boss: {channels: [log, file]}
routes: [{receiver: everybody}]
""",
        "rules",
    )
    heard = [decide(rules, incident(), NOON, level).receivers for level in range(4)]
    all_of_them = ("everybody", "chief", "boss")
    assert heard == [all_of_them[:1], all_of_them[:2], all_of_them, all_of_them]


def test_a_route_may_raise_the_severity():
    one = incident(dag_id="ledger_day", about={"owner": "finance"})
    assert decide(parse_rules(RULES, "rules"), one, NOON).severity == "critical"


def test_what_no_route_matches_goes_to_the_first_receiver():
    rules = parse_rules(
        "channels: {file: {type: file}}\nreceivers: {all: {channels: [file]}}\n"
        "routes: [{receiver: all, match: {dag: x}}]",
        "rules",
    )
    assert decide(rules, incident(), NOON).receivers == ("all",)


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ("channels: [", "a.yaml:3: expected"),
        (
            "channels:\n  hook:\n    type: webhook\n    url: https://x.example/T0KEN",
            "a.yaml:4: channels.hook.url: must be connection:",
        ),
        ("channels:\n  hook:\n    type: webhook", "a.yaml:2: channels.hook: a channel of type webhook needs 'url'"),
        ("channels:\n  file:\n    type: fiel", "a.yaml:3: channels.file.type: "),
        (
            "routes:\n  - receiver: nobody\n",
            "a.yaml:4: routes.0.receiver: no receiver is called 'nobody'; known receivers are all",
        ),
        ("routes:\n  - receiver: all\n    colour: red", "a.yaml:5: routes.0.colour: no such key"),
        ("deadlines:\n  - {name: a, dag: b}", "exactly one of"),
        ("deadlines:\n  - {name: a, dag: b, starts_by: '25'}", "deadlines.0.starts_by"),
        ("timing: {group_wait: soon}", "timing.group_wait"),
        ("routes:\n  - receiver: all\n    match: {timezone: Mars/Olympus}", "unknown time zone"),
    ],
)
def test_a_mistake_names_file_line_and_key(broken, said):
    whole = {
        "channels": "channels: {file: {type: file}}",
        "receivers": "receivers: {all: {channels: [file]}}",
        "routes": "routes: [{receiver: all}]",
    }
    rest = [text for name, text in whole.items() if not broken.startswith(name)]
    text = "\n".join([*rest, broken]) if not broken.startswith(("channels", "-")) else "\n".join([broken, *rest])
    with pytest.raises(RulesError) as caught:
        parse_rules(text, "a.yaml")
    assert said in str(caught.value)


@pytest.mark.parametrize(("wrong", "last"), [(3, "6: key2"), (100, "103: key99"), (104, " and 4 more mistakes")])
def test_a_hundred_mistakes_are_said_and_the_number_of_the_others(wrong, last):
    good = ["channels: {file: {type: file}}", "receivers: {all: {channels: [file]}}", "routes: [{receiver: all}]"]
    with pytest.raises(RulesError) as caught:
        parse_rules("\n".join([*good, *(f"key{number}: 1" for number in range(wrong))]), "a.yaml")
    lines = str(caught.value).splitlines()
    assert len(lines) == min(wrong, 101)
    assert lines[-1].startswith(f"a.yaml:{last}")


def test_yaml_that_would_run_code_is_refused():
    with pytest.raises(RulesError):
        parse_rules("channels: !!python/object/apply:os.system ['true']", "a.yaml")


def test_the_shipped_rules_are_valid_by_ours_and_by_the_schema():
    load_rules(CONFIG / "alerts.yaml")
    jsonschema.validate(yaml.safe_load((CONFIG / "alerts.yaml").read_text()), json_schema())


def test_the_committed_schema_is_what_the_code_says():
    assert json.loads((CONFIG / "alerts.schema.json").read_text()) == json_schema()


def test_broken_rules_leave_the_old_ones_in_force_and_say_so(tmp_path):
    path = tmp_path / "alerts.yaml"
    path.write_text(RULES)
    file = RulesFile(path)
    path.write_text("routes: [")
    os.utime(path, (1, 1))
    assert file.reload()
    assert len(file.rules.routes) == 5
    assert str(path) in file.problem
    path.write_text(RULES.replace("finance", "books"))
    assert file.reload()
    assert (file.problem, "books" in file.rules.receivers) == ("", True)


def test_waits_follow_the_receivers_escalation():
    rules = parse_rules(
        "channels: {file: {type: file}}\n"
        "receivers: {all: {channels: [file], escalate: [{after: 10m, receiver: all}, {after: 1h, receiver: all}]}}\n"
        "routes: [{receiver: all}]\ntiming: {group_wait: 1500}",
        "rules",
    )
    policy = policy_for(rules, incident(), NOON)
    assert (policy.escalate_after, policy.group_wait_s) == ((600.0, 3600.0), 1500.0)


def test_rules_that_are_no_mapping_are_refused():
    with pytest.raises(RulesError, match=r"a\.yaml:1: the file must be a mapping"):
        parse_rules("- a", "a.yaml")


@pytest.mark.parametrize(
    ("rule", "line"),
    [
        ("deadlines: [{name: a, dag: '*', starts_by: '24:30'}]", "deadlines.0.starts_by: '24:30' is not a time of day"),
        (
            "routes: [{receiver: all, match: {hours: '22:00-26:00'}}]",
            "routes.0.match.hours: '26:00' is not a time of day",
        ),
    ],
)
def test_a_time_of_day_that_there_is_not_is_said_before_it_is_night(rule, line):
    known = {"channels": "channels: {file: {type: file}}", "receivers": "receivers: {all: {channels: [file]}}",
             "routes": "routes: [{receiver: all}]"}  # fmt: skip
    text = "\n".join([*(value for key, value in known.items() if not rule.startswith(key)), rule])
    with pytest.raises(RulesError) as caught:
        parse_rules(text, "alerts.yaml")
    assert line in str(caught.value)


def test_a_rules_file_that_says_family_is_read_as_kind():
    channels = "channels: {log: {type: log}}\nreceivers: {a: {channels: [log]}}\n"
    text = f"{channels}routes: [{{receiver: a, match: {{family: [stuck]}}}}]"
    assert parse_rules(text, "x").routes[0].match.kind == ["stuck"]


def test_rules_are_read_from_their_file_and_one_that_is_not_there_is_named(tmp_path):
    path = tmp_path / "alerts.yaml"
    path.write_text(RULES)
    assert list(load_rules(path).receivers) == ["everybody", "finance", "night"]
    with pytest.raises(RulesError, match=r"absent\.yaml: .*No such file"):
        load_rules(tmp_path / "absent.yaml")


def test_what_no_route_matches_goes_to_the_first_receiver_by_name_and_waits_for_nothing():
    rules = parse_rules(
        "channels: {file: {type: file}}\nreceivers: {all: {channels: [file]}, some: {channels: [file]}}\n"
        "routes: [{receiver: some, match: {dag: x}, wait: 5m}, {receiver: some, match: {dag: 'x*'}, wait: 7m}]",
        "rules",
    )
    found = decide(rules, incident(), NOON)
    assert (found.receivers, found.why[-1]) == (("all",), "no route matches: the first receiver, all, hears of it")
    assert [route_wait(rules, incident(dag_id=dag), NOON) for dag in ("load", "x", "xy")] == [0.0, 300.0, 420.0]


def test_calendars_are_read_beside_the_rules_unless_their_days_were_kept(tmp_path):
    (tmp_path / "bank.txt").write_text("2026-01-01\n2026-05-01\n")
    text = f"{RULES}calendars: {{bank: bank.txt}}\ndeadlines: [{{name: a, dag: x, starts_by: '06:00', calendar: bank}}]"
    rules, _ = read_rules(text, "a.yaml", tmp_path)
    days = [date(2026, 1, 1), date(2026, 5, 1)]
    assert (rules.days_off, rules.deadlines[0].holidays) == ({"bank": frozenset(days)}, days)
    kept = {"bank": frozenset({date(2026, 2, 2)})}
    assert read_rules(text, "a.yaml", tmp_path, kept)[0].days_off == kept
    with pytest.raises(RulesError, match=r"a\.yaml:\d+: calendars\.bank: "):
        read_rules(text.replace("bank.txt", "gone.txt"), "a.yaml", tmp_path, {"other": frozenset()})
