"""Questions that fail alone: one bad answer of Airflow ends neither a look nor the question about anything else."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, TypeVar

import httpx
import structlog

from observability.contain import count_loss
from observability.watch.sources.api import ApiError, ApiUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["ODD_ANSWERS", "Questions"]

_T = TypeVar("_T")
ODD_ANSWERS = (ApiError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""The errors in which a refused, cut or misshapen answer ends."""
_NOT_ANSWERED = (httpx.NetworkError, httpx.TimeoutException, httpx.RemoteProtocolError)
_FIRST_S, _LONGEST_S = 5.0, 60.0
_FORGOTTEN_S = 120.0
_TIRED_AFTER, _TIRED_OF_ALL_AFTER = 3, 9
"""So many questions of one kind, or of all, without any answer, and the others of this look are left to the next."""


class Questions:
    """Asks, counts what cannot be answered, and asks about that again ever less often; one for a reconciler."""

    def __init__(self) -> None:
        self._rest: dict[str, tuple[float, float]] = {}
        self._unanswered: Counter[str] = Counter()
        self.failed: dict[str, str] = {}

    def begin(self) -> None:
        """A new look; what was not asked about for long is forgotten."""
        self._unanswered.clear()
        for about in [about for about, (due, _) in self._rest.items() if time.monotonic() > due + _FORGOTTEN_S]:
            self.forgive(about)

    def ask(self, about: str, question: Callable[[], _T], otherwise: _T) -> _T:
        """The answer to a question about one thing; ``otherwise`` where it cannot be had now."""
        tired = self._unanswered[_kind(about)] >= _TIRED_AFTER or self._unanswered.total() >= _TIRED_OF_ALL_AFTER
        if self.rests(about) or tired:
            return otherwise
        return self.row(about, question, otherwise)

    def row(self, about: str, question: Callable[[], _T], otherwise: _T) -> _T:
        """Read a row of an answer; ``otherwise`` where it cannot be understood. It is looked at each time."""
        try:
            answer = question()
        except ODD_ANSWERS as error:
            self.note(about, error)
            return otherwise
        self.forgive(about)
        return answer

    def rests(self, about: str) -> bool:
        """True where a question failed and its time has not come again."""
        return about in self._rest and time.monotonic() < self._rest[about][0]

    def note(self, about: str, error: BaseException) -> None:
        """A question failed: say so the first time, and let it rest. An answer that cannot be used counts as a loss.

        A server that is slow or cannot be reached loses nothing: the same is asked again until it answers.
        """
        self._unanswered[_kind(about)] += isinstance(error, ApiUnavailable)
        if not isinstance(error.__cause__, _NOT_ANSWERED):
            count_loss("watch.reconcile", type(error).__name__)
        if about not in self.failed:
            reason = f"{type(error).__name__}: {error}"
            structlog.get_logger("contrail.watch").warning("Airflow did not tell", about=about, reason=reason)
        self.failed[about] = f"{type(error).__name__}: {error}"
        wait = self._rest.get(about, (0.0, _FIRST_S))[1]
        self._rest[about] = (time.monotonic() + wait, min(2 * wait, _LONGEST_S))

    def forgive(self, about: str) -> None:
        """A question was answered."""
        self._rest.pop(about, None)
        self.failed.pop(about, None)


def _kind(about: str) -> str:
    """The first word of a question: that which is down for one kind need not be for another."""
    return about.partition(" ")[0]
