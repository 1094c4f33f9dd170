"""Forecasts on a real Airflow: 300 short runs, whether people are warned before a miss, and what the watcher read.

The first runs are over when the watcher begins with an empty ledger, so it has to learn them from Airflow's API. The
deadline is 1.3 times their median; of a hundred runs, eight have a task that sleeps two to five times as long.
``--quick`` plays forty runs, ``PREDICTIONS_RUNS=60,140`` as many before and beside the watcher. With a folder as
``PREDICTIONS_HOME`` it goes on where it was ended: the runs that have been played are kept there.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import tempfile
import time
from collections import defaultdict
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from random import Random
from statistics import median
from typing import TYPE_CHECKING, Any

from benchmarks import own_platform
from benchmarks.figure import Figure, Options, Sample, Target
from observability.local.api import Api
from observability.local.keys import password
from observability.local.layout import Layout
from observability.local.ports import any_port
from observability.settings import load_settings
from observability.store import Query, open_store

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

__all__ = ["run"]

_DAGS = tuple(f"short_{number}" for number in range(4))
_FOLDER = Path(__file__).parent / "short_dags"
_SEED = 20261127
_SLOW, _ALLOWED = 0.08, 1.3
_LONGEST_S = 3600.0
_PORTION = 40
_ENDED = {"success", "failed"}


def run(options: Options) -> list[Figure]:
    """Play the runs before the watcher and those that it watches, and compare what it said with what came."""
    before, watched = (24, 16) if options.quick else map(int, os.environ.get("PREDICTIONS_RUNS", "80,220").split(","))
    folder = Path(os.environ.get("PREDICTIONS_HOME") or tempfile.mkdtemp(prefix="predictions-live-"))
    platform, played = _Platform(folder), _Played(folder / "played.json")
    if not played.limits:
        with platform.running() as api:
            played.go_on(api, "before", before)
            played.limits = {dag: _ALLOWED * median(_lasted(one) for one in _runs(api, dag)) for dag in _DAGS}
        platform.forget(played.limits)
        played.save()
    limits = played.limits
    with platform.running() as api:
        read = platform.history()
        played.go_on(api, "watched", watched)
        names = set(played.names["watched"])
        ended = {
            (dag, one["dag_run_id"]): one for dag in _DAGS for one in _runs(api, dag) if one["dag_run_id"] in names
        }
        time.sleep(10)  # for what is said of the last run to be delivered
        events = platform.events()
    if not options.quick:
        (folder / "said.json").write_text(json.dumps({"runs": list(ended.values()), "events": events}, default=str))
    return _figures(ended, events, limits, read)


class _Platform:
    """A platform of ``contrail up`` with rules of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._layout = folder, Layout(folder / "contrail")
        self._port, self._statsd = any_port(socket.SOCK_STREAM), str(any_port(socket.SOCK_DGRAM))
        shutil.copytree(_FOLDER, folder / "dags", dirs_exist_ok=True)
        self._write_rules({})

    @contextmanager
    def running(self) -> Iterator[Api]:
        """Start it, and stop it at the end."""
        try:
            self._contrail("up", "--detach", "--wait-timeout", "900")
            with Api(f"http://127.0.0.1:{self._port}", password(self._layout), patience_s=120) as api:
                yield api
        finally:
            self._contrail("down")

    def forget(self, limits: Mapping[str, float]) -> None:
        """Take the ledger away, and give each DAG its deadline."""
        for path in self._layout.home.glob("ledger.db*"):
            path.unlink()
        self._write_rules(limits)

    def history(self) -> dict[str, Any]:
        """The history that the watcher has read, when it has read all of it."""
        deadline = time.monotonic() + 900
        while time.monotonic() < deadline:
            found: dict[str, Any] = json.loads(self._contrail("alerts", "history", "--json"))
            if found["state"] == "done":
                return found
            time.sleep(1)
        raise TimeoutError(f"the history is not read: {found}")

    def events(self) -> list[dict[str, Any]]:
        """The events about deadlines in the store, by time."""
        store = open_store(load_settings(environ=self._environment()))
        try:
            actions = ("deadline.approached", "deadline.missed", "deadline.upcoming", "deadline.kept")
            return list(store.documents(Query("contrail.alert", {"event.action": actions})))
        finally:
            store.close()

    def _contrail(self, *words: str) -> str:
        return own_platform.contrail(*words, env=self._environment(), timeout_s=1000, check=words[0] != "down")

    def _environment(self) -> dict[str, str]:
        return {
            **own_platform.clean_environment(),
            **own_platform.variables(self._folder, self._layout.home, port=self._port, statsd=self._statsd),
            "CONTRAIL_AIRFLOW__PARALLELISM": "4",
            "CONTRAIL_WATCH__HISTORY_DAYS": "1",
        }

    def _write_rules(self, limits: Mapping[str, float]) -> None:
        rules = {
            "channels": {"file": {"type": "file"}}, "receivers": {"all": {"channels": ["file"]}},
            "routes": [{"receiver": "all"}],
            "deadlines": [
                {"name": f"{dag}-soon", "dag": dag, "run_finishes_within": f"{limit:.1f}s"}
                for dag, limit in limits.items()
            ],
        }  # fmt: skip
        (self._folder / "rules.yaml").write_text(json.dumps(rules))


class _Played:
    """The runs that have been played, in portions, and the limits that followed from the first; kept in a file."""

    def __init__(self, path: Path) -> None:
        known = json.loads(path.read_text()) if path.exists() else {}
        self._path = path
        self.limits: dict[str, float] = known.get("limits", {})
        self.names: dict[str, list[str]] = known.get("names", {"before": [], "watched": []})

    def save(self) -> None:
        """Write what is known to the file."""
        self._path.write_text(json.dumps({"limits": self.limits, "names": self.names}))

    def go_on(self, api: Api, part: str, count: int) -> None:
        """Play the runs of a part that are left; each follows from its number alone."""
        names = self.names[part]
        while len(names) < count:
            numbers = range(len(names), min(count, len(names) + _PORTION))
            names += _play(api, [Random(f"{_SEED}/{part}/{number}") for number in numbers], len(names))
            self.save()


def _play(api: Api, dice: Sequence[Random], first: int) -> list[str]:
    """Let a run for each of the dice end, four at a time; their ids."""
    names: list[str] = []
    for number, die in enumerate(dice, first):
        sleeps = [die.lognormvariate(0, 0.15) * base for base in (2.0, 4.0, 2.0)]
        if die.random() < _SLOW:
            sleeps[die.randrange(3)] *= die.uniform(2, 5)
        body = {"logical_date": None, "conf": {"sleeps": sleeps}}
        names.append(api.call("POST", f"/dags/{_DAGS[number % 4]}/dagRuns", json=body)["dag_run_id"])
    until = time.monotonic() + _LONGEST_S
    while time.monotonic() < until:
        left = sum(
            int(
                api.call("GET", f"/dags/{dag}/dagRuns", params={"state": ["queued", "running"], "limit": 1})[
                    "total_entries"
                ]
            )
            for dag in _DAGS
        )
        if not left:
            return names
        time.sleep(3)
    raise TimeoutError(f"{left} runs have not ended")


def _runs(api: Api, dag: str) -> list[dict[str, Any]]:
    return [one for one in api.pages(f"/dags/{dag}/dagRuns", "dag_runs") if one["state"] in _ENDED]


def _lasted(one: Mapping[str, Any]) -> float:
    return _moment(one["end_date"]) - _moment(one["start_date"])


def _moment(text: str) -> float:
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def _figures(
    ended: Mapping[tuple[str, str], Mapping[str, Any]],
    events: Sequence[Mapping[str, Any]],
    limits: Mapping[str, float],
    read: Mapping[str, Any],
) -> list[Figure]:
    by_run: dict[tuple[str, str], dict[str, list[Mapping[str, Any]]]] = defaultdict(lambda: defaultdict(list))
    for one in events:
        by_run[one["airflow.dag_id"], one.get("airflow.run_id", "")][one["event.action"]].append(one)
    late = {key for key, one in ended.items() if _lasted(one) > limits[key[0]]}
    warned = {key: by_run[key]["deadline.approached"][0] for key in ended if by_run[key]["deadline.approached"]}
    early = {key for key, one in warned.items() if _moment(one["@timestamp"]) < _moment(one["deadline.due"])}
    leads = [
        (_moment(warned[key]["deadline.due"]) - _moment(warned[key]["@timestamp"])) / limits[key[0]]
        for key in late & early
    ]
    inside = [
        _moment(one["deadline.earliest"]) <= _moment(ended[key]["end_date"]) <= _moment(one["deadline.latest"])
        for key in ended
        for one in by_run[key]["deadline.upcoming"]
        if one.get("deadline.earliest")
    ]
    told = {key for key in ended if by_run[key]["deadline.missed"]}
    notes = {"runs": len(ended), "missed": len(late), "warned": len(warned), "read before": read.get("runs", 0)}
    return [
        Figure("misses that were told", "share", Sample((len(told & late) / max(1, len(late)),)),
               targets=(Target(at_least=1.0),), notes=notes | {"told without a miss": len(told - late)}),
        Figure("misses that were warned of before they were due", "share",
               Sample((len(late & early) / max(1, len(late)),)), targets=(Target(at_least=0.80),)),
        Figure("warnings after which the deadline was missed", "share",
               Sample((len(late & set(warned)) / max(1, len(warned)),)), targets=(Target(at_least=0.90),)),
        Figure("median lead, share of the time allowed", "share", Sample((median(leads or [0.0]),))),
        Figure("90 % intervals that held", "share", Sample((sum(inside) / max(1, len(inside)),)),
               targets=(Target(at_least=0.86, at_most=0.94),), notes={"intervals": len(inside)}),
    ]  # fmt: skip
