"""Give Elasticsearch its users: Kibana's own, and one of Contrail for each of relay and readers, set-up, and boards.

Each may do what its services need and no more. The superuser's password is read here and by the server itself only.

Run once by the service ``elk-users``; safe to run again.
"""

from __future__ import annotations

import os
import ssl
import sys
from pathlib import Path

import httpx
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

from observability.catalog import DATASETS
from observability.store.cluster import PRIVILEGES

__all__ = ["ROLE", "SETUP_ROLE", "USERS", "set_up"]

_PREFIX = os.environ.get("CONTRAIL_ELASTICSEARCH__INDEX_PREFIX", "")
_STREAMS = sorted(one.stream("*", _PREFIX) for one in DATASETS.values())

ROLE = {
    "cluster": ["monitor"],
    "indices": [
        {
            "names": _STREAMS,
            "privileges": list(PRIVILEGES),
        }
    ],
}
"""Append, refresh and read, in our own data streams; what is there is installed by the service ``elk-setup``."""
SETUP_ROLE = {
    "cluster": ["monitor", "manage_index_templates", "manage_ilm"],
    "indices": [{"names": _STREAMS, "privileges": ["manage"]}],
}
"""Templates, retention, and a rollover of our own data streams, as docs/stores.md says."""
USERS = {
    "contrail": ["contrail"],
    "contrail_setup": ["contrail_setup"],
    "contrail_boards": ["kibana_admin", "contrail"],
}
"""User → roles. Kibana's rules ask with the rights of who installed them, so that one reads our streams as well."""


@retry(
    retry=retry_if_exception_type(httpx.TransportError), stop=stop_after_delay(180), wait=wait_fixed(2), reraise=True
)
def _wait(client: httpx.Client) -> None:
    client.get("/_cluster/health", params={"wait_for_status": "yellow", "timeout": "30s"}).raise_for_status()


def set_up(client: httpx.Client, passwords: dict[str, str]) -> None:
    """Set the password of kibana_system, and create Contrail's roles and users."""
    _wait(client)
    put = {
        "/_security/user/kibana_system/_password": {"password": passwords["kibana_system"]},
        "/_security/role/contrail": ROLE,
        "/_security/role/contrail_setup": SETUP_ROLE,
        **{f"/_security/user/{user}": {"password": passwords[user], "roles": roles} for user, roles in USERS.items()},
    }
    for path, body in put.items():
        client.put(path, json=body).raise_for_status()


def main(keys: Path, url: str) -> None:
    """Read the passwords and talk to the cluster at ``url``."""
    passwords = {name: (keys / name).read_text("utf-8") for name in ("elastic", "kibana_system", *USERS)}
    trust = ssl.create_default_context(cafile=str(keys / "ca.crt"))
    with httpx.Client(base_url=url, auth=("elastic", passwords["elastic"]), verify=trust, timeout=60) as client:
        set_up(client, passwords)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
