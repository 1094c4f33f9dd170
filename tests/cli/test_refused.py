"""A refusal of the machine is a line for the user, and the version is told."""

import subprocess

import pytest
from airflow_platform import CONTRAIL, clean_environment

from observability import __version__


def contrail(*arguments, home):
    return subprocess.run(
        [*CONTRAIL, *arguments],
        env=clean_environment(CONTRAIL_HOME=str(home)),
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("command", [("relay", "--once"), ("up",)], ids=lambda command: command[0])
def test_a_home_that_cannot_be_made_is_one_line_that_names_it_and_the_remedy(command):
    refused = contrail(*command, home="/sys/contrail")  # also root cannot make a folder there
    assert refused.returncode == 4
    assert "Traceback" not in refused.stderr
    assert "/sys/contrail" in refused.stderr
    assert "CONTRAIL_HOME" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1


def test_the_version_is_told(tmp_path):
    assert contrail("--version", home=tmp_path).stdout == f"contrail {__version__}\n"
    assert list(tmp_path.iterdir()) == []
