"""Logs that rotate while a relay reads them."""

from __future__ import annotations

import os
import random
import shutil
import threading

import pytest
from relay_lines import stored

from observability.relay.relay import Relay
from observability.store import Query, open_store

SCHEDULER = "components/scheduler.log"


@pytest.mark.parametrize(
    ("lines", "rotations"),
    [(20_000, 40), pytest.param(1_000_000, 200, marks=[pytest.mark.slow, pytest.mark.timeout(900)])],
)
def test_rotation_of_either_kind_under_load_loses_doubles_and_tears_nothing(settings, logs, lines, rotations):
    dice = random.Random(rotations)
    relay = Relay(settings, statsd=False)
    runner = threading.Thread(target=relay.run)
    runner.start()
    each, number = lines // rotations, 0
    for rotation in range(rotations):
        for _ in range(20):
            batch = range(number, number + each // 20)
            stamp = f'{{"timestamp":"2026-01-31T12:{rotation // 60:02}:{rotation % 60:02}.000000Z","level":"info"'
            logs.write("".join(f'{stamp},"event":"line {one}","n":{one}}}\n' for one in batch).encode(), SCHEDULER)
            number = batch.stop
        path = logs.root / SCHEDULER
        rotated = path.with_name(f"scheduler.log.{rotation + 1}")
        if dice.random() < 0.5:
            path.rename(rotated)
        else:
            shutil.copy2(path, rotated)
            os.truncate(path, 0)
    relay.stop()
    runner.join(300)
    assert Relay(settings, statsd=False).run(once=True, patience_s=120)
    store = open_store(settings)
    numbers = [document["n"] for document in store.documents(Query("airflow.component"))]
    store.close()
    assert sorted(numbers) == list(range(number))
    assert len(stored(settings.store_path)) == number
