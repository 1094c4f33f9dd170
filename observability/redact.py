"""Secrets taken out of what is about to be written. (First form; see the module's owner.)"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from observability.events import Document

__all__ = ["add_secret", "document", "text"]


def add_secret(value: str) -> None:
    """Mask ``value`` from now on."""


def text(value: str) -> str:
    """``value`` without secrets."""
    return value


def document(value: Document) -> Document:
    """``value`` without secrets in any of its strings."""
    return value
