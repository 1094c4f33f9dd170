"""The runbooks as pages: what to do about each kind of alert, where the link of a message opens it."""

from __future__ import annotations

import re
from pathlib import Path

from markdown_it import MarkdownIt

__all__ = ["names", "runbook"]

_PACKAGED = Path(__file__).parent / "runbook_pages"
_CHECKOUT = Path(__file__).parents[3] / "docs" / "runbooks"
_FOLDER = _PACKAGED if _PACKAGED.is_dir() else _CHECKOUT
"""An installed wheel carries them; a checkout has them among its documents."""
_LINK = re.compile(r'href="(?!https?://)([a-z-]+)\.md"')
_ELSEWHERE = re.compile(r'<a href="(?!https?://|\?page=)[^"]*">(.*?)</a>', re.DOTALL)


def names() -> list[str]:
    """The runbooks that there are."""
    return sorted(path.stem for path in _FOLDER.glob("*.md"))


def runbook(name: str) -> tuple[str, str] | None:
    """Title and HTML of a runbook; None where there is none of that name."""
    if name not in names():
        return None
    text = (_FOLDER / f"{name}.md").read_text("utf-8")
    title, _, body = text.partition("\n")
    html = MarkdownIt("js-default").render(body)
    return title.lstrip("# ").strip(), _ELSEWHERE.sub(r"\1", _LINK.sub(r'href="?page=\1"', html))
