"""All that Contrail writes is for its owner only, whatever the umask of the process that writes it."""

import json
import os
import signal
import stat
import subprocess
import sys

import pytest
from airflow_platform import any_port, clean_environment, wait_until

TASK = """
import os, sys
os.umask(int(sys.argv[1], 8))
from observability import emit, get_logger, metrics
from observability.events import Identity, TaskFailed
from observability.writer import write_to
from observability.settings import get_settings
from observability.first_report import claim

write_to(get_settings().home / "own" / "script.log")
about = Identity(dag_id="d", task_id="t", run_id="r", try_number=1)
emit(TaskFailed(identity=about, cause="app", reason="broken"))
get_logger("x").info("a line")
assert claim("ab" * 16)
"""
SERVE = """
import os, runpy, sys
os.umask(int(sys.argv.pop(1), 8))
runpy.run_module("observability.cli", run_name="__main__")
"""


def modes(home):
    """Mode by path, of everything below ``home``, itself included."""
    everything = [home, *home.rglob("*")]
    return {str(path.relative_to(home)): stat.S_IMODE(path.lstat().st_mode) for path in everything}


@pytest.mark.parametrize("umask", ["000", "022"])
def test_every_file_and_folder_is_for_its_owner_only(tmp_path, umask):
    home = tmp_path / "missing" / "too" / "contrail"  # folders above it are made as well
    logs = tmp_path / "logs" / "dag_id=d" / "run_id=r" / "task_id=t"
    logs.mkdir(parents=True)
    (logs / "attempt=1.log").write_text('{"timestamp":"2026-01-01T00:00:00Z","level":"info","event":"x"}\n')
    port = str(any_port(2))
    environment = clean_environment(
        CONTRAIL_HOME=str(home), CONTRAIL_RELAY__SINKS="embedded,elasticsearch", CONTRAIL_RELAY__STATSD_PORT=port,
        CONTRAIL_ELASTICSEARCH__CONNECTION_ID="", CONTRAIL_ELASTICSEARCH__URL="http://127.0.0.1:1",
        CONTRAIL_RELAY__LOG_FOLDER=str(tmp_path / "logs"), AIRFLOW_HOME=str(tmp_path / "airflow"),
    )  # fmt: skip
    subprocess.run([sys.executable, "-c", TASK, umask], env=environment, check=True)
    running = [
        subprocess.Popen([sys.executable, "-c", SERVE, umask, *command], env=environment, stderr=subprocess.DEVNULL)
        for command in (("relay",), ("watch", "--no-api"))
    ]
    try:
        names = (
            "store.db store.db-wal ledger.db alerts.jsonl relay.lock relay.status.json relay.heartbeat watch.heartbeat "
            "checkpoints/elasticsearch.db checkpoints/killed_tasks.db"
        )
        expected = [home / name for name in names.split()]
        wait_until(lambda: all(path.exists() for path in expected), within=60)
        live = modes(home)
    finally:
        for process in running:
            process.send_signal(signal.SIGTERM)
        for process in running:
            assert process.wait(30) == 0
    after = modes(home)
    found = {**after, **live}
    assert any(name.startswith("journal/") for name in found)
    assert any(name.startswith("own/") for name in found)
    open_to_others = {name: oct(mode) for name, mode in found.items() if mode & 0o077}
    linked = {name for name in open_to_others if name.startswith("spool/")}  # another name of Airflow's own file
    assert {name: mode for name, mode in open_to_others.items() if name not in linked} == {}
    for folder in (home.parent, home.parent.parent, home / "spool"):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


@pytest.mark.parametrize("umask", [0o000, 0o022])
def test_dead_letters_are_for_their_owner_only(tmp_path, umask):
    from observability.relay.dead_letters import DeadLetters

    letter = {"reason": "r", "dataset": "d", "id": "1", "source": "s", "group": "g", "at": "now"}
    before = os.umask(umask)
    try:
        letters = DeadLetters(tmp_path / "dead" / "letters", "elasticsearch", limit_bytes=1000)
        letters.write(
            [{**letter, "document": json.dumps({"level": "debug", "x": n}).replace(" ", "")} for n in range(9)]
        )
        letters.write([{**letter, "document": "{}"}] * 3)  # makes room: the debug lines go
    finally:
        os.umask(before)
    found = modes(tmp_path / "dead")
    assert {mode for name, mode in found.items() if not name.endswith(".jsonl")} == {0o700}
    assert {mode for name, mode in found.items() if name.endswith(".jsonl")} == {0o600}
