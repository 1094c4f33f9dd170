"""A PostgreSQL server of Debian's package for a test session, on a free port, as a user without rights."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

import psycopg2
import pytest

USER = "contrail"


class Server:
    """A running server; :meth:`database` makes a database of its own for each that asks."""

    def __init__(self, folder, port, password):
        self.folder = folder
        self.port = port
        self._password = password
        self._number = 0

    def database(self):
        """The fields of an Airflow Connection to a new database."""
        self._number += 1
        name = f"test{self._number}"
        known = {"host": "127.0.0.1", "port": self.port, "login": USER, "password": self._password}
        connection = psycopg2.connect(
            host="127.0.0.1", port=self.port, user=USER, password=self._password, dbname="postgres"
        )
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(f"create database {name}")
        connection.close()
        return known | {"schema": name}


def programs():
    """The folder of PostgreSQL's programs, None where the package is not installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), reverse=True)
    if found:
        return found[0].parent
    initdb = shutil.which("initdb")
    return Path(initdb).resolve().parent if initdb else None


def free_port():
    """A TCP port that nobody has now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def start(bin_folder):
    """Start a server in a folder of its own; PostgreSQL refuses root, so root hands it to nobody."""
    folder = Path(tempfile.mkdtemp(prefix="contrail-postgresql-", dir="/tmp"))
    user = pwd.getpwnam("nobody") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
    as_user = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []} if os.geteuid() == 0 else {}
    password, port = secrets.token_hex(16), free_port()
    (folder / "password").write_text(password)
    for path in (folder, folder / "password"):
        os.chown(path, user.pw_uid, user.pw_gid)
    run = {"capture_output": True, "cwd": folder, "timeout": 60, **as_user}
    try:
        subprocess.run(
            [bin_folder / "initdb", "-D", folder / "data", "-U", USER, "-A", "scram-sha-256", "-N",
             "--pwfile", folder / "password", "-E", "UTF8", "--locale", "C.UTF-8"], check=True, **run
        )  # fmt: skip
        options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} -c fsync=off"
        subprocess.run(
            [bin_folder / "pg_ctl", "-D", folder / "data", "-w", "-l", folder / "log", "-o", options, "start"],
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=folder,
            timeout=60,
            **as_user,
        )
    except subprocess.CalledProcessError as error:
        log = (folder / "log").read_text() if (folder / "log").exists() else ""
        raise RuntimeError(f"PostgreSQL did not start: {error.stderr}\n{log}") from error
    guard = _guard(bin_folder, folder, as_user)
    return Server(folder, port, password), lambda: guard.communicate(timeout=60)


def _guard(bin_folder, folder, as_user):
    """A process that stops the server when its standard input ends: as we ask it to, or as we are killed."""
    script = 'cat > /dev/null; "$0/pg_ctl" -D "$1/data" -m immediate -w stop; rm -rf "$1"'
    return subprocess.Popen(
        ["/bin/sh", "-c", script, bin_folder, folder],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        start_new_session=True,
        **as_user,
    )


@pytest.fixture(scope="session")
def postgresql_server():
    """A real PostgreSQL, where Debian's package is installed."""
    found = programs()
    if found is None:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    server, stop = start(found)
    yield server
    stop()
