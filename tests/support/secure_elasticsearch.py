"""Elasticsearch with its own security on: TLS by an authority of ours, a superuser."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from datetime import datetime, timedelta, timezone

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

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
    key, certificate = _certificate("localhost")
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


def _certificate(host):
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    now = datetime.now(timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return secret, certificate.public_bytes(serialization.Encoding.PEM)
