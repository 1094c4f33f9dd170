"""The token for Airflow's REST API: one for all sessions of this process with a server."""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING

from observability import redact
from observability.credentials import CredentialsError, resolve
from observability.errors import ApiUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx

    Ask = Callable[[dict[str, str] | None], httpx.Response]

__all__ = ["REMEDY", "Login"]

REMEDY = (
    "give CONTRAIL_API_USERNAME and CONTRAIL_API_PASSWORD (or CONTRAIL_API_TOKEN) of a user who may read DAGs and logs"
)
_KNOWN_S = 60.0
"""Reading a Connection starts an Airflow, which takes seconds of CPU: it is not done again for a while."""


class Login:
    """Says to a server who this process is, and keeps the token that it was given.

    First found wins: ``CONTRAIL_API_TOKEN``; ``CONTRAIL_API_USERNAME`` and ``CONTRAIL_API_PASSWORD``; the Airflow
    Connection ``connection_id``; nobody, where Airflow makes everybody an administrator.
    """

    def __init__(self, url: str, connection_id: str) -> None:
        self._url = url
        self._connection_id = connection_id
        self._one_asks = threading.Lock()
        self._token = ""
        self._known: tuple[str, str, str] | None = None
        self._known_until = 0.0

    def token(self, ask: Ask, refused: str) -> str:
        """A token other than ``refused``; another session's, where one was given since.

        ``ask`` sends ``username`` and ``password``, or nobody's name, to the server's ``/auth/token``.
        Raises :class:`ApiUnavailable` with the remedy, or ``httpx.HTTPError``.
        """
        with self._one_asks:
            if not self._token or self._token == refused:
                self._token = os.environ.get("CONTRAIL_API_TOKEN") or self._log_in(ask)
                redact.add_secret(self._token)
            return self._token

    def _log_in(self, ask: Ask) -> str:
        login, password, missing = self._who()
        if login:
            redact.add_secret(password)
        answer = ask({"username": login, "password": password} if login else None)
        if answer.is_client_error:
            self._known = None  # the Connection may have been corrected by the next time
        if missing and answer.is_error:
            raise ApiUnavailable(f"{self._url} wants a login and there is none: {missing}; {REMEDY}")
        return str(answer.raise_for_status().json()["access_token"])

    def _who(self) -> tuple[str, str, str]:
        """Login, password, and why there are none."""
        if login := os.environ.get("CONTRAIL_API_USERNAME", ""):
            return login, os.environ.get("CONTRAIL_API_PASSWORD", ""), ""
        if self._known is None or time.monotonic() > self._known_until:
            try:
                found = resolve(self._connection_id)
                self._known = found.login, found.password, ""
            except CredentialsError as error:
                self._known = "", "", str(error)
            self._known_until = time.monotonic() + _KNOWN_S
        return self._known
