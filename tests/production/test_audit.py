"""``make audit`` does not call well what it could not look up."""

import runpy
from pathlib import Path

judge = runpy.run_path(str(Path(__file__).parents[2] / ".ci" / "audit"))["judge"]
WELL = {"name": "a", "version": "1", "vulns": []}
HOLE = {"name": "b", "version": "2", "vulns": [{"id": "CVE-1", "fix_versions": ["3"]}]}
UNKNOWN = {"name": "c", "skip_reason": "not found"}


def test_what_is_known_to_be_well_is_well():
    assert judge([WELL]) == (0, ["1 of 1 packages were looked up, 0 holes are known in them"])


def test_a_hole_is_named_with_what_mends_it():
    status, lines = judge([WELL, HOLE, UNKNOWN])
    assert (status, lines[0]) == (1, "b 2: CVE-1, mended in 3")


def test_what_could_not_be_looked_up_is_not_called_well():
    status, lines = judge([WELL, UNKNOWN])
    assert status == 3
    assert lines[-1].startswith(
        "1 of 2 packages were looked up, 0 holes are known in them; NOTHING IS KNOWN of the other 1"
    )
