"""A link of the chain, what was found of it, and the walk along all of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from observability.settings import Settings

__all__ = ["Broken", "Finding", "Link", "Off", "walk"]

State = Literal["ok", "broken", "off", "unknown"]


class Broken(Exception):  # noqa: N818 - a finding, not an error of ours
    """The link does not hold: why, and the command that mends it."""

    def __init__(self, why: str, mend: str) -> None:
        super().__init__(why)
        self.mend = mend


class Off(Exception):  # noqa: N818 - a finding, not an error of ours
    """The link is not set up, or nothing can be said of it yet: why, and the command that sets it up."""

    def __init__(self, why: str, mend: str = "") -> None:
        super().__init__(why)
        self.mend = mend


@dataclass(frozen=True, slots=True)
class Link:
    """A link by name; ``look`` answers with what is well about it, or raises :class:`Broken` or :class:`Off`.

    Nothing can be said of it where a link of ``needs`` does not hold.
    """

    name: str
    look: Callable[[Settings], str]
    needs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Finding:
    """The finding about a link: ok, broken, off (not set up) or unknown (another link hides it)."""

    link: str
    state: State
    why: str
    mend: str = ""


def walk(links: Iterable[Link], settings: Settings) -> Iterator[Finding]:
    """Look at each link in turn."""
    failed: set[str] = set()
    for link in links:
        finding = _find(link, settings, failed)
        if finding.state in {"broken", "unknown"}:
            failed.add(link.name)
        yield finding


def _find(link: Link, settings: Settings, failed: set[str]) -> Finding:
    hidden = [name for name in link.needs if name in failed]
    if hidden:
        return Finding(link.name, "unknown", f"unknown until this is fixed: {', '.join(hidden)}")
    try:
        return Finding(link.name, "ok", link.look(settings))
    except Broken as broken:
        return Finding(link.name, "broken", str(broken), broken.mend)
    except Off as off:
        return Finding(link.name, "off", str(off), off.mend)
    except Exception as error:  # noqa: BLE001 - what ends one look must not hide the links behind it
        return Finding(link.name, "broken", f"cannot be looked at: {type(error).__name__}: {error}", "contrail status")
