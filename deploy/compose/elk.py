"""Give Elasticsearch its users: Kibana's own, and one of Contrail for each of relay, pages, watcher, set-up and boards.

Each may do what its services need and no more. The superuser's password is read here and by the server itself only.

Run once by the service ``elk-users``; safe to run again.
"""

from __future__ import annotations

import os
import ssl
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

from observability.catalog import ALERT_INDEX, DATASETS
from observability.store.cluster import READER_PRIVILEGES, RELAY_PRIVILEGES

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["ROLES", "USERS", "set_up"]

_PREFIX = os.environ.get("CONTRAIL_ELASTICSEARCH__INDEX_PREFIX", "")
_STREAMS = sorted(one.stream("*", _PREFIX) for one in DATASETS.values())

_ALERTS = f"{_PREFIX}{ALERT_INDEX}"
"""The index to which Kibana's rules write their alerts."""


def _role(names: list[str], privileges: Sequence[str], *cluster: str) -> dict[str, list[Any]]:
    return {"cluster": ["monitor", *cluster], "indices": [{"names": names, "privileges": list(privileges)}]}


ROLES = {
    "contrail_relay": _role(_STREAMS, RELAY_PRIVILEGES),
    "contrail_reader": _role(_STREAMS, READER_PRIVILEGES),
    "contrail_watcher": _role([*_STREAMS, _ALERTS], READER_PRIVILEGES),
    "contrail_setup": _role(_STREAMS, ["manage"], "manage_index_templates", "manage_ilm"),
    "contrail_boards": _role([_ALERTS], ["create_index", "index", *READER_PRIVILEGES]),
}
"""Role → its rights. The relay appends, and looks up what a lost reply was about. Pages and watcher read. Set-up
installs templates and retention, and rolls our own data streams over. Kibana's rules write alerts."""
USERS = {
    "contrail_relay": ["contrail_relay"],
    "contrail_reader": ["contrail_reader"],
    "contrail_watcher": ["contrail_watcher"],
    "contrail_setup": ["contrail_setup"],
    "contrail_boards": ["kibana_admin", "contrail_reader", "contrail_boards"],
}
"""User → roles. Kibana's rules ask and write with the rights of who installed them."""
_FORMER = "contrail"
"""The one user and role that relay, watcher and pages shared."""


@retry(
    retry=retry_if_exception_type(httpx.TransportError), stop=stop_after_delay(180), wait=wait_fixed(2), reraise=True
)
def _wait(client: httpx.Client) -> None:
    client.get("/_cluster/health", params={"wait_for_status": "yellow", "timeout": "30s"}).raise_for_status()


def set_up(client: httpx.Client, passwords: dict[str, str]) -> None:
    """Set the password of kibana_system, create Contrail's roles and users, and take the former shared user away."""
    _wait(client)
    put = {
        "/_security/user/kibana_system/_password": {"password": passwords["kibana_system"]},
        **{f"/_security/role/{role}": body for role, body in ROLES.items()},
        **{f"/_security/user/{user}": {"password": passwords[user], "roles": roles} for user, roles in USERS.items()},
    }
    for path, body in put.items():
        client.put(path, json=body).raise_for_status()
    for kind in ("user", "role"):
        answer = client.delete(f"/_security/{kind}/{_FORMER}")
        if answer.status_code != httpx.codes.NOT_FOUND:
            answer.raise_for_status()


def main(keys: Path, url: str) -> None:
    """Read the passwords and talk to the cluster at ``url``."""
    passwords = {name: (keys / name).read_text("utf-8") for name in ("elastic", "kibana_system", *USERS)}
    trust = ssl.create_default_context(cafile=str(keys / "ca.crt"))
    with httpx.Client(base_url=url, auth=("elastic", passwords["elastic"]), verify=trust, timeout=60) as client:
        set_up(client, passwords)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
