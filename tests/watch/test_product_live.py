"""A product of DAGs, tasks and an asset, told of by a real watcher: journal, ledger, deadlines, channel."""

from __future__ import annotations

import json
import time
from datetime import datetime, timezone
from importlib import import_module
from types import SimpleNamespace

import orjson
import pytest
from test_by_the_clock import at
from test_deadlines import HOUR

from observability.events import AssetUpdated, DagRunStarted, DagRunSucceeded, Identity, TaskStarted, TaskSucceeded
from observability.journal import Journal
from observability.relay.relay import Relay
from observability.settings import get_settings
from observability.watch.rules.loader import RulesFile
from observability.watch.watcher import Watcher

emit = import_module("observability.emit")  # the package's attribute of that name is the function
RULES = """
proof: {canary_every: 0}
channels: {file: {type: file, path: everybody.jsonl}, finance: {type: file, path: finance.jsonl}}
receivers: {everybody: {channels: [file]}, finance: {channels: [finance]}}
routes: [{match: {owner: finance}, receiver: finance}, {receiver: everybody}]
deadlines:
  - name: morning-report
    ready_by: "09:00"
    timezone: Europe/Berlin
    owner: finance
    warn: 0.9
    parts: [{dag: load}, {dag: report, task: publish}, {asset: "s3://reports/today"}]
"""
STEP_S = 1800.0
ZONE = "Europe/Berlin"


@pytest.fixture
def settings(tmp_path, monkeypatch):
    monkeypatch.setenv("CONTRAIL_HOME", str(tmp_path))
    for cached in (get_settings, emit.journal):
        cached.cache_clear()
    (tmp_path / "journal").mkdir()
    (tmp_path / "alerts.yaml").write_text(RULES)
    yield get_settings()
    for cached in (get_settings, emit.journal):
        cached.cache_clear()


class Office:
    """A watcher whose rounds are made by hand, on a clock of July; its channels deliver by themselves."""

    def __init__(self, settings, ledger, monkeypatch, now):
        self.now, self._home = now, settings.home
        clocks = SimpleNamespace(time=lambda: self.now, monotonic=lambda: self.now)
        monkeypatch.setattr("observability.watch.watcher.time", clocks)
        self._journal = Journal(settings.journal_directory)
        assert Relay(settings, statsd=False).run(once=True)  # a store, from which other hosts would be heard of
        self.watcher = Watcher(settings, ledger, RulesFile(settings.home / "alerts.yaml"), None, api=None)
        assert self.watcher._lease.acquire(0.0)
        self.watcher._hire()
        until = time.monotonic() + 30
        while self.watcher._store.is_blind:
            self.watcher.step(self.now)
            assert time.monotonic() < until
            time.sleep(0.05)

    def tell(self, kind, dag, task=None, **more):
        about = Identity(dag_id=dag, run_id=f"{self.now:.0f}", task_id=task, try_number=1 if task else None)
        event = kind(identity=about, time=datetime.fromtimestamp(self.now, timezone.utc), **more)
        self._journal.append("etl.event", orjson.dumps(event.document()))

    def run(self, dag, task):
        self.tell(DagRunStarted, dag)
        self.tell(TaskStarted, dag, task)
        self.tell(TaskSucceeded, dag, task)
        self.tell(DagRunSucceeded, dag, duration_ns=1_000_000_000)

    def wait_until(self, moment):
        while self.now < moment:
            self.now = min(moment, self.now + STEP_S)
            for _ in range(2):  # what a round found is notified in the next
                self.watcher.step(self.now)
                self.now += 1

    def said(self, channel, number):
        """The messages of a channel, once so many were delivered."""
        path, until = self._home / f"{channel}.jsonl", time.monotonic() + 20
        while (lines := path.read_text().splitlines() if path.exists() else []) is not None and len(lines) < number:
            assert time.monotonic() < until, lines
            time.sleep(0.02)
        return [json.loads(line) for line in lines]

    def close(self):
        self.watcher.stop()
        self.watcher._step_down()


def test_an_asset_that_is_a_part_of_a_product_is_warned_of_missed_and_recovered_once_each(
    settings, ledger, monkeypatch
):
    office = Office(settings, ledger, monkeypatch, at(1, zone=ZONE))
    try:
        office.wait_until(at(7, zone=ZONE))
        office.run("load", "t")
        office.run("report", "publish")
        office.wait_until(at(11, zone=ZONE))  # the asset alone is late
        office.tell(AssetUpdated, "upload", "put", asset="s3://reports/today")
        office.wait_until(at(23, zone=ZONE))
        first = office.said("finance", 3)
        office.wait_until(at(6, day=2, zone=ZONE))
        office.run("load", "t")
        office.run("report", "publish")
        office.tell(AssetUpdated, "upload", "put", asset="s3://reports/today")
        office.wait_until(at(6, day=2, zone=ZONE) + 12 * HOUR)  # all is there: nobody hears of the second day
    finally:
        office.close()
    told = office.said("finance", 3)
    assert [one["kind"] for one in told] == ["early_warning", "opened", "resolved"]
    assert told == first
    assert all("s3://reports/today" in str(one) for one in told)
    assert "load is late" not in str(told)
    assert {one["assets"][0] for one in told} == {"s3://reports/today"}
    assert office.said("everybody", 0) == []
