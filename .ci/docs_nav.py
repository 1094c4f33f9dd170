"""Let a folder in the navigation of mkdocs.yml stand for all of its pages, so that a new page needs no entry."""  # noqa: INP001 - MkDocs loads it as a hook

from __future__ import annotations

from pathlib import Path
from typing import Any


def on_config(config: Any) -> Any:
    """Replace each folder in the navigation by its pages, README first."""
    docs = Path(config["docs_dir"])
    config["nav"] = [_section(docs, entry) for entry in config["nav"]]
    return config


def _section(docs: Path, entry: dict[str, Any]) -> dict[str, Any]:
    ((title, value),) = entry.items()
    if isinstance(value, str) and (docs / value).is_dir():
        pages = sorted((docs / value).glob("*.md"), key=lambda page: (page.stem != "README", page.name))
        return {title: [str(page.relative_to(docs)) for page in pages]}
    return entry
