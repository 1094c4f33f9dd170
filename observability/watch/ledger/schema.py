"""The ledger's tables. Times are seconds since 1970 (UTC), so that every database compares them alike."""

from __future__ import annotations

from sqlalchemy import JSON, Boolean, Column, Float, Index, Integer, MetaData, String, Table, Text, UniqueConstraint

__all__ = [
    "VERSION",
    "acts",
    "cursors",
    "events",
    "facts",
    "history",
    "incidents",
    "leases",
    "meta",
    "metadata",
    "outbox",
    "run_times",
    "seen",
    "silences",
    "used_links",
]

VERSION = 2
"""Version of these tables; a ledger of a newer Contrail is refused, one of an older is migrated."""

metadata = MetaData()

meta = Table(
    "contrail_meta", metadata, Column("name", String(64), primary_key=True), Column("value", Text, nullable=False)
)

facts = Table(
    "contrail_facts",
    metadata,
    Column("key", String(32), primary_key=True),
    Column("status", String(16), nullable=False),
    Column("time", Float, nullable=False, index=True),
    Column("incident_id", String(32), index=True),
    Column("document", JSON, nullable=False),
)
"""Each fact once, by its key; a second source adds to ``document``."""

incidents = Table(
    "contrail_incidents",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("key", Text, nullable=False, index=True),
    Column("open_key", String(64), unique=True),
    Column("state", String(16), nullable=False),
    Column("severity", String(16), nullable=False),
    Column("dag_id", Text, index=True),
    Column("first_seen", Float, nullable=False),
    Column("last_seen", Float, nullable=False),
    Column("due", Float, index=True),
    Column("document", JSON, nullable=False),
)
"""``open_key`` is the key's hash while the incident is open, else NULL: the database itself refuses a second one."""

outbox = Table(
    "contrail_outbox",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("dedup_key", String(120), nullable=False),
    Column("channel", String(64), nullable=False),
    Column("state", String(16), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("dag_id", Text),
    Column("incident_id", String(32), index=True),
    Column("attempts", Integer, nullable=False, default=0),
    Column("created", Float, nullable=False, index=True),
    Column("next_attempt", Float),
    Column("sent", Float),
    Column("fact_time", Float),
    Column("merged_into", Integer),
    Column("error", Text),
    Column("message", JSON, nullable=False),
    UniqueConstraint("dedup_key", "channel", name="contrail_outbox_once"),
    Index("contrail_outbox_due", "channel", "state", "next_attempt"),
    Index("contrail_outbox_recent", "channel", "created"),
    Index("contrail_outbox_recent_of_dag", "channel", "dag_id", "created"),
)
"""Messages by channel. States: pending, sending, sent, dead, held (for a digest), merged."""

events = Table(
    "contrail_events",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("fact", String(32), index=True),
    Column("due", Float, nullable=False, index=True),
    Column("document", JSON, nullable=False),
)
"""Events that the watcher has yet to emit: written with the fact that they are about, deleted when they are emitted."""

silences = Table(
    "contrail_silences",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("kind", String(16), nullable=False),
    Column("matchers", JSON, nullable=False),
    Column("starts", Float, nullable=False),
    Column("ends", Float, nullable=False),
    Column("who", Text, nullable=False),
    Column("comment", Text, nullable=False),
)

acts = Table(
    "contrail_acts",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("incident_id", String(32), nullable=False, index=True),
    Column("dag_id", Text),
    Column("act", String(32), nullable=False),
    Column("value", Text, nullable=False),
    Column("note", Text, nullable=False),
    Column("who", Text, nullable=False),
    Column("source", String(16), nullable=False),
    Column("address", Text, nullable=False),
    Column("time", Float, nullable=False, index=True),
    Column("undo_value", Text, nullable=False),
    Column("undone_by", Integer),
)
"""The acts of people on incidents: who, when, what, from where, and what takes it back."""

used_links = Table(
    "contrail_used_links",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("who", Text, nullable=False),
    Column("time", Float, nullable=False, index=True),
)
"""Links of messages that somebody has used: each works once."""

history = Table(
    "contrail_history",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("measure", String(64), nullable=False),
    Column("dag_id", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("occasion", Text, nullable=False),
    Column("time", Float, nullable=False),
    Column("value", Float, nullable=False),
    UniqueConstraint("measure", "dag_id", "subject", "occasion", name="contrail_history_once"),
)
"""Usual measures (duration, rows, success, asset) of a subject (task, step, asset) on an occasion (a run)."""

run_times = Table(
    "contrail_run_times",
    metadata,
    Column("dag_id", Text, primary_key=True),
    Column("run_id", Text, primary_key=True),
    Column("begun", Float, nullable=False),
    Column("ended", Float),
    Column("succeeded", Boolean),
    Column("ordinary", Boolean, nullable=False),
    Column("tasks", JSON, nullable=False),
    Index("contrail_run_times_recent", "dag_id", "begun"),
)
"""Each run with the times of its tasks, as :mod:`observability.watch.run_times` writes them."""

seen = Table(
    "contrail_seen",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("time", Float, nullable=False, index=True),
)
"""Ids of events that were heard, for as long as the store can give them again."""

leases = Table(
    "contrail_leases",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("holder", Text, nullable=False),
    Column("heartbeat", Integer, nullable=False),
)

cursors = Table(
    "contrail_cursors", metadata, Column("name", String(200), primary_key=True), Column("value", JSON, nullable=False)
)
"""The position of each source, and what it must remember between two polls."""
