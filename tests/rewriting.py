"""Rewrite the assertions of all tests once, before several processes collect the same tests."""

from __future__ import annotations

import os
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from _pytest.assertion import assertstate_key, rewrite

__all__ = ["rewrite_once"]


def rewrite_once(config):
    """Put what pytest would import in place of each test file into its cache; a file that is there is left alone.

    Each worker would do it for itself: 15 s of a processor in a fresh checkout, four times.
    """
    files = sorted(path for root in config.getini("testpaths") for path in (config.rootpath / root).rglob("test_*.py"))
    stale = [path for path in files if rewrite._read_pyc(path, _cached(path)) is None]
    if not stale or sys.dont_write_bytecode:
        return
    global _config  # noqa: PLW0603 - the processes inherit it; it cannot be sent to them
    _config = config
    with ProcessPoolExecutor(os.cpu_count(), get_context("fork")) as pool:
        list(pool.map(_rewrite, stale, chunksize=4))


_config = None


def _rewrite(path):
    target = _cached(path)
    if rewrite.try_makedirs(target.parent):
        digest, code = rewrite._rewrite_test(path, _config)
        rewrite._write_pyc(_config.stash[assertstate_key], code, digest, target)


def _cached(path):
    return rewrite.get_cache_dir(path) / (path.stem + rewrite.PYC_TAIL)
