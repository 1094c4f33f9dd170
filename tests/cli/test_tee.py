"""`contrail tee`: a component says what it says, and a copy of it stands where the relay reads it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from observability.cli import tee as script
from observability.relay.sources.files.airflow_logs import log_stream

HOST = f"{socket.gethostname()}.log"


@pytest.fixture
def run(tmp_path):
    started = []

    def start(*command, component="scheduler", **more):
        environ = {**os.environ, "CONTRAIL_RELAY__LOG_FOLDER": str(tmp_path / "logs")}
        words = [sys.executable, "-m", "observability.cli", "tee", f"components/{component}", *command]
        started.append(subprocess.Popen(words, env=environ, stdout=subprocess.PIPE, text=True, **more))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


def copy(tmp_path, component="scheduler"):
    return (tmp_path / "logs" / "components" / component / HOST).read_text()


def test_what_a_component_says_is_said_and_kept_in_its_order(run, tmp_path):
    code = "import sys; print('one', flush=True); print('two', file=sys.stderr, flush=True); print('three')"
    process = run(sys.executable, "-c", code)
    said = process.communicate(timeout=60)[0]
    assert (process.returncode, said) == (0, "one\ntwo\nthree\n")
    assert copy(tmp_path) == said


@pytest.mark.parametrize("component", ["scheduler", "dag-processor", "triggerer", "api-server", "worker"])
def test_the_relay_knows_the_copy_as_the_components_log(component):
    stream = log_stream(f"components/{component}/{HOST}", "host", "test")
    assert (stream.dataset, f'"airflow.component":"{component}"'.encode() in stream.prefix) == (
        "airflow.component",
        True,
    )


@pytest.mark.parametrize(("runner", "end"), [("worker", ""), ("triggerer", "/callback.log")])
def test_what_a_deadlines_callback_says_is_the_log_of_what_runs_it_about_that_run(runner, end):
    folder = {"worker": "executor_callbacks", "triggerer": "triggerer_callbacks"}[runner]
    name = f"{folder}/late/manual__2026-11-27T03:01:33+00:00/01a21af3-7ca9-720f-a3d5-5c9ed5ecede5{end}"
    stream = log_stream(name, "host", "test")
    assert stream.dataset == "airflow.component"
    assert json.loads(stream.prefix[:-1] + b"}") == {
        "airflow.component": runner, "airflow.dag_id": "late", "airflow.run_id": "manual__2026-11-27T03:01:33+00:00",
        "host.name": "host", "service.name": "airflow", "service.environment": "test", "log.file.path": name,
    }  # fmt: skip


def test_the_exit_status_is_the_components(run):
    process = run(sys.executable, "-c", "raise SystemExit(7)")
    assert process.wait(60) == 7
    process = run(sys.executable, "-c", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    assert process.wait(60) == 128 + signal.SIGKILL


def test_a_command_that_is_not_there_is_said(run):
    assert run("no-such-command", stderr=subprocess.DEVNULL).wait(60) == 127


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_reaches_the_component_which_ends_in_its_own_way(run, number):
    code = (
        "import signal, sys, time\n"
        f"signal.signal({int(number)}, lambda *_: (print('ending', flush=True), sys.exit(3)))\n"
        "print('ready', flush=True)\n"
        "time.sleep(60)\n"
    )
    process = run(sys.executable, "-c", code)
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    assert (process.stdout.read(), process.wait(60)) == ("ending\n", 3)


def test_a_disk_that_takes_no_copy_does_not_stop_the_component(run, tmp_path):
    (tmp_path / "logs").write_text("a file where a folder should be")
    process = run(sys.executable, "-c", "print('goes on')", stderr=subprocess.PIPE)
    said, errors = process.communicate(timeout=60)
    assert (process.returncode, said) == (0, "goes on\n")
    assert "no copy in" in errors


def test_a_file_that_is_full_is_renamed_as_rotation_does(tmp_path, monkeypatch):
    monkeypatch.setattr(script, "LIMIT", 1000)
    path = tmp_path / "components" / "scheduler" / "h.log"
    copy = script.Copy(path)
    for number in range(30):
        copy.write(b"%03d %s\n" % (number, b"x" * 40))
    copy.write(b"030 not yet")
    copy.write(b" whole\n")
    kept = [Path(f"{path}.1").read_text().splitlines(), path.read_text().splitlines()]
    assert [line[:3] for lines in kept for line in lines] == [f"{number:03d}" for number in range(31)]
    assert [len(lines) for lines in kept] == [23, 8]


def test_files_of_containers_that_are_long_gone_are_deleted(run, tmp_path):
    folder = tmp_path / "logs" / "components" / "worker"
    folder.mkdir(parents=True)
    for name, days in (("old", 20), ("recent", 2)):
        (folder / f"{name}.log").write_text("line\n")
        os.utime(folder / f"{name}.log", (time.time() - days * 86_400,) * 2)
    assert run(sys.executable, "-c", "print('hello')", component="worker").wait(60) == 0
    assert sorted(path.name for path in folder.iterdir()) == sorted(["recent.log", HOST])


def test_it_weighs_little_beside_a_component(run):
    import psutil

    process = run(sys.executable, "-c", "import time; print('ready', flush=True); time.sleep(60)")
    process.stdout.readline()
    assert psutil.Process(process.pid).memory_info().rss < 25 << 20
