"""Loggers: Airflow's own pipeline inside Airflow, our own writer outside of it."""

from __future__ import annotations

import sys
from typing import Any

__all__ = ["get_logger"]


def get_logger(name: str = "") -> Any:
    """A logger named ``name``, with the methods of structlog's.

    Where Airflow (or the caller) runs structlog it is structlog's own, so that lines go through that pipeline;
    elsewhere it is a :class:`observability.writer.Logger`.
    """
    if _runs_structlog():
        import structlog

        return structlog.get_logger(name) if name else structlog.get_logger()
    from observability.writer import Logger

    return Logger(name)


def _runs_structlog() -> bool:
    writer = sys.modules.get("observability.writer")
    if writer is not None and writer.is_open():
        return False
    structlog = sys.modules.get("structlog")
    return "airflow.sdk" in sys.modules or (structlog is not None and structlog.is_configured())
