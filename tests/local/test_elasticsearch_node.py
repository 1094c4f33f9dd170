"""The node that tests and the demo run: nothing of it outlives its parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from observability.local.elasticsearch_node import distribution

_PARENT = """
import time
from observability.local.elasticsearch_node import ElasticsearchNode
node = ElasticsearchNode()
node._wait_until_up = lambda: None
node.start()
print(node.pid, flush=True)
time.sleep(600)
"""


@pytest.mark.elasticsearch
def test_a_node_ends_when_its_parent_is_killed():
    distribution()
    parent = subprocess.Popen([sys.executable, "-c", _PARENT], stdout=subprocess.PIPE)
    node = int(parent.stdout.readline())

    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    parent.stdout.close()

    deadline = time.monotonic() + 60
    while _runs(node) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not _runs(node)


def _runs(group):
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
