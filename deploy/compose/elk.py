"""Give Elasticsearch its users: Kibana's own, and one for Contrail that may do what relay and readers need and no more.

Run once by the service ``elk-users``; safe to run again.
"""

from __future__ import annotations

import ssl
import sys
from pathlib import Path

import httpx
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

from observability.catalog import DATASETS
from observability.store.cluster import PRIVILEGES

__all__ = ["ROLE", "set_up"]

ROLE = {
    "cluster": ["monitor"],
    "indices": [
        {
            "names": sorted(one.stream("*") for one in DATASETS.values()),
            "privileges": list(PRIVILEGES),
        }
    ],
}
"""Append, refresh and read, in our own data streams; what is there is installed by the service ``elk-setup``."""


@retry(
    retry=retry_if_exception_type(httpx.TransportError), stop=stop_after_delay(180), wait=wait_fixed(2), reraise=True
)
def _wait(client: httpx.Client) -> None:
    client.get("/_cluster/health", params={"wait_for_status": "yellow", "timeout": "30s"}).raise_for_status()


def set_up(client: httpx.Client, passwords: dict[str, str]) -> None:
    """Set the password of kibana_system, and create the role and the user contrail."""
    _wait(client)
    for path, body in (
        ("/_security/user/kibana_system/_password", {"password": passwords["kibana_system"]}),
        ("/_security/role/contrail", ROLE),
        ("/_security/user/contrail", {"password": passwords["contrail"], "roles": ["contrail"]}),
    ):
        client.put(path, json=body).raise_for_status()


def main(keys: Path, url: str) -> None:
    """Read the passwords and talk to the cluster at ``url``."""
    passwords = {name: (keys / name).read_text("utf-8") for name in ("elastic", "kibana_system", "contrail")}
    trust = ssl.create_default_context(cafile=str(keys / "ca.crt"))
    with httpx.Client(base_url=url, auth=("elastic", passwords["elastic"]), verify=trust, timeout=60) as client:
        set_up(client, passwords)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
