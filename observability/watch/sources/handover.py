"""The handover between the thread of a source and the watcher's transaction: neither side waits, nothing is lost.

The watcher makes a question ready and takes the answer inside its transaction. Only after the commit is the answer
forgotten and the question asked, so that a transaction that is rolled back finds both again.
"""

from __future__ import annotations

import threading
from typing import Generic, TypeVar

__all__ = ["Handover"]

Question = TypeVar("Question")
Answer = TypeVar("Answer")


class Handover(Generic[Question, Answer]):
    """One question and one answer at the most, safe between one thread that answers and one that asks."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._question: Question | None = None
        self._answer: Answer | None = None
        self._taken: Answer | None = None
        self._prepared: Question | None = None
        self._rests = self._begun_after = 0
        self._is_asked = False

    @property
    def answer(self) -> Answer | None:
        """The answer that waits to be taken, or to be forgotten."""
        return self._answer

    @property
    def wants_question(self) -> bool:
        """True if a question made ready now knows the last answer: none waits, none is asked, no answer is left.

        One that was made ready while the thread still looks would begin where that look began, and find it all again.
        """
        with self._lock:
            return self._question is None and not self._is_asked and self._answer is self._taken

    def prepare(self, question: Question) -> None:
        """Ask this when the transaction stands."""
        self._prepared = question

    def take(self) -> Answer | None:
        """The answer, if there is one; it is kept until :meth:`settle`."""
        with self._lock:
            self._taken = self._answer
        return self._taken

    def settle(self) -> None:
        """The transaction stands: forget the answer that was taken, and ask what was made ready."""
        with self._lock:
            if self._answer is self._taken:
                self._answer = None
            if self._prepared is not None:
                self._question = self._prepared
            self._taken = self._prepared = None

    def rest(self) -> None:
        """Forget everything, also the answer to the question that is under way: another watcher has the lease."""
        with self._lock:
            self._rests += 1
            self._question = self._answer = self._taken = self._prepared = None
            self._is_asked = False

    def ask(self, question: Question) -> None:
        """Ask at once, outside a transaction."""
        with self._lock:
            self._question = question

    def next_question(self) -> Question | None:
        """The question for the thread; None while there is none, or while the last answer waits."""
        with self._lock:
            if self._answer is not None:
                return None
            question, self._question = self._question, None
            self._begun_after, self._is_asked = self._rests, question is not None
            return question

    def put(self, answer: Answer) -> None:
        """Give the answer to the question that was last taken; one from before a rest is dropped."""
        with self._lock:
            if self._begun_after == self._rests:
                self._answer, self._is_asked = answer, False

    def give_up(self) -> None:
        """There is no answer to the question that was last taken: another may be made ready."""
        with self._lock:
            if self._begun_after == self._rests:
                self._is_asked = False

    def put_back(self, question: Question) -> None:
        """The question could not be answered: ask it again, unless there is a newer one or there was a rest."""
        with self._lock:
            if self._begun_after == self._rests:
                self._question, self._is_asked = self._question or question, False
