"""Elasticsearch with its own security on: TLS by an authority of ours, a superuser."""

from __future__ import annotations

import base64
import hashlib
import json
import os

from certificates import make_certificate

from observability.local.elasticsearch_node import ElasticsearchNode

__all__ = ["PASSWORD", "USER", "secure_node"]

USER, PASSWORD = "contrail", "correct horse battery staple"
_SETTINGS = {
    "xpack.security.enabled": "true",
    "xpack.security.autoconfiguration.enabled": "false",
    "xpack.security.http.ssl.enabled": "true",
    "xpack.security.http.ssl.certificate": "node.crt",
    "xpack.security.http.ssl.key": "node.key",
}


def secure_node(version, folder, users=(), roles=None):
    """A node that is not started yet; ``folder/authority.pem`` is whom to trust, ``localhost`` its name.

    ``users`` are (name, password, names of roles), ``roles`` their bodies. They stand in files: the distribution that
    tests can have lacks the analyser of the index in which the API would keep them.
    """
    key, certificate = make_certificate("localhost")
    (folder / "authority.pem").write_bytes(certificate)
    everybody = [(USER, PASSWORD, ["superuser"]), *users]
    files = {
        "node.crt": certificate,
        "node.key": key,
        "users": "".join(f"{name}:{_hashed(word)}\n" for name, word, _ in everybody).encode(),
        "users_roles": "".join(f"{role}:{name}\n" for name, _, held in everybody for role in held).encode(),
        "roles.yml": "".join(f"{name}: {json.dumps(body)}\n" for name, body in (roles or {}).items()).encode(),
    }
    return ElasticsearchNode(version=version, settings=_SETTINGS, files=files)


def _hashed(password):
    """As Elasticsearch's file realm has it."""
    salt = os.urandom(32)
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, 10_000, 32)
    return f"{{PBKDF2}}10000${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}"
