"""Everything that meets an Elasticsearch of today in this suite, against a real one of the major version before."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from observability.local.elasticsearch_node import OLDER, ElasticsearchNode, NodeError

pytestmark = [pytest.mark.elasticsearch, pytest.mark.slow, pytest.mark.timeout(900)]

TESTS = Path(__file__).parents[1]
STOCK = "relay/sinks/test_stock_readers.py"


@pytest.fixture(scope="module")
def older():
    try:
        node = ElasticsearchNode(version=OLDER).start()
    except NodeError as error:
        pytest.skip(str(error))
    yield node
    node.stop()


def run(node, *arguments, **environ):
    command = [sys.executable, "-m", "pytest", "-m", "elasticsearch and not slow", *arguments]
    env = {**os.environ, "ES_URL": node.url, **environ}
    done = subprocess.run(command, env=env, cwd=TESTS.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-5000:]
    return done.stdout


def test_setup_sink_store_and_relay_hold_there(older):
    said = run(
        older,
        *(str(TESTS / name) for name in ("relay/sinks/test_elasticsearch.py", "store/test_elasticsearch_setup.py")),
        *(str(TESTS / name) for name in ("store/test_store.py", "relay/test_relay_on_elasticsearch.py")),
        "-k",
        "not killed_and_comes_back and not larger_than_the_node",  # these run a node of their own
    )
    assert "skipped" not in said


@pytest.mark.parametrize("client", ["elasticsearch>=8.15,<9", "elasticsearch>=9,<10"])
def test_the_stock_reader_reads_there_with_either_client(older, client, tmp_path):
    uv = shutil.which("uv")
    pip = [uv, "pip", "install", "--python", sys.executable] if uv else [sys.executable, "-m", "pip", "install"]
    subprocess.run([*pip, "--quiet", "--target", str(tmp_path), client], check=True)
    assert "1 passed" in run(older, str(TESTS / STOCK), PYTHONPATH=str(tmp_path))
