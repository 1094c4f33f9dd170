"""The servers that Airflow itself stands on, as its own configuration or a Connection names them.

``python -m observability.airflow.servers database|broker [connection id]`` prints one as JSON, for a relay that cannot
afford to import Airflow. Options that come from a command or a secrets backend are read as Airflow reads them.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow.configuration import conf
from airflow.exceptions import AirflowConfigException
from airflow.models.connection import Connection
from airflow.sdk.exceptions import AirflowException, AirflowRuntimeError
from sqlalchemy.engine.url import URL, make_url

from observability.credentials import Credentials, CredentialsError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["server"]

_LIBPQ = frozenset(
    {"sslmode", "sslrootcert", "sslcert", "sslkey", "sslcrl", "sslpassword", "ssl_min_protocol_version"}
    | {"channel_binding", "gssencmode", "krbsrvname", "target_session_attrs", "passfile", "service", "host", "port"}
)
"""Parameters of libpq that an address or a Connection may hold; what else is there is meant for another driver."""
_POSTGRESQL = frozenset({"postgresql", "postgres"})
_REDIS = frozenset({"redis", "rediss", "unix", "redis+socket"})


def server(which: str, connection_id: str = "") -> Credentials:
    """The ``database`` or the ``broker``: its address, and what its client needs beside it as ``extra``.

    Raises :class:`CredentialsError` where there is none, or one of a kind that is not read.
    """
    return _SERVERS[which](_connection(connection_id) if connection_id else None)


def _connection(connection_id: str) -> Connection:
    try:
        return Connection.get_connection_from_secrets(connection_id)
    except (AirflowException, AirflowRuntimeError) as error:
        raise CredentialsError(
            f"there is no Airflow Connection {connection_id!r} ({error}); add it with `airflow connections add`"
        ) from error


def _database(connection: Connection | None) -> Credentials:
    """Parameters of libpq as ``extra``."""
    if connection is None:
        url, more = make_url(_option("database", "sql_alchemy_conn")), _connect_arguments()
    else:
        more = connection.extra_dejson
        url = URL.create(
            "postgresql" if connection.conn_type in _POSTGRESQL else connection.conn_type or "nothing",
            connection.login or None, connection.password or None, connection.host or None, connection.port,
            connection.schema or None,
        )  # fmt: skip
    if url.drivername.partition("+")[0] not in _POSTGRESQL:
        raise CredentialsError(
            f"Airflow's database is {url.drivername.partition('+')[0]}, and only PostgreSQL's statistics are read;"
            " leave database out of [relay] component_metrics"
        )
    given = {**{name: one for name, one in url.query.items() if isinstance(one, str)}, **more}
    own = {"host": url.host, "port": url.port, "user": url.username, "password": url.password, "dbname": url.database}
    extra = {name: str(one) for name, one in given.items() if name in _LIBPQ}
    return Credentials(extra=extra | {name: one for name, one in own.items() if one})


def _connect_arguments() -> dict[str, Any]:
    """``[database] sql_alchemy_connect_args``, a dictionary in a module."""
    found = (
        conf.getimport("database", "sql_alchemy_connect_args")
        if _option("database", "sql_alchemy_connect_args")
        else {}
    )
    return found if isinstance(found, dict) else {}


def _broker(connection: Connection | None) -> Credentials:
    """The URL, and options of kombu and of TLS as ``extra``."""
    options: dict[str, Any] = {"default_queue": _option("operators", "default_queue") or "default"}
    if prefix := (conf.getsection("celery_broker_transport_options") or {}).get("global_keyprefix"):
        options["global_keyprefix"] = str(prefix)
    if connection is None:
        url, tls = _option("celery", "broker_url"), _celery_tls()
    else:
        given = connection.extra_dejson
        tls = {name: one for name, one in given.items() if name.startswith("ssl_") and name != "ssl_cert_reqs"}
        url = _redis_url(connection, given)
    scheme = url.partition(":")[0]
    if scheme not in _REDIS:
        raise CredentialsError(
            f"Celery's broker is {scheme or 'not set'}, and only the statistics of Redis and Valkey are read;"
            " leave broker out of [relay] component_metrics"
        )
    return Credentials(url=url, extra=options | (tls if scheme == "rediss" else {}))


def _redis_url(connection: Connection, extra: Mapping[str, Any]) -> str:
    scheme = "rediss" if extra.get("ssl") else "redis"
    login = f"{quote(connection.login or '', safe='')}:{quote(connection.password or '', safe='')}@"
    login = login if connection.login or connection.password else ""
    host = f"[{connection.host}]" if ":" in (connection.host or "") else connection.host
    return f"{scheme}://{login}{host}:{connection.port or 6379}/{extra.get('db') or 0}"


def _celery_tls() -> dict[str, str]:
    """The certificates of ``[celery]``, by the names of redis-py."""
    if _option("celery", "ssl_active").lower() not in {"true", "t", "1"}:
        return {}
    names = {"ssl_ca_certs": "ssl_cacert", "ssl_certfile": "ssl_cert", "ssl_keyfile": "ssl_key"}
    return {ours: file for ours, theirs in names.items() if (file := _option("celery", theirs))}


def _option(section: str, key: str) -> str:
    try:
        return str(conf.get(section, key, fallback="") or "")
    except AirflowConfigException:
        return ""


_SERVERS: dict[str, Callable[[Connection | None], Credentials]] = {"database": _database, "broker": _broker}


def main() -> None:
    """Print the server named on the command line; the reason and status 1 where there is none."""
    try:
        print(json.dumps(asdict(server(*sys.argv[1:3]))))  # noqa: T201 - the answer to the process that asked
    except CredentialsError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
