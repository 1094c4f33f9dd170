"""A store for the length of a demo: one of yours where the environment names it, else one of its own."""

from __future__ import annotations

import logging
import os
import uuid
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING

from observability.local.errors import PlatformError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from observability.settings import Settings

__all__ = ["backing", "make_visible"]

_REGION = "eu-central-1"


@contextmanager
def backing(store: str) -> Iterator[None]:
    """Have ``store`` ready, and the options that lead to it in this process's environment.

    Elasticsearch is the one at ``ES_URL``, CloudWatch the one at ``AWS_ENDPOINT_URL``; where these are not set,
    a node or moto runs for the length of the block. Raises :class:`PlatformError`.
    """
    if store == "elasticsearch":
        yield from _elasticsearch()
    elif store == "cloudwatch":
        yield from _cloudwatch()
    else:
        yield


def make_visible(settings: Settings) -> None:
    """Let what was sent be found at once; Elasticsearch would show it within a second."""
    if settings.store.backend == "elasticsearch":
        from observability.store.cluster import open_cluster

        cluster = open_cluster(settings)
        cluster.send("POST", f"/*-{settings.core.environment}/_refresh?ignore_unavailable=true")
        cluster.close()


def _elasticsearch() -> Iterator[None]:
    from observability.local.elasticsearch_node import ElasticsearchNode, NodeError

    if url := os.environ.get("ES_URL"):
        _use_elasticsearch(url)
        yield
        return
    try:
        node = ElasticsearchNode().start()
    except NodeError as error:
        raise PlatformError(str(error)) from error
    try:
        _use_elasticsearch(node.url)
        yield
    finally:
        node.stop()


def _use_elasticsearch(url: str) -> None:
    from observability.credentials import Credentials
    from observability.settings import load_settings
    from observability.store.cluster import Cluster, ClusterError, ClusterUnreachable
    from observability.store.elasticsearch_setup import OldestServer, install

    cluster = Cluster(Credentials(url=url))
    try:
        install(cluster, prefix=load_settings().elasticsearch.index_prefix)
    except (ClusterError, ClusterUnreachable, OldestServer) as error:
        raise PlatformError(f"Elasticsearch at {url} cannot be used: {error}") from error
    finally:
        cluster.close()
    os.environ.update(CONTRAIL_ELASTICSEARCH__URL=url, **_own_environment())


def _cloudwatch() -> Iterator[None]:
    own = {"CONTRAIL_CLOUDWATCH__CONNECTION_ID": "", **_own_environment()}
    if url := os.environ.get("AWS_ENDPOINT_URL"):
        region = os.environ.get("AWS_DEFAULT_REGION", _REGION)
        os.environ.update(CONTRAIL_CLOUDWATCH__ENDPOINT_URL=url, CONTRAIL_CLOUDWATCH__REGION=region, **own)
        yield
        return
    if find_spec("moto") is None:
        raise PlatformError(
            "moto is not installed: pip install 'moto[server]', or name an endpoint by AWS_ENDPOINT_URL"
        )
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # a line per request
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    keys = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing"}
    url = f"http://{host}:{port}"
    os.environ.update(CONTRAIL_CLOUDWATCH__ENDPOINT_URL=url, CONTRAIL_CLOUDWATCH__REGION=_REGION, **own, **keys)
    try:
        yield
    finally:
        server.stop()


def _own_environment() -> dict[str, str]:
    """A deployment's name that no earlier demo used, so that the books are of this one alone."""
    return {"CONTRAIL_CORE__ENVIRONMENT": f"demo{uuid.uuid4().hex[:8]}"}
