"""Two log folders whose files are called alike and begin alike are told apart; one folder is one for all."""

import shutil
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from relay_lines import TASK, line

from observability.relay.folder_id import FILE, folder_id
from observability.relay.relay import Relay

BANNER = b"  ____________       _____________\n[2026-11-27T08:00:00.000+0000] {x.py:1} INFO - started\n"
SCHEDULER = "components/scheduler.log"


@pytest.fixture
def hosts(tmp_path, settings):
    """Two hosts of one name: each with a log folder and a home, the same first lines, and one line of its own."""
    made = []
    for name in ("one", "other"):
        folder, home = tmp_path / name / "logs", tmp_path / name / "home"
        (folder / "components").mkdir(parents=True)
        (folder / SCHEDULER).write_bytes(BANNER + f"[2026-11-27T08:00:01.000+0000] INFO - {name}\n".encode())
        (folder / TASK).parent.mkdir(parents=True)
        (folder / TASK).write_bytes(line("the same attempt"))
        made.append(
            replace(
                settings,
                core=replace(settings.core, home=str(home)),
                relay=replace(settings.relay, log_folder=str(folder)),
            )
        )
    return made


def ids(settings):
    """(dataset, id) of what a relay of these settings has stored."""
    assert Relay(settings, statsd=False).run(once=True)
    with sqlite3.connect(settings.store_path) as connection:
        rows = connection.execute(
            "select s.dataset, s.identity || '-' || r.position from logs r join sources s using (source)"
        )
        return set(rows.fetchall())


def test_hosts_of_one_name_share_the_ids_of_attempts_and_not_those_of_components(hosts):
    one, other = map(ids, hosts)
    assert {dataset for dataset, _ in one & other} == {"airflow.task"}
    assert len(one - other) == len(other - one) == 3


def test_the_next_life_of_a_container_on_an_empty_disk_has_ids_of_its_own(hosts):
    first = ids(hosts[0])
    shutil.rmtree(hosts[0].home)
    (hosts[0].log_folder / FILE).unlink()
    assert {dataset for dataset, _ in first & ids(hosts[0])} == {"airflow.task"}


@pytest.mark.parametrize("lost", ["home", "folder"])
def test_ids_stay_while_the_folder_or_the_home_remembers(hosts, lost):
    first = ids(hosts[0])
    if lost == "home":
        shutil.rmtree(hosts[0].home)
    else:
        (hosts[0].log_folder / FILE).unlink()
        hosts[0].store_path.unlink()
    assert ids(hosts[0]) == first
    assert (hosts[0].log_folder / FILE).read_text() == (hosts[0].home / "log-folder-id").read_text()


def test_two_relays_on_one_folder_agree(hosts):
    shared = replace(hosts[1], relay=hosts[0].relay)
    assert ids(hosts[0]) == ids(shared)


def test_relays_that_begin_at_once_agree(tmp_path):
    (tmp_path / "logs").mkdir()
    with ThreadPoolExecutor(8) as many:
        found = set(many.map(lambda number: folder_id(tmp_path / "logs", tmp_path / str(number)), range(8)))
    assert len(found) == 1
    assert [path.name for path in (tmp_path / "logs").iterdir()] == [FILE]


def test_a_folder_that_cannot_be_written_has_the_id_that_the_home_keeps(tmp_path):
    absent = tmp_path / "absent"  # as root, a folder without write permission can be written all the same
    assert folder_id(absent, tmp_path / "home") == folder_id(absent, tmp_path / "home")
    assert folder_id(absent, tmp_path / "home") != folder_id(absent, tmp_path / "elsewhere")


@pytest.mark.parametrize("content", [b"", b"zzzzzzzz", b"\xff\xfe", b"0" * 5000])
def test_a_file_that_holds_no_id_is_passed_over(tmp_path, content):
    (tmp_path / FILE).write_bytes(content)
    assert folder_id(tmp_path, tmp_path / "home") == folder_id(tmp_path, tmp_path / "home")
