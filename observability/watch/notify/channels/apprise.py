"""About a hundred services by URL, through Apprise: Slack, Teams, Discord, Telegram, Opsgenie, e-mail and more.

Apprise answers True or False and logs the reason, with tokens in it: its words are kept from every log, and what is
said of a failure is put together here. What it does while it sends is judged by
:mod:`~observability.watch.notify.channels.audit`.
"""

from __future__ import annotations

import logging
import re
import threading
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, unquote

from observability import redact
from observability.proxies import spare_loopback
from observability.watch.notify import render
from observability.watch.notify.channels.address_policy import check_host
from observability.watch.notify.channels.audit import Audit, audited
from observability.watch.notify.channels.channel import ChannelRefused, ChannelUnavailable, reference
from observability.watch.notify.channels.webhook import refusal
from observability.watch.notify.messages import plain
from observability.watch.notify.size_limits import code_units, fitted, shorten

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path
    from typing import Any

    from observability.watch.notify.channels.channel import ChannelError, Contacts
    from observability.watch.notify.message import Message
    from observability.watch.rules.config import ChannelSpec

__all__ = ["OWN_HOST", "open_channel", "secrets_of", "understands"]

_TYPE = {"critical": "failure", "error": "failure", "warning": "warning", "info": "info"}
OWN_HOST = frozenset({"blink1", "dbus", "glib", "gnome", "kde", "macosx", "qt", "syslog", "windows"})
"""Services that act on the watcher's own host; nobody sits there."""
_THREADED = frozenset({"mqtt", "mqtts", "xmpp", "xmpps"})
"""Services whose client connects in a thread of its own, where :class:`Audit` does not see it."""
_FILES = {"template", "keyfile", "subfile", "pgppub", "pgprv", "pgpprv", "pgpkey", "attach", "config"}
_NO = {"no", "false", "0", "off", "n", "f", "deny", "never", "disable", "disabled", "-"}
_STATUS = re.compile(r"error[=:\s]+(\d{3})\b")
_CAUSE = re.compile(r"Tunnel connection failed: [^')]+|certificate verify failed: [^(']+|Connection refused|timed out")
_PART = re.compile(r"[/:@?&=,#;\s]+")
_SHORTEST, _SHORTEST_EVERYWHERE = 3, 6
_HEAD = {"text": render.text, "markdown": render.markdown, "html": render.chat_html}
_KEYS = ("alias", "dedup", "thirdparty", "external_id", "entity_id")
"""Attributes of the services that open and close an alert by a key: the key. Opsgenie, Jira, PagerDuty, iLert …"""


class _Said(logging.Handler):
    """Collects what Apprise logs, by thread; nothing of it reaches another log."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self._here = threading.local()
        log = logging.getLogger("apprise")
        log.setLevel(logging.DEBUG)
        log.propagate = False
        log.handlers[:] = [self]

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the line for who collects in this thread."""
        lines = getattr(self._here, "lines", None)
        if lines is not None:
            lines.append(record)

    @contextmanager
    def collected(self) -> Iterator[list[logging.LogRecord]]:
        """The lines that are logged in this thread meanwhile."""
        lines: list[logging.LogRecord] = []
        self._here.lines = lines
        try:
            yield lines
        finally:
            self._here.lines = None


_said: list[_Said] = []


def _log() -> _Said:
    if not _said:
        _said.append(_Said())
    return _said[0]


@dataclass(frozen=True, slots=True)
class _Outcome:
    """One try: whether it was taken, the HTTP status and the service's words where there were any."""

    taken: bool
    status: int | None
    words: str


class _Target:
    """An Apprise service, and the judgement of all that it does."""

    def __init__(self, plugin: Any, allow: Sequence[str], secrets: Sequence[str]) -> None:
        self.plugin, self._allow, self.secrets = plugin, allow, secrets
        self.audit = Audit(allow, secrets)

    def notify(self, **given: Any) -> bool:
        """Send; True where the service has taken it."""
        return self.attempt(**given).taken

    def attempt(self, **given: Any) -> _Outcome:
        """Send, and tell what came of it."""
        spare_loopback()
        self.audit = Audit(self._allow, self.secrets)
        with _log().collected() as lines, audited(self.audit):
            try:
                taken = bool(self.plugin.notify(**given))
            except Exception as error:  # noqa: BLE001 - a plugin may raise anything; a token may stand in it
                return _Outcome(False, _status(lines), f"{type(error).__name__}: {error}")
        return _Outcome(taken, _status(lines), _words(lines))


class _Apprise:
    def __init__(self, name: str, target: _Target) -> None:
        self._name, self._target = name, target

    def send(self, message: Message, *, resent: bool) -> None:  # noqa: ARG002 - most services know no keys
        keyed = [key for key in _KEYS if hasattr(self._target.plugin, key)]
        if not keyed and message.kind == "resolved" and not message.incident_id:
            return  # the end of a digest, which only a service with keys has open
        if not keyed or message.kind != "digest":
            self._send(message, keyed)
        else:
            for one in (one for one in message.incidents if one["kind"] == "resolved"):
                over = replace(message, kind="resolved", title=str(one.get("title") or "resolved"), incidents=())
                self._send(replace(over, pair=str(one["incident_id"])), keyed)
            if any(one["kind"] != "resolved" for one in message.incidents):
                self._send(message, keyed)
        if keyed and message.kind == "test":  # nobody would ever say that it is over
            self._send(replace(message, kind="resolved"), keyed)

    def _send(self, message: Message, keyed: Sequence[str]) -> None:
        plugin = self._target.plugin
        for key in keyed:
            setattr(plugin, key, message.pair or message.incident_id or message.dedup_key)
        kind = "success" if message.kind == "resolved" else _TYPE[message.severity]
        title, body, form = _fit(plugin, message)
        outcome = self._target.attempt(body=body, title=title, notify_type=kind, body_format=form)
        if not outcome.taken:
            raise self._problem(outcome)

    def close(self) -> None:
        """Each message has its own connection."""

    def _problem(self, outcome: _Outcome) -> ChannelError:
        service = str(self._target.plugin.service_name or "the service")
        who, audit = f"{self._name}: {service}", self._target.audit
        if audit.refused:
            return ChannelRefused(f"{who}: {audit.refused}")
        words = scrubbed(outcome.words, self._target.secrets)
        if outcome.status is not None:
            return refusal(who, outcome.status, words)
        if audit.files:
            return ChannelRefused(f"{who} would read {audit.files[0]}: such an address cannot be used here")
        where = f" at {', '.join(dict.fromkeys(audit.hosts))}" if audit.hosts else ""
        return ChannelUnavailable(f"{who}{where} did not take the message{': ' + words if words else ''}")


def understands(url: str) -> bool:
    """True if one of Apprise's services takes this address; a plain web address is no service's."""
    import apprise

    with _log().collected():
        return apprise.Apprise.instantiate(url) is not None


def scrubbed(text: str, secrets: Sequence[str]) -> str:
    """``text`` without any of ``secrets``, however short, and without what is masked everywhere."""
    for secret in sorted(secrets, key=len, reverse=True):
        text = re.sub(re.escape(secret), redact.MASK, text, flags=re.IGNORECASE)
    return plain(text, 300)


def secrets_of(plugin: Any) -> list[str]:
    """The pieces of a service's address that Apprise does not show, or calls private."""
    shown = set(_pieces(plugin.url(privacy=True)))
    hidden = [piece for piece in _pieces(plugin.url(privacy=False)) if piece not in shown]
    tokens = {**plugin.template_tokens, **plugin.template_args}
    private = [spec.get("map_to", token) for token, spec in tokens.items() if spec.get("private")]
    values = [str(value) for name in private if isinstance(value := getattr(plugin, name, None), (str, int))]
    return list(dict.fromkeys([*hidden, *(piece for value in values for piece in (value, *_pieces(value)))]))


def _pieces(url: str) -> list[str]:
    found = [*_PART.split(url), *(unquote(piece) for piece in _PART.split(url)), *_PART.split(unquote(url))]
    return [piece for piece in dict.fromkeys(found) if len(piece) >= _SHORTEST]


def _fit(plugin: Any, message: Message) -> tuple[str, str, str]:
    """Title, body and format as the service takes them."""
    form = str(getattr(plugin.resolve_format(None), "value", "text"))
    titled = plugin.title_maxlen > 0
    title = shorten(render.subject(message), plugin.title_maxlen, code_units) if titled else ""
    most = plugin.body_maxlen or 32_768
    most -= len(title) + 8 if plugin.overflow_amalgamate_title else 0
    build: Callable[[Message], str] = lambda one: _HEAD[form](one, headed=not titled)  # noqa: E731
    return title, fitted(message, build, max(20, most), code_units), form


def _status(lines: Sequence[logging.LogRecord]) -> int | None:
    """The last HTTP status that Apprise speaks of; a failure in it is logged as ``error=404``."""
    found = [match[1] for line in lines if (match := _STATUS.search(line.getMessage()))]
    return int(found[-1]) if found and found[-1] != "000" else None


def _words(lines: Sequence[logging.LogRecord]) -> str:
    """The service's own words where Apprise has kept them, else its last warning and why no connection was made."""
    said = [line for line in lines if str(line.msg).startswith(("Response Details", "Response"))]
    if said and said[-1].args:
        last = said[-1].args[-1] if isinstance(said[-1].args, tuple) else said[-1].args
        return last.decode("utf-8", "replace") if isinstance(last, bytes) else str(last)
    warned = [line.getMessage() for line in lines if line.levelno >= logging.WARNING]
    causes = [match[0].strip() for line in lines if (match := _CAUSE.search(line.getMessage()))]
    return " ".join((*warned[-1:], *(f"({cause})" for cause in causes[-1:])))


def open_channel(name: str, spec: ChannelSpec, contacts: Contacts, _home: Path) -> _Apprise:
    """The service that the URL names, without redirects, within our timeout. Raises :class:`ChannelRefused`."""
    try:
        import apprise
    except ImportError:
        raise ChannelRefused(f"channel {name} needs Apprise: install contrail-etl[alerts]") from None
    url = reference(str(spec.url), contacts)
    with _log().collected():
        asset = apprise.AppriseAsset(storage_mode=apprise.PersistentStoreMode.MEMORY, secure_logging=True)
        plugin = apprise.Apprise.instantiate(url, asset=asset)
    if plugin is None:
        raise ChannelRefused(f"{spec.url} holds no address that Apprise takes: see its list of services")
    secrets = secrets_of(plugin)
    for secret in secrets:
        if len(secret) >= _SHORTEST_EVERYWHERE:
            redact.add_secret(secret)
    _judge_address(name, url, plugin, spec.allow, secrets)
    plugin.socket_connect_timeout = plugin.socket_read_timeout = spec.timeout
    plugin.redirects = False
    plugin.retry = 0
    return _Apprise(name, _Target(plugin, spec.allow, secrets))


def _judge_address(name: str, url: str, plugin: Any, allow: Sequence[str], secrets: Sequence[str]) -> None:
    """Refuse what can be seen in the address itself, before anything is sent."""
    schema = url.partition("://")[0].lower()
    if schema in OWN_HOST:
        raise ChannelRefused(f"{name}: {schema}:// acts on the watcher's own host, where nobody sits")
    if schema in _THREADED:
        raise ChannelRefused(f"{name}: {schema}:// connects in a thread of its own, where no address can be judged")
    given = {key.lower(): value for key, value in parse_qsl(url.partition("?")[2], keep_blank_values=True)}
    if given.get("verify", "yes").strip().lower() in _NO or not plugin.verify_certificate:
        raise ChannelRefused(f"{name}: verify=no would take any certificate; name your authority by REQUESTS_CA_BUNDLE")
    for key in sorted(_FILES & set(given)):
        raise ChannelRefused(f"{name}: {key}= reads a file or an address on the watcher's behalf, and cannot be used")
    for host in (getattr(plugin, "host", None), getattr(plugin, "smtp_host", None), given.get("smtp")):
        if isinstance(host, str) and re.search(r"[.:]|^localhost$", host):  # else it may be a token: see Audit
            try:
                check_host(host, allow)
            except ChannelRefused as error:
                raise ChannelRefused(f"{name}: {scrubbed(str(error), secrets)}") from None
