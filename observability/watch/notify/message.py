"""The message: what is said about an incident, before it is rendered and shortened for a service."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Message"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A message to a person. ``details`` are (label, value), ``log`` the last lines, ``links`` (label, address).

    ``acts`` are the one-time links to what a person can do about it.

    ``incidents`` are those of a digest, with ``more`` that are not listed; ``pair`` is the key under which a service
    that opens and closes alerts finds this one again. ``failed`` is how many tasks of the run it says have failed,
    ``assets`` the late ones that it names.
    """

    kind: str
    severity: str
    title: str
    summary: str
    dedup_key: str
    incident_id: str = ""
    incident_key: str = ""
    cause: str = ""
    dag_id: str | None = None
    run_id: str | None = None
    task_id: str | None = None
    map_index: int | None = None
    iteration: str | None = None
    region_id: str | None = None
    count: int = 1
    environment: str = ""
    time: str = ""
    details: tuple[tuple[str, str], ...] = ()
    log: tuple[str, ...] = ()
    links: tuple[tuple[str, str], ...] = ()
    acts: tuple[tuple[str, str], ...] = ()
    incidents: tuple[Mapping[str, Any], ...] = field(default=())
    more: int = 0
    pair: str = ""
    try_number: int | None = None
    failed: int = 0
    assets: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The message as JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Message:
        """The message that :meth:`as_json` made the values from."""
        pairs = {
            name: tuple((label, value) for label, value in values.get(name, ()))
            for name in ("details", "links", "acts")
        }
        lists = {name: tuple(values.get(name, ())) for name in ("log", "incidents", "assets")}
        return cls(**{**values, **pairs, **lists})
