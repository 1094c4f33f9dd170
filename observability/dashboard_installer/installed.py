"""Record of an installation in Kibana, so that the next one knows an older version of ours from the work of a person.

The record stands in the data view of events, in ``typeMeta``, which Kibana keeps and shows to nobody: for each thing of
ours two digests, of what was sent and of what Kibana then had. Kibana writes things in its own way, and a newer one
migrates them, so only its own form can be compared with what it has later.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any, Literal

from observability.dashboard_installer.changes import is_same

__all__ = ["Record", "State", "digest"]

State = Literal["new", "current", "outdated", "edited"]
_KEY = "contrail"


def digest(value: Any) -> str:
    """12 hex digits of a JSON value; what is empty in it does not count, as Kibana leaves it out or adds it."""
    text = json.dumps(_full(value), sort_keys=True, ensure_ascii=False)
    return hashlib.blake2b(text.encode(), digest_size=6).hexdigest()


def _full(value: Any) -> Any:
    if isinstance(value, dict):
        inner = {key: _full(one) for key, one in value.items()}
        return {key: one for key, one in inner.items() if one not in (None, False, "", [], {})}
    if isinstance(value, list):
        return [_full(one) for one in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


@dataclass(slots=True)
class Record:
    """Digests (sent, kept) by the name of a thing."""

    digests: dict[str, tuple[str, str]] = field(default_factory=dict)

    @classmethod
    def read(cls, type_meta: str) -> Record:
        """The record in a data view's ``typeMeta``; an empty one where there is none."""
        try:
            found = json.loads(type_meta or "{}").get(_KEY, {})
            return cls({name: (str(sent), str(kept)) for name, (sent, kept) in found.items()})
        except (ValueError, TypeError, AttributeError):
            return cls()

    def written(self) -> str:
        """The record as ``typeMeta``."""
        return json.dumps({_KEY: self.digests}, sort_keys=True)

    def state(self, name: str, ours: Any, theirs: Any) -> State:
        """The state of a thing beside what is to be installed; ``theirs`` is None where it is not there.

        A thing that no installation recorded is ``edited`` by nobody as far as one can know.
        """
        if theirs is None:
            return "new"
        if is_same(theirs, ours):
            return "current"
        sent, kept = self.digests.get(name, ("", ""))
        if kept and digest(theirs) != kept:
            return "edited"
        return "current" if sent == digest(ours) else "outdated"

    def note(self, name: str, ours: Any, theirs: Any) -> None:
        """Remember that ``ours`` was sent, and became ``theirs``."""
        self.digests[name] = digest(ours), digest(theirs)
