"""One-time links to an act: signed, they end by themselves, and grant nothing to whoever holds one."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from itsdangerous import BadSignature, SignatureExpired, URLSafeTimedSerializer

from observability.errors import ArgumentError
from observability.watch.acts import ACTS, applies
from observability.watch.ledger import acts as rows

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

    from observability.watch.incidents import Incident

__all__ = ["Link", "act_links", "read_link", "sign_link"]

_SALT = "contrail.link"
_LONGEST = 600
"""Characters of a link's token; ours have about 100."""


@dataclass(frozen=True, slots=True)
class Link:
    """The contents of a link; ``id`` is by which it works once."""

    incident_id: str
    act: str
    value: str
    id: str


def sign_link(key: str, incident_id: str, act: str, value: str = "") -> str:
    """A new link to an act, as it stands at the end of an address."""
    return str(URLSafeTimedSerializer(key, salt=_SALT).dumps([incident_id, act, value, secrets.token_urlsafe(9)]))


def read_link(key: str, token: str, hours: float) -> Link:
    """The link of a token. Raises :class:`ArgumentError` where it is over, or is not one of ours."""
    try:
        signer = URLSafeTimedSerializer(key, salt=_SALT)
        incident_id, act, value, once = signer.loads(token[:_LONGEST], max_age=round(hours * 3600))
    except SignatureExpired:
        raise ArgumentError(f"this link is over: it worked for {hours:g} hours. Open the incident instead") from None
    except (BadSignature, ValueError, TypeError):
        raise ArgumentError("this is not a link that Contrail made, or not a whole one") from None
    return Link(str(incident_id), str(act), str(value), str(once))


def act_links(connection: Connection, incident: Incident, airflow: str) -> tuple[tuple[str, str], ...]:
    """(label, address) of each act that a message about ``incident`` offers, below Airflow's address."""
    key = rows.key(connection)
    return tuple(
        (spec.label, f"{airflow}/contrail/links/{sign_link(key, incident.id, name, spec.in_messages)}")
        for name, spec in ACTS.items()
        if spec.in_messages is not None and applies(name, incident)
    )
