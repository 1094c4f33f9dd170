"""The events of data: steps, rejected rows, columns, assets."""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 - msgspec reads it at run time
from typing import ClassVar

from observability.events.event import Event

__all__ = ["AssetUpdated", "RowsRejected", "SchemaDrifted", "StepFailed", "StepMeasured"]


class StepMeasured(Event, frozen=True, kw_only=True):
    """A measured step ended well; rows are counts, ``watermark`` the newest moment that its data covers."""

    action: ClassVar[str] = "step.measured"
    step: str
    table: str | None = None
    rows_in: int | None = None
    rows_out: int | None = None
    rows_rejected: int | None = None
    bytes: int | None = None
    watermark: datetime | None = None
    watermark_age_ns: int | None = None
    duration_ns: int | None = None


class StepFailed(Event, frozen=True, kw_only=True):
    """A measured step raised."""

    action: ClassVar[str] = "step.failed"
    step: str
    table: str | None = None
    rows_in: int | None = None
    rows_out: int | None = None
    rows_rejected: int | None = None
    duration_ns: int | None = None
    error_type: str | None = None
    error_message: str | None = None


class RowsRejected(Event, frozen=True, kw_only=True):
    """Rows went to quarantine because they broke ``rule``."""

    action: ClassVar[str] = "rows.rejected"
    step: str
    rule: str
    rows_rejected: int
    table: str | None = None


class SchemaDrifted(Event, frozen=True, kw_only=True):
    """An input has other columns than it had."""

    action: ClassVar[str] = "schema.drifted"
    table: str
    columns_added: tuple[str, ...] = ()
    columns_removed: tuple[str, ...] = ()


class AssetUpdated(Event, frozen=True, kw_only=True):
    """A task updated an asset."""

    action: ClassVar[str] = "asset.updated"
    asset: str
