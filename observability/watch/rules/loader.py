"""The rules as they stand in their file: read again when it changes; a broken file leaves the old rules in force."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from observability.regular_files import open_regular, read_regular
from observability.watch.rules.calendars import file_of
from observability.watch.rules.config import AlertingConfig, RulesError, read_rules
from observability.watch.rules.first_route import named_address, rules_for

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import date

    from observability.settings import Settings

__all__ = ["RulesFile", "find_rules", "open_rules", "rules_without_a_file"]

_BESIDE = Path(__file__).resolve().parents[3] / "config" / "alerts.yaml"


def _shipped() -> str:
    return rules_for("")


def find_rules(settings: Settings) -> Path | None:
    """The file that the option names, else ``alerts.yaml`` in Contrail's home, else the repository's; None: no file.

    The repository's gives way to ``[watch] alerts_to`` or CONTRAIL_ALERTS: an address that somebody named is what they
    want.
    """
    if settings.watch.rules_file:
        return Path(settings.watch.rules_file).expanduser()
    beside = () if named_address(settings) else (_BESIDE,)
    return next((path for path in (settings.home / "alerts.yaml", *beside) if path.is_file()), None)


def rules_without_a_file(settings: Settings) -> str:
    """The text of the rules where there is no file: everything to an address, else into Contrail's home."""
    return rules_for(named_address(settings))


def open_rules(settings: Settings) -> RulesFile:
    """The rules of this installation, with or without a file. Raises :class:`RulesError` where they are broken."""
    return RulesFile(find_rules(settings), without=partial(rules_without_a_file, settings))


class RulesFile:
    """Rules, and the file they come from. Raises :class:`RulesError` when they are broken at the start.

    ``instead`` is the text of the rules to use then, and ``kept`` the days of its calendars; ``problem`` then says why.
    ``without`` gives their text where ``path`` is None, and is asked again at each reload.

    A change is a change of the bytes: a file that an editor, ``git`` or a config map has replaced may have the size and
    the time of the one before. ``remarks`` has a line for each rule that does nothing as things are.
    """

    def __init__(
        self,
        path: Path | None,
        *,
        instead: str = "",
        without: Callable[[], str] = _shipped,
        kept: Mapping[str, frozenset[date]] | None = None,
    ) -> None:
        self.path = path
        self._without = without
        self.problem = ""
        self.text = ""
        """The rules in force, as they were written."""
        self._had_links = False
        self._seen: bytes | str = self._look()
        self._calendars: dict[Path, bytes] = {}
        self.rules: AlertingConfig
        self.remarks: list[str]
        try:
            self.rules, self.remarks = self._read(self._seen)
        except RulesError as error:
            if not instead:
                raise
            self.rules, self.remarks = self._read(instead.encode(), kept or {})
            self.problem = str(error)

    def reload(self) -> bool:
        """Read the file again if it, or a calendar, has changed.

        True when other rules are in force now, or it has become broken.
        """
        seen = self._look()
        same = seen == self._seen and not self._has_other_calendars()
        if same and not self.problem:
            return False
        self._seen, before = seen, self.problem
        try:
            self.rules, self.remarks = self._read(seen)
            self.problem = ""
        except RulesError as error:  # a calendar that was missing may have come, so it is read again each time
            self.problem = str(error)
        return not same or self.problem != before

    def _read(
        self, seen: bytes | str, kept: Mapping[str, frozenset[date]] | None = None
    ) -> tuple[AlertingConfig, list[str]]:
        if isinstance(seen, str):
            raise RulesError(seen)
        folder = self.path.parent if self.path else None
        rules, remarks = read_rules(seen, str(self.path or "the rules that come with Contrail"), folder, kept)
        self._calendars = {file_of(name, folder): b"" for name in rules.calendars.values()} if folder else {}
        self._calendars = {file: _content(file) for file in self._calendars}
        self.text = seen.decode("utf-8-sig")
        return rules, remarks

    def _has_other_calendars(self) -> bool:
        changed = {file for file, known in self._calendars.items() if _content(file) != known}
        self._calendars.update({file: _content(file) for file in changed})
        return bool(changed)

    def _look(self) -> bytes | str:
        """The bytes of the file, or why they say nothing about the file that a person edits."""
        if self.path is None:
            return self._without().encode()
        try:
            with open_regular(self.path) as file:
                links = self.path.stat().st_nlink
                if self._had_links and not links:
                    return _stale(self.path)
                self._had_links = bool(links)
                return file.readall()
        except OSError as error:
            return f"{self.path}: {error.strerror or error}"


def _content(file: Path) -> bytes:
    try:
        return read_regular(file)
    except OSError:
        return b""


def _stale(path: Path) -> str:
    """A mounted file that was replaced outside: what is mounted is the old one, and stays so."""
    return f"{path}: it was replaced on the host, and the mount still shows the old one; mount its folder, not the file"
