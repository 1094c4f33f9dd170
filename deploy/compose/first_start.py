"""Make the secrets and certificates of the compose deployment once, and hand each reader its own.

``first_start.py <keys folder>``. ``all`` holds the originals, and no other service mounts it. Each other subfolder
is the volume of one service. It holds what that service reads and nothing else, made anew from the originals at each
run. Files belong to the user of this process and are readable by its group (0440), since the images of Airflow,
PostgreSQL, Valkey and Elasticsearch run as different users of group 0. An original that is there is kept. So are the
Connections and Variables that people have put into a reader's ``connections.json`` or ``variables.json``.
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

_VALID = timedelta(days=730)
_SERVERS = ("elasticsearch", "kibana")
_TOKENS = {"jwt_secret": 64, "api_secret_key": 64, "admin": 18, "watcher": 18}
_DATABASES = ("airflow", "contrail", "warehouse")
_STORE_USERS = tuple(f"contrail_{name}" for name in ("relay", "reader", "watcher", "setup", "boards"))
_SEARCH = ("elastic", "kibana_system", *_STORE_USERS, "encryption")
_PEOPLES = ("connections.json", "variables.json")
"""Lists that people may add to: their entries stay, ours follow the originals."""


def make(keys: Path) -> None:
    """Fill the folders below ``keys``."""
    one = _originals(keys / "all")
    for reader, files in _readers(one).items():
        _hand(keys / reader, files)


def _originals(folder: Path) -> dict[str, str]:
    """Name of the file → its content, made where it is not there."""
    folder.mkdir(mode=0o750, parents=True, exist_ok=True)
    made = {"fernet_key": _keep(folder / "fernet_key", base64.urlsafe_b64encode(os.urandom(32)).decode())}
    for name, length in _TOKENS.items():
        made[name] = _keep(folder / name, secrets.token_urlsafe(length))
    for name in ("postgres", *(f"postgres_{name}" for name in _DATABASES), "valkey", *_SEARCH):
        made[name] = _keep(folder / name, secrets.token_hex(24))
    _certificates(folder)
    for name in ("ca.crt", *(f"{server}.{kind}" for server in _SERVERS for kind in ("crt", "key"))):
        made[name] = (folder / name).read_text("ascii")
    return made


def _readers(one: dict[str, str]) -> dict[str, dict[str, str]]:
    """Service → what it sees at /keys: the name of each file and its content."""
    airflow = f"postgresql+psycopg2://airflow:{one['postgres_airflow']}@postgres:5432/airflow"
    database = {"sql_alchemy_conn": airflow}
    fernet = {"fernet_key": one["fernet_key"]}
    jwt = {"jwt_secret": one["jwt_secret"]}
    broker = {"broker_url": f"redis://:{quote(one['valkey'])}@valkey:6379/0", "result_backend": f"db+{airflow}"}
    authority = {"ca.crt": one["ca.crt"]}
    known = _connections(one)

    def connections(*names: str, store: str = "") -> dict[str, str]:
        found = {name: known[name] for name in names}
        if store:
            found["elasticsearch_default"] = _https("elasticsearch", 9200, store, one)
        return {"connections.json": json.dumps(found, indent=2)}

    passwords = json.dumps({name: one[name] for name in ("admin", "watcher")})
    code_of_dags = connections("warehouse")
    return {
        "init": database | fernet,
        "api-server": database | fernet | jwt | authority | connections(store="contrail_reader")
        | {"api_secret_key": one["api_secret_key"], "passwords.json": passwords},
        "scheduler": database | fernet | jwt | broker,
        "dag-processor": database | fernet | code_of_dags,
        "triggerer": database | fernet | code_of_dags,
        "worker": database | broker | code_of_dags,
        "relay": authority | connections(store="contrail_relay"),
        "watcher": authority | connections("airflow_api", store="contrail_watcher")
        | {"variables.json": "{}", "pgpass": f"postgres:5432:contrail:contrail:{one['postgres_contrail']}\n"},
        "postgres": {"superuser": one["postgres"], **{name: one[f"postgres_{name}"] for name in _DATABASES}},
        "valkey": {"password": one["valkey"]},
        "elasticsearch": authority | _of(one, "elastic", "elasticsearch.crt", "elasticsearch.key"),
        "elk-users": authority | _of(one, *(name for name in _SEARCH if name != "encryption")),
        "elk-setup": authority | connections("elasticsearch_setup"),
        "kibana": authority | _of(one, "kibana_system", "encryption", "kibana.crt", "kibana.key"),
        "kibana-setup": authority | connections("kibana_setup"),
        "cloudwatch-setup": connections(),
    }  # fmt: skip


def _of(one: dict[str, str], *names: str) -> dict[str, str]:
    return {name: one[name] for name in names}


def _connections(one: dict[str, str]) -> dict[str, dict[str, object]]:
    return {
        "warehouse": {
            "conn_type": "postgres", "host": "postgres", "port": 5432, "schema": "warehouse",
            "login": "warehouse", "password": one["postgres_warehouse"],
        },
        "airflow_api": {
            "conn_type": "http", "schema": "http", "host": "api-server", "port": 8080,
            "login": "watcher", "password": one["watcher"],
        },
        "elasticsearch_setup": _https("elasticsearch", 9200, "contrail_setup", one),
        "kibana_setup": _https("kibana", 5601, "contrail_boards", one),
    }  # fmt: skip


def _https(server: str, port: int, login: str, one: dict[str, str]) -> dict[str, object]:
    """A Connection that trusts our authority only; the name of a user is that of the file with the password."""
    extra = json.dumps({"ca_certs": "/keys/ca.crt"})
    at = {"conn_type": "http", "schema": "https", "host": server, "port": port, "extra": extra}
    return at | {"login": login, "password": one[login]}


def _hand(folder: Path, files: dict[str, str]) -> None:
    """Have ``folder`` hold these files and no other."""
    folder.mkdir(mode=0o750, parents=True, exist_ok=True)
    for name, content in files.items():
        path = folder / name
        if name in _PEOPLES and path.exists():
            content = json.dumps(json.loads(path.read_text("utf-8")) | json.loads(content), indent=2)  # noqa: PLW2901
        _replace(path, content, 0o400 if name == "pgpass" else 0o440)  # libpq refuses a file that its group may read
    for path in folder.iterdir():
        if path.is_file() and path.name not in files:
            path.unlink()


def _replace(path: Path, content: str, mode: int) -> None:
    """Put ``content`` there at once, so that a reader never sees half of it."""
    if path.exists() and path.read_text("utf-8") == content:
        return
    beside = path.with_name(f".{path.name}")
    beside.unlink(missing_ok=True)
    _keep(beside, content, mode)
    beside.replace(path)


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
