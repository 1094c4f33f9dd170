"""Bounds the body of a request: FastAPI reads a form before it asks who sends it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["BoundedBodies"]

_MOST_BYTES = 1024 * 1024
"""Rules that are tried have 65,536 characters, each of which is up to twelve bytes in a form."""
_TOO_LARGE = 413


class BoundedBodies:
    """Ends a request whose body is longer with 413, without reading the rest."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        taken = 0

        async def bounded() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > _MOST_BYTES:
                raise HTTPException(_TOO_LARGE, f"a form of ours has no more than {_MOST_BYTES >> 20} MiB")
            return message

        await self._app(scope, bounded, send)
