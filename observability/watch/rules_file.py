"""The rules as they stand in their file: read again when it changes; a broken file leaves the old rules in force."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from observability.watch.route import Rules, RulesError, load_rules, parse_rules

if TYPE_CHECKING:
    from observability.settings import Settings

__all__ = ["RulesFile", "find_rules"]

_SHIPPED = """\
channels: {file: {type: file}, log: {type: log}}
receivers: {everybody: {channels: [file], fallback: log}}
routes: [{receiver: everybody}]
"""
_BESIDE = Path(__file__).resolve().parents[2] / "config" / "alerts.yaml"


def find_rules(settings: Settings) -> Path | None:
    """The file that the knob names, else ``alerts.yaml`` in Contrail's home, else the repository's; None: no file."""
    if settings.watch.routes:
        return Path(settings.watch.routes).expanduser()
    return next((path for path in (settings.home / "alerts.yaml", _BESIDE) if path.is_file()), None)


class RulesFile:
    """Rules, and the file they come from. Raises :class:`RulesError` when they are broken at the start."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.problem = ""
        self._stamp = self._look()
        self.rules: Rules = load_rules(path) if path else parse_rules(_SHIPPED, "the rules that come with Contrail")

    def reload(self) -> bool:
        """Read the file again if it has changed; True when other rules are in force now, or it has become broken."""
        stamp = self._look()
        if self.path is None or stamp == self._stamp:
            return False
        self._stamp = stamp
        try:
            self.rules = load_rules(self.path)
            self.problem = ""
        except RulesError as error:
            self.problem = str(error)
        return True

    def _look(self) -> tuple[int, int]:
        try:
            found = self.path.stat() if self.path else None
        except OSError:
            return (0, 0)
        return (found.st_mtime_ns, found.st_size) if found else (0, 0)
