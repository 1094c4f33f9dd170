"""The app that Airflow mounts: its lifespan is the API server's, and it makes the pages at the first request."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

from fastapi import FastAPI

from observability.airflow.api_server.lifespan import lifespan

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

__all__ = ["Pages"]


class Pages(FastAPI):
    """A FastAPI app, because Airflow runs the lifespan of no other."""

    def __init__(self) -> None:
        super().__init__(title="Contrail", docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)

        self._lock = threading.Lock()
        self._pages: FastAPI | None = None

    def _make(self) -> FastAPI:
        with self._lock:
            if self._pages is None:
                from observability.airflow.ui.app import create_app

                self._pages = create_app()
            return self._pages

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Have the pages answer; they find Airflow's own app in the scope, of whose REST API acts are asked.

        They are made in a thread, because that takes seconds in which the event loop answers others.
        """
        pages = await asyncio.to_thread(self._make) if self._pages is None else self._pages
        await pages({**scope, "contrail.airflow": scope.get("app")}, receive, send)
