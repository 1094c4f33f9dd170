import decimal
import os
import signal
import subprocess
import sys
import threading
from datetime import datetime, timezone

import numpy as np
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from observability import redact, writer
from observability.contain import take_losses
from observability.redact import add_secret
from observability.writer import Logger, write_to


@pytest.fixture
def lines(tmp_path, monkeypatch):
    """A function that returns what was written, line by line, as objects."""
    for name in ("path", "descriptor", "least", "torn"):
        monkeypatch.setattr(writer._Target, name, getattr(writer._Target, name))
    path = tmp_path / "own.log"
    write_to(path, level="debug")
    yield lambda: [orjson.loads(line) for line in path.read_bytes().splitlines() if line]
    os.close(writer._Target.descriptor)


class Refusing:
    def __repr__(self):
        raise RuntimeError("no text")

    __str__ = __repr__


def recursive():
    found = []
    found.append(found)
    return found


def deep():
    found = "bottom"
    for _ in range(1000):
        found = {"next": found}
    return found


HOSTILE = {
    "surrogate": "\udc80",
    "nan": float("nan"),
    "infinity": float("-inf"),
    "huge int": 2**65,
    "vast int": 10**5000,
    "set": {1, 2},
    "frozenset of sets": frozenset({frozenset({1})}),
    "decimal": decimal.Decimal("1.50"),
    "numpy number": np.float64(1.5),
    "numpy array": np.arange(3),
    "numpy objects": np.array([object()]),
    "recursive list": recursive(),
    "deep dict": deep(),
    "refusing": Refusing(),
    "refusing in a list": [1, Refusing()],
    "bytes": b"\xff\x00",
    "class": Refusing,
    "function": len,
    "number keys": {1: {2.5: None}},
    "odd keys": {(1, 2): 3, Refusing(): 4},
    "control characters": "\x00\x1b\n\r\u2028",
    "exception": ValueError("\udc80"),
    "date": datetime(2013, 1, 1, tzinfo=timezone.utc),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_whatever_is_logged_becomes_one_valid_line(lines, name):
    Logger("test").info("fed", value=HOSTILE[name], ok=True)
    (line,) = lines()
    assert (line["event"], line["ok"], line["level"], line["logger"]) == ("fed", True, "info", "test")


@pytest.mark.parametrize("event", [Refusing(), 12, None, "\udc80", b"x"])
def test_an_event_need_not_be_text(lines, event):
    Logger("test").info(event)
    assert len(lines()) == 1


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.decimals() | st.datetimes(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner) | st.frozensets(st.integers()),
    max_leaves=10,
)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(keys=st.dictionaries(st.text(), values, max_size=4), event=st.text(st.characters(exclude_categories=())))
def test_any_event_with_any_keys_is_one_valid_line(lines, keys, event):
    before = len(lines())
    Logger("test").info(event, **keys)
    assert len(lines()) == before + 1


def test_a_line_has_the_shape_of_airflows_own(lines):
    Logger("test").bind(run=1).warning("loaded %d of %s", 3, "five", rows=3)
    (line,) = lines()
    assert datetime.fromisoformat(line.pop("timestamp")).tzinfo is not None
    assert line == {"level": "warning", "event": "loaded 3 of five", "logger": "test", "run": 1, "rows": 3}
    assert list(lines()[0])[:4] == ["timestamp", "level", "event", "logger"]


def test_percent_signs_that_do_not_fit_lose_nothing(lines):
    Logger("test").info("100% of %d", "x")
    assert lines()[0]["event"] == "100% of %d ('x',)"


def test_a_percent_sign_without_arguments_is_text(lines):
    Logger("test").info("100% done")
    assert lines()[0]["event"] == "100% done"


def test_a_key_that_would_hide_ours_gets_an_underscore(lines):
    Logger("test").info("x", level="mine", timestamp=0, logger="me")
    line = lines()[0]
    assert (line["level"], line["level_"], line["timestamp_"], line["logger_"]) == ("info", "mine", 0, "me")


def test_bound_keys_can_be_taken_off(lines):
    Logger("test").bind(a=1, b=2).unbind("a").info("x")
    assert {key: lines()[0].get(key) for key in "ab"} == {"a": None, "b": 2}


def test_levels_below_the_chosen_one_are_not_written(lines, tmp_path):
    write_to(tmp_path / "own.log", level="warning")
    log = Logger("test")
    log.debug("no")
    log.info("no")
    log.log(20, "no")
    log.log("error", "yes")
    log.log(50, "yes")
    assert [line["level"] for line in lines()] == ["error", "critical"]


def test_an_exception_is_spelled_out_in_airflows_shape(lines):
    try:
        int("bad")
    except ValueError:
        Logger("test").exception("failed")
    (line,) = lines()
    (detail,) = line["error_detail"]
    assert (line["level"], detail["exc_type"], detail["exc_value"][-5:]) == ("error", "ValueError", "'bad'")
    assert detail["frames"][0]["name"] == "test_an_exception_is_spelled_out_in_airflows_shape"


def test_an_exception_may_be_given_as_an_object(lines):
    Logger("test").error("failed", exc_info=ValueError("given"))
    assert lines()[0]["error_detail"][0]["exc_value"] == "given"


def test_secrets_are_masked_also_in_exceptions(lines, monkeypatch):
    monkeypatch.setattr(redact, "_secrets", {})
    add_secret("s3cr3t!")
    Logger("test").info("with s3cr3t!", url="http://me:s3cr3t!@host", password="x")
    Logger("test").error("failed", exc_info=ValueError("s3cr3t!"))
    assert "s3cr3t!" not in str(lines())
    assert lines()[0]["password"] == "***"
    redact._forget_rules()


def test_a_closed_descriptor_is_opened_again(lines):
    os.close(writer._Target.descriptor)
    Logger("test").info("after")
    assert lines()[0]["event"] == "after"


def test_a_full_disk_costs_the_line_and_is_counted(lines, monkeypatch):
    kept = writer._Target.descriptor
    full = os.open("/dev/full", os.O_WRONLY)
    monkeypatch.setattr(writer._Target, "descriptor", full)
    Logger("test").info("lost")
    os.close(full)
    monkeypatch.setattr(writer._Target, "descriptor", kept)
    assert take_losses() == {("log", "unwritten"): 1}


def test_a_line_cut_short_by_a_full_disk_does_not_spoil_the_next(tmp_path):
    path = tmp_path / "own.log"
    program = (
        "import resource, signal\n"
        "from pathlib import Path\n"
        "from observability.contain import take_losses\n"
        "from observability.writer import Logger, write_to\n"
        f"write_to(Path({str(path)!r}))\n"
        "log = Logger('test')\n"
        "log.info('first')\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        f"size = Path({str(path)!r}).stat().st_size\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (size + 20, resource.RLIM_INFINITY))\n"
        "log.info('cut'); log.info('lost')\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))\n"
        "log.info('after')\n"
        "print(take_losses())"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "{('log', 'torn'): 1, ('log', 'unwritten'): 1}\n"
    first, cut, after = path.read_bytes().splitlines()
    assert (orjson.loads(first)["event"], len(cut), orjson.loads(after)["event"]) == ("first", 20, "after")


def test_broken_settings_do_not_keep_a_logger_from_writing(tmp_path):
    program = "from observability.writer import Logger\nLogger('test').error('cannot start', password='x')"
    env = {**os.environ, "CONTRAIL_STATSD__PORT": "no number"}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=env)
    assert orjson.loads(done.stderr)["password"] == "***"


def test_threads_write_whole_lines(lines):
    def work(number):
        for turn in range(200):
            Logger("test").info("x" * 500, number=number, turn=turn)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {(line["number"], line["turn"]) for line in lines()} == {(n, t) for n in range(8) for t in range(200)}


def test_a_fork_writes_whole_lines_beside_its_parent(lines):
    child = os.fork()
    for turn in range(200):
        Logger("test").info("x" * 500, child=child == 0, turn=turn)
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    assert len(lines()) == 400


def test_a_signal_handler_may_log_while_a_line_is_being_logged(lines):
    before = signal.signal(signal.SIGALRM, lambda *_: Logger("test").info("from handler"))
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    try:
        for _ in range(3000):
            Logger("test").info("x" * 200)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert {line["event"][:4] for line in lines()} == {"xxxx", "from"}


def test_a_line_logged_while_python_shuts_down_is_written(tmp_path):
    path = tmp_path / "own.log"
    program = (
        "from pathlib import Path\n"
        "from observability.writer import Logger, write_to\n"
        f"write_to(Path({str(path)!r}))\n"
        "class Last:\n"
        "    def __del__(self): Logger('test').info('last', value={1, 2})\n"
        "kept = Last()\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
    assert orjson.loads(path.read_bytes())["event"] == "last"


def test_the_file_is_for_its_owner_only(lines):
    assert writer._Target.path.stat().st_mode & 0o777 == 0o600
