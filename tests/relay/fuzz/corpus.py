"""The corpus of each fuzzer: shapes that are real, and those that have broken something before."""

from __future__ import annotations

from observability.journal import frame
from observability.relay.sources.statsd.spool import _header

__all__ = ["CORPUS", "TOKENS"]

_STAMP = b'{"timestamp":"2026-01-31T12:00:00.000000Z",'
_LINES = (
    _STAMP + b'"level":"info","event":"hello","rows":3}\n',
    _STAMP + b'"level":"info","event":"x","offset":7,"body":' + b"[" * 300 + b"]" * 300 + b"}\n",
    _STAMP + b'"event":"x","body":' + b"[" * 1100 + b"]" * 1100 + b"}\n",
    _STAMP + b'"event":"x","airflow\\u002edag_id":"other"}\n',
    _STAMP + b'"event":"x", "airflow.dag_id" : "other"}\n',
    _STAMP + b'"event":"x","airflow":{"dag_id":"other"},"host":[{"name":"b"}]}\n',
    _STAMP + b'"event":"x","timestamp":"2013-01-01T00:00:00Z","timestamp":1}\n',
    b'{"timestamp":"0001-01-01T00:00:00+05:00","level":"info","event":"a row"}\n',
    b'{"timestamp":"2026-02-30T25:61:61.000000Z","event":"x"}\n',
    b'{"timestamp":"2026-01-31T12:00:00.00_000Z","event":"x"}\n',
    b"[0001-01-01T00:00:00.000+05:00] a row\n9999-12-31T23:59:59.999-05:00 a row\n",
    (
        b"2026-01-31T12:00:00Z [error    ] failed\nTraceback (most recent call last):\n  File\n"
        b"ValueError: 2013-01-01T00:00:00\n"
    ),
    b"INFO:     Started\n\x1b[31m2026-01-31 12:00:00 +0200 red\x1b[0m\n\xff\xfe\x00\n \n\r\n",
    b"INFO:     Started\n\r2026-01-31 12:00:00 a row\n" + b"[" * 90 + b"\n",
    _STAMP + b'"event":"\\ud800","n":1e999,"m":-0,"k":NaN}\n',
    _STAMP + b'"event":"x"}garbage{"a":1}\n',
)
_RECORD = frame(b'{"event.id":"0123456789abcdef","event.action":"task.failed"}')
_METRICS = (
    b"airflow.x:1|c\nx:1:2|ms|@0.5|#dag_id:d,a:b\nx,dag_id=d,a=b:5|g\nx:+1|g\nx:a|s",
    b"x:1|c|@1e-320\nx:1|ms|@1e-300\nx:1e308|c\nx:nan|g\nx:-inf|c\nx:1_0|c",
    b"_e{1,1}:a|b\n_sc|a|0\nx:1|c|T1|c:abc|e:1\n,:1|c\nx,=:1|c\nx:\xff|s",
)
CORPUS: dict[str, tuple[bytes, ...]] = {
    "journal_frames": (
        _RECORD,
        _RECORD[:20] + _RECORD,
        b"\n\n" + _RECORD[:-1],
        b"0000000z {}\n",
        _RECORD[:8].upper() + _RECORD[8:],
    ),
    "log_lines": _LINES,
    "names_of_files": (
        b"dag_id=d/run_id=r/task_id=t/map_index=99999999999999999999999/attempt=99999999999999999999999.log",
        b"dag_id=\xff/run_id=r/task_id=t/attempt=1.log",
        "dag_id=d/run_id=r/task_id=t/attempt=٣.log".encode(),
        b"components/scheduler.log.2026-01-31",
        b"dag_id=d/run_id=r/task_id=t/map_index=2/pass=1/map=2/attempt=1.log",
        b"executor_callbacks/d/r/0198f0a4-7e5c-7d3a-9f2e-3f6a2b1c4d5e",
        b'x\n\r"\\%s\x01.log',
    ),
    "datagrams": _METRICS,
    "statsd_spool": tuple(
        _header(kind, content) + content
        for kind, content in ((0, b'["h",[]]'), (0, b"[1,[[]]]"), (1, _METRICS[0]), (2, b"[1,[]]"), (2, b"{}"))
    ),
    "tailed_log": _LINES,
    "masking": (
        b"password=x\nand 'token': \"y z\", --password v",
        b"://a:b@c https://user:pass@host/\nAuthorization: Bearer abcdef.ghijkl",
        b"ghp_16C7e42F292c6912E7710c838347Ae178B4a\neyJhbGciOi.eyJzdWIiOi.SflKxwRJ",
        b"-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END",
        b"<password>x</password> curl -u a:b\nSharedAccessKey=abcd/efg=; cookie: a=b; c=d",
        b"mysql -px redis-cli -a y sshpass -p z\nlogin a password b identified by 'c'",
        b"aHVudGVyMiEvWsO8\nhunter2!/Z\xc3\xbcrich",
        b"\xff\xfe\x00\n\\n\\\\n***",
    ),
    "tailed_journal": (_RECORD, _RECORD[:20] + _RECORD, _RECORD * 3, b"x" * 100),
}
TOKENS = (
    b"{",
    b"}",
    b'"',
    b":",
    b",",
    b"\n",
    b"\\u002e",
    b"\xff",
    b"|c",
    b"@",
    b"#",
    b"2026-01-31T12:00:00.000000Z",
    b"[",
    b" ",
)
