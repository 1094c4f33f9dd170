"""Prove the alert path: a heartbeat file, a canary notice that must arrive, a dead man's switch."""

from __future__ import annotations

import json
import math
import os
import threading
import time
from typing import TYPE_CHECKING

import httpx
import structlog
from sqlalchemy import select

from observability.durations import lasting
from observability.events import ChannelBroken
from observability.owner_only_files import make_folder, replace_file
from observability.regular_files import read_regular
from observability.timestamps import iso
from observability.watch.facts import CERTAIN, observed
from observability.watch.ledger import schema
from observability.watch.ledger.database import read_cursor, write_cursor
from observability.watch.notify.channels.channel import ChannelError, ChannelUnavailable, reference
from observability.watch.notify.channels.guarded_client import check_url, guarded_client
from observability.watch.notify.messages import Links, Message
from observability.watch.notify.notifier import enqueue

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sqlalchemy.engine import Connection

    from observability.watch.facts import Fact
    from observability.watch.notify.channels.channel import Contacts
    from observability.watch.notify.notifier import Notifier
    from observability.watch.rules.config import AlertingConfig

__all__ = ["Heartbeat", "canary_message", "read_heartbeat", "send_canary"]

_BEAT_S, _CALL_S = 1.0, 10.0
NO_LINKS = Links()
_CANARY_DETAILS = (
    ("Cause", "none, this is a test"),
    ("Error", "a real message names the error here, with as much of its text as a line of this length holds " * 5),
    ("At", "a real message names the place in the code here; " * 11),
    ("Next step", "Nothing is to be done."),
)
_CANARY_LOG = tuple(
    f"00:00:{line:02d} {'a real message has the end of the log here; ' * 7}"[:300] for line in range(12)
)


class Heartbeat:
    """The watcher's own proofs of life: the file, the canary, and the dead man's switch, by the key ``proof``."""

    def __init__(self, home: Path, contacts: Contacts) -> None:
        self._path = home / "watch.heartbeat"
        self._contacts = contacts
        self._beat_at = -math.inf
        self._called_at = -math.inf
        self._caller: threading.Thread | None = None
        self._trouble = ""

    def beat(self, *, active: bool, detail: str) -> None:
        """Write the heartbeat file: what ``contrail status`` and a supervisor of processes look at."""
        now = time.monotonic()
        if now - self._beat_at < _BEAT_S:
            return
        self._beat_at = now
        said = {"time": time.time(), "pid": os.getpid(), "active": active, "detail": detail}
        make_folder(self._path.parent)
        replace_file(self._path, json.dumps(said).encode())

    def round(
        self, connection: Connection, rules: AlertingConfig, now: float, send: Callable[[Connection, float], None]
    ) -> list[Fact]:
        """Have the canary sent and call the switch when it is time; facts about a canary that did not arrive."""
        self._call(rules)
        proof = rules.proof
        if not proof.canary_every:
            return []
        last = read_cursor(connection, "canary")
        if last is None or last > now:
            write_cursor(connection, "canary", now)
            return []
        if now - last >= proof.canary_every:
            send(connection, now)
            write_cursor(connection, "canary", now)
        return _missing(connection, proof.canary_within, now)

    def close(self) -> None:
        """Wait for a call that is under way."""
        if self._caller is not None:
            self._caller.join(timeout=5)

    def _call(self, rules: AlertingConfig) -> None:
        proof = rules.proof
        if proof.heartbeat_url is None or time.monotonic() - self._called_at < proof.heartbeat_every:
            return
        if self._caller is not None and self._caller.is_alive():
            return
        self._called_at = time.monotonic()
        asked = (proof.heartbeat_url, proof.heartbeat_allow)
        self._caller = threading.Thread(target=self._ping, args=asked, name="heartbeat", daemon=True)
        self._caller.start()

    def _ping(self, where: str, allow: list[str]) -> None:
        try:
            url = check_url(reference(where, self._contacts), allow)
            with guarded_client(allow, _CALL_S) as client:
                _expect_success(client, url)
        except (ChannelError, httpx.HTTPError) as error:
            self._say(f"{type(error).__name__}: {error}")
        else:
            self._say("")

    def _say(self, trouble: str) -> None:
        """Log when the switch can no longer be reached, and when it can again; not each call."""
        log = structlog.get_logger("contrail.watch")
        if trouble and not self._trouble:
            log.warning("the dead man's switch is not reached", reason=trouble)
        elif self._trouble and not trouble:
            log.info("the dead man's switch is reached again")
        self._trouble = trouble


def send_canary(connection: Connection, notifier: Notifier, now: float) -> None:
    """Queue the canary for each channel of its receiver."""
    proof = notifier.rules.proof
    receiver = proof.canary_receiver or next(iter(notifier.rules.receivers))
    said = canary_message(f"canary:{now:.0f}", notifier.environment, now, links=notifier.links)
    for channel in notifier.rules.receivers[receiver].channels:
        enqueue(connection, channel, said, now)


def _expect_success(client: httpx.Client, url: httpx.URL) -> None:
    """Call ``url``; the address is a secret, so that an error names its host only."""
    with client.stream("GET", url) as answer:
        status = answer.status_code
    if not httpx.codes.is_success(status):
        raise ChannelUnavailable(f"{url.host} answered {status}")


def canary_message(
    serial: str, environment: str, now: float, words: str = "this is a test; nothing is wrong", links: Links = NO_LINKS
) -> Message:
    """A notice that says that it is a test, as long as one about a killed task with the end of its log."""
    when = iso(now, "seconds")
    return Message(
        kind="test", severity="info", title="Test: Contrail can reach you", summary=words, dedup_key=serial,
        environment=environment, time=when, details=_CANARY_DETAILS, log=_CANARY_LOG, pair=serial, links=links.home(),
    )  # fmt: skip


def read_heartbeat(home: Path) -> dict[str, object] | None:
    """The watcher's last status, with ``age_s``; None if it never ran."""
    try:
        said: dict[str, object] = json.loads(read_regular(home / "watch.heartbeat"))
        return {**said, "age_s": time.time() - float(str(said["time"]))}
    except (OSError, ValueError, KeyError):
        return None


def _missing(connection: Connection, within: float, now: float) -> list[Fact]:
    table = schema.outbox
    late = select(table.c.channel, table.c.error).where(
        table.c.kind == "test",
        table.c.state.in_(("pending", "sending", "dead")),
        table.c.created.between(now - 86_400, now - within),
    )
    return [
        observed(
            ChannelBroken(
                channel=channel, reason=f"the canary did not arrive within {lasting(within)}: {error or 'not sent yet'}"
            ),
            time=now,
            certainty=CERTAIN,
        )
        for channel, error in connection.execute(late).all()
    ]
