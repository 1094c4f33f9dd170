"""How a message looks: plain text, HTML, Slack blocks. Each escapes for its own medium."""

from __future__ import annotations

import re
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from observability.watch.messages import Message

__all__ = ["html", "markdown", "slack", "subject", "text"]

_MARK = {"critical": "🔴", "error": "🟠", "warning": "🟡", "info": "🔵"}
_COLOUR = {"critical": "#b00020", "error": "#d35400", "warning": "#b7950b", "info": "#2874a6"}
_MRKDWN = re.compile(r"[*_~`|]")
_MENTION = re.compile(r"@(?=\w)")
_SLACK_TEXT_MOST, _SLACK_FIELDS_MOST = 2900, 10
_MEMBERS_MOST = 50


def subject(message: Message) -> str:
    """One line, for a mail's subject or a push notice."""
    environment = f"[{message.environment}] " if message.environment else ""
    return f"{environment}{message.title}"[:200]


def text(message: Message) -> str:
    """Plain text."""
    lines = [f"[{message.severity}] {subject(message)}", message.summary, ""]
    lines += [f"{label}: {value}" for label, value in message.details]
    lines += ["", *(f"  {line}" for line in message.log)] if message.log else []
    lines += _members(message)
    lines += ["", *(f"{label}: {address}" for label, address in message.links)] if message.links else []
    return "\n".join(lines).strip() + "\n"


def html(message: Message) -> str:
    """An HTML fragment that loads nothing and runs nothing."""
    rows = "".join(
        f"<tr><th align=left>{escape(label)}</th><td>{escape(value)}</td></tr>" for label, value in message.details
    )
    shown = (*message.log, *_members(message))
    log = f"<pre>{escape(chr(10).join(shown))}</pre>" if shown else ""
    links = " · ".join(
        f'<a href="{escape(address)}">{escape(label)}</a>' for label, address in message.links if _is_web(address)
    )
    colour = _COLOUR.get(message.severity, "#333")
    return (
        f'<h3 style="color:{colour}">{escape(subject(message))}</h3><p>{escape(message.summary)}</p>'
        f"<table>{rows}</table>{log}<p>{links}</p>"
    )


def markdown(message: Message) -> str:
    """Markdown in which names and logs are text, never markup or a mention."""
    rows = "\n".join(f"- {_inert(label)}: {_inert(value)}" for label, value in message.details)
    rows += "\n".join(f"- {_inert(line)}" for line in _members(message))
    links = " · ".join(f"[{label}]({address})" for label, address in message.links if _is_web(address))
    return f"**{_inert(subject(message))}**\n\n{_inert(message.summary)}\n\n{rows}\n\n{links}".strip()


def slack(message: Message) -> dict[str, Any]:
    """Slack's Block Kit: the body of an incoming webhook."""
    fields = [_mrkdwn(f"*{_slack(label)}*\n{_slack(value)}") for label, value in message.details][:_SLACK_FIELDS_MOST]
    links = "  ".join(f"<{_slack(address)}|{_slack(label)}>" for label, address in message.links if _is_web(address))
    blocks: list[dict[str, Any]] = [
        {"type": "header", "text": {"type": "plain_text", "text": subject(message)[:150], "emoji": False}},
        {"type": "section", "text": _mrkdwn(f"{_MARK.get(message.severity, '')} {_slack(message.summary) or '—'}")},
    ]
    blocks += [{"type": "section", "fields": fields}] if fields else []
    if shown := (*message.log, *_members(message)):
        code = _slack(chr(10).join(shown))[: _SLACK_TEXT_MOST - 6]
        blocks += [{"type": "section", "text": _mrkdwn(f"```{code}```")}]
    blocks += [{"type": "context", "elements": [_mrkdwn(links)]}] if links else []
    return {"text": _slack(subject(message)), "blocks": blocks}


def _members(message: Message) -> list[str]:
    """A line for each notice that a digest stands for, as far as a person reads."""
    shown = [_member(one) for one in message.incidents[:_MEMBERS_MOST]]
    left = len(message.incidents) - len(shown)
    return [*shown, f"and {left} more: contrail alerts list"] if left else shown


def _member(one: Mapping[str, Any]) -> str:
    what = ".".join(part for part in (one["dag_id"], one["task_id"]) if part) or "platform"
    return f"{what} {one['run_id'] or ''}".rstrip() + f": {one['cause']}"


def _mrkdwn(value: str) -> dict[str, Any]:
    return {"type": "mrkdwn", "text": value[:_SLACK_TEXT_MOST], "verbatim": True}


def _slack(value: str) -> str:
    """Slack's three escapes, and its markup made inert by a zero-width joiner that keeps the text readable."""
    escaped = value.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _MENTION.sub("@\u2060", re.sub(r"[*~`]", lambda found: f"\u2060{found[0]}\u2060", escaped))


def _inert(value: str) -> str:
    escaped = _MRKDWN.sub(lambda found: f"\\{found[0]}", value.replace("\\", "\\\\"))
    for mark, word in (("<", "&lt;"), (">", "&gt;"), ("[", "\\["), ("]", "\\]"), ("#", "\\#"), ("!", "\\!")):
        escaped = escaped.replace(mark, word)
    return _MENTION.sub("@\u2060", escaped)


def _is_web(address: str) -> bool:
    return address.startswith(("http://", "https://"))
