"""Deadlines by a time of day beside whole runs: tasks, logical days, partitions, products, calendars."""

from dataclasses import replace

import pytest
from test_by_the_clock import at, kinds, run
from test_deadlines import HOUR, Clockwork
from watch_office import failed

from observability.watch.facts import Fact
from observability.watch.rules.config import Deadline, RulesError, read_rules
from observability.watch.rules.in_force import keep_rules, usable_rules
from observability.watch.rules.loader import RulesFile

TASK = {"name": "published", "dag": "load", "task": "publish", "task_finishes_by": "09:00", "warn": 1}
REPORT = {
    "name": "morning-report", "ready_by": "09:00", "warn": 1, "owner": "finance",
    "parts": [{"dag": "load"}, {"dag": "report", "task": "publish"}, {"asset": "s3://b/k"}],
}  # fmt: skip
DAGS = {"load": {}, "report": {}}
RULES = """
channels: {file: {type: file}}
receivers: {everybody: {channels: [file]}}
routes: [{receiver: everybody}]
calendars: {bank: %s}
deadlines: [{name: report, dag: load, run_finishes_by: "09:00", calendar: bank, holidays: [2026-01-02]}]
"""


def office_at(ledger, moment, deadline, dags=None):
    office = Clockwork(ledger, deadline, dags=DAGS if dags is None else dags)
    office.now = moment
    office.look()
    return office


def wait_until(office, moment):
    office.pass_time(moment - office.now, step=900)


def task(office, status, name="publish", run="r1", dag="load"):
    office.see(Fact(kind="task", status=status, time=office.now, dag_id=dag, run_id=run, task_id=name, try_number=1))


def updated(office, uri="s3://b/k", key=None, dag="load"):
    evidence = {} if key is None else {"airflow.partition_key": key}
    office.see(
        Fact(kind="asset", status="noted", time=office.now, subject=uri, dag_id=dag, run_id="r", evidence=evidence)
    )


def begin(office, name, dag="load", **evidence):
    about = {f"airflow.{key}": value for key, value in evidence.items()}
    office.see(Fact(kind="run", status="noted", time=office.now, dag_id=dag, run_id=name, evidence=about))


@pytest.mark.parametrize("name", ["scheduled__2026-07-01T00:00:00+00:00", "manual__x", "asset_triggered__x"])
def test_a_task_that_has_succeeded_in_time_keeps_it_while_its_run_goes_on(ledger, name):
    office = office_at(ledger, at(1), TASK)
    wait_until(office, at(7))
    office.begin(name)
    task(office, "noted", run=name)
    office.now += 60
    task(office, "resolved", run=name)
    wait_until(office, at(23))
    assert kinds(office) == []


def test_a_late_task_is_warned_of_missed_and_recovered_once_each(ledger):
    office = office_at(ledger, at(1), {**TASK, "warn": 0.8})
    wait_until(office, at(8))
    office.begin("r1")
    task(office, "noted")
    wait_until(office, at(11))
    task(office, "resolved")
    wait_until(office, at(23))
    assert kinds(office) == ["early_warning", "opened", "resolved"]
    assert "publish has not succeeded for 2026-07-01, was due by 09:00 UTC" in str(office.messages()[1])


def test_a_task_whose_run_never_begins_misses_it(ledger):
    office = office_at(ledger, at(1), TASK)
    wait_until(office, at(10))
    assert kinds(office) == ["opened"]


def test_a_task_that_was_skipped_in_a_good_run_is_not_waited_for(ledger):
    office = office_at(ledger, at(1), TASK)
    run(office, "r1", at(7), at(8))
    wait_until(office, at(23))
    assert kinds(office) == []


def test_a_task_that_succeeds_after_its_run_has_failed_and_was_cleared_is_known(ledger):
    office = office_at(ledger, at(1), TASK)
    wait_until(office, at(6))
    office.begin("r1")
    task(office, "noted")
    office.see(Fact(kind="run", status="firing", time=office.now, dag_id="load", run_id="r1", cause="upstream"))
    office.now += HOUR
    task(office, "resolved")
    wait_until(office, at(23))
    assert "deadline" not in {message.cause for message in office.messages()}


def test_of_several_tasks_one_notice_names_those_that_are_late(ledger):
    office = office_at(ledger, at(1), {**TASK, "task": "publish_*"})
    run(office, "r0", at(2), at(3))
    for name in ("publish_a", "publish_b"):
        task(office, "noted", name=name, run="r1")
    office.now += 60
    task(office, "resolved", name="publish_a", run="r1")
    wait_until(office, at(8, day=2))
    office.begin("r2")
    for name in ("publish_a", "publish_b"):
        task(office, "noted", name=name, run="r2")
    task(office, "resolved", name="publish_a", run="r2")
    wait_until(office, at(12, day=2))
    assert kinds(office) == ["opened"]
    assert "publish_b has not succeeded for 2026-07-02" in str(office.messages()[0])


@pytest.mark.parametrize(
    ("logical", "expected"), [("2026-06-30T00:00:00+00:00", []), ("2026-06-29T00:00:00+00:00", ["opened"])]
)
def test_only_a_run_of_the_logical_day_counts_also_a_backfill(ledger, logical, expected):
    rule = {"name": "report", "dag": "load", "run_finishes_by": "09:00", "logical_day": -1, "warn": 1}
    office = office_at(ledger, at(1), rule)
    wait_until(office, at(7))
    begin(office, f"backfill__{logical}", logical_date=logical)
    office.end(f"backfill__{logical}", lasted=60)
    wait_until(office, at(12))
    assert kinds(office) == expected
    if expected:
        assert "the logical day 2026-06-30" in str(office.messages()[0])


@pytest.mark.parametrize(("key", "expected"), [("2026-07-01", []), ("2026-06-30", ["opened"]), (None, ["opened"])])
def test_only_a_run_of_the_days_partition_counts(ledger, key, expected):
    rule = {"name": "report", "dag": "load", "run_finishes_by": "09:00", "partition": "%Y-%m-%d", "warn": 1}
    office = office_at(ledger, at(1), rule)
    wait_until(office, at(7))
    begin(office, "asset_triggered__1", **({} if key is None else {"partition_key": key}))
    office.end("asset_triggered__1", lasted=60)
    wait_until(office, at(12))
    assert kinds(office) == expected


def test_each_partition_of_an_asset_is_fresh_or_stale_by_itself(ledger):
    rule = {"name": "fresh", "asset": "s3://b/k", "fresh_within": "6h", "partition": "country=*", "warn": 1}
    office = office_at(ledger, at(1), rule)
    for key in ("country=de", "country=fr", "all"):
        updated(office, key=key)
    office.pass_time(4 * HOUR, step=900)
    updated(office, key="country=de")
    office.pass_time(3 * HOUR, step=900)
    assert kinds(office) == ["opened"]
    assert "partition country=fr of s3://b/k has not been updated" in str(office.messages()[0])
    office.pass_time(4 * HOUR, step=900)
    assert kinds(office) == ["opened", "opened"]
    updated(office, key="country=fr")
    office.pass_time(HOUR, step=900)
    assert kinds(office) == ["opened", "opened", "resolved"]


def test_the_partition_of_the_day_is_due_by_the_clock(ledger):
    rule = {"name": "fresh", "asset": "s3://b/k", "fresh_by": "09:00", "partition": "%Y-%m-%d", "logical_day": -1}
    office = office_at(ledger, at(1), {**rule, "warn": 1})
    wait_until(office, at(7))
    updated(office, key="2026-07-01")
    wait_until(office, at(10))
    assert kinds(office) == ["opened"]
    updated(office, key="2026-06-30")
    wait_until(office, at(23))
    assert kinds(office) == ["opened", "resolved"]


def test_a_product_is_one_incident_that_says_what_is_late_and_what_it_waits_for(ledger):
    office = office_at(ledger, at(1), {**REPORT, "warn": 0.8})
    run(office, "r1", at(6), at(7))
    updated(office)
    wait_until(office, at(8))
    office.begin("p1", dag="report")
    task(office, "noted", name="publish", run="p1", dag="report")
    wait_until(office, at(10))
    assert kinds(office) == ["early_warning", "opened"]
    said = office.messages()[1]
    assert "report.publish is late (it waits for report, which runs since" in str(said)
    assert "load is late" not in str(said)
    assert "finance" in str(said)
    assert said.title.startswith("morning-report missed its deadline")
    task(office, "resolved", name="publish", run="p1", dag="report")
    wait_until(office, at(23))
    assert kinds(office) == ["early_warning", "opened", "resolved"]


def test_a_product_of_which_nothing_begins_is_missed_once(ledger):
    office = office_at(ledger, at(1), REPORT)
    wait_until(office, at(20))
    assert kinds(office) == ["opened"]
    assert "no run of load has begun" in str(office.messages()[0])


def test_a_product_whose_part_failed_is_told_to_those_who_have_not_heard_of_the_failure(ledger):
    for number, heard in enumerate((True, False)):
        office = office_at(ledger, at(1, day=1 + 2 * number), REPORT | {"name": f"report-{number}"})
        if not heard:
            office.engine.notifier = apart(office.engine.notifier)
        before = len(office.said())
        wait_until(office, at(7, day=1 + 2 * number))
        office.begin(f"r{number}")
        office.see(failed(run=f"r{number}", time=office.now))
        wait_until(office, at(12, day=1 + 2 * number))
        told = [cause for kind, _, _, cause in office.said()[before:] if kind == "opened"]
        assert told == (["app"] if heard else ["app", "deadline"])
        office.begin(f"s{number}")
        office.end(f"s{number}")
        office.pass_time(60)


@pytest.mark.parametrize("rule", ["product", "run"])
def test_a_failure_in_the_second_in_which_something_is_due_is_told_alone(ledger, rule):
    due = REPORT if rule == "product" else {"name": "ready", "dag": "load", "run_finishes_by": "09:00"}
    office = office_at(ledger, at(1), {**due, "warn": 0.8})
    wait_until(office, at(8))
    assert kinds(office) == ["early_warning"]
    office.begin("r1")
    wait_until(office, at(9) - 1)
    office.now = at(9)
    office.see(failed(run="r1", time=office.now))
    office.look()
    office.pass_time(60)
    assert [(kind, cause) for kind, _, _, cause in office.said()] == [("early_warning", "deadline"), ("opened", "app")]


def apart(notifier):
    """The same office, where finance has a channel of its own."""
    rules = """
channels: {file: {type: file}, log: {type: log}}
receivers: {finance: {channels: [log]}, everybody: {channels: [file]}}
routes: [{match: {owner: finance}, receiver: finance}, {receiver: everybody}]
"""
    return replace(notifier, rules=read_rules(rules, "rules")[0])


def test_a_paused_part_is_named_and_a_product_that_is_paused_whole_is_not_late(ledger):
    for paused, expected in (({"load"}, ["opened"]), ({"load", "report"}, [])):
        dags = {name: {"paused": name in paused} for name in DAGS}
        rule = REPORT | {"name": f"r{len(paused)}", "parts": REPORT["parts"][:2]}
        office = office_at(ledger, at(1, day=len(paused)), rule, dags)
        before = len(office.said())
        wait_until(office, at(12, day=len(paused)))
        assert [kind for kind, *_ in office.said()[before:] if kind == "opened"] == expected
    assert "load is late (the DAG is paused)" in str(office.messages()[0])


def test_the_days_of_a_calendar_file_are_days_off(tmp_path, ledger):
    (tmp_path / "bank.txt").write_text("# days off\n2026-07-01  Bank day\n\n2026-07-03 # half\n", encoding="utf-8")
    rules, _ = read_rules(RULES % "bank.txt", "alerts.yaml", tmp_path)
    office = office_at(ledger, at(1), rules.deadlines[0].model_dump(exclude_unset=True) | {"warn": 1})
    wait_until(office, at(23))
    assert kinds(office) == []
    wait_until(office, at(12, day=2))
    assert kinds(office) == ["opened"]


ICAL = """BEGIN:VCALENDAR
VERSION:2.0
PRODID:-//x//y//EN
BEGIN:VEVENT
UID:1
SUMMARY:Christmas
DTSTART;VALUE=DATE:20241225
DTEND;VALUE=DATE:20241227
RRULE:FREQ=YEARLY
TRANSP:TRANSPARENT
END:VEVENT
BEGIN:VEVENT
UID:2
SUMMARY:Meeting
DTSTART:20260701T100000Z
DTEND:20260701T110000Z
END:VEVENT
BEGIN:VEVENT
UID:3
SUMMARY:Called off
STATUS:CANCELLED
DTSTART;VALUE=DATE:20260702
END:VEVENT
END:VCALENDAR
"""


def test_an_icalendar_gives_its_whole_days_with_those_that_repeat(tmp_path):
    (tmp_path / "bank.ics").write_text(ICAL.replace("\n", "\r\n"), encoding="utf-8", newline="")
    rules, _ = read_rules(RULES % "bank.ics", "alerts.yaml", tmp_path)
    days = {day.isoformat() for day in rules.deadlines[0].holidays}
    assert {"2026-01-02", "2026-12-25", "2026-12-26", "2027-12-25"} <= days
    assert days.isdisjoint({"2026-07-01", "2026-07-02", "2026-12-27"})


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("2026-13-01\n", r"bank:1: '2026-13-01' is not a date"),
        ("2026-07-01\nfirst of May\n", r"bank:2: 'first' is not a date"),
        ("", "has no day off"),
        ("BEGIN:VCALENDAR\nBEGIN:VEVENT\n", "has no day off|cannot be read as an iCalendar"),
        (None, "is not a file"),
    ],
)
def test_a_calendar_that_cannot_be_read_is_refused_with_its_line(tmp_path, content, said):
    if content is not None:
        (tmp_path / "bank").write_text(content, encoding="utf-8")
    with pytest.raises(RulesError, match=rf"(?s)alerts.yaml:5: calendars.bank.*({said})"):
        read_rules(RULES % "bank", "alerts.yaml", tmp_path)


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "sub/../../secret"])
def test_a_calendar_outside_of_the_folder_of_the_rules_is_refused(tmp_path, name):
    with pytest.raises(RulesError, match="outside of the folder"):
        read_rules(RULES % name, "alerts.yaml", tmp_path)


def test_a_changed_calendar_is_read_again_and_one_that_comes_later_is_found(tmp_path):
    path, days = tmp_path / "alerts.yaml", tmp_path / "bank"
    path.write_text(RULES % "bank", encoding="utf-8")
    days.write_text("2026-07-01\n", encoding="utf-8")
    file = RulesFile(path)
    assert not file.reload()
    days.write_text("2026-07-02\n", encoding="utf-8")
    assert file.reload()
    assert [str(day) for day in file.rules.deadlines[0].holidays] == ["2026-01-02", "2026-07-02"]
    days.unlink()
    assert file.reload()
    assert "is not a file" in file.problem
    assert not file.reload()
    days.write_text("2026-07-05\n", encoding="utf-8")
    assert file.reload()
    assert file.problem == ""


def test_another_host_knows_the_days_without_the_file(tmp_path, ledger, monkeypatch):
    path, days = tmp_path / "alerts.yaml", tmp_path / "bank"
    path.write_text(RULES % "bank", encoding="utf-8")
    days.write_text("2026-07-01\n", encoding="utf-8")
    file = RulesFile(path)
    with ledger.transaction() as connection:
        keep_rules(connection, file.text, file.rules.days_off)
    days.unlink()
    monkeypatch.setattr("observability.watch.rules.loader.find_rules", lambda _: path)
    monkeypatch.setattr("observability.watch.rules.in_force.find_rules", lambda _: path)
    monkeypatch.setattr("observability.watch.rules.loader.rules_without_a_file", lambda _: "")
    found = usable_rules(None, ledger).rules
    assert [str(day) for day in found.deadlines[0].holidays] == ["2026-01-02", "2026-07-01"]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"task_finishes_by": "09:00"}, "needs the task"),
        ({"ready_by": "09:00"}, "goes together with parts"),
        ({"run_finishes_by": "09:00", "parts": [{"dag": "a"}]}, "goes together with parts"),
        ({"ready_by": "09:00", "parts": [{"dag": "a", "asset": "b"}]}, "a part is a dag"),
        ({"ready_by": "09:00", "parts": [{"asset": "b", "task": "c"}]}, "task does nothing"),
        ({"run_finishes_within": "2h", "logical_day": -1}, "logical_day does nothing"),
        ({"starts_by": "06:00", "partition": "x"}, "partition does nothing"),
    ],
)
def test_what_cannot_mean_what_it_says_is_refused(wrong, said):
    with pytest.raises(ValueError, match=said):
        Deadline.model_validate({"name": "x", "dag": "load", **wrong})


def test_a_deadline_that_names_no_known_calendar_is_refused():
    with pytest.raises(RulesError, match="no calendar is called 'bank'; known calendars are none yet"):
        read_rules(RULES.replace("calendars: {bank: %s}\n", ""), "alerts.yaml")
