import subprocess
import sys
from pathlib import Path

import orjson
import pytest

from benchmarks.figure import Figure, Sample, Target
from benchmarks.registry import UnknownBenchmarkError, load, titles
from benchmarks.sampling import alternate

ROOT = Path(__file__).parents[2]


def run(*arguments):
    command = [sys.executable, "-m", "benchmarks", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)


def test_contenders_take_turns_after_a_round_of_warming_up():
    order = []

    def contender(name):
        return lambda: order.append(name) or float(len(order))

    taken = alternate(2, ours=contender("ours"), theirs=contender("theirs"))
    assert order == ["ours", "theirs"] * 3
    assert taken == {"ours": Sample((3.0, 5.0)), "theirs": Sample((4.0, 6.0))}


@pytest.mark.parametrize(
    ("target", "met"),
    [
        (Target(at_most=3.0), True),
        (Target(at_most=2.9), False),
        (Target(at_least=3.0), True),
        (Target(at_least=3.1), False),
        (Target(ratio_at_most=0.5), True),
        (Target(ratio_at_most=0.4), False),
        (Target(ratio_at_least=0.6), False),
        (Target(at_most=3.0, ratio_at_most=0.4), False),
    ],
)
def test_a_target_bounds_the_median_and_the_ratio(target, met):
    figure = Figure("x", "us", Sample((1.0, 3.0, 9.0)), peer=("peer", Sample((6.0,))), targets=(target,))
    assert (figure.met, figure.document()["met"]) == (met, met)


def test_a_figure_without_target_is_neither_met_nor_missed():
    assert Figure("x", "us", Sample((1.0,))).met is None


def test_a_figure_as_json_says_its_spread_peer_and_target():
    figure = Figure("x", "us", Sample((1.0, 2.0)), peer=("peer", Sample((3.0,))), targets=(Target(at_most=2.0),))
    assert figure.document() == {
        "what": "x",
        "unit": "us",
        "ours": 1.5,
        "spread": [1.0, 2.0],
        "peer": "peer",
        "theirs": 3.0,
        "their_spread": [3.0, 3.0],
        "ratio": 0.5,
        "target": "<= 2",
        "met": True,
    }


def test_every_benchmark_has_a_title_and_is_found_without_being_imported():
    assert {"log", "import", "mask", "statsd"} <= set(titles())
    assert [name for name, title in titles().items() if not title.endswith(".")] == []


def test_an_unknown_name_is_told_what_there_is():
    with pytest.raises(UnknownBenchmarkError, match="no benchmark is called 'lgo'"):
        load("lgo")


def test_the_command_line_lists_what_there_is():
    done = run("list", "--json")
    assert (done.returncode, orjson.loads(done.stdout)) == (0, titles())


@pytest.mark.parametrize("name", ["log", "mask", "statsd"])
def test_a_benchmark_prints_one_line_of_json_and_fails_when_it_misses(name):
    done = run(name, "--quick", "--json", "--rounds", "1")
    found = orjson.loads(done.stdout)
    assert found["benchmark"] == name
    assert done.returncode == (0 if found["met"] else 1)
    assert all(figure["ours"] is not None for figure in found["figures"])
