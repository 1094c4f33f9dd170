"""From the fact to the person: the watcher, its ledger and rules, and the channels."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from observability.doctor import guest
from observability.doctor.link import Broken, Link, Off
from observability.doctor.ownership import start
from observability.doctor.silence import silent
from observability.proxies import is_loopback
from observability.watch.errors import WatchError
from observability.watch.heartbeat import read_heartbeat
from observability.watch.history_import import read_progress
from observability.watch.ledger.database import Ledger, read_cursor
from observability.watch.rules.first_route import named_address
from observability.watch.rules.lint import unknown_dags
from observability.watch.rules.loader import find_rules, open_rules

if TYPE_CHECKING:
    from observability.settings import Settings

__all__ = ["LINKS", "TEST"]

_SILENT_S = 15.0
_TEST_S = 40.0


def _ledger(settings: Settings) -> str:
    ledger = Ledger(settings.ledger_url)
    try:
        with ledger.transaction(lock=True):
            return "can be written"
    except WatchError as error:
        raise Broken(str(error), "contrail config show; see [watch] ledger_url") from error
    finally:
        ledger.close()


def _rules(settings: Settings) -> str:
    path = find_rules(settings)
    try:
        rules = open_rules(settings).rules
    except WatchError as error:
        raise Broken(str(error), f"contrail alerts check {path}") from error
    where = path or named_address(settings) or "built in"
    number = len(rules.channels)
    return f"{where}: {number} {'channel' if number == 1 else 'channels'}"


def _deadlines(settings: Settings) -> str:
    """A deadline of a DAG that Airflow does not have is never missed and never kept."""
    rules, ledger = open_rules(settings).rules, Ledger(settings.ledger_url)
    try:
        with ledger.transaction() as connection:
            dags = (read_cursor(connection, "reconcile") or {}).get("dags", {})
    finally:
        ledger.close()
    if not dags:
        raise Off("the watcher has not yet read which DAGs there are", "contrail watch")
    if unknown := [said for _, said in unknown_dags(rules, dags)]:
        raise Broken(f"deadline {'; '.join(unknown)}", "contrail alerts check")
    return f"{len(rules.deadlines)}, each of DAGs that Airflow has" if rules.deadlines else "none in the rules file"


def _links(settings: Settings) -> str:
    """People elsewhere cannot open a link to 127.0.0.1."""
    rules = open_rules(settings).rules
    away = sorted({name for name, one in rules.channels.items() if one.type not in {"file", "log"}})
    host = urlsplit(settings.public_url).hostname or ""
    if away and is_loopback(host):
        raise Broken(
            f"the links of messages lead to {settings.public_url}, which only this machine opens; "
            f"people elsewhere read {', '.join(away)}",
            "set CONTRAIL_CORE__PUBLIC_URL, or Airflow's [api] base_url, to the address that people open",
        )
    return settings.public_url


def _watcher(settings: Settings) -> str:
    heartbeat = read_heartbeat(settings.home)
    if heartbeat is None:
        found = guest.missing(settings, "watcher")
        raise found or Broken("no watcher has run", start(settings, "contrail watch"))
    age, inside = float(str(heartbeat["age_s"])), guest.is_in_api_server(settings, heartbeat["pid"])
    if age > _SILENT_S:
        if inside and (found := guest.missing(settings, "watcher")):
            raise found
        raise silent(settings, "watcher", heartbeat["pid"], age)
    if not heartbeat["active"]:
        raise Broken(f"the watcher is not active: {heartbeat['detail']}", "contrail status")
    return f"inside the API server (process {heartbeat['pid']})" if inside else f"process {heartbeat['pid']}"


def _history(settings: Settings) -> str:
    """Say how much of the past the watcher has read from Airflow."""
    if settings.watch.history_days <= 0:
        raise Off("the past is not read from Airflow", "set [watch] history_days")
    ledger = Ledger(settings.ledger_url)
    try:
        with ledger.transaction() as connection:
            found = read_progress(connection)
    finally:
        ledger.close()
    if found is None:
        raise Off("no watcher has begun to read the past", "contrail watch")
    if found.problem and not found.is_done:
        raise Broken(f"reading the past waits: {found.problem}", "contrail alerts history; contrail status")
    left_out = f", {found.left_out} rows left out" if found.left_out else ""
    return f"{found.share:.0%} read: {found.runs} runs, {found.tasks} tasks{left_out}"


def _untested(_settings: Settings) -> str:
    raise Off("not tested: ask for a test message", "contrail doctor --channels")


def _channels(_settings: Settings) -> str:
    command = [sys.executable, "-m", "observability.cli", "alerts", "test", "--json", "--wait", "30"]
    try:
        done = subprocess.run(command, capture_output=True, check=False, timeout=_TEST_S)  # noqa: S603 - our own command
        sent = json.loads(done.stdout)
    except (subprocess.TimeoutExpired, ValueError) as error:
        raise Broken(f"the test could not be sent: {error}", "contrail alerts test") from error
    silent = [f"{one['channel']} ({one['error'] or one['state']})" for one in sent if one["state"] != "sent"]
    if silent:
        raise Broken(
            f"the test did not arrive by {', '.join(silent)}", "contrail alerts test; see the channel's Connection"
        )
    return ", ".join(one["channel"] for one in sent)


LINKS = (
    Link("ledger", _ledger, ("home",)),
    Link("rules", _rules),
    Link("deadlines", _deadlines, ("ledger", "rules")),
    Link("links", _links, ("rules",)),
    Link("watcher", _watcher, ("home", "ledger", "rules")),
    Link("history", _history, ("ledger",)),
    Link("channels", _untested),
)
TEST = Link("channels", _channels, ("watcher", "ledger", "rules"))
