"""AWS as moto answers it, over HTTP, for a test session."""

from __future__ import annotations

import uuid

import pytest

__all__ = ["aws_environ", "moto_url"]


@pytest.fixture(scope="session")
def moto_url():
    """Address of a moto server of this session."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(scope="module")
def aws_environ(moto_url):
    """The variables of a deployment of this module's own on moto; credentials as AWS's own variables."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "testing")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
        patch.delenv("AWS_PROFILE", raising=False)
        yield {
            "CONTRAIL_CORE__ENVIRONMENT": f"s{uuid.uuid4().hex[:10]}",
            "CONTRAIL_CLOUDWATCH__CONNECTION_ID": "",
            "CONTRAIL_CLOUDWATCH__REGION": "eu-central-1",
            "CONTRAIL_CLOUDWATCH__ENDPOINT_URL": moto_url,
        }
