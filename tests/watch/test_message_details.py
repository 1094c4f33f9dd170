"""Each part of a message, exactly: details and their order, frames, links for each place, and the lines of a digest."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from watch_office import failed

from observability.settings import load_settings
from observability.watch.facts import Fact
from observability.watch.incidents import Incident, Notice
from observability.watch.notify.messages import Links, compose, digest, named, plain
from observability.watch.rules.loader import RulesFile

LINKS = Links(airflow="http://airflow", kibana="http://kibana", runbooks="https://docs/run")
TASK = Incident(
    id="0123456789abcdef", key="run:flights:r1", state="open", kind="task", severity="error", cause="oom",
    reason="out of memory", certainty=3, first_seen=0.0, last_seen=75.0, count=3, dag_id="flights", run_id="r1",
    task_id="load", try_number=2, notified="opened", notified_at=60.0, failed_tasks=("a", "b"), acknowledged_by="ann",
    about={"owner": "data"},
    evidence={
        "error.type": "MemoryError", "error.message": "no room", "error.frame": "load.py:7 in load",
        "airflow.signal": "SIGKILL", "process.exit_code": -9, "airflow.peak_rss": 200 * 2**20,
        "airflow.memory_limit": 256 * 2**20, "affected": "2 tasks", "same_error": "3 times in a week",
        "last_success": "yesterday", "resolved_by": "run r2", "log_tail": [f"line {n}" for n in range(20)],
    },
)  # fmt: skip


def message(incident=TASK, kind="opened", level=0):
    return compose(Notice(kind, incident, level), LINKS, "prod")


def test_the_details_of_an_open_incident_in_their_order():
    assert message().details == (
        ("Cause", "out of memory"), ("Since", "1970-01-01 00:00:00 UTC"), ("Error", "MemoryError: no room"),
        ("At", "load.py:7 in load"), ("Signal", "SIGKILL"), ("Exit code", "-9"), ("Peak memory", "200 MiB of 256 MiB"),
        ("Blocks", "2 tasks"), ("Same error", "3 times in a week"), ("Last success", "yesterday"),
        ("Next step", "Give the task more memory or smaller pieces, then clear it."), ("Failed tasks", "2"),
        ("Run", "r1"), ("Attempt", "2"), ("Owner", "data"), ("Acknowledged by", "ann"),
        ("More", "contrail alerts show 01234567"),
    )  # fmt: skip


def test_the_details_of_a_resolved_one_say_how_long_and_by_what_and_no_step():
    over = replace(TASK, resolved_at=90.0)
    assert message(over, "resolved").details == (
        ("Cause", "out of memory"), ("Since", "1970-01-01 00:00:00 UTC"), ("Lasted", "1 min 30 s"),
        ("Signal", "SIGKILL"), ("Exit code", "-9"), ("Peak memory", "200 MiB of 256 MiB"), ("Blocks", "2 tasks"),
        ("Resolved by", "run r2"), ("Failed tasks", "2"), ("Run", "r1"), ("Attempt", "2"), ("Owner", "data"),
        ("Acknowledged by", "ann"), ("More", "contrail alerts show 01234567"),
    )  # fmt: skip
    assert message(over, "resolved").log == ()


def test_what_is_one_is_not_counted():
    said = dict(message(replace(TASK, failed_tasks=("a",), try_number=1, run_count=1, last_run="r1")).details)
    assert {"Failed tasks", "Attempt", "Runs that failed so", "Last of them"} & set(said) == set()


def test_several_runs_that_failed_so_are_counted_with_the_last():
    said = dict(message(replace(TASK, run_count=2, last_run="r9")).details)
    assert (said["Runs that failed so"], said["Last of them"]) == ("2", "r9, 1970-01-01 00:01:15 UTC")


def test_what_is_about_no_task_says_its_own_step_and_no_cause():
    broken = replace(TASK, kind="sink", cause="platform", subject="elasticsearch", evidence={})
    said = dict(message(broken).details)
    assert "Cause" not in said
    assert said["Next step"].startswith("See why the store refuses")
    assert "Peak memory" not in said


def test_memory_without_a_limit_is_the_peak_alone():
    said = dict(message(replace(TASK, evidence={"airflow.peak_rss": 3 * 2**20})).details)
    assert said["Peak memory"] == "3 MiB"


def test_the_last_twelve_lines_of_the_log():
    assert message().log == tuple(f"line {n}" for n in range(8, 20))


def test_the_fields_of_a_message():
    said = message(replace(TASK, map_index=0, iteration="x:1", region_id="g"))
    names = (
        "kind",
        "severity",
        "summary",
        "incident_id",
        "incident_key",
        "cause",
        "dag_id",
        "run_id",
        "task_id",
        "map_index",
        "iteration",
        "region_id",
        "try_number",
        "count",
        "environment",
        "time",
        "pair",
        "failed",
    )
    assert {name: getattr(said, name) for name in names} == {
        "kind": "opened", "severity": "error", "summary": "out of memory", "incident_id": TASK.id,
        "incident_key": "run:flights:r1", "cause": "oom", "dag_id": "flights", "run_id": "r1", "task_id": "load",
        "map_index": 0, "iteration": "x:1", "region_id": "g", "try_number": 2, "count": 3, "environment": "prod",
        "time": "1970-01-01T00:00:00.000Z", "pair": TASK.id, "failed": 2,
    }  # fmt: skip
    assert message().map_index is None
    assert compose(Notice("opened", TASK), LINKS, "prod", "critical").severity == "critical"


@pytest.mark.parametrize(
    ("kind", "incident", "serial"),
    [
        ("opened", TASK, "opened:0:60.000:0:0.000"),
        ("escalated", replace(TASK, remind_at=5.5), "escalated:1:60.000:0:5.500"),
        ("reminder", TASK, "reminder:0:60.000:2:0.000"),
        ("update", replace(TASK, notified_tasks=4, notified_at=None), "update:0:0.000:0:0.000:4"),
    ],
)
def test_the_same_message_has_the_same_key_and_another_has_another(kind, incident, serial):
    assert message(incident, kind, 1 if kind == "escalated" else 0).dedup_key == f"{TASK.id}:{serial}"


STACK = """Traceback (most recent call last):
  File "/opt/airflow/site-packages/airflow/sdk/x.py", line 1, in run
    go()
  File "/dags/flights.py", line 5, in load
    read(path)
  File "/dags/lib/files.py", line 9, in read
    return frame[column]
  File "/opt/site-packages/pandas/frame.py", line 2, in get
    raise KeyError
KeyError: 'x'
"""


def test_the_users_frames_come_first_and_the_others_are_counted():
    said = dict(message(replace(TASK, evidence={"error.stack_trace": STACK})).details)
    assert said["At"] == (
        "files.py:9 in read: return frame[column], called from flights.py:5 in load"
        " (2 frames of Airflow and libraries left out)"
    )


def test_one_frame_left_out_is_one_and_a_lone_frame_has_no_caller():
    lines = STACK.splitlines(keepends=True)
    said = dict(message(replace(TASK, evidence={"error.stack_trace": "".join([*lines[:3], *lines[5:7]])})).details)
    assert said["At"] == "files.py:9 in read: return frame[column] (1 frame of Airflow and libraries left out)"
    alone = dict(message(replace(TASK, evidence={"error.stack_trace": "".join(lines[5:6])})).details)
    assert alone["At"] == "files.py:9 in read"


def test_at_most_four_of_the_users_frames_the_innermost_first():
    stack = "".join(f'  File "/dags/f{n}.py", line {n}, in g{n}\n    code{n}()\n' for n in range(1, 7))
    said = dict(message(replace(TASK, evidence={"error.stack_trace": stack})).details)
    assert said["At"] == "f6.py:6 in g6: code6(), called from f5.py:5 in g5, f4.py:4 in g4, f3.py:3 in g3"


def test_frames_of_libraries_alone_leave_the_frame_that_the_event_names():
    library = "".join(STACK.splitlines(keepends=True)[:3])
    evidence = {"error.stack_trace": library, "error.frame": "x.py:1"}
    assert dict(message(replace(TASK, evidence=evidence)).details)["At"] == "x.py:1"


@pytest.mark.parametrize(
    ("about", "contrail", "airflow"),
    [
        ({}, "/contrail{R1}/tasks/load", "{R1}/tasks/load"),
        ({"map_index": 0}, "/contrail{R1}/tasks/load?map_index=0", "{R1}/tasks/load/mapped/0"),
        ({"task_id": None, "map_index": 0}, "/contrail{R1}", "{R1}"),
        ({"task_id": None, "run_id": None}, "/contrail/dags/flights", "/dags/flights"),
        ({"run_id": None}, "/contrail/dags/flights/tasks/load", "/dags/flights"),
        ({"dag_id": None}, "/contrail/", ""),
        ({"run_id": "a/b c"}, "/contrail{ODD}/tasks/load", "{ODD}/tasks/load"),
    ],
)  # fmt: skip
def test_where_the_links_of_airflow_lead(about, contrail, airflow):
    found = dict(LINKS.to(replace(TASK, **about)))
    paths = {"R1": "/dags/flights/runs/r1", "ODD": "/dags/flights/runs/a%2Fb%20c"}
    assert found["Contrail"] == f"http://airflow{contrail.format(**paths)}"
    assert found["Airflow"] == f"http://airflow{airflow.format(**paths)}"


@pytest.mark.parametrize("dag", ["flights", None])
def test_no_link_leads_nowhere(dag):
    assert [label for label, _ in Links(runbooks="https://docs/run").to(replace(TASK, dag_id=dag))] == ["Runbook"]
    assert Links().home() == ()
    assert LINKS.home() == (("Contrail", "http://airflow/contrail/"),)


def test_kibana_is_asked_for_what_is_known_of_the_task():
    found = dict(LINKS.to(replace(TASK, run_id=None, task_id="a\"\\b'!")))["Kibana"]
    state = unquote(parse_qs(urlsplit(found).fragment.partition("?")[2])["_a"][0])
    assert (
        state == """(query:(language:kuery,query:'airflow.dag_id: "flights" and airflow.task_id: "a\\"\\\\b!'!!"'))"""
    )
    assert "Kibana" not in dict(LINKS.to(replace(TASK, dag_id=None)))


def test_cloudwatch_is_asked_in_its_region_and_group():
    links = Links(cloudwatch_region="eu-central-1", cloudwatch_group="/c/dev")
    found = dict(links.to(replace(TASK, run_id="it's")))["CloudWatch Logs"]
    assert found.startswith("https://eu-central-1.console.aws.amazon.com/cloudwatch/home?region=eu-central-1#logsV2:")
    assert "source~(~'*2fc*2fdev))" in found
    assert "*60airflow.run_id*60*20*3d*20*27it*5c*27s*27" in found
    assert "CloudWatch Logs" not in dict(links.to(replace(TASK, dag_id=None)))
    assert "CloudWatch Logs" not in dict(LINKS.to(TASK))


@pytest.mark.parametrize(
    ("env", "region"),
    [
        ({}, ""),
        ({"CONTRAIL_RELAY__SINKS": "cloudwatch"}, "eu-west-1"),
        ({"CONTRAIL_STORE__BACKEND": "cloudwatch"}, "eu-west-1"),
        ({"CONTRAIL_STORE__BACKEND": "elasticsearch"}, ""),
    ],
)
def test_the_links_that_the_settings_allow_for(env, region, tmp_path):
    settings = load_settings(
        environ={
            "CONTRAIL_CORE__HOME": str(tmp_path),
            "CONTRAIL_CLOUDWATCH__REGION": "eu-west-1",
            "CONTRAIL_CORE__PUBLIC_URL": "http://a/",
            "CONTRAIL_CORE__KIBANA_URL": "http://k/",
            "CONTRAIL_CORE__RUNBOOK_URL": "https://r",
            "CONTRAIL_WATCH__ACT_LINK_HOURS": "1",
            **env,
        }
    )
    assert Links.of(settings, RulesFile(None).rules) == Links(
        airflow="http://a", kibana="http://k", cloudwatch_region=region,
        cloudwatch_group="/contrail/dev/airflow.task", runbooks="https://r", acts=True,
    )  # fmt: skip


def test_a_runbook_that_the_fact_names_wins():
    def runbook(given):
        return dict(LINKS.to(replace(TASK, evidence={"incident.runbook": given}))).get("Runbook")

    usual = runbook("")
    assert runbook("https://wiki/x") == "https://wiki/x"
    assert runbook("sink-failing") == usual.replace(usual.rsplit("/", 1)[1].partition(".")[0], "sink-failing")
    assert runbook("../etc/passwd") == usual


def test_a_digest_of_several_kinds_counts_them_and_lists_each():
    reminded = message(replace(TASK, dag_id="b"), "reminder")
    said = digest(
        [message(), message(replace(TASK, id="2", severity="critical", cause="app")), reminded], "s", "prod", 0.0, LINKS
    )
    assert (said.title, said.summary) == ("3 notices about 2 DAGs in one", "2 opened, 1 reminder: b, flights")
    assert (said.kind, said.severity, said.cause, said.count, said.dag_id) == ("digest", "critical", "app", 9, None)
    assert (said.pair, said.dedup_key, said.environment, said.links) == ("s", "s", "prod", LINKS.home())
    assert said.incidents[0] == {
        "incident_id": TASK.id, "kind": "opened", "dag_id": "flights", "task_id": "load", "run_id": "r1",
        "map_index": None, "iteration": None, "cause": "oom", "count": 3, "title": message().title,
    }  # fmt: skip
    assert said.incidents[2]["title"] == reminded.title


def test_a_digest_of_reminders_alone_says_what_is_still_open():
    reminded = message(TASK, "reminder")
    said = digest([reminded], "s", "prod", 0.0)
    assert (said.title, said.summary, said.links) == ("Still open: 1 incident", "Not repaired:", ())
    assert said.incidents[0]["title"] == reminded.title.removeprefix("Still open: ")
    assert said.dag_id == "flights"


@pytest.mark.parametrize(("number", "tail"), [(20, "d19"), (21, "d19 and 1 more")])
def test_a_digest_names_twenty_dags(number, tail):
    said = digest([message(replace(TASK, dag_id=f"d{n:02}")) for n in range(number)], "s", "prod", 0.0)
    assert said.summary.endswith(tail)


def test_text_is_one_line_of_bounded_length_and_a_name_stays_as_it_is():
    assert plain("a\nb\tc \x00") == "a b c"
    assert len(plain("x" * 600)) == 500
    assert named("secret") == "secret"
    assert named("a b\nc") == "a b c"


def test_a_message_says_the_version_of_its_dag_and_whether_it_is_the_first_failure_of_it(office):
    begin = office.now
    for number, (run, version) in enumerate([("r0", 6), ("r1", 7), ("r2", 7), ("r3", 7)]):
        office.now = begin + 600 * number
        evidence = {"airflow.dag_version": version}
        office.see(Fact(kind="run", status="noted", time=office.now, dag_id="load", run_id=run, evidence=evidence))
        if run in {"r0", "r2", "r3"}:
            office.see(failed(run=run, time=office.now, task=f"t{number}"))
            office.pass_time(10)
    said = [dict(one.details).get("DAG version") for one in office.messages() if one.kind == "opened"]
    assert said == [
        "6, since 1970-01-12 13:46 UTC, in 1 run; its first failure",
        "7, since 1970-01-12 13:56 UTC, in 2 runs; its first failure",
        "7, since 1970-01-12 13:56 UTC, in 3 runs; 1 incident before this one",
    ]


def test_a_dag_that_never_changed_has_no_version_worth_a_line(office):
    evidence = {"airflow.dag_version": 1}
    office.see(Fact(kind="run", status="noted", time=office.now, dag_id="load", run_id="r1", evidence=evidence))
    office.see(failed(time=office.now))
    office.pass_time(10)
    assert "DAG version" not in dict(office.messages()[0].details)
