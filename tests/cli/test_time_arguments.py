"""Spans of time as the commands print them."""

import pytest

from observability.cli.time_arguments import lasting


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(-3, "0 s"), (0.2, "0 s"), (59.6, "1 min"), (100, "1 min 40 s"), (4467, "1 h 14 min"), (7200, "2 h"),
     (86_400, "1 d"), (90_061, "1 d 1 h")],
)  # fmt: skip
def test_a_span_has_its_two_largest_units(seconds, said):
    assert lasting(seconds) == said
