"""Mask what Airflow masks: Connections, Variables and settings that are secret, as soon as it knows them."""

from __future__ import annotations

import re
from functools import wraps
from importlib import import_module
from typing import TYPE_CHECKING, Any

from observability import redact

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["follow_masks"]

_MODULES = ("airflow._shared.secrets_masker.secrets_masker", "airflow.sdk._shared.secrets_masker.secrets_masker")
"""Core and Task SDK each have a masker of their own."""
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)


class _Shared(set[str]):
    """A masker's set of escaped secrets, which hands each on to :mod:`observability.redact`."""

    def add(self, pattern: str) -> None:
        super().add(pattern)
        redact.add_secret(_ESCAPED.sub(r"\1", pattern))


def follow_masks() -> None:
    """From now on, mask what Airflow masks in this process, and what it knows already; again changes nothing."""
    for masker in _maskers():
        if not isinstance(masker.patterns, _Shared):
            _share(masker)
        if not hasattr(masker.reset_masker, "__wrapped__"):
            masker.reset_masker = _resetting(masker)


def _share(masker: Any) -> None:
    shared = _Shared()
    for pattern in masker.patterns:
        shared.add(pattern)
    masker.patterns = shared


def _resetting(masker: Any) -> Callable[[], None]:
    """Forget the secrets of one task before the next: Airflow's own, and ours with it; then both learn again."""
    theirs = masker.reset_masker

    @wraps(theirs)
    def reset() -> None:
        theirs()
        redact.forget_secrets()
        for each in _maskers():
            _share(each)

    return reset


def _maskers() -> Iterator[Any]:
    for name in _MODULES:
        try:
            yield import_module(name)._secrets_masker()  # noqa: SLF001 - Airflow has no public way to its masker
        except (ImportError, AttributeError):
            continue
