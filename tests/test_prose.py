"""`make prose` refuses a docstring that opens with a headless clause, wherever it stands, and no other."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROSE = ROOT / ".ci" / "prose"


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


def pages(folder, text, name="page.md"):
    (folder / name).write_text(text)
    return subprocess.run([sys.executable, PROSE, folder / name], capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("A retried attempt is no failed task.", "'is no failed'"),
        ("The listener tells runs.", "'tells'"),
        ("Logs are kept. Whether they are read.", "a sentence needs a subject"),
        ("One; two; three; four; five.", "semicolons"),
    ],
)
def test_a_page_that_is_hard_to_read_is_refused_with_its_place(tmp_path, text, said):
    run = pages(tmp_path, f"# Title\n\n{text}\n")
    assert run.returncode == 1
    assert said in run.stderr
    assert run.stderr.startswith(f"{tmp_path / 'page.md'}:")


@pytest.mark.parametrize(
    "text",
    [
        "There is no record. It is no longer there.",
        "Ask: who tells apart the two?",
        "`it is no X; a; b; c` and\n```\nis no code; told\n```",
        "Half a sentence; and the other half.",
        "What changed last is sent first.",
    ],
)
def test_a_page_in_plain_english_is_taken(tmp_path, text):
    assert pages(tmp_path, text).returncode == 0, pages(tmp_path, text).stderr


@pytest.mark.parametrize("page", ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "docs"])
def test_every_file_that_a_page_names_is_there(page):
    known = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    ends = {"/".join(name.split("/")[start:]) for name in known for start in range(name.count("/") + 1)}
    pages = [ROOT / page] if page.endswith(".md") else sorted((ROOT / page).rglob("*.md"))
    named = {
        (path.name, name)
        for path in pages
        for name in re.findall(r"`([\w/.-]+\.(?:py|sh|yaml|yml|toml))`", path.read_text())
    }
    assert {(path, name) for path, name in named if name not in ends} == set()
