"""Messages say the right thing, and no name or log line becomes markup, a mention, a header or a second line."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from observability import redact
from observability.watch.incidents import Incident, Notice
from observability.watch.notify import render
from observability.watch.notify.channels.channel import Contact
from observability.watch.notify.channels.pagerduty import payload
from observability.watch.notify.channels.smtp import _Smtp
from observability.watch.notify.channels.sns import _subject
from observability.watch.notify.messages import Links, Message, compose, digest

NASTY = [
    "<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "<!channel> <!here> <@U123>",
    "@channel @everyone @here",
    "*bold* _it_ ~no~ `code` ```block```", "[click](http://evil.example)", "<http://evil.example|click>",
    "a\r\nBcc: x@evil.example",
    "a\nb\tc\x0bd", "\x1b[31mred\x1b[0m \x9b31m", "\x00nul\x00", "\u202egnp.exe\u202c \u2066x\u2069",
    "a\u2028b\u2029c", "\ud800 lone",
    "&amp;&lt;b&gt;", "# heading\n- item", "${jndi:ldap://x}", "{{7*7}}", "a|b|c", "![x](http://evil.example/x.png)",
]  # fmt: skip
LINKS = Links(
    airflow="http://airflow",
    kibana="http://kibana",
    cloudwatch_region="eu-central-1",
    cloudwatch_group="/c/dev/airflow.task",
    runbooks="https://docs/run",
)


def incident(text="x", **more):
    return Incident(
        id="i1", key=f"run:{text}:{text}", state="open", kind="task", severity="error", cause="app", reason=text,
        certainty=3,
        first_seen=0.0, last_seen=0.0, count=1, dag_id=text, run_id=text, task_id=text, about={"owner": text},
        evidence={"error.type": text, "error.message": text, "error.frame": text, "log_tail": [text, text]}, **more,
    )  # fmt: skip


def message(text="x", kind="opened", **more):
    return compose(Notice(kind, incident(text, **more)), LINKS, "dev")


class Tags(HTMLParser):
    """The tags and attributes of a page."""

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


@pytest.mark.parametrize("text", NASTY)
def test_no_text_has_control_or_direction_characters(text):
    shown = json.dumps(message(text).as_json(), ensure_ascii=False)
    assert not re.search("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]", shown)


@pytest.mark.parametrize("text", NASTY)
def test_html_has_only_our_own_tags_and_links(text):
    page = Tags()
    page.feed(render.html(message(text)))
    assert {tag for tag, _ in page.found} <= {"h3", "p", "table", "tr", "th", "td", "pre", "a"}
    assert all(set(attrs) <= {"style", "align", "href"} for _, attrs in page.found)
    assert all(
        attrs["href"].startswith(("http://airflow", "http://kibana", "https://"))
        for tag, attrs in page.found
        if tag == "a"
    )


@pytest.mark.parametrize("text", NASTY)
def test_slack_sees_no_mention_no_link_and_no_block_of_ours_broken(text):
    blocks = render.slack(message(text))
    said = [block["text"]["text"] for block in blocks["blocks"] if block["type"] == "section" and "text" in block]
    said += [field["text"] for block in blocks["blocks"] for field in block.get("fields", ())]
    for one in said:
        assert not re.search(r"<[!@#h]", one)
        assert not re.search(r"(?<!\w)@(channel|everyone|here)", one)
        assert one.count("```") in {0, 2}


@pytest.mark.parametrize("text", NASTY)
def test_markdown_has_no_markup_of_theirs(text):
    said = render.markdown(message(text)).split("\n\n")
    theirs = "\n\n".join(said[:-1])
    assert not re.search(r"(?<!\\)\]\(", theirs)
    assert not re.search(r"(?<!\w)@(channel|everyone|here)", theirs)
    assert "<" not in theirs


@pytest.mark.parametrize("text", NASTY)
def test_a_mail_has_one_line_a_header_and_only_our_headers(text):
    mail = _Smtp("mail", Contact(host="h"), ["a@example.com"], 1.0)._mail(message(text))
    assert "Bcc" not in mail
    assert mail["To"] == "a@example.com"
    assert all("\n" not in str(value) and "\r" not in str(value) for value in mail.values())


@pytest.mark.parametrize("text", NASTY)
def test_a_topic_gets_a_subject_that_it_takes_and_a_pager_one_line_each(text):
    assert re.fullmatch("[\x21-\x7e][\x20-\x7e]{0,99}", _subject(message(text)))
    said = payload(message(text), "key")["payload"]
    lines = [said["summary"], said["source"], said["group"], *map(str, said["custom_details"].values())]
    assert not [line for line in lines if re.search("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]", line)]


@pytest.mark.parametrize("text", NASTY)
def test_a_digest_is_as_safe_as_what_it_is_made_of(text):
    said = digest([message(text), message(text)], "serial", "dev", 0.0)
    shown = render.text(said)
    assert len(shown.splitlines()) == 5  # severity and title, summary, nothing, and a line for each notice
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]", shown)
    page = Tags()
    page.feed(render.html(said))
    assert {tag for tag, _ in page.found} <= {"h3", "p", "table", "pre", "a"}


def test_secrets_are_taken_out_of_free_text_and_the_names_that_airflow_gave_stay():
    redact.add_secret("hunter2-hunter2")
    said = "password is hunter2-hunter2"
    one = replace(incident("hunter2-hunter2"), reason=said, evidence={"error.message": said, "log_tail": [said]})
    told = compose(Notice("opened", one), LINKS, "dev")
    assert "hunter2-hunter2" not in " ".join((told.summary, *told.log, dict(told.details)["Error"]))
    assert "password is ***" in told.title
    assert told.dag_id == "hunter2-hunter2"
    assert "/dags/hunter2-hunter2/" in dict(told.links)["Airflow"]


def test_links_lead_to_the_task_the_logs_and_the_runbook():
    links = dict(compose(Notice("opened", incident("a b/ü'\"")), LINKS, "dev").links)
    assert (
        links["Airflow"]
        == "http://airflow/dags/a%20b%2F%C3%BC%27%22/runs/a%20b%2F%C3%BC%27%22/tasks/a%20b%2F%C3%BC%27%22"
    )
    assert links["Kibana"].startswith("http://kibana/app/discover#/?_a=")
    assert "'" not in links["CloudWatch Logs"].partition("editorString~'")[2].partition("'")[0]
    assert links["Runbook"] == "https://docs/run/task-failed.md"


def test_a_killed_tasks_runbook_is_its_own():
    assert dict(message(kind="opened").links)["Runbook"].endswith("task-failed.md")
    killed = incident()
    object.__setattr__(killed, "cause", "oom")
    assert LINKS.runbook(killed).endswith("task-killed.md")


def test_pagerduty_opens_and_resolves_the_same_alert():
    opened, resolved = payload(message(), "key"), payload(message(kind="resolved"), "key")
    assert (opened["event_action"], resolved["event_action"]) == ("trigger", "resolve")
    assert opened["dedup_key"] == resolved["dedup_key"] == "i1"
    assert opened["payload"]["severity"] == "error"
    assert "payload" not in resolved


def test_every_renderer_says_what_when_and_where():
    one = message("load")
    for shown in (render.text(one), render.html(one), render.markdown(one), json.dumps(render.slack(one))):
        for word in ("load: load failed", "load", "http://airflow/dags/load"):
            assert word in shown


def test_a_message_survives_being_written_down():
    one = message("load")
    assert Message.from_json(json.loads(json.dumps(one.as_json()))) == one


def test_a_digest_lists_what_it_stands_for_in_every_form():
    said = digest(
        [compose(Notice("opened", incident(f"dag{number}")), LINKS, "dev") for number in range(60)],
        "serial",
        "dev",
        0.0,
    )
    for shown in (render.text(said), render.html(said), render.markdown(said), json.dumps(render.slack(said))):
        assert "dag0: dag0 failed" in shown
        assert "dag49: dag49 failed" in shown
        assert "and 10 more: contrail alerts list" in shown


def test_a_digest_names_dags_kinds_and_the_worst_severity():
    many = [compose(Notice("opened", incident(f"dag{number}")), LINKS, "dev") for number in range(30)]
    said = digest(many, "serial", "dev", 0.0)
    assert (said.title, said.dag_id) == ("30 notices about 30 DAGs in one", None)
    assert "and 10 more" in said.summary
    assert len(said.incidents) == 30


def test_a_digest_about_one_dag_says_which():
    one = compose(Notice("opened", incident("dag1")), LINKS, "dev")
    said = digest([one, one], "serial", "dev", 0.0)
    assert (said.title, said.dag_id) == ("2 notices about 1 DAG in one", "dag1")


def test_a_name_stays_where_a_password_is_the_same_word_and_the_reason_is_masked():
    redact.forget_secrets()
    redact.add_secret("flights")
    try:
        one = replace(
            incident("flights"), subject="flights", reason="no flights", evidence={"error.message": "flights!"}
        )
        message = compose(Notice(kind="opened", incident=one), LINKS, "dev")
        assert message.title == "flights: flights failed: no ***"
        assert (message.dag_id, message.task_id, message.run_id) == ("flights", "flights", "flights")
        assert "/dags/flights/runs/flights/tasks/flights" in dict(message.links)["Airflow"]
        assert message.summary == "no ***"
        assert (dict(message.details)["Run"], dict(message.details)["Owner"]) == ("flights", "flights")
        assert dict(message.details)["Error"] == "***!"
    finally:
        redact.forget_secrets()


def filled(blocks):
    """The text objects of a Slack message."""
    for block in blocks:
        yield from ([block["text"]] if "text" in block else []) + block.get("fields", []) + block.get("elements", [])


@pytest.mark.parametrize("size", [0, 1, 200, 4000])
@pytest.mark.parametrize("kind", ["opened", "resolved"])
def test_slack_takes_the_blocks_of_a_message_of_any_size(kind, size):
    one = message("x")
    details = tuple(("Label", "v" * max(size, 1)) for _ in range(size and 23))
    log = tuple("<&>" * size for _ in range(30)) if size else ()
    links = tuple(("Link", f"https://a/{'b' * size}") for _ in range(14))
    blocks = render.slack(
        replace(one, kind=kind, summary="s" * size, title="t" * max(size, 1), details=details, log=log, links=links)
    )["blocks"]

    assert 0 < len(blocks) <= 50
    assert blocks[0]["type"] == "header"
    assert blocks[0]["text"]["type"] == "plain_text"
    assert 0 < len(blocks[0]["text"]["text"]) <= 150
    assert all(block["type"] in {"header", "section", "context"} for block in blocks)
    assert all(block["type"] != "section" or "text" in block or block["fields"] for block in blocks)
    assert all(len(block.get("fields", ())) <= 10 and len(block.get("elements", ())) <= 10 for block in blocks)
    assert all(text["type"] == "mrkdwn" and text["verbatim"] for text in filled(blocks[1:]))
    assert all(0 < len(text["text"]) <= 3000 for text in filled(blocks))
    assert all(0 < len(field["text"]) <= 2000 for block in blocks for field in block.get("fields", ()))


def test_slack_shows_each_detail_log_line_and_link_once():
    one = replace(message("x"), summary="why", details=(("A", "1"), ("B", "2")), log=("first", "last"))
    shown = [text["text"] for text in filled(render.slack(one)["blocks"])]

    assert shown[1].endswith(" why")
    assert shown[2:5] == ["*A*\n1", "*B*\n2", "```first\nlast```"]
    assert shown[5:] == [f"<{address.replace('&', '&amp;')}|{label}>" for label, address in one.links]


def test_a_message_names_the_owner_and_says_so_of_nobody():
    assert dict(message("x").details)["Owner"] == "x"
    nobody = replace(incident(), about={})
    assert "Owner" not in dict(compose(Notice("opened", nobody), LINKS, "dev").details)


@pytest.mark.parametrize(("index", "said", "path"), [(-1, None, ""), (0, 0, "/mapped/0"), (7, 7, "/mapped/7")])
def test_a_mapped_task_is_named_by_its_index_also_the_first(index, said, path):
    one = message("load", map_index=index)
    links = dict(one.links)

    assert one.map_index == said
    assert links["Airflow"] == f"http://airflow/dags/load/runs/load/tasks/load{path}"
    assert links["Contrail"] == "http://airflow/contrail/dags/load/runs/load/tasks/load" + (
        "" if said is None else f"?map_index={said}"
    )


@pytest.mark.parametrize("order", [("warning", "critical", "error"), ("critical", "error"), ("error", "warning")])
def test_a_digest_is_as_severe_as_the_worst_in_it(order):
    found = digest([replace(message(), severity=one) for one in order], "k", "dev", 0.0, LINKS)
    assert found.severity == min(order, key=["critical", "error", "warning"].index)
