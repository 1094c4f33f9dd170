"""The number of failed runs that is usual among the last runs of a DAG."""

from __future__ import annotations

import math
from statistics import NormalDist

from observability.watch.baseline import Band

__all__ = ["usual_failures"]

_ASSUMED = (0.5, 9.5)
"""Failures and successes that are assumed before any run is seen."""
_FALSE_OF_RUNS = 0.001
"""The chance of more failures than usual where all is as before."""


def usual_failures(before: int, failed: int, lately: int, deviations: float | None = None) -> Band:
    """The number of failures that is usual in ``lately`` runs, where ``failed`` of those ``before`` them failed.

    The chance of a failure is not known but estimated, so the number follows the beta-binomial distribution with one
    failure in twenty runs as what is assumed before any is seen.
    """
    a, b = failed + _ASSUMED[0], before - failed + _ASSUMED[1]
    false = _FALSE_OF_RUNS if deviations is None else 2 * (1 - NormalDist().cdf(deviations))
    left, high = 1.0, -1
    while high < lately and left > false:
        high += 1
        left -= _beta_binomial(high, lately, a, b)
    why = f"{before} earlier runs, of which {failed} failed"
    return Band(0.0, lately * a / (a + b), float(max(1, high)), why)


def _beta_binomial(count: int, of: int, a: float, b: float) -> float:
    """The chance of ``count`` failures in ``of`` runs."""
    chosen = math.lgamma(of + 1) - math.lgamma(count + 1) - math.lgamma(of - count + 1)
    parts = math.lgamma(count + a) + math.lgamma(of - count + b) - math.lgamma(of + a + b)
    return math.exp(chosen + parts - math.lgamma(a) - math.lgamma(b) + math.lgamma(a + b))
