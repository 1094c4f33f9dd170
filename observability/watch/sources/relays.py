"""The relays of all hosts, by what arrives of them in the store: one that stands still can say nothing itself.

A relay sends ``contrail.relay.up`` with each interval of its metrics, 1 while it runs and 0 when it was asked to end.
A host is silent when no more of them arrive. That is judged by this process's own clock, so the clocks of the hosts
need not agree, and may be put back. A host whose clock is wrong by more than ten minutes is looked for over two days,
less often.
"""

from __future__ import annotations

import time
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import structlog

from observability.durations import lasting
from observability.events import ComponentRecovered, ComponentSilent, Identity
from observability.store.questions import Ask
from observability.store.store import StoreError
from observability.watch import gauges
from observability.watch.facts import CERTAIN, observed
from observability.watch.sources.starting import STARTS_S

if TYPE_CHECKING:
    from observability.store.store import Store
    from observability.watch.facts import Fact

__all__ = ["EVERY_HOST", "RelayHosts", "last_words"]

EVERY_HOST = "every host"
_UP = "contrail.relay.up"
_EVERY_S = 5.0
_BUCKET_S = 5
_WINDOW = timedelta(minutes=10)
_FAR_EVERY_S, _FAR_BUCKET_S, _FAR = 30.0, 300, timedelta(hours=26)
"""Seconds between looks for hosts with a wrong clock, seconds of a stretch, and how wrong a clock may be."""
_SILENT_S = 75.0
"""Seven intervals of metrics: a relay that is merely slow has sent something by then."""
_FORGOTTEN_S = 86_400.0


def last_words(store: Store, since: datetime, bucket_s: int = _BUCKET_S) -> dict[str, tuple[float, bool]]:
    """By host: when its relay last said that it is there (to ``bucket_s`` seconds), and whether it was told to end."""
    return {host: _last(words) for host, words in _words(store, since, bucket_s).items()}


def _words(
    store: Store, since: datetime, bucket_s: int, ahead: timedelta = timedelta(hours=1)
) -> dict[str, dict[float, tuple[float, float]]]:
    """By host and stretch of time: the least value, and how many there are."""
    until = datetime.now(timezone.utc) + ahead
    measures = (("min", "metric.value"), ("count", ""))
    ask = Ask(("airflow.statsd",), {"metric.name": (_UP,)}, since, until, measures, ("host.name",), bucket_s)
    found: dict[str, dict[float, tuple[float, float]]] = {}
    for (began, host), (least, number) in store.table(ask).items():
        found.setdefault(str(host), {})[float(began)] = (float(least), float(number))
    return found


def _has_more(before: dict[str, dict[float, float]], host: str, words: dict[float, tuple[float, float]]) -> bool:
    """True where something arrived of a host since ``before``, whatever its time; ``before`` becomes what is now."""
    counted = {began: number for began, (_, number) in words.items()}
    known = before.get(host)
    before[host] = counted
    return known is not None and any(number > known.get(began, 0) for began, number in counted.items())


def _last(words: dict[float, tuple[float, float]]) -> tuple[float, bool]:
    newest = max(words)
    return newest, words[newest][0] == 0


class RelayHosts:
    """Judges the relays of all hosts; what it must remember is in the mapping that :meth:`look` gets and changes."""

    def __init__(
        self,
        *,
        every_s: float = _EVERY_S,
        silent_s: float = _SILENT_S,
        far_every_s: float = _FAR_EVERY_S,
        starts_s: float = STARTS_S,
    ) -> None:
        self._every_s, self._silent_s, self._far_every_s = every_s, silent_s, far_every_s
        self._starts_s = starts_s
        self._looked: float | None = None
        self._has_looked = False
        self._trouble = ""
        self._moved: dict[str, float] = {}
        """By host: when something new was last seen of it, by the clock of this process."""
        self._awaited: dict[str, float] = {}
        """By host: since when this process waits for the first sign of it, or the first after a gap."""
        self._heard: set[str] = set()
        """The hosts of which this process has seen anything new."""
        self._counted: dict[str, dict[float, float]] = {}
        """By host: how many there were of each stretch of time; more of an old one come of a clock put back."""
        self._far_looked: float | None = None
        self._far: dict[str, dict[float, float]] = {}
        """The same of hosts that the last minutes do not tell of."""

    def look(self, store: Store, known: dict[str, Any]) -> list[Fact]:
        """Findings about relays that fell silent or are back; nothing where the store does not tell of metrics."""
        now = time.monotonic()
        if self._looked is not None and now - self._looked < self._every_s:
            return []
        self._looked = now
        try:
            found = _words(store, datetime.now(timezone.utc) - _WINDOW, _BUCKET_S)
        except StoreError as error:
            self._say(str(error))
            return []
        self._say("")
        hosts: dict[str, float] = known.setdefault("hosts", {})
        is_first, self._has_looked = not self._has_looked, True
        for host, words in found.items():
            (newest, ended), has_more = _last(words), _has_more(self._counted, host, words)
            if ended:
                hosts.pop(host, None)
            elif is_first:  # it may have said so in an earlier life
                hosts[host] = max(newest, hosts.get(host, 0.0))
            elif newest > hosts.get(host, 0.0) or has_more:
                self._note(hosts, host, newest, now)
        self._look_far(store, hosts, set(found), now)
        for host in [one for one, newest in hosts.items() if time.time() - newest > _FORGOTTEN_S]:
            del hosts[host]
        reported = set(known.get("silent", []))
        before = set(hosts) if EVERY_HOST in reported else reported
        silent = {host for host in hosts if self._is_silent(host, now, before)}
        if hosts:
            gauges.heartbeat("relay", max(now - self._moved.get(host, self._awaited.get(host, now)) for host in hosts))
        if len(silent) > 1 and len(silent) == len(hosts):
            silent = {EVERY_HOST}
        return self._changes(known, silent)

    def _look_far(self, store: Store, hosts: dict[str, float], near: set[str], now: float) -> None:
        """Note of hosts that the last minutes do not tell of whether something arrives of them all the same."""
        if self._far_looked is not None and now - self._far_looked < self._far_every_s:
            return
        self._far_looked = now
        try:
            found = _words(store, datetime.now(timezone.utc) - _FAR, _FAR_BUCKET_S, _FAR)
        except StoreError as error:
            self._say(str(error))
            return
        for host, words in found.items():
            has_more = _has_more(self._far, host, words)
            newest, ended = _last(words)
            if host in near or not has_more:
                continue
            if ended:
                hosts.pop(host, None)
            else:
                self._note(hosts, host, newest, now)

    def _note(self, hosts: dict[str, float], host: str, newest: float, now: float) -> None:
        """Remember that something new arrived of a host."""
        hosts[host], self._moved[host] = newest, now
        self._heard.add(host)

    def _is_silent(self, host: str, now: float, before: set[str]) -> bool:
        """True if nothing came of a host for too long; one that was silent before is so until something comes."""
        if host in self._moved:
            return now - self._moved[host] >= self._silent_s
        waited = now - self._awaited.setdefault(host, now)
        return host in before or waited >= (self._silent_s if host in self._heard else self._starts_s)

    def _say(self, trouble: str) -> None:
        """Log when the relays can no longer be judged, and when they can again; not at each look."""
        if trouble and not self._trouble:
            structlog.get_logger("contrail.watch").warning("relays cannot be judged", reason=trouble)
        self._trouble = trouble
        if trouble:  # what comes after a gap says nothing about the time before
            self._moved.clear()
            self._awaited.clear()

    def _changes(self, known: dict[str, Any], silent: set[str]) -> list[Fact]:
        before, now = set(known.get("silent", [])), time.time()
        known["silent"] = sorted(silent)
        facts = [
            observed(
                ComponentSilent(
                    identity=Identity(component="relay"),
                    hostname=host,
                    reason=f"nothing has arrived from it for {lasting(self._silent_s)}: it stands still, was killed or "
                    "cannot deliver, or its host is gone; what is written there waits on its disk",
                ),
                time=now,
                certainty=CERTAIN,
            )
            for host in sorted(silent - before)
        ]
        for host in sorted(before - silent):
            is_back = host == EVERY_HOST or host in known["hosts"]
            why = "records arrive from it again" if is_back else "it was asked to end, or its host was taken away"
            back = ComponentRecovered(identity=Identity(component="relay"), hostname=host, reason=why)
            facts.append(observed(back, time=now))
        return facts
