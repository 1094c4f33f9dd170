"""The short form of the fuzzers: every seed, and some thousand changes of each target's seeds."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))
from answer_targets import ANSWER_TARGETS, ANSWERS
from corpus import CORPUS, TOKENS
from received_targets import RECEIVED_TARGETS, SENT
from targets import TARGETS
from written_targets import WRITTEN, WRITTEN_TARGETS

ROUNDS = 1_500
WRITTEN_ROUNDS = {"rules_file": 15, "settings_file": 100, "log_template": 60}
ANSWER_ROUNDS = {"airflow_api": 10, "airflow_health": 40}


@pytest.mark.parametrize(("target", "seed"), [(name, seed) for name, seeds in CORPUS.items() for seed in seeds])
def test_what_has_broken_something_before_holds_the_laws(target, seed):
    TARGETS[target](seed)


@pytest.mark.parametrize("target", TARGETS)
def test_changes_of_it_hold_the_laws(target):
    chance = random.Random(target)
    for _ in range(ROUNDS):
        TARGETS[target](changed(chance.choice(CORPUS[target]), CORPUS[target], chance))


@pytest.mark.parametrize(("target", "seed"), [(name, seed) for name, seeds in ANSWERS.items() for seed in seeds])
def test_an_answer_that_has_broken_something_before_holds_the_laws(target, seed):
    ANSWER_TARGETS[target](seed)


@pytest.mark.parametrize("target", ANSWER_TARGETS)
def test_changes_of_an_answer_hold_the_laws(target):
    chance = random.Random(target)
    for _ in range(ANSWER_ROUNDS.get(target, 100)):
        ANSWER_TARGETS[target](changed(chance.choice(ANSWERS[target]), ANSWERS[target], chance))


@pytest.mark.parametrize(("target", "seed"), [(name, seed) for name, seeds in SENT.items() for seed in seeds])
def test_what_is_sent_or_told_holds_the_laws(target, seed):
    RECEIVED_TARGETS[target](seed)


@pytest.mark.parametrize("target", RECEIVED_TARGETS)
def test_changes_of_what_is_sent_or_told_hold_the_laws(target):
    chance = random.Random(target)
    for _ in range(300):
        RECEIVED_TARGETS[target](changed(chance.choice(SENT[target]), SENT[target], chance))


@pytest.mark.parametrize(("target", "seed"), [(name, seed) for name, seeds in WRITTEN.items() for seed in seeds])
def test_what_people_write_is_read_or_refused(target, seed):
    WRITTEN_TARGETS[target](seed)


@pytest.mark.parametrize("target", WRITTEN_TARGETS)
def test_changes_of_what_people_write_are_read_or_refused(target):
    chance = random.Random(target)
    for _ in range(WRITTEN_ROUNDS.get(target, ROUNDS)):
        WRITTEN_TARGETS[target](changed(chance.choice(WRITTEN[target]), WRITTEN[target], chance))


@pytest.mark.parametrize("target", TARGETS)
@given(data=st.binary(max_size=300) | st.lists(st.sampled_from(TOKENS), max_size=30).map(b"".join))
@settings(max_examples=150, deadline=None)
def test_any_bytes_hold_the_laws(target, data):
    TARGETS[target](data)


def test_the_guided_runs_start_and_leave_nothing_where_they_were_started(tmp_path):
    run = [sys.executable, str(Path(__file__).parent / "run.py"), "headers", "-runs=1", "-verbosity=0"]
    assert subprocess.run(run, capture_output=True, timeout=300, check=False, cwd=tmp_path).returncode == 0
    assert not any(tmp_path.iterdir())


def changed(data: bytes, others: tuple[bytes, ...], chance: random.Random) -> bytes:
    for _ in range(chance.randint(1, 6)):
        at = chance.randint(0, len(data))
        end = min(len(data), at + chance.randint(0, 12))
        what = chance.randrange(5)
        if what == 0:
            data = data[:at] + data[end:]
        elif what == 1:
            data = data[:at] + chance.choice(TOKENS) + data[at:]
        elif what == 2 and data:
            at = min(at, len(data) - 1)
            data = data[:at] + bytes([data[at] ^ 1 << chance.randrange(8)]) + data[at + 1 :]
        elif what == 3:
            data = data[:at] + chance.choice(others) + data[end:]
        else:
            data = data[:at] + data[at:end] * chance.randint(2, 40) + data[end:]
    return data[:8_192]
