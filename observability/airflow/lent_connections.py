"""The Connections of all sinks at the end of a task, in the supervisor, which can ask for one by itself only.

Airflow fetches the one Connection of its remote log from the API server and lends it by the environment while it
uploads. A supervisor has no other way to a Connection in Airflow's database, so the rest is fetched as Airflow fetches
that one: by the client of the supervisor that called us.
"""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from airflow.sdk.api.client import Client

from observability.contain import contained

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["lent_connections"]

_CONTEXT = "_AIRFLOW_PROCESS_CONTEXT"


@contextmanager
def lent_connections(connection_ids: Iterable[str]) -> Iterator[None]:
    """Put the Connections of these ids into the environment until the block ends, where it has not got them."""
    lent: dict[str, str] = {}
    for one in connection_ids:
        variable = f"AIRFLOW_CONN_{one.upper()}"
        if variable not in os.environ and (uri := _uri(one)):
            lent[variable] = uri
    context = os.environ.get(_CONTEXT)
    if lent:
        os.environ.update(lent)
        os.environ[_CONTEXT] = "client"  # so that Airflow reads them by the class that has from_uri
    try:
        yield
    finally:
        for variable in lent:
            os.environ.pop(variable, None)
        if lent and context is None:
            os.environ.pop(_CONTEXT, None)
        elif lent:
            os.environ[_CONTEXT] = str(context)


def _uri(connection_id: str) -> str:
    client = _client()
    if client is None:
        return ""
    with contained("upload"):
        from airflow.sdk.execution_time.supervisor import _fetch_remote_logging_conn

        found = _fetch_remote_logging_conn(connection_id, client)
        return found.get_uri() if found else ""
    return ""  # the sinks whose Connections are there get the log all the same


def _client() -> Client | None:
    """The client of the supervisor among our callers, None where there is none (a triggerer, a test)."""
    frame: Any = sys._getframe()  # noqa: SLF001 - Airflow hands over the path only
    while frame is not None:
        client = getattr(frame.f_locals.get("self"), "client", None)
        if isinstance(client, Client):
            return client
        frame = frame.f_back
    return None
