"""A Redis of Debian's package on a free port, with a password that stands on no command line."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import time
from contextlib import contextmanager

__all__ = ["PROGRAM", "running_redis"]

PROGRAM = shutil.which("redis-server") or shutil.which("valkey-server")


@contextmanager
def running_redis(folder, certificate=None):
    """A server that keeps nothing, until the block ends; its URL.

    With ``certificate``, a PEM file of a key and its certificate for ``localhost``, it speaks TLS and nothing else, and
    asks clients for one of that authority.
    """
    password = secrets.token_hex(16)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    file = folder / "redis.conf"
    ports = f"port {port}\n"
    if certificate:
        names = ("tls-cert-file", "tls-key-file", "tls-ca-cert-file")
        ports = f"port 0\ntls-port {port}\n" + "".join(f"{name} {certificate}\n" for name in names)
    file.write_text(f"bind 127.0.0.1\n{ports}dir {folder}\nsave ''\nrequirepass {password}\nmaxmemory 64mb\n")
    server = subprocess.Popen([PROGRAM, file], stdout=subprocess.DEVNULL, env={"PATH": os.environ["PATH"]})
    try:
        _wait_for(port)
        where = f"rediss://:{password}@localhost" if certificate else f"redis://:{password}@127.0.0.1"
        yield f"{where}:{port}/0"
    finally:
        server.terminate()
        server.wait(10)


def _wait_for(port):
    over = time.monotonic() + 30
    while time.monotonic() < over:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise TimeoutError(f"Redis does not listen on {port}")
