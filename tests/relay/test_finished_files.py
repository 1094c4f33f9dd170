import random
from array import array

from observability.relay.sources.files.finished import FinishedFiles, common


def test_what_was_added_is_held_and_nothing_else():
    dice = random.Random(1)
    stamps = [dice.randrange(-(1 << 63), 1 << 63) for _ in range(20_000)]
    finished = FinishedFiles()
    for stamp in stamps[:10_000]:
        finished.add(stamp)
        finished.add(stamp)
    assert len(finished) == 10_000
    assert all(finished.holds(stamp) for stamp in stamps[:10_000])
    assert not any(finished.holds(stamp) for stamp in stamps[10_000:])


def test_what_no_sweep_came_by_is_forgotten_once_it_has_grown():
    finished = FinishedFiles()
    for stamp in range(20_000):
        finished.add(stamp)
    finished.prune([7, 1])
    for stamp in range(500):
        finished.holds(stamp)
    finished.prune([9, 2])
    assert len(finished) == 20_000
    finished.add(1_000_000)
    finished.prune([9, 3])
    assert len(finished) == 501
    assert finished.holds(499)
    assert finished.holds(1_000_000)
    assert not finished.holds(500)


def test_common_stamps_are_those_that_every_part_has():
    parts = [array("q", sorted(part)) for part in ([-5, 1, 2, 9], [-5, 2, 9, 11], [2, 9])]
    assert list(common(parts)) == [2, 9]
    assert list(common(parts[:1])) == [-5, 1, 2, 9]
