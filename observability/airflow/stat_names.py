"""Names of Airflow's own metrics, for ``[metrics] stat_name_handler``.

Airflow refuses a name with a letter beyond ASCII, or of more than 250 characters; where the name is that of a timer its
scheduler then stumbles over the run, each time, and a DAG called ``größe`` never runs once metrics are on.
"""

from __future__ import annotations

import re

__all__ = ["safe"]

_UNSAFE = re.compile(r"[^A-Za-z0-9_.\-,=]")
_LONGEST = 1000


def safe(stat_name: str) -> str:
    """``stat_name`` in characters that StatsD with tags takes; never raises."""
    return _UNSAFE.sub("_", str(stat_name))[:_LONGEST]
