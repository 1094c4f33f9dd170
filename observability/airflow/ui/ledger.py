"""The ledger as the pages use it: one connection pool for the process, and the sentence where there is none."""

from __future__ import annotations

from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy.engine import make_url

from observability.errors import LedgerUnavailable
from observability.settings import get_settings
from observability.watch.acting import acting_engine
from observability.watch.ledger.database import Ledger
from observability.watch.rules.in_force import usable_rules
from observability.watch.rules.loader import RulesFile, open_rules
from observability.watch.rules.text import RulesError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.engine import Connection

    from observability.watch.engine import IncidentEngine

__all__ = ["engine", "is_here", "rules", "transaction"]


def is_here() -> bool:
    """True where this process can read the watcher's ledger: any database, or the file where there is one."""
    url = make_url(get_settings().ledger_url)
    return url.get_backend_name() != "sqlite" or Path(url.database or "").exists()


@contextmanager
def transaction(*, lock: bool = False) -> Iterator[Connection]:
    """One transaction of the ledger; ``lock`` where something is written.

    Raises ``LedgerUnavailable``, also where no watcher has made a ledger on this host.
    """
    if not is_here():
        raise LedgerUnavailable(
            "the watcher's ledger is not on this host, so nothing can be acted on here: give the API server the"
            " watcher's [watch] ledger_url (CONTRAIL_WATCH__LEDGER_URL)"
        )
    with _ledger(get_settings().ledger_url).transaction(lock=lock) as connection:
        yield connection


def engine() -> IncidentEngine:
    """The engine that applies acts by the rules in force; the watcher emits its events."""
    return acting_engine(get_settings(), rules().rules)


def rules() -> RulesFile:
    """The rules in force; those that come with Contrail where there never were good ones."""
    settings = get_settings()
    try:
        return usable_rules(settings, _ledger(settings.ledger_url)) if is_here() else open_rules(settings)
    except (RulesError, LedgerUnavailable):
        return RulesFile(None)


@lru_cache(maxsize=4)
def _ledger(url: str) -> Ledger:
    return Ledger(url)
