import re
import subprocess
import sys
from pathlib import Path

DAGS = Path(__file__).parents[2] / "dags"
_OOM = """
import sys; sys.path.insert(0, {dags!r})
from drills.memory import exhaust, limit
print(limit({limit}), flush=True)
try:
    exhaust()
except MemoryError:
    sys.exit(42)
"""


def test_a_process_that_takes_more_than_its_limit_is_killed_or_told_and_the_machine_lives():
    code = _OOM.format(dags=str(DAGS), limit=48 << 20)
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, timeout=60, check=False)
    assert (done.stdout.strip(), done.returncode) in {("cgroup", -9), ("rlimit", 42)}


def test_every_drill_of_the_page_says_what_happens():
    page = (DAGS / "failure_drills.py").read_text().split('"""')[1]
    rows = re.findall(r"^\| (\w+) \| (.+) \|$", page, re.MULTILINE)
    assert rows[0] == ("drill", "what happens")
    assert len({name for name, _ in rows[1:]}) == len(rows) - 1 == 20
