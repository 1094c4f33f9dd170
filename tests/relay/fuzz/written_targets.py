"""Texts that people, and programs of theirs, write for us to read: a rule, a setting, a time, a header.

The law: it is read, or the one error of its kind says no; nothing else is raised, whatever the bytes.
"""

from __future__ import annotations

import os
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from observability.cli.time_arguments import later_moment_of, moment_of
from observability.errors import ArgumentError, RulesError, SettingsError
from observability.log_template import LogTemplate, attempt_of
from observability.redact import inert, text
from observability.settings import load_settings
from observability.watch.notify.channels.address_policy import check_url
from observability.watch.notify.channels.channel import ChannelRefused
from observability.watch.notify.channels.webhook import retry_after, sign, verify
from observability.watch.notify.render import is_web
from observability.watch.rules.config import read_rules

__all__ = ["WRITTEN", "WRITTEN_TARGETS"]

_ROOT = Path(__file__).parents[3]
_FILE = Path(tempfile.mkdtemp(prefix="contrail-fuzz-", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None))


def rules_file(data: bytes) -> None:
    """Rules, or an error that names the place."""
    for given in (data, data.decode("utf-8", "replace")):
        said = ""
        try:
            read_rules(given, "alerts.yaml")
        except RulesError as error:
            said = str(error)
        assert not said or said.startswith("alerts.yaml")


def settings_file(data: bytes) -> None:
    """Settings, or an error that says what is wrong."""
    path = _FILE / "contrail.toml"
    path.write_bytes(data)
    with suppress(SettingsError):
        load_settings(path, {})


def log_template(data: bytes) -> None:
    """A template that reads back what it renders, or one that says its trouble."""
    written = data.decode("utf-8", "replace")
    LogTemplate(written).parse(written)
    attempt_of(written, written)
    attempt_of(written)


def headers(data: bytes) -> None:
    """A signature counts only if the key made it, and a wish for patience is bounded."""
    given = data.decode("latin-1")
    body, now = b"{}", time.time()
    assert not verify(given, body, "another key", now)
    assert verify(sign(body, [given], int(now)), body, given, now)
    wish = retry_after(given, now)
    assert wish is None or 0 <= wish <= 3600


def moments(data: bytes) -> None:
    """A time that can be shown, or the error of an argument."""
    written = data.decode("utf-8", "replace")
    for read in (moment_of, later_moment_of):
        with suppress(ArgumentError):
            assert abs(read(written, 1769860800.0)) < 1e12


def addresses(data: bytes) -> None:
    """Only what is http(s) is an address for people; one that leads inside is refused, and nothing else is raised."""
    written = data.decode("utf-8", "replace")
    if is_web(written):
        assert written.lower().startswith(("http://", "https://"))
    with suppress(ChannelRefused):
        assert check_url(written).scheme == "https"


def terminal(data: bytes) -> None:
    """A line for a terminal, a header or a title holds nothing that acts, and masking it twice changes nothing."""
    shown = inert(text(data.decode("utf-8", "replace")))
    assert shown.isprintable() or not any(ord(one) < 32 or 127 <= ord(one) < 160 for one in shown)
    assert not {"\u202e", "\u2066", "\u200b", "\ufeff", "\u2028"} & set(shown)


WRITTEN_TARGETS = {
    one.__name__: one for one in (rules_file, settings_file, log_template, headers, moments, addresses, terminal)
}
WRITTEN: dict[str, tuple[bytes, ...]] = {
    "rules_file": (
        (_ROOT / "config" / "alerts.yaml").read_bytes(),
        b"routes: [{match: {day: 2026-02-30}, receiver: x}]\n",
        b"a: " + b"[" * 400,
        b'routes:\n- {receiver: "\\UFFFFFFFF"}\n',
        b"deadlines: [{name: x, dag: '*', within: " + b"9" * 5_000 + b"}]\n",
        b"a: &a [*a]\nb: !!python/object:os.system {}\n\xff\x00",
    ),
    "settings_file": (
        (_ROOT / "config" / "contrail.toml").read_bytes(),
        b"[relay]\nignore_older_days = 1e999\n[redaction]\npatterns = ['(', '(a+)+$']\n",
        b"[relay\n\xff",
        b"relay = " + b"[" * 3_000,
        b"[elasticsearch]\nurl = 'http://[::1'\n",
    ),
    "log_template": (
        b"dag_id={{ ti.dag_id }}/run_id={{ ti.run_id }}/task_id={{ ti.task_id }}/attempt={{ try_number }}.log",
        b"{{ ti.dag_id }}{% if ti.map_index >= 0 %}{{ map_index }}{% endif %}{{{{",
        b"{{ dag_id }}/{{ run_id }}/{{ task_id }}{% if map_index >= 0 %}/{{ try_number }}{% endif %}",
        b"dag_id=d/run_id=r/task_id=t/attempt=" + b"9" * 5_000 + b".log",
        b"{{ a }}" * 40 + b"{{ b }}-" * 40 + b"/{{ dag_id }}/{{ run_id }}/{{ task_id }}/{{ try_number }}",
        b"{{ run_id }}_{{ run_id }}/{{ dag_id }}/{{ dag_id }}.{{ task_id }}/{{ try_number }}",
    ),
    "headers": (
        b"t=1769860800,v1=00",
        b"t=" + b"9" * 400 + b",v1=",
        b"Wed, 21 Oct 2026 07:28:00 GMT",
        b"1e999",
        b"\xff,=",
    ),
    "moments": (
        b"15m",
        b"2026-02-30",
        b"9" * 5_000,
        b"0001-01-01T00:00:00+14:00",
        b"9999-12-31T23:59:59-14:00",
        b"-1d",
    ),
    "addresses": (
        b"https://example.org/x",
        b"javascript:alert(1)",
        b"//example.org",
        b"https://[::ffff:127.0.0.1]/",
        b"http://xn--",
        b"data:text/html,x",
    ),
    "terminal": (
        b"\x1b]8;;http://x\x07y\x1b[2J",
        "a\u202eb\u2066\ufeff\u2028".encode(),
        b"\x9b31m\x00\r\n",
        b"password=\x1b[8mx",
    ),
}
"""The seeds of each: what is right, and what has broken a parser somewhere."""
