"""The time that masking fifty secret values adds to one event, next to a regular expression of the values."""

from __future__ import annotations

import re
import secrets
import tempfile
from pathlib import Path

from benchmarks.figure import Figure, Options, Sample, Target
from benchmarks.sampling import alternate, cpu_us
from benchmarks.twelve_fields import cost_us
from observability import redact
from observability.writer import Logger, write_to

_SECRETS = 50
_CALLS = 20_000
_LINE = (
    "rows loaded dag_id=flights_daily task_id=load run_id=scheduled__2013-01-01T00:00:00+00:00 try_number=1"
    " map_index=-1 rows=12345 rejected=17 duration_ms=123.456 table=flights path=/data/2013/01/01.csv ok=True"
)


def run(options: Options) -> list[Figure]:
    """Log the same event with and without fifty secrets known, in turns; the peer masks the same line by ``re``."""
    calls = _CALLS // 20 if options.quick else _CALLS
    values = [secrets.token_urlsafe(20) for _ in range(_SECRETS)]
    pattern = re.compile("|".join(map(re.escape, values)))
    log = Logger("bench")
    with tempfile.TemporaryDirectory() as folder:
        write_to(Path(folder, "own.log"))
        taken = alternate(
            options.rounds,
            without=lambda: _knowing([], log, calls),
            with_secrets=lambda: _knowing(values, log, calls),
            regex=lambda: cpu_us(lambda: pattern.sub("***", _LINE), calls),
        )
    redact.forget_secrets()
    pairs = zip(taken["with_secrets"].values, taken["without"].values, strict=True)
    added = Sample(tuple(known - unknown for known, unknown in pairs))
    return [
        Figure(
            f"masking {_SECRETS} secrets, added to an event of 12 fields",
            "us",
            added,
            peer=("re.sub of the values", taken["regex"]),
            targets=(Target(at_most=1.0),),
            notes={"event_us": round(taken["with_secrets"].median, 3)},
        )
    ]


def _knowing(values: list[str], log: Logger, calls: int) -> float:
    redact.forget_secrets()
    for value in values:
        redact.add_secret(value)
    redact.is_clean(b"")
    return cost_us(log.info, calls)
