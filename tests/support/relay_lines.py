"""Lines as Airflow writes them."""

from __future__ import annotations

import sqlite3

import orjson

TASK = "dag_id=flights/run_id=manual__2026-01-31T00:00:00+00:00/task_id=load/attempt=1.log"


def line(event, second=0, **extra):
    """A line as Airflow writes it."""
    stamp = f"2026-01-31T12:{second // 60 % 60:02}:{second % 60:02}.000000Z"
    return orjson.dumps({"timestamp": stamp, "level": "info", "event": event, **extra}) + b"\n"


def expected(root):
    """(path of its first name, byte offset) of every whole line in the log folder: what a store has to hold."""
    return {
        (str(path.relative_to(root)), offset)
        for path in root.rglob("*.log")
        for offset, text in _lines(path.read_bytes())
        if text.strip()
    }


def _lines(content):
    offset = 0
    for text in content.split(b"\n")[:-1]:
        yield offset, text
        offset += len(text) + 1


def stored(path):
    """(path, byte offset) of every log line in an embedded store, in the order in which a reader gets them."""
    with sqlite3.connect(path) as connection:
        rows = connection.execute(
            "select json_extract(substr(s.prefix, 1, length(s.prefix) - 1) || '}', '$.\"log.file.path\"'), r.position"
            " from logs r join sources s using (source) order by r.at, r.source, r.position"
        ).fetchall()
    connection.close()
    return rows
