"""The forms of a message: plain text, HTML, Markdown, Slack blocks. Each escapes for its own medium."""

from __future__ import annotations

import re
from html import escape
from typing import TYPE_CHECKING, Any

from observability.catalog import CAUSE_LABELS
from observability.watch.notify.size_limits import code_units, fitted_whole, shorten
from observability.watch.notify.titles import title_says

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from observability.watch.notify.message import Message

__all__ = ["chat_html", "html", "is_web", "markdown", "members", "slack", "subject", "text"]

_COLOUR = {"critical": "#b00020", "error": "#d35400", "warning": "#b7950b", "info": "#2874a6"}
_COLOUR_RESOLVED = "#1e8449"
_FONT = "font-family:Segoe UI,Helvetica,Arial,sans-serif"
_VALUE = f"{_FONT};font-size:14px;color:#1d2125;max-width:720px"
_LABEL = (
    f"{_FONT};font-size:14px;color:#5e6470;font-weight:normal;padding-right:16px;vertical-align:top;white-space:nowrap"
)
_BLOCK = "background:#f4f5f7;padding:10px;font-size:12px;line-height:1.45;white-space:pre-wrap;max-width:720px"
_BUTTON = f"{_FONT};font-size:14px;color:#1a56db;border:1px solid #1a56db;border-radius:4px;padding:4px 10px"
_MARKS = re.compile(r"[*_~`|]")
_MENTION = re.compile(r"@(?=\w)")
_HEADING = re.compile(r"(?m)^(\s*)([#>+=-]|\d+[.)])")
_BARE_URL = re.compile(r"(?i)\b(https?|ftp|www)(?=[:.])")
_MEMBERS_MOST = 50
_ICON = {"critical": "🔴", "error": "🟠", "warning": "🟡", "info": "🔵"}
_SLACK_TEXT, _SLACK_HEADER, _SLACK_FIELD, _SLACK_FIELDS, _SLACK_LINKS = 3000, 150, 2000, 10, 10
"""Characters of a text block, a header and a field, fields of a section and elements of a context (Slack's limits)."""
_SLACK_MOST, _SLACK_BLOCKS = 12_000, 50
"""UTF-16 units of all texts together (Slack refuses about 13,000: msg_blocks_too_long), and blocks."""
_SUBJECT_MOST = 200


def subject(message: Message) -> str:
    """One line, for a mail's subject or a push notice."""
    environment = f"[{message.environment}] " if message.environment else ""
    return shorten(f"{environment}{message.title}", _SUBJECT_MOST)


def text(message: Message, *, headed: bool = True) -> str:
    """Plain text; not ``headed`` where the service shows the title itself."""
    lines = [f"{subject(message)} [{message.severity}]"] if headed else []
    lines += _summary(message)
    lines += ["", *(f"{label}: {value}" for label, value in message.details)] if message.details else []
    lines += ["", "Last lines of the log:", *(f"  {line}" for line in message.log)] if message.log else []
    lines += ["", *members(message)] if message.incidents else []
    lines += ["", *(f"{label}: {address}" for label, address in message.links)] if message.links else []
    lines += ["", *(f"{label}: {address}" for label, address in message.acts)] if message.acts else []
    return "\n".join(lines).strip() + "\n"


def html(message: Message) -> str:
    """An HTML fragment for a mail, which loads nothing and runs nothing."""
    rows = "".join(
        f'<tr><th align="left" style="{_LABEL}">{escape(label)}</th><td style="{_VALUE}">{escape(value)}</td></tr>'
        for label, value in message.details
    )
    table = f'<table style="margin:12px 0">{rows}</table>' if rows else ""
    shown = (message.log, members(message))
    blocks = "".join(f'<pre style="{_BLOCK}">{escape(chr(10).join(lines))}</pre>' for lines in shown if lines)
    links = " · ".join(f'<a href="{escape(address)}">{escape(label)}</a>' for label, address in _web(message))
    colour = _COLOUR_RESOLVED if message.kind == "resolved" else _COLOUR.get(message.severity, "#333")
    summary = "".join(f'<p style="{_VALUE}">{escape(line)}</p>' for line in _summary(message))
    title = f'<h3 style="{_FONT};font-size:17px;color:{colour}">{escape(subject(message))}</h3>'
    acts = "".join(
        f'<a href="{escape(address)}" style="{_BUTTON}">{escape(label)}</a> ' for label, address in _acts(message)
    )
    return f'{title}{summary}{table}{blocks}<p style="{_VALUE}">{links}</p>' + (f"<p>{acts}</p>" if acts else "")


def chat_html(message: Message, *, headed: bool = True) -> str:
    """HTML of the few elements that chat services know: bold, links, preformatted text, line breaks."""
    lines = [f"<b>{escape(subject(message))}</b>"] if headed else []
    lines += [escape(line) for line in _summary(message)]
    lines += [f"<b>{escape(label)}:</b> {escape(value)}" for label, value in message.details]
    lines += [escape(line) for line in members(message)]
    body = "<br/>".join(lines)
    log = f"<pre>{escape(chr(10).join(message.log))}</pre>" if message.log else ""
    addresses = (*_web(message), *_acts(message))
    links = " | ".join(f'<a href="{escape(address)}">{escape(label)}</a>' for label, address in addresses)
    return f"{body}{log or ('<br/>' if links else '')}{links}"


def markdown(message: Message, *, headed: bool = True) -> str:
    """Markdown in which names and logs are text, never markup, a mention or a link."""
    parts = [f"**{_inert(subject(message))}**"] if headed else []
    parts += [_inert(line) for line in _summary(message)]
    parts += ["\n".join(f"- {_inert(label)}: {_inert(value)}" for label, value in message.details)]
    parts += [_fenced(message.log)] if message.log else []
    parts += ["\n".join(f"- {_inert(line)}" for line in members(message))]
    for addresses in (_web(message), _acts(message)):
        parts += [" · ".join(f"[{_inert(label)}]({_target(address)})" for label, address in addresses)]
    return "\n\n".join(part for part in parts if part)


def slack(message: Message) -> dict[str, Any]:
    """Slack's Block Kit: the body of an incoming webhook, within Slack's limits."""
    return fitted_whole(message, _slack_body, _slack_size, _SLACK_MOST)


def _slack_size(body: dict[str, Any]) -> int:
    """UTF-16 units of a body's texts; more than any limit where it has too many blocks."""
    blocks = body["blocks"]
    texts = [part["text"] for block in blocks for part in (block.get("text"), *block.get("fields", ())) if part]
    elements = [part for block in blocks for part in block.get("elements", ())]
    texts += [
        part["text"] if isinstance(part["text"], str) else part["text"]["text"] + part["url"] for part in elements
    ]
    return sum(map(code_units, texts)) if len(blocks) <= _SLACK_BLOCKS else _SLACK_MOST + 1


def _slack_body(message: Message) -> dict[str, Any]:
    icon = "✅" if message.kind == "resolved" else _ICON.get(message.severity, "")
    title = shorten(subject(message), _SLACK_HEADER, code_units)
    said = " ".join(_summary(message)) or _first(message)
    details = message.details if _summary(message) else message.details[1:]
    blocks: list[dict[str, Any]] = [
        {"type": "header", "text": {"type": "plain_text", "text": title, "emoji": False}},
        {"type": "section", "text": _mrkdwn(f"{icon} {_slack_cut(said, _SLACK_TEXT - 10)}")},
    ]
    for first in range(0, len(details), _SLACK_FIELDS):
        part = details[first : first + _SLACK_FIELDS]
        fields = [_mrkdwn(f"*{_slack(label)}*\n{_slack_cut(value, _SLACK_FIELD - 100)}") for label, value in part]
        blocks.append({"type": "section", "fields": fields})
    code = [_slack_lines(lines, _SLACK_TEXT - 10) for lines in (message.log, members(message))]
    blocks += [{"type": "section", "text": _mrkdwn(f"```{lines}```")} for lines in code if lines]
    links = [f"<{_slack_link(address)}|{_slack(label)}>" for label, address in _web(message)]
    fitting = [_mrkdwn(link) for link in links if code_units(link) <= _SLACK_TEXT][:_SLACK_LINKS]
    blocks += [{"type": "context", "elements": fitting}] if fitting else []
    buttons = [_slack_button(label, address) for label, address in _acts(message) if len(address) <= _SLACK_TEXT]
    blocks += [{"type": "actions", "elements": buttons}] if buttons else []
    return {"text": _slack_cut(subject(message), _SLACK_TEXT), "blocks": blocks}


def members(message: Message) -> list[str]:
    """A line for each notice that a digest stands for, as far as a person reads."""
    shown = [_member(one) for one in message.incidents[:_MEMBERS_MOST]]
    left = len(message.incidents) - len(shown) + message.more
    return [*shown, f"and {left} more: contrail alerts list"] if left else shown


def _summary(message: Message) -> list[str]:
    """The reason, where the title does not say it already."""
    return [] if title_says(message.title, message.summary) else [message.summary]


def is_web(address: str) -> bool:
    """Tell whether ``address`` may be a link: http or https, and nothing that could end its own markup."""
    return address.startswith(("http://", "https://")) and not re.search(r"[\s<>\"`\x00-\x1f\x7f]", address)


def _web(message: Message) -> list[tuple[str, str]]:
    return [(label, address) for label, address in message.links if is_web(address)]


def _acts(message: Message) -> list[tuple[str, str]]:
    return [(label, address) for label, address in message.acts if is_web(address)]


def _slack_button(label: str, address: str) -> dict[str, Any]:
    """A button that opens an address: an incoming webhook needs no app for it."""
    return {"type": "button", "text": {"type": "plain_text", "text": label}, "url": address}


def _member(one: Mapping[str, object]) -> str:
    if one.get("title"):
        return str(one["title"])
    what = ".".join(str(part) for part in (one["dag_id"], one["task_id"]) if part) or "platform"
    return f"{what} {one['run_id'] or ''}".rstrip() + f": {CAUSE_LABELS.get(str(one['cause']), one['cause'])}"


def _first(message: Message) -> str:
    """The text below Slack's header where the reason is in it: the first detail, or the kind."""
    return ": ".join(message.details[0]) if message.details else message.kind


def _mrkdwn(value: str) -> dict[str, Any]:
    return {"type": "mrkdwn", "text": value, "verbatim": True}


def _slack(value: str) -> str:
    """Slack's three escapes, and its markup made inert by a word joiner that keeps the text readable."""
    escaped = value.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _MENTION.sub("@\u2060", re.sub(r"[*~`_]", lambda found: f"\u2060{found[0]}\u2060", escaped))


def _slack_cut(value: str, most: int) -> str:
    """``value`` escaped, shortened before that so that no escape is cut."""
    return _slack(shorten(value, most, lambda part: code_units(_slack(part))))


def _slack_lines(lines: Sequence[str], most: int) -> str:
    """The last lines that fit, escaped."""
    kept: list[str] = []
    for line in reversed(lines):
        shown = _slack_cut(line, most)
        if code_units("\n".join((*kept, shown))) > most:
            break
        kept.append(shown)
    return "\n".join(reversed(kept))


def _slack_link(address: str) -> str:
    return address.replace("&", "&amp;").replace("|", "%7C")


def _fenced(lines: tuple[str, ...]) -> str:
    """A code block that no line of it can end; markup stays inert where a service reads it in code as well."""
    code = (
        "\n".join(lines)
        .replace("```", "'''")
        .replace("](", "]\u2060(")
        .replace("<", "\N{SINGLE LEFT-POINTING ANGLE QUOTATION MARK}")
        .replace(">", "\N{SINGLE RIGHT-POINTING ANGLE QUOTATION MARK}")
    )
    return "```\n" + _MENTION.sub("@\u2060", code) + "\n```"


def _target(address: str) -> str:
    return address.replace("(", "%28").replace(")", "%29")


def _inert(value: str) -> str:
    escaped = _MARKS.sub(lambda found: f"\\{found[0]}", value.replace("\\", "\\\\"))
    for mark, word in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("[", "\\["), ("]", "\\]"), ("!", "\\!")):
        escaped = escaped.replace(mark, word)
    escaped = _HEADING.sub(lambda found: f"{found[1]}\\{found[2]}", escaped.replace("#", "\\#"))
    return _MENTION.sub("@\u2060", _BARE_URL.sub(lambda found: f"{found[0]}\u2060", escaped))
