"""Make the files of a version of Contrail, for later ones to start on: ``PYTHONPATH=<its checkout> python make.py``.

Runs that version's own relay and watcher on a few facts, and writes what they leave beside this script: databases as
SQL, the rest as it is. Run it on the last release before a file's schema changes, and commit what it writes.
"""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
DATABASES = ("store.db", "ledger.db", "checkpoints/elasticsearch.db")
KILL_DETECTORS = ("checkpoints/witness.db", "checkpoints/killed_tasks.db")
"""The old name and the one of today: a version has one of them."""
LINES = 5
TASK = """
from datetime import datetime, timezone
from observability import emit
from observability.events import Identity, TaskFailed, TaskStarted, TaskSucceeded
from observability.relay.dead_letters import DeadLetters
from observability.settings import get_settings

when = datetime.now(timezone.utc)
for task, kind, more in (("works", TaskSucceeded, {}), ("breaks", TaskFailed, {"cause": "app", "reason": "broken"})):
    about = Identity(dag_id="old", task_id=task, run_id="r1", try_number=1, map_index=-1, owner="team")
    emit(TaskStarted(identity=about, time=when))
    emit(kind(identity=about, time=when, **more))
DeadLetters(get_settings().home / "dead-letters", "embedded", 1 << 20).write([{
    "reason": "refused once", "dataset": "etl.event", "id": "0" * 31 + "1", "source": "etl.event-20260101-000.journal",
    "group": "journal", "at": "2026-01-01T00:00:00Z",
    "document": '{"event.id":"' + "0" * 31 + '1","@timestamp":"2026-01-01T00:00:00Z","event.action":"task.started"}',
}])
"""


def main() -> None:
    """Write the fixture anew."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        log = home / "logs" / "dag_id=old" / "run_id=r1" / "task_id=works" / "attempt=1.log"
        log.parent.mkdir(parents=True)
        now = time.strftime(
            "%Y-%m-%dT%H:%M:%SZ", time.gmtime()
        )  # what is older than [store] retention_days is not kept
        lines = [f'{{"timestamp":"{now}","level":"info","event":"line {number}"}}\n' for number in range(LINES)]
        log.write_text("".join(lines))
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "CONTRAIL_"))},
            "CONTRAIL_HOME": str(home), "CONTRAIL_RELAY__LOG_FOLDER": str(home / "logs"),
            "CONTRAIL_RELAY__SINKS": "embedded,elasticsearch", "CONTRAIL_ELASTICSEARCH__CONNECTION_ID": "",
            "CONTRAIL_ELASTICSEARCH__URL": "http://127.0.0.1:1", "CONTRAIL_STATSD__ENABLED": "false",
        }  # fmt: skip
        contrail = [sys.executable, "-m", "observability.cli"]
        subprocess.run([sys.executable, "-c", TASK], env=environment, check=True)
        watcher = subprocess.Popen([*contrail, "watch", "--no-api"], env=environment)
        end = time.monotonic() + 60
        while not (home / "alerts.jsonl").exists() and time.monotonic() < end:
            time.sleep(0.2)
        watcher.send_signal(signal.SIGTERM)
        watcher.wait()
        subprocess.run([*contrail, "relay", "--once", "--patience", "5"], env=environment, check=False)
        _keep(home)


def _keep(home: Path) -> None:
    for old in (*HERE.glob("*.sql"), *(HERE / name for name in ("journal", "dead-letters", "logs"))):
        shutil.rmtree(old) if old.is_dir() else old.unlink(missing_ok=True)
    for name in (*DATABASES, *(name for name in KILL_DETECTORS if (home / name).exists())):
        connection = sqlite3.connect(home / name)
        version = connection.execute("pragma user_version").fetchone()[0]
        sql = "\n".join([*connection.iterdump(), f"PRAGMA user_version = {version};", ""])
        (HERE / f"{name.replace('/', '-')}.sql").write_text(sql, "utf-8")
    for name in ("journal", "dead-letters", "logs"):
        shutil.copytree(home / name, HERE / name)
    for name in ("relay.status.json", "watch.heartbeat", "alerts.jsonl"):
        shutil.copy(home / name, HERE / name)


if __name__ == "__main__":
    main()
