"""Airflow Connections as credentials: environment, secrets backend or metadata database, as Airflow finds them.

``python -m observability.airflow.connections <id>`` prints one as JSON, for a process that cannot afford
to import Airflow. AWS Connections are resolved to keys (assumed roles included), with their expiry.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from airflow.models.connection import Connection
from airflow.sdk.exceptions import AirflowException, AirflowRuntimeError

from observability.credentials import Credentials, CredentialsError

if TYPE_CHECKING:
    from botocore.credentials import Credentials as AwsCredentials

__all__ = ["resolve"]

_MISSING = (AirflowException, AirflowRuntimeError)


def resolve(connection_id: str) -> Credentials:
    """The Connection of that id. Raises :class:`CredentialsError` naming it and the remedy."""
    try:
        connection = Connection.get_connection_from_secrets(connection_id)
    except _MISSING as error:
        raise CredentialsError(
            f"there is no Airflow Connection {connection_id!r} ({error}); add it with `airflow connections add`, "
            "or name another by the knob connection_id"
        ) from error
    return _aws(connection_id) if connection.conn_type == "aws" else _plain(connection)


def _plain(connection: Connection) -> Credentials:
    port = f":{connection.port}" if connection.port else ""
    url = f"{connection.schema or 'https'}://{connection.host}{port}" if connection.host else ""
    return Credentials(url, connection.login or "", connection.password or "", connection.extra_dejson)


def _aws(connection_id: str) -> Credentials:
    from airflow.providers.amazon.aws.hooks.base_aws import AwsGenericHook

    hook = AwsGenericHook[Any](aws_conn_id=connection_id, client_type="logs")
    found: AwsCredentials | None = hook.get_session().get_credentials()
    if found is None:
        raise CredentialsError(f"Connection {connection_id!r} leads to no AWS credentials; add keys or a role to it")
    expiry = getattr(found, "_expiry_time", None)
    extra = {
        "session_token": found.token,
        "region_name": hook.region_name,
        "endpoint_url": hook.conn_config.get_service_endpoint_url("logs"),
        "sns_endpoint_url": hook.conn_config.get_service_endpoint_url("sns"),
        "expiry": expiry.isoformat() if expiry else None,
    }
    return Credentials("", found.access_key, found.secret_key, {key: value for key, value in extra.items() if value})


def main() -> None:
    """Print the Connection named on the command line; the reason and status 1 where there is none."""
    try:
        print(json.dumps(asdict(resolve(sys.argv[1]))))  # noqa: T201 - the answer to the process that asked
    except CredentialsError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
