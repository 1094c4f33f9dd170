"""Make the secrets and certificates of the compose deployment where they are not there yet.

``first_start.py <keys folder>``. Each subfolder is a volume that only those services mount which need it.
Files belong to the user of this process and are readable by its group (0440), since the images of Airflow,
PostgreSQL, Valkey and Elasticsearch run as different users of group 0. What is there is kept.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
import sys
from datetime import datetime, timedelta, timezone
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import quote

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

__all__ = ["make"]

KEYS = "/keys"
"""Where the services mount the folders that they may see."""

_VALID = timedelta(days=730)
_SERVERS = ("elasticsearch", "kibana")


def make(keys: Path) -> None:
    """Fill the folders below ``keys``."""
    airflow, postgres, valkey, elastic = (keys / name for name in ("airflow", "postgres", "valkey", "elastic"))
    for folder in (airflow, postgres, valkey, elastic):
        folder.mkdir(mode=0o750, parents=True, exist_ok=True)
    _keep(airflow / "fernet_key", base64.urlsafe_b64encode(os.urandom(32)).decode())
    for name in ("jwt_secret", "api_secret_key"):
        _keep(airflow / name, secrets.token_urlsafe(64))
    admin = json.loads(_keep(airflow / "passwords.json", json.dumps({"admin": secrets.token_urlsafe(18)})))["admin"]
    database = {
        name: _keep(postgres / name, secrets.token_hex(24))
        for name in ("superuser", "airflow", "contrail", "warehouse")
    }
    broker = _keep(valkey / "password", secrets.token_hex(24))
    search = {
        name: _keep(elastic / name, secrets.token_hex(24))
        for name in ("elastic", "kibana_system", "contrail", "encryption")
    }
    _certificates(elastic)
    _keep(airflow / "ca.crt", (elastic / "ca.crt").read_text("ascii"))

    airflow_database = f"postgresql+psycopg2://airflow:{database['airflow']}@postgres:5432/airflow"
    _keep(airflow / "sql_alchemy_conn", airflow_database)
    _keep(airflow / "result_backend", f"db+{airflow_database}")
    _keep(airflow / "broker_url", f"redis://:{quote(broker)}@valkey:6379/0")
    _keep(airflow / "pgpass", f"postgres:5432:contrail:contrail:{database['contrail']}\n", mode=0o400)
    _keep(airflow / "connections.json", json.dumps(_connections(database, search, admin), indent=2))
    setup = {"login": "elastic", "password": search["elastic"]}
    _keep(
        elastic / "connections.json",
        json.dumps(
            {
                "elasticsearch_setup": _https("elasticsearch", 9200) | setup,
                "kibana_setup": _https("kibana", 5601) | setup,
            }
        ),
    )


def _https(server: str, port: int) -> dict[str, object]:
    """A Connection that trusts our authority only."""
    extra = json.dumps({"ca_certs": f"{KEYS}/airflow/ca.crt"})
    return {"conn_type": "http", "schema": "https", "host": server, "port": port, "extra": extra}


def _connections(database: dict[str, str], search: dict[str, str], admin: str) -> dict[str, dict[str, object]]:
    return {
        "warehouse": {
            "conn_type": "postgres", "host": "postgres", "port": 5432, "schema": "warehouse",
            "login": "warehouse", "password": database["warehouse"],
        },
        "airflow_api": {
            "conn_type": "http", "schema": "http", "host": "api-server", "port": 8080,
            "login": "admin", "password": admin,
        },
        "elasticsearch_default": {
            **_https("elasticsearch", 9200), "login": "contrail", "password": search["contrail"],
        },
    }  # fmt: skip


def _keep(path: Path, value: str, mode: int = 0o440) -> str:
    """What is in ``path``; ``value`` is put there when it is new."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError:
        return path.read_text("utf-8")
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(value)
    path.chmod(mode)
    return value


def _certificates(folder: Path) -> None:
    """A certificate per server and the authority that signed them, whose key is forgotten at once."""
    if (folder / "ca.crt").exists():
        return
    authority = ec.generate_private_key(ec.SECP256R1())
    name = _name("contrail compose authority")
    usage = x509.KeyUsage(
        digital_signature=False, content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=True, crl_sign=True, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    root = (
        _certificate(name, name, authority.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(authority.public_key()), critical=False)
        .sign(authority, hashes.SHA256())
    )
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.public_key())
    for server in _SERVERS:
        key = ec.generate_private_key(ec.SECP256R1())
        names = [x509.DNSName(server), x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))]
        signed = (
            _certificate(_name(server), name, key.public_key())
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(issuer, critical=False)
            .sign(authority, hashes.SHA256())
        )
        _keep(folder / f"{server}.key", _private(key))
        _keep(folder / f"{server}.crt", signed.public_bytes(serialization.Encoding.PEM).decode("ascii"))
    _keep(folder / "ca.crt", root.public_bytes(serialization.Encoding.PEM).decode("ascii"))


def _certificate(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = datetime.now(timezone.utc)
    return (
        x509.CertificateBuilder(subject_name=subject, issuer_name=issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + _VALID)
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _private(key: ec.EllipticCurvePrivateKey) -> str:
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return key.private_bytes(*form).decode("ascii")


if __name__ == "__main__":
    make(Path(sys.argv[1]))
