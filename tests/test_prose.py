"""`make prose` refuses a docstring that opens with a headless clause, wherever it stands, and no other."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROSE = Path(__file__).parents[1] / ".ci" / "prose"


def refused(folder, text):
    (folder / "module.py").write_text(text)
    return subprocess.run([sys.executable, PROSE, folder], capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "text",
    [
        '"""What is left."""',
        'class Rows:\n    """Whether there are any."""',
        'async def rows():\n    """\n    How many there are."""',
        'LIMIT = 3\n"""Where it ends."""',
        'class Rows:\n    limit: int = 3\n    """Whatever may come."""',
    ],
)
def test_a_headless_opening_is_refused_with_its_place(tmp_path, text):
    run = refused(tmp_path, text)

    assert run.returncode == 1
    assert f"{tmp_path / 'module.py'}:" in run.stderr


@pytest.mark.parametrize(
    "text", ['"""Return whether any is left."""', 'print()\n"""What is printed is no docstring."""']
)
def test_other_text_is_taken(tmp_path, text):
    assert refused(tmp_path, text).returncode == 0
