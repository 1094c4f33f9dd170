"""Advice of `contrail doctor` where the Airflow is not ours: nothing that helps `contrail up` alone."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from airflow_platform import CONTRAIL, clean_environment, wait_until

from observability.doctor import delivery, host, notifications, scheduling
from observability.doctor.link import walk
from observability.local import disk_space, leftovers
from observability.local.errors import PlatformError
from observability.local.layout import Layout
from observability.local.state import ComponentState, PlatformState, write_state
from observability.settings import load_settings

LINKS = [*host.LINKS, *scheduling.LINKS, *delivery.LINKS, *notifications.LINKS]
OURS = ("contrail up", "contrail airflow", "contrail status")


@pytest.fixture
def theirs(monkeypatch, tmp_path):
    """The settings of a newcomer who has followed docs/existing-airflow.md, with nothing running yet."""
    monkeypatch.setenv("CONTRAIL_HOME", str(tmp_path / "contrail"))
    return load_settings(
        environ={"CONTRAIL_WATCH__API_URL": "http://127.0.0.1:1", "CONTRAIL_CORE__HOME": str(tmp_path / "contrail")}
    )


def advice(settings, links=LINKS):
    return {one.link: one.mend for one in walk(links, settings)}


def test_no_link_sends_a_newcomer_to_a_command_of_our_own_platform(theirs):
    wrong = {link: mend for link, mend in advice(theirs).items() if any(word in mend for word in OURS)}
    assert wrong == {}


def test_an_api_server_elsewhere_is_named_by_its_option(theirs):
    assert "CONTRAIL_WATCH__API_URL" in advice(theirs)["api-server"]


def test_our_own_platform_is_still_started_by_its_command(monkeypatch, tmp_path):
    monkeypatch.delenv("AIRFLOW_HOME", raising=False)
    settings = load_settings(environ={"CONTRAIL_CORE__HOME": str(tmp_path)})
    (tmp_path / "keys").mkdir()
    assert "contrail up" in advice(settings)["relay"]


def test_a_login_that_is_missing_is_mended_by_what_works_there(theirs):
    assert "CONTRAIL_API_USERNAME" in scheduling._how_to_log_in(theirs)
    assert "contrail airflow" not in scheduling._how_to_log_in(theirs)


def test_the_page_names_all_that_the_watcher_needs():
    text = (Path(__file__).parents[2] / "docs" / "existing-airflow.md").read_text()
    plain = text[text.index("## With a relay and a watcher") : text.index("## The official Helm chart")]
    for word in (
        "CONTRAIL_WATCH__API_URL",
        "CONTRAIL_API_USERNAME",
        "CONTRAIL_API_PASSWORD",
        "CONTRAIL_STORE__BACKEND",
    ):
        assert word in plain


@pytest.mark.parametrize(("free", "refused"), [(100 << 20, True), (300 << 20, False)])
def test_a_platform_is_not_started_on_a_disk_that_is_nearly_full(monkeypatch, tmp_path, free, refused):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    if refused:
        with pytest.raises(PlatformError, match=r"100 MiB are free .* free space"):
            disk_space.require_room(Layout(tmp_path))
    else:
        disk_space.require_room(Layout(tmp_path))


@pytest.mark.skipif(shutil.which("unshare") is None, reason="a small disk is mounted by unshare and root")
def test_the_demo_on_a_disk_without_room_says_so_at_once(tmp_path):
    (tmp_path / "disk").mkdir()
    script = 'mount -t tmpfs -o size=20m none "$1" && shift && exec "$@"'
    command = ["unshare", "--mount", "sh", "-c", script, "sh", tmp_path / "disk", *CONTRAIL]
    command += ["demo", "--home", tmp_path / "disk" / "home"]
    done = subprocess.run(command, env=clean_environment(), capture_output=True, text=True, check=False, timeout=60)
    if "mount:" in done.stderr or "unshare:" in done.stderr:
        pytest.skip(done.stderr)
    assert (done.returncode, "MiB are free" in done.stderr, "Connection refused" in done.stderr) == (4, True, False)


WAITS = "print('idle', flush=True); import time; time.sleep(120)"
TITLED = f"from setproctitle import setproctitle; setproctitle('airflow worker -- LocalExecutor: <idle>'); {WAITS}"
"""As Airflow's idle workers: a title stands where their environment stood."""


def left_behind(tmp_path, home, program=WAITS):
    """A process as a killed platform leaves it: a child of a component whose session it shares, told to wait."""
    layout = Layout(tmp_path / home)
    layout.create()
    environ = clean_environment(CONTRAIL_HOME=str(layout.home), AIRFLOW_HOME=str(layout.airflow_home))
    parent = (
        "import os, subprocess, sys, time\n"
        "log = open(sys.argv[1], 'w')\n"
        "child = subprocess.Popen([sys.executable, '-c', sys.argv[2]], stdout=log)\n"
        "while not os.path.getsize(sys.argv[1]): time.sleep(0.02)\n"
        "print(child.pid, flush=True)\n"
    )
    component = subprocess.Popen(
        [sys.executable, "-c", parent, layout.components / "scheduler.log", program],
        env=environ, stdout=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    child = int(component.stdout.readline())
    component.wait()
    component.stdout.close()
    scheduler = ComponentState(pid=component.pid, state="up")
    write_state(layout, PlatformState(1 << 22, 1 << 22, "", 0.0, components={"scheduler": scheduler}))
    return layout, child


@pytest.mark.parametrize("program", [WAITS, TITLED], ids=["with its environment", "with a title over it"])
def test_what_a_killed_platform_left_behind_is_ended_before_the_next_one(tmp_path, program):
    layout, child = left_behind(tmp_path, "one", program)
    other, stays = left_behind(tmp_path, "two", program)
    assert [process.pid for process in leftovers.leftovers(layout)] == [child]
    assert leftovers.end_leftovers(layout) == 1
    wait_until(lambda: leftovers.leftovers(layout) == [], within=10)
    assert [process.pid for process in leftovers.leftovers(other)] == [stays]
    assert leftovers.end_leftovers(other) == 1


def test_queued_tasks_of_a_killed_scheduler_are_taken_up_within_a_minute():
    text = (Path(__file__).parents[2] / "config" / "airflow.env").read_text()
    known = dict(line.split("=", 1) for line in text.splitlines() if "=" in line and not line.startswith("#"))
    assert int(known["AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL"]) <= 60
