"""Play what is expensive and only read afterwards once for all worker processes of a test session."""

from __future__ import annotations

import fcntl
import os

__all__ = ["once"]


def once(tmp_path_factory, name, make):
    """The folder ``name`` of this session, filled by ``make(folder)`` in the first worker that asks.

    The others wait for it. A try that failed is not repeated: the others fail with its words.
    """
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    folder, failed, made = (shared / f"{name}{ending}" for ending in ("", ".failed", ".made"))
    with (shared / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert not failed.exists(), failed.read_text()
        if not made.exists():
            folder.mkdir()
            failed.write_text(f"{name} could not be made: see the test that asked for it first")
            make(folder)
            made.touch()
            failed.unlink()
    return folder
