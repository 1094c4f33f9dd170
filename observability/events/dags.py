"""The events of DAGs and their files."""

from __future__ import annotations

from typing import ClassVar

from observability.events.event import Event, Finding, Over

__all__ = ["DagAutoPaused", "DagImportFailed", "DagImportRepaired", "DagReturned", "DagUnpaused", "DagVanished"]


class DagImportFailed(Event, frozen=True, kw_only=True):
    """A DAG file has an import error."""

    action: ClassVar[str] = "dag.import_failed"
    reason: str
    cause: str = "import"
    stack_trace: str | None = None
    fingerprint: str | None = None
    frame: str | None = None
    file_path: str | None = None
    provider: str = "reconciler"


class DagImportRepaired(Over, frozen=True, kw_only=True):
    """A DAG file has no import error any more."""

    action: ClassVar[str] = "dag.import_repaired"
    cause: str = "import"
    file_path: str | None = None


class DagVanished(Finding, frozen=True, kw_only=True):
    """A DAG that was there is no longer parsed."""

    action: ClassVar[str] = "dag.vanished"
    cause: str = "import"


class DagReturned(Over, frozen=True, kw_only=True):
    """A DAG that was gone is parsed again."""

    action: ClassVar[str] = "dag.returned"
    cause: str = "import"


class DagAutoPaused(Finding, frozen=True, kw_only=True):
    """Airflow paused a DAG after too many failed runs."""

    action: ClassVar[str] = "dag.auto_paused"


class DagUnpaused(Over, frozen=True, kw_only=True):
    """A DAG that Airflow had paused was unpaused."""

    action: ClassVar[str] = "dag.unpaused"
