"""Silences of one error: made from an incident, ended by a time, by another error, or by the next success."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from sqlalchemy import insert, select, update

from observability.watch.grouping import RUN_KINDS
from observability.watch.ledger import schema

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy.engine import Connection

    from observability.watch.incidents import Incident

__all__ = ["LONGEST_S", "end_at_success", "end_silence", "is_of_error", "silence_error"]

LONGEST_S = 30 * 86_400.0
"""No silence of an error lasts longer: what is forgotten is heard of again."""
_SUCCESS = "success"


def is_of_error(matchers: Mapping[str, Any], incident: Incident) -> bool:
    """True where a silence is about no error in particular, or about that of the incident."""
    named = matchers.get("error")
    return named is None or not _marks_of(incident).isdisjoint([named] if isinstance(named, str) else named)


def silence_error(  # noqa: PLR0913, PLR0917 - a silence has that many parts
    connection: Connection,
    incident: Incident,
    dags: list[str],
    until: str,
    times: tuple[float, float],
    said: tuple[str, str],
) -> int:
    """Silence the error of ``incident`` in ``dags`` (globs) for ``times``, and answer the silence's number.

    ``until`` is ``change``, ``success`` or a span; ``said`` is who did so, and why.
    """
    matchers = {"dag": dags, "error": sorted(_marks_of(incident)), "until": until, "about": incident.reason[:200]}
    values = {"kind": "silence", "matchers": matchers, "starts": times[0], "ends": times[1]}
    comment = said[1] or f"this error until {until}"
    made = connection.execute(insert(schema.silences).values(**values, who=said[0], comment=comment))
    return int(made.inserted_primary_key[0]) if made.inserted_primary_key else 0


def end_silence(connection: Connection, number: str, now: float) -> bool:
    """End the silence with this number; False where it is none, or over."""
    table = schema.silences
    if not number.isdecimal() or len(number) > 9:  # noqa: PLR2004 - digits of an INTEGER
        return False
    lasting = (table.c.id == int(number), table.c.ends > now)
    return connection.execute(update(table).where(*lasting).values(ends=now)).rowcount == 1


def end_at_success(connection: Connection, dag_id: str, begun: float, now: float) -> None:
    """End the silences that last until the DAG's next success: that of a run that ``begun`` after they were made."""
    table = schema.silences
    asked = select(table.c.id, table.c.matchers, table.c.starts).where(table.c.ends > now, table.c.starts <= now)
    for number, matchers, starts in connection.execute(asked).all():
        mine = matchers.get("until") == _SUCCESS and _unescaped(matchers.get("dag")) == dag_id
        if mine and starts <= begun:
            end_silence(connection, str(number), now)


def _unescaped(globs: Any) -> str:
    """The DAG that a silence of an error names: one, as :func:`glob.escape` wrote it."""
    name = str(globs[0]) if isinstance(globs, list) and len(globs) == 1 else ""
    for character in "[?*":
        name = name.replace(f"[{character}]", character)
    return name


def _marks_of(incident: Incident) -> set[str]:
    """The keys of an error: the task, cause and fingerprint of a failure; of anything else what it is about."""
    about = f"{incident.kind}\x1f{incident.subject}\x1f{incident.cause}"
    texts = incident.errors if incident.kind in RUN_KINDS else (about,)
    return {hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest() for text in texts}
