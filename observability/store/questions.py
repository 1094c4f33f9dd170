"""The questions to a store, and the form of a table that answers one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

__all__ = ["Ask", "Key", "Measures", "Position", "Query", "Table"]

Position: TypeAlias = "dict[str, Any]"
"""A position in the order of arrival; JSON values only, so that it can be kept. Each backend has its own."""
Key: TypeAlias = "tuple[Any, ...]"
"""The start of the stretch of time in seconds, where there are stretches, then the values of the fields, as text."""
Measures: TypeAlias = "tuple[tuple[str, str], ...]"
"""The question to a row's documents: the aggregate of a signal, and the field it takes ('' for a count)."""
Table: TypeAlias = "dict[Key, tuple[Any, ...]]"
"""By row: an answer to each measure, None where no document has its field."""


@dataclass(frozen=True, slots=True)
class Query:
    """A query: a dataset of the catalogue and what its documents must have.

    ``where`` maps a field to the value, or the values, it must have. ``since`` is inclusive, ``until``
    exclusive. Documents come oldest first (log lines of one try: in the order they were written);
    ``newest`` with ``limit`` keeps the last ones, still oldest first.
    """

    dataset: str
    where: Mapping[str, str | int | tuple[str | int, ...]] = field(default_factory=dict)
    since: datetime | None = None
    until: datetime | None = None
    limit: int | None = None
    newest: bool = False


@dataclass(frozen=True, slots=True)
class Ask:
    """A choice of documents and columns; ``last`` can be asked only alone.

    ``dags``: only documents about these; None: about any. ``homeless``: documents about no DAG as well.
    Documents that lack one of ``by`` count for nothing, nor do those that have one of ``without``.
    """

    datasets: tuple[str, ...]
    where: Mapping[str, tuple[str | int, ...]]
    since: datetime
    until: datetime
    measures: Measures = (("count", ""),)
    by: tuple[str, ...] = ()
    bucket_s: int = 0
    without: tuple[str, ...] = ()
    dags: tuple[str, ...] | None = None
    homeless: bool = True
