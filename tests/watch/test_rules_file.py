"""The rules file is read again however it was changed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import yaml

from observability.watch.rules.loader import RulesFile

COMPOSE = Path(__file__).resolve().parents[2] / "docker-compose.yml"
RULES = """
channels: {file: {type: file}}
receivers: {team-a: {channels: [file]}}
routes: [{receiver: team-a}]
"""
OTHER = RULES.replace("team-a", "team-b")


def receivers(file):
    return list(file.rules.receivers)


def test_a_file_of_the_same_size_and_time_that_replaces_it_is_read(tmp_path):
    path, fresh = tmp_path / "alerts.yaml", tmp_path / "alerts.yaml.new"
    path.write_text(RULES)
    fresh.write_text(OTHER)
    for each in (path, fresh):
        os.utime(each, ns=(10**18, 10**18))
    file = RulesFile(path)
    fresh.rename(path)
    assert file.reload()
    assert receivers(file) == ["team-b"]
    assert not file.reload()


def test_bytes_that_are_written_over_with_the_time_put_back_are_read(tmp_path):
    path = tmp_path / "alerts.yaml"
    path.write_text(RULES)
    file, stamp = RulesFile(path), path.stat().st_mtime_ns
    path.write_text(OTHER)
    os.utime(path, ns=(stamp, stamp))
    assert file.reload()
    assert receivers(file) == ["team-b"]


def test_a_file_that_is_touched_and_says_the_same_is_no_change(tmp_path):
    path = tmp_path / "alerts.yaml"
    path.write_text(RULES)
    file = RulesFile(path)
    os.utime(path)
    assert not file.reload()


def test_a_config_map_that_swaps_its_data_link_is_read(tmp_path):
    for name, text in (("..1", RULES), ("..2", OTHER)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "alerts.yaml").write_text(text)
        os.utime(tmp_path / name / "alerts.yaml", ns=(10**18, 10**18))
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "alerts.yaml").symlink_to("..data/alerts.yaml")
    file = RulesFile(tmp_path / "alerts.yaml")
    (tmp_path / "..data_tmp").symlink_to("..2")
    (tmp_path / "..data_tmp").rename(tmp_path / "..data")
    assert file.reload()
    assert receivers(file) == ["team-b"]


def test_a_file_that_is_gone_for_a_while_leaves_its_rules_in_force_and_is_said_once(tmp_path):
    path = tmp_path / "alerts.yaml"
    path.write_text(RULES)
    file = RulesFile(path)
    path.unlink()
    assert file.reload()
    assert "No such file" in file.problem
    assert not file.reload()
    path.write_text(RULES)
    assert file.reload()
    assert (file.problem, receivers(file)) == ("", ["team-a"])


_INSIDE = textwrap.dedent(
    """
    import sys
    from pathlib import Path
    from observability.watch.rules.loader import RulesFile
    inside, outside = map(Path, sys.argv[1:3])
    rules = RulesFile(inside)
    fresh = outside.with_name("alerts.yaml.new")
    fresh.write_text(outside.read_text().replace("team-a", "team-b"))
    fresh.rename(outside)
    print(rules.reload(), *rules.rules.receivers, rules.problem)
    """
)


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("unshare") is None, reason="mounting needs root and unshare")
@pytest.mark.parametrize("what", ["the file", "its folder"])
def test_a_mount_shows_the_change_or_says_that_it_cannot(tmp_path, what):
    outside, inside = tmp_path / "host", tmp_path / "container"
    for folder in (outside, inside):
        folder.mkdir()
        (folder / "alerts.yaml").write_text(RULES)
    mounted = ("alerts.yaml",) if what == "the file" else ()
    script = 'mount --bind "$1" "$2" && shift 2 && exec "$@"'
    command = ["unshare", "--mount", "sh", "-c", script, "sh", outside.joinpath(*mounted), inside.joinpath(*mounted)]
    command += [sys.executable, "-c", _INSIDE, inside / "alerts.yaml", outside / "alerts.yaml"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode and "mount:" in done.stderr:
        pytest.skip(done.stderr)
    expected = "True team-a" if what == "the file" else "True team-b"
    assert done.stdout.startswith(expected), done.stderr
    assert ("mount its folder" in done.stdout) is (what == "the file")


def test_the_compose_deployment_mounts_the_folder_of_the_rules():
    service = yaml.safe_load(COMPOSE.read_text())["services"]["watcher"]
    rules = Path(service["environment"]["CONTRAIL_WATCH__RULES_FILE"])
    targets = {volume.split(":")[1]: volume.split(":")[0] for volume in service["volumes"]}
    source = COMPOSE.parent / targets[str(rules.parent)]
    assert (source / rules.name).is_file()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_the_text_in_force_can_stand_in_for_the_file_with_or_without_a_byte_order_mark(tmp_path, encoding):
    path = tmp_path / "alerts.yaml"
    path.write_bytes(
        "channels: {über: {type: file}}\nreceivers: {all: {channels: [über]}}\nroutes: [{receiver: all}]\n".encode(
            encoding
        )
    )
    kept = RulesFile(path).text
    path.write_text("routes: [")
    found = RulesFile(path, instead=kept)
    assert (list(found.rules.channels), "alerts.yaml:1" in found.problem, found.text) == (["über"], True, kept)
    path.write_text("routes: []")
    assert found.reload() is True
