"""Messages of ten kinds as they look in Slack, a mail, PagerDuty and the terminal: docs/messages.md with pictures.

The engine makes the messages from facts, and the channels' own renderers their forms. Only Slack's frame is drawn here.

    PYTHONPATH=tests/support:tests/watch python tests/watch/play_messages.py docs
"""

from __future__ import annotations

import base64
import html
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from chromium import browser
from watch_office import Office, failed, run_ended

from observability.durations import lasting
from observability.watch.facts import Fact
from observability.watch.ledger.database import Ledger
from observability.watch.notify import render
from observability.watch.notify.channels.pagerduty import payload
from observability.watch.notify.messages import Links
from observability.watch.notify.notifier import Notifier
from observability.watch.rules.config import parse_rules

RULES = """
channels: {slack: {type: file}}
receivers: {data: {channels: [slack]}}
routes: [{receiver: data}]
"""
NOON = 1_783_080_000.0
TRACE = """Traceback (most recent call last):
  File "/opt/airflow/lib/python3.12/site-packages/airflow/sdk/execution_time/task_runner.py", line 920, in run
    result = _execute_task(context, task)
  File "/opt/airflow/dags/flights.py", line 31, in load
    rows = parse(part)
  File "/opt/airflow/dags/flights.py", line 17, in parse
    raise ValueError(f"part {part} has no header")
ValueError: part 3 has no header
"""
LOG = ["reading part 3 of 40", "columns: none", "ValueError: part 3 has no header"]
ABOUT = {"owner": "ann", "env": "prod"}
COLOURS = {"🔴": "#d32f2f", "🟠": "#ef6c00", "🟡": "#f9a825", "🔵": "#1976d2", "✅": "#2e7d32"}
DOT = "<span style='color:{}'>&#9679;</span>"
PAGE = """<!doctype html><meta charset=utf-8><style>
body{margin:0;padding:24px;background:#fff;width:760px;
font:15px/1.46 Lato,'Segoe UI',Helvetica,Arial,sans-serif;color:#1d1c1d}
.hint{color:#616061;font-size:12px;margin:0 0 12px}.h{font-size:18px;font-weight:800;margin:4px 0}
.f{display:grid;grid-template-columns:1fr 1fr;gap:8px 16px;margin:8px 0}.s{margin:8px 0}
pre{background:#f8f8f8;border:1px solid #ddd;border-radius:4px;padding:8px;font-size:12px;
white-space:pre-wrap;margin:4px 0}
.c{color:#616061;font-size:13px}.c a,.s a{color:#1264a3;text-decoration:none;margin-right:12px}
pre.t{background:#1d2125;color:#e6e6e6;border:0;padding:16px;font-size:13px}</style>"""


def errors(**more):
    """A failed task with its error, as the callback tells it."""
    evidence = {"error.type": "ValueError", "error.message": "part 3 has no header", "error.stack_trace": TRACE,
                "error.fingerprint": "a1b2c3", "log_tail": LOG}  # fmt: skip
    return {"cause": "data", "reason": "ValueError: part 3 has no header", "evidence": evidence, "about": ABOUT, **more}


def finding(kind, reason, **more):
    """The finding of one of the watcher's own sources."""
    return Fact(kind=kind, status=more.pop("status", "firing"), time=more.pop("time", NOON), reason=reason, certainty=3,
                about=ABOUT, **more)  # fmt: skip


def play(office):
    """(kind, message) of each of the ten; the clock is made, the rest is the engine's."""

    first = "scheduled__2026-07-03T06:00:00+00:00"

    def newest(kind):
        return next(one for one in reversed(office.messages()) if one.kind == kind)

    office.see(failed("flights_daily", first, "load", map_index=3, time=NOON, **errors()))
    office.pass_time(3)
    yield "A task failed", newest("opened")
    office.see(
        *(failed("flights_daily", first, "load", map_index=n, time=office.now, **errors()) for n in range(4, 33))
    )
    office.see(run_ended("firing", "flights_daily", first, time=office.now))
    office.pass_time(5)
    yield "It grew", newest("update")
    office.see(run_ended("resolved", "flights_daily", "scheduled__2026-07-03T07:00:00+00:00", time=office.now + 3600))
    yield "It is repaired", newest("resolved")
    told = (
        ("Out of memory", failed("weather", "manual__1", "join", cause="oom", reason="the kernel killed it for memory",
         time=NOON, about=ABOUT, evidence={"airflow.peak_rss": 2_040 << 20, "airflow.memory_limit": 2048 << 20})),
        ("Set to failed by a person", failed("planes", "manual__2", "check", cause="cancelled", time=NOON, about=ABOUT,
         reason="set to failed by bob")),
        ("A component is down", finding("component", "its last heartbeat was 32 s ago; 4 scheduled tasks wait for it",
         subject="scheduler", evidence={"affected": "flights_daily.load, weather.join"})),
        ("A deadline was missed", finding("deadline", f"the run takes longer than {lasting(7200)}", dag_id="airports",
         cause="deadline",
         run_id="manual__3", subject="by-noon", evidence={"deadline.due": "2026-07-03T11:48:00Z"})),
        ("A DAG file does not parse", finding("import", "SyntaxError: '(' was never closed", subject="dags/carriers.py",
         cause="import", severity="critical")),
        ("Airflow paused a DAG", finding("paused", "3 runs failed in a row (max_consecutive_failed_dag_runs)",
         dag_id="airlines", evidence={"failed_runs": 3})),
    )  # fmt: skip
    for title, fact in told:
        office.see(fact)
        office.pass_time(4)
        yield title, newest("opened")
    office.pass_time(4.5 * 3600, step=60)
    yield "Reminders of several, in one", newest("digest")


def slack_page(blocks):
    """Slack's blocks, drawn by us: close to what Slack draws, and not Slack."""
    parts = ["<p class=hint>Our own drawing of the Block Kit message; Slack's differs in details.</p>"]
    for block in blocks:
        if block["type"] == "header":
            parts.append(f"<div class=h>{html.escape(block['text']['text'])}</div>")
        elif "fields" in block:
            fields = "".join(f"<div>{mrkdwn(one['text'])}</div>" for one in block["fields"])
            parts.append(f"<div class=f>{fields}</div>")
        elif block["type"] == "section":
            parts.append(f"<div class=s>{mrkdwn(block['text']['text'])}</div>")
        else:
            links = "".join(mrkdwn(one["text"]) for one in block["elements"])
            parts.append(f"<div class=c>{links}</div>")
    return "".join(parts)


def mrkdwn(text):
    """Slack's markup as HTML; its text is escaped already."""
    text = re.sub("[\U0001f534\U0001f7e0\U0001f7e1\U0001f535\u2705]", lambda found: DOT.format(COLOURS[found[0]]), text)
    text = re.sub(r"```(.*?)```", r"<pre>\1</pre>", text, flags=re.DOTALL)
    text = re.sub(r"<(https?://[^|>]+)\|([^>]+)>", r"<a href='\1'>\2</a>", text)
    return re.sub(r"(?m)^\*(.+?)\*$", r"<b>\1</b>", text).replace("\n", "<br>")


def picture(driver, page, path):
    """Draw a page as high as it is."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "page.html"
        file.write_text(PAGE + page)
        driver.get(file.as_uri())
        height = driver.execute_script("return document.body.getBoundingClientRect().height")
        size = {"width": 808, "height": int(height) + 1, "deviceScaleFactor": 1, "mobile": False}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        drawn = driver.execute_cdp_cmd("Page.captureScreenshot", {"format": "png"})
        path.write_bytes(base64.b64decode(drawn["data"]))


def terminal(ledger_url, home, incident_id):
    """The output of ``contrail alerts show``."""
    given = {**os.environ, "CONTRAIL_HOME": home, "CONTRAIL_WATCH__LEDGER_URL": ledger_url,
             "CONTRAIL_WATCH__RULES_FILE": f"{home}/rules.yaml", "CONTRAIL_CORE__ENVIRONMENT": "prod"}  # fmt: skip
    command = [sys.executable, "-m", "observability.cli", "alerts", "show", incident_id]
    return subprocess.run(command, env=given, capture_output=True, text=True, check=True).stdout


def main(docs):
    """Write the page and its pictures below ``docs``."""
    with tempfile.TemporaryDirectory() as home, browser() as driver:
        Path(home, "rules.yaml").write_text(RULES)
        url = f"sqlite:///{home}/ledger.db"
        ledger = Ledger(url)
        office = Office(ledger, RULES)
        office.now = NOON
        office.engine.notifier = Notifier(
            parse_rules(RULES, "rules"), Links(airflow="https://airflow.example.com"), "prod"
        )
        played = "PYTHONPATH=tests/support:tests/watch python tests/watch/play_messages.py docs"
        parts = ["# Ten messages, as they look", "", f"*Made by `{played}`, from facts.*",
                 "*The Slack pictures are our own drawing of the blocks that are sent.*", ""]  # fmt: skip
        for number, (title, message) in enumerate(play(office), 1):
            name = f"message-{number:02}"
            picture(driver, slack_page(render.slack(message)["blocks"]), docs / "pictures" / f"{name}-slack.png")
            picture(driver, render.html(message), docs / "pictures" / f"{name}-mail.png")
            sent = payload(message, "…")
            parts += [f"## {number}. {title}", "", f"`{render.subject(message)}`", "",
                      f"![In Slack](pictures/{name}-slack.png)", "", f"![As a mail](pictures/{name}-mail.png)", "",
                      "PagerDuty:", "```json", json.dumps(sent, indent=1, ensure_ascii=False), "```", ""]  # fmt: skip
            if message.incident_id:
                shown = terminal(url, home, message.incident_id).rstrip()
                parts += [f"Terminal, `contrail alerts show {message.incident_id[:8]}`:", "```", shown, "```", ""]
        ledger.close()
        (docs / "messages.md").write_text("\n".join(parts))


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
