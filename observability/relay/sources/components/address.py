"""The address of a server as Airflow has it: asked for once, and again some minutes after a failure."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from observability.errors import CredentialsError, ServerUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from observability.credentials import Credentials

__all__ = ["Address"]

_ASK_AGAIN_S = 300.0
"""To ask starts a process that imports Airflow."""


class Address:
    """The address that ``ask`` gives, when it is first needed."""

    def __init__(self, ask: Callable[[], Credentials]) -> None:
        self._ask = ask
        self._found: Credentials | None = None
        self._why = ""
        self._is_doubted = True
        self._due = 0.0

    def __call__(self) -> Credentials:
        """The address. Raises :class:`ServerUnavailable`, for five minutes without asking again."""
        if self._is_doubted and time.monotonic() >= self._due:
            self._due = time.monotonic() + _ASK_AGAIN_S
            try:
                self._found, self._is_doubted = self._ask(), False
            except CredentialsError as error:
                self._why = str(error)
        if self._found is None:
            raise ServerUnavailable(self._why)
        return self._found

    def doubt(self) -> None:
        """Ask again when some minutes have passed: the server refused, and its password may be another now."""
        self._is_doubted = True
