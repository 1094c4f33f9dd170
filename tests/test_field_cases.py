"""Each test and module that the page of cases from the field names is there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
ROWS = [
    [cell.strip() for cell in row.strip("|").split(" | ")]
    for row in (ROOT / "docs" / "field-cases.md").read_text("utf-8").splitlines()
    if row.startswith("| ") and not row.startswith("| kind")
]
NAMED = re.compile(r"`(?:(?P<file>[\w/]+\.py)::)?(?P<name>[a-z0-9]+(?:_[a-z0-9]+)+)`")


def test_each_test_that_is_named_is_there():
    missing, named = [], 0
    for kind, _wrong, _mended, tests in ROWS:
        text = ""
        for found in NAMED.finditer(tests):
            text = (ROOT / "tests" / found["file"]).read_text("utf-8") if found["file"] else text
            named += 1
            if f"def test_{found['name']}(" not in text:
                missing.append((kind, found["name"]))
    assert missing == []
    assert named > 2 * len(ROWS)


def test_each_module_that_is_named_is_there():
    modules = {
        f"/{path.relative_to(ROOT)}" for folder in ("observability", "dags") for path in (ROOT / folder).rglob("*.py")
    }
    named = [(kind, name) for kind, _wrong, mended, _tests in ROWS for name in re.findall(r"`([\w/]+\.py)`", mended)]
    assert [each for each in named if not any(path.endswith(f"/{each[1]}") for path in modules)] == []
    assert {kind for kind, _ in named} == {row[0] for row in ROWS}
