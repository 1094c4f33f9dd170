"""40 secrets in every encoding, through every way out of a process: none is found in any byte that was written.

The process that writes has a hash seed of its own: one here, 20 in the long form; ``test_redact`` has a short form.
"""

import json
import os
import subprocess
import sys

import pytest
from airflow_platform import clean_environment
from test_redact import encodings, leaks

SEEDS = ["0", *(pytest.param(str(seed), marks=pytest.mark.slow) for seed in range(1, 20))]
WRITER = """
import json, os, random, socket, sys
from pathlib import Path

from observability import emit, get_logger, identity, metrics
from observability.events import Identity, StepFailed, TaskFailed
from observability.redact import add_secret
from observability.relay.dead_letters import DeadLetters
from observability.settings import get_settings
from observability.watch.notify import render
from observability.watch.incidents import Incident, Notice
from observability.watch.notify.messages import Links, compose
from observability.writer import write_to

planted = json.loads(sys.stdin.read())
for secret in set(planted):  # in the order that the seed makes
    add_secret(secret)
home = get_settings().home
receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8_000_000)
receiver.bind(("127.0.0.1", int(os.environ["CONTRAIL_STATSD__PORT"])))
receiver.setblocking(False)
wire = open(home / "wire", "wb")
alerts = open(home / "alerts.txt", "w", encoding="utf-8", errors="backslashreplace")
write_to(home / "log", level="debug")
log = get_logger("planted")


def drain():
    metrics.flush()
    while True:
        try:
            wire.write(receiver.recv(65535) + b"\\n")
        except BlockingIOError:
            return


def message(shown):
    about = Incident(
        id="i", key="k", state="open", kind="task", severity="error", cause="app", reason=shown, certainty=3,
        first_seen=0.0, last_seen=0.0, count=1, dag_id="d", run_id="r", task_id="t", about={"owner": "o"},
        evidence={"error.message": shown, "log_tail": [shown], "affected": shown, "last_success": shown},
    )
    links = Links(airflow="http://a", kibana="", cloudwatch_region="", cloudwatch_group="", runbooks="https://r")
    return compose(Notice("opened", about), links, "dev")


for number, (secret, forms) in enumerate(planted.items()):
    for name, shown in forms.items():
        log.info(f"before {shown} after", value=shown, nested={"x": [shown, {shown: 1}]}, raw=shown.encode())
        log.info("with arguments %s", shown)
        try:
            raise ValueError(shown)
        except ValueError as error:
            log.exception("failed")
            about = Identity(dag_id="d", task_id="t", run_id=f"{number}-{name}", try_number=1, owner="o")
            emit(TaskFailed(identity=about, cause="app", reason=str(error), stack_trace=f"Traceback: {shown}"))
            emit(StepFailed(identity=about, step=shown, discriminator=name, error_message=shown))
        metrics.increment(f"own.{number}", 1, step=shown)
        one = message(shown)
        print(json.dumps(one.as_json()), render.html(one), render.markdown(one), render.text(one), file=alerts)
    drain()
for path in sorted((home / "journal").glob("etl.event-*.journal")):
    for line in path.read_bytes().splitlines():
        letter = {"reason": "refused", "dataset": "etl.event", "id": "1", "source": path.name, "group": "journal",
                  "at": "now", "document": line[9:].decode()}
        DeadLetters(home / "dead-letters", "elasticsearch", 1 << 30).write([letter])
wire.close()
alerts.close()
"""


def secrets():
    """40 of the kinds that people have: keys, words, passwords of every character, one the start of another."""
    kinds = [
        'hunter2!/Zürich "q"\\p & <m> 0',
        "aB3/xY+z9==Q%20",
        "correct horse battery 0",
        "p@ss:w0rd/with?url#",
        "0xDEADBEEF-",
    ]
    made = [f"{kind}{number:02d}k{number * 7919 % 9973}" for number in range(6) for kind in kinds]
    begun = [f"sk-live-{number}abcdef" for number in range(5)]
    return [*made, *begun, *(f"{secret}ghijkl" for secret in begun)]


def test_there_are_40_and_one_is_the_beginning_of_another():
    found = secrets()
    assert len(set(found)) == 40
    assert sum(1 for a in found for b in found if a != b and b.startswith(a)) == 5


def written(tmp_path, seed):
    """The output of the process with that hash seed, by file."""
    home = tmp_path / "contrail"
    home.mkdir()
    environment = clean_environment(
        CONTRAIL_HOME=str(home), PYTHONHASHSEED=seed, CONTRAIL_STATSD__PORT=str(28_125 + os.getpid() % 10_000),
        CONTRAIL_STATSD__FLUSH_MS="600000",
    )  # fmt: skip
    planted = {secret: encodings(secret) for secret in secrets()}
    done = subprocess.run(
        [sys.executable, "-c", WRITER], input=json.dumps(planted), env=environment, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr[-2000:]) == (0, "")
    files = [path for path in home.rglob("*") if path.is_file()]
    return {str(path.relative_to(home)): path.read_bytes().decode("utf-8", "backslashreplace") for path in files}


@pytest.mark.parametrize("seed", SEEDS)
def test_no_secret_leaves_a_process_whatever_its_hash_seed(tmp_path, seed):
    found = written(tmp_path, seed)
    parts = {"log", "wire", "alerts.txt"}
    assert parts <= set(found)
    assert any(name.startswith("journal/etl.event") for name in found)
    assert any(name.startswith("dead-letters/") for name in found)
    forms = len(encodings("x" * 9)) * 40
    assert found["log"].count('"failed"') == forms  # nothing was left out to be silent
    assert found["wire"].count("own_") + found["wire"].count("own.") >= 40
    leaked = [(name, secret) for name, text in found.items() for secret in secrets() if leaks(secret, text)]
    assert leaked == []
