"""The app that Airflow mounts: its lifespan is the API server's, and it makes the pages at the first request."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from fastapi import FastAPI

from observability.airflow.api_server.lifespan import lifespan

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["Pages"]


class Pages(FastAPI):
    """A FastAPI app, because Airflow runs the lifespan of no other."""

    def __init__(self) -> None:
        super().__init__(title="Contrail", docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)

    @cached_property
    def _pages(self) -> ASGIApp:
        from observability.airflow.ui.app import create_app

        return create_app()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Have the pages answer; they find Airflow's own app in the scope, of whose REST API acts are asked."""
        await self._pages({**scope, "contrail.airflow": scope.get("app")}, receive, send)
