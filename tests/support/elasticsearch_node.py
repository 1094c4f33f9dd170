"""The Elasticsearch that tests run against: ``ES_URL`` where it is set, else a node of this session."""

from __future__ import annotations

import os
import shutil
import warnings

import pytest

from observability.local.elasticsearch_node import ElasticsearchNode, NodeError

__all__ = ["elasticsearch_node", "elasticsearch_url"]


@pytest.fixture(scope="session")
def elasticsearch_url():
    """Address of an Elasticsearch that this session may fill."""
    if url := os.environ.get("ES_URL"):
        yield url
        return
    if shutil.which("mvn") is None:
        warnings.warn("NO ELASTICSEARCH: neither ES_URL nor mvn; the tests against it are skipped", stacklevel=1)
        pytest.skip("neither ES_URL nor mvn is there to run a real Elasticsearch")
    test = os.environ["PYTEST_CURRENT_TEST"].removesuffix(" (setup)")
    if "PYTEST_XDIST_WORKER" in os.environ and test.endswith(".py"):
        pytest.fail(f"a node for one file: mark the parameters of {test} with pytest.mark.elasticsearch")
    with ElasticsearchNode() as node:
        yield node.url


@pytest.fixture(scope="session")
def elasticsearch_node():
    """A node to be killed and restarted; it takes requests of one megabyte at most."""
    try:
        node = ElasticsearchNode(settings={"http.max_content_length": "1mb"}).start()
    except NodeError as error:
        pytest.skip(str(error))
    yield node
    node.stop()
