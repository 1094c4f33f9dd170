"""The times of a scanner: of the next look at a hot folder, of a slice of a sweep, and of the scout."""

import math
import os
from array import array
from types import SimpleNamespace

import pytest

from observability.relay.sources.files import scanner as module
from observability.relay.sources.files.scanner import DirectoryScanner, Entry

EPOCH = 1_700_000_000
RUN = "dag_id=a/run_id=r/task_id=t/attempt=1.log"


@pytest.fixture
def clock(monkeypatch):
    """The scanner's clocks, which stand still: of the wall, of the process, of its thread."""
    now = SimpleNamespace(wall_ns=EPOCH * 10**9, mono=1000.0, thread=50.0)
    monkeypatch.setattr(
        module,
        "time",
        SimpleNamespace(
            time=lambda: now.wall_ns / 1e9,
            time_ns=lambda: now.wall_ns,
            monotonic=lambda: now.mono,
            thread_time=lambda: now.thread,
        ),
    )
    return now


def write(root, name, age=0.0):
    """A file and its folders, all as old."""
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("x")
    when = int((EPOCH - age) * 10**9)
    for one in (path, *path.parents):
        if one == root.parent:
            break
        os.utime(one, ns=(when, when))
    return path


def seen(folder, **options):
    return sorted(entry.path for entry in folder.look(**options))


@pytest.mark.parametrize(
    ("depth", "age", "others", "due"),
    [
        (0, 7.0, 0, 0.07),
        (1, 7.0, 0, 0.07),
        (1, 100.0, 0, 1.0),
        (1, 10**9, 0, 1.0),
        (2, 100.0, 0, 1.0),
        (2, 190.0, 0, 1.9),
        (2, 300.0, 0, 2.0),
        (2, 1000.0, 11_999, 3.0),
        (2, 100.0, 11_999, 1.0),
        (2, -5.0, 0, 0.0),
        (2, 3600.0, 0, 2.0),
        (2, 3600.5, 0, None),
        ("2 with folders", 3600.5, 0, 2.0),
        ("2 with folders", 86_400.0, 0, 2.0),
        ("2 with folders", 86_400.5, 0, None),
    ],
)
def test_a_folder_is_looked_at_again_after_a_hundredth_of_its_age_or_a_second_or_two(  # noqa: PLR0913, PLR0917 - its table
    tmp_path, clock, depth, age, others, due
):
    folder = DirectoryScanner(tmp_path)
    folders = array("q", [1] if isinstance(depth, str) else [])
    hot = module._Hot(int(str(depth)[0]), 0, 0, (), folders)
    folder._hot = {str(number): hot for number in range(others)} | {"it": hot}
    folder._schedule("it", hot, int((EPOCH - age) * 10**9))
    assert ("it" in folder._hot) is (due is not None)
    assert due is None or hot.due - clock.mono == pytest.approx(due)


def test_a_folder_is_not_due_when_it_is_made_before_it_is_scheduled():
    assert module._Hot(0, 0, 0, (), array("q")).due == 0.0


@pytest.mark.parametrize(("folder_age", "ages", "newest"), [(5, [], 5), (5, [9, 7], 5), (5, [9, 3], 3)])
def test_a_listing_is_as_new_as_the_newest_of_its_folder_and_files(folder_age, ages, newest):
    entries = [Entry("x", SimpleNamespace(st_mtime_ns=(EPOCH - age) * 10**9)) for age in ages]
    assert module._Listing((EPOCH - folder_age) * 10**9, 0, entries).newest_ns() == (EPOCH - newest) * 10**9


@pytest.mark.parametrize(("passed", "looked"), [(0.99, False), (1.0, True), (1.01, True)])
def test_a_hot_folder_is_looked_at_when_it_is_due(tmp_path, clock, passed, looked):
    path = write(tmp_path, RUN, 100.0)
    folder = DirectoryScanner(tmp_path)
    seen(folder)
    clock.mono += passed
    assert seen(folder, has_room=lambda: False) == ([str(path)] if looked else [])


def test_a_look_that_is_whole_leaves_hot_folders_to_the_sweep(tmp_path, clock):
    path = write(tmp_path, RUN, 100.0)
    folder = DirectoryScanner(tmp_path)
    seen(folder)
    clock.mono += 10
    assert (seen(folder, whole=True), folder.sweeps) == ([str(path)], 2)


@pytest.mark.parametrize(
    ("credit", "passed", "after"),
    [(0.0, 1.0, 0.03), (0.0, 0.5, 0.015), (0.04, 1.0, 0.05), (-0.5, 10.0, -0.2), (0.0, 0.0, 0.0)],
)
def test_three_hundredths_of_the_time_are_credit_for_sweeps(tmp_path, clock, credit, passed, after):
    folder = DirectoryScanner(tmp_path)
    assert folder._credit == 0.0
    folder._credit, folder.sweeps = credit, 1
    clock.mono += passed
    assert seen(folder, has_room=lambda: False) == []
    assert folder._credit == pytest.approx(after)
    seen(folder, has_room=lambda: False)
    assert folder._credit == pytest.approx(after)  # no time has passed


@pytest.mark.parametrize(
    ("first", "hurry", "whole", "most_s"),
    [(True, False, False, 0.5), (False, True, False, 0.5), (False, False, False, 0.0), (False, False, True, math.inf)],
)
def test_a_first_or_urgent_sweep_has_half_a_second_and_a_whole_one_all_it_needs(  # noqa: PLR0913, PLR0917 - its table
    tmp_path, monkeypatch, first, hurry, whole, most_s
):
    folder = DirectoryScanner(tmp_path)
    assert folder._hurry is True
    folder.sweeps, folder._hurry = int(not first), hurry
    asked = []
    monkeypatch.setattr(folder, "_slice", lambda _room, **how: asked.append(how) or iter(()))
    seen(folder, whole=whole, wait=first)
    assert asked == [{"most_s": most_s, "wait": first}]


def slices(folder, number, **options):
    """The number of entries, of so many, that one slice of a sweep shows."""
    folder._sweep = iter([Entry(str(one), None) for one in range(number)])
    return len(list(folder._slice(**{"has_room": lambda: True, "most_s": 0.0, "wait": True, **options})))


@pytest.mark.parametrize(
    ("case", "shown"),
    [
        ({"most_s": 0.5}, 5),
        ({"most_s": 0.5, "has_room": lambda: False}, 0),
        ({"most_s": 0.5, "has_room": lambda: False, "wait": False}, 0),
        ({"most_s": 0.0}, 0),
        ({"credit": 0.25}, 3),
        ({"credit": 0.2}, 2),
        ({"credit": 0.2, "has_room": lambda: False}, 0),
        ({"credit": 0.2, "has_room": lambda: False, "wait": False}, 2),
        ({"credit": -0.1}, 0),
    ],
)
def test_a_slice_goes_on_for_its_time_and_its_credit_where_there_is_room(tmp_path, clock, monkeypatch, case, shown):
    folder = DirectoryScanner(tmp_path)
    credit, options = case.get("credit", 0.0), {name: one for name, one in case.items() if name != "credit"}
    folder._credit = credit
    monkeypatch.setattr(module, "next", lambda *args: _passing(clock, *args), raising=False)
    assert slices(folder, 100, **options) == shown
    assert folder._credit == pytest.approx(max(credit - 0.1 * shown, -1.0))


def _passing(clock, *args):
    """The next entry, for which a tenth of a second of either clock goes."""
    clock.mono += 0.1
    clock.thread += 0.1
    return next(*args)


def test_a_debt_has_a_bottom_and_ends_no_slice_of_an_urgent_sweep(tmp_path, clock, monkeypatch):
    folder = DirectoryScanner(tmp_path)

    def slow(*args):
        clock.thread += 0.7
        return next(*args)

    monkeypatch.setattr(module, "next", slow, raising=False)
    assert (slices(folder, 3, most_s=0.5), folder._credit, folder.sweeps) == (3, -1.0, 1)
    assert (folder._sweep, folder._hurry) == (None, False)


@pytest.mark.parametrize(("credit", "begun"), [(-0.999, True), (-1.0, False)])
def test_a_sweep_is_begun_anew_down_to_a_debt_of_a_second(tmp_path, credit, begun):
    folder = DirectoryScanner(tmp_path)
    going, folder._hurry, folder._credit = iter(()), False, credit
    folder._sweep = going
    assert folder.sweep_soon() is begun
    assert (folder._sweep is None, folder._hurry) == (begun, begun)


@pytest.mark.parametrize(("age", "shown"), [(59.9, True), (60.0, False), (-5.0, True)])
def test_the_scout_shows_what_was_written_within_a_minute(tmp_path, clock, age, shown):
    path = write(tmp_path, RUN, age)
    found = list(DirectoryScanner(tmp_path)._written_now())
    assert [entry.path for entry in found if entry] == [str(path)] * shown
    assert found.count(None) == 4  # one for each folder


def test_the_scout_pauses_after_a_quarter_of_a_second_and_goes_on_from_there(tmp_path, clock):
    folder = DirectoryScanner(tmp_path)
    going = iter([Entry(str(one), None) if one % 2 else None for one in range(10)])
    folder._scout = going

    def passing():
        for entry in going:
            clock.thread += 0.125
            yield entry

    folder._scout = passing()
    found = [[entry.path for entry in folder._scouted(folder._scout)] for _ in range(6) if folder._scout is not None]
    assert found == [["1"], ["3"], ["5"], ["7"], ["9"], []]
    assert folder._scout is None


@pytest.mark.parametrize(("sweeps", "has_room", "scouted"), [(0, False, True), (0, True, False), (1, False, False)])
def test_the_scout_walks_beside_a_first_sweep_that_waits_for_room(  # noqa: PLR0913, PLR0917 - its table
    tmp_path, clock, monkeypatch, sweeps, has_room, scouted
):
    folder = DirectoryScanner(tmp_path)
    folder.sweeps = sweeps
    monkeypatch.setattr(folder, "_slice", lambda *_, **__: iter(()))
    monkeypatch.setattr(folder, "_scouted", lambda _scout: iter([Entry("scouted", None)]))
    assert seen(folder, has_room=lambda: has_room) == ["scouted"] * scouted
    assert (folder._scout is None) is (sweeps > 0)


@pytest.mark.parametrize(
    ("ordered", "first"), [(100, ["new", "old", "older"]), (1, ["new", "older", "old"]), (0, ["older", "old", "new"])]
)
def test_the_folder_that_changed_last_is_walked_first_while_few_wait(tmp_path, clock, monkeypatch, ordered, first):
    ages = {"old": 200.0, "new": 100.0, "older": 300.0}
    for name, age in ages.items():
        write(tmp_path, f"{name}/x.log", age)
    os.utime(tmp_path, (EPOCH, EPOCH))
    real = module._listing
    order = {"new": 0, "old": 1, "older": 2}

    def sorted_listing(path):
        found = real(path)
        found.folders.sort(key=lambda one: order.get(one.rpartition("/")[2], 0))
        return found

    monkeypatch.setattr(module, "_listing", sorted_listing)
    walked = [entry.path.split("/")[-2] for one in DirectoryScanner(tmp_path)._listings(ordered) for entry in one.files]
    assert sorted(walked) == sorted(first)
    assert walked == first or ordered < 2


def test_without_order_the_walk_goes_down_before_it_goes_on(tmp_path, clock):
    for name in ("a/b/c/x.log", "d/e/f/x.log"):
        write(tmp_path, name)
    depths = [
        one.files[0].path.count("/") - str(tmp_path).count("/") if one.files else 0
        for one in DirectoryScanner(tmp_path)._listings(0)
    ]
    assert depths == [0, 0, 0, 4, 0, 0, 4]


@pytest.mark.parametrize(
    ("sweeps", "hurry", "ordered"), [(0, False, 50_000), (1, True, 50_000), (0, True, 50_000), (1, False, 0)]
)
def test_only_a_first_or_urgent_sweep_keeps_an_order(tmp_path, monkeypatch, sweeps, hurry, ordered):
    folder = DirectoryScanner(tmp_path)
    folder.sweeps, folder._hurry = sweeps, hurry
    asked = []
    monkeypatch.setattr(folder, "_listings", lambda most: asked.append(most) or iter(()))
    assert (list(folder._walk()), asked) == ([], [ordered])


@pytest.mark.parametrize(
    ("changed_by", "listed_after_ns", "known"),
    [(0, 2_000_000_000, True), (0, 1_999_999_999, False), (1, 5_000_000_000, False), (-1, 5_000_000_000, False)],
)
def test_a_folder_counts_as_unchanged_if_its_time_is_the_same_and_was_settled(
    tmp_path, clock, changed_by, listed_after_ns, known
):
    path = write(tmp_path, "x.log", 100.0)
    folder = DirectoryScanner(tmp_path)
    changed = tmp_path.stat().st_mtime_ns
    hot = module._Hot(0, changed + changed_by, changed + changed_by + listed_after_ns, (str(path),), array("q"))
    found = folder._unchanged(str(tmp_path), hot)
    assert (found and [entry.path for entry in found]) == ([str(path)] if known else None)


def test_an_unchanged_folder_is_as_fresh_as_the_newest_of_its_files(tmp_path, clock, monkeypatch):
    paths = [write(tmp_path, f"{number}.log", 300.0) for number in range(3)]
    os.utime(paths[1], (EPOCH - 40, EPOCH - 40))
    os.utime(tmp_path, (EPOCH - 90, EPOCH - 90))
    changed = tmp_path.stat().st_mtime_ns
    folder = DirectoryScanner(tmp_path)
    hot = module._Hot(0, changed, changed + 10**10, tuple(map(str, paths)), array("q"))
    assert len(folder._unchanged(str(tmp_path), hot)) == 3
    assert hot.due - clock.mono == pytest.approx(0.4)


def test_a_listing_holds_regular_files_and_folders_and_no_links(tmp_path, clock):
    write(tmp_path, "x.log")
    (tmp_path / "sub").mkdir()
    (tmp_path / "to a file").symlink_to(tmp_path / "x.log")
    (tmp_path / "to a folder").symlink_to(tmp_path / "sub")
    os.mkfifo(tmp_path / "pipe")
    found = module._listing(str(tmp_path))
    assert ([one.path for one in found.files], found.folders) == ([str(tmp_path / "x.log")], [str(tmp_path / "sub")])
    assert (found.changed_ns, found.listed_ns) == (tmp_path.stat().st_mtime_ns, clock.wall_ns)
    assert module._listing(str(tmp_path / "x.log")) is None


def test_a_new_folder_is_shown_with_all_below_it_and_hot_at_its_depth(tmp_path, clock):
    write(tmp_path, "a/x.log", 100.0)
    folder = DirectoryScanner(tmp_path)
    seen(folder)
    path = write(tmp_path, "new/b/c/x.log")
    clock.mono += 1.0
    assert seen(folder, has_room=lambda: False) == sorted([str(tmp_path / "a/x.log"), str(path)])
    depths = {one.removeprefix(str(tmp_path)): hot.depth for one, hot in folder._hot.items()}
    assert depths == {"": 0, "/a": 1, "/new": 1, "/new/b": 2, "/new/b/c": 3}
    assert module._SHALLOW == 1
