"""Tell by the name of a key that its value is a secret: ``db_password`` says so, ``token_count`` does not."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

__all__ = ["LITERALS", "NAME_FILTER", "is_secret_name"]

_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_SECRET = re.compile(
    r"(?:(?!(?:ht|ch|k)passwd).*passw(?:or[dt]|d)(?!less).*|passphrase|passcode|.*pwd|.*secrets?|secret(?:key|token|access|value).*|.*token"
    r"|.*authorization|.*credentials?|creds|.*cookies?|keyfile|pw"
    r"|(?:db|user|my|pg|ftp|sftp|smtp|ssh|sudo|root|admin|become|store|key|keystore|truststore)pass"
    r"|kennwort|motdepasse|contrasena|senha|wachtwoord|passord|adgangskode|losenord|salasana|haslo|heslo"
    r"|.*(?:api|access|private|secret|account|shared|signing|encryption|master|storage|fernet|auth|preshared)key)"
)
_KEYS = frozenset(
    {"api", "access", "private", "secret", "account", "shared", "signing", "encryption", "master", "storage", "fernet"}
    | {"auth", "ssh", "license", "webhook", "hmac", "aes", "app", "application", "subscription", "functions"}
    | {"preshared"}
)
"""A word before ``key`` that makes it a secret."""
_OWNERS = frozenset(
    {
        "db",
        "user",
        "my",
        "mysql",
        "pg",
        "ftp",
        "sftp",
        "smtp",
        "ssh",
        "sudo",
        "root",
        "admin",
        "bind",
        "proxy",
        "become",
    }
    | {"store", "keystore", "truststore", "key"}
)
"""A word before ``pass`` that makes it a password, and no result of a test."""
_ABOUT: frozenset[str] = frozenset(
    {
        *("age", "algorithm", "arn", "at", "audience", "backend", "backends", "budget", "bucket", "cmd"),
        *("column", "columns", "command", "cost", "count", "counts", "created", "dir", "directory", "disabled"),
        *("domain", "enabled", "encoding", "endpoint", "env", "error", "errors", "exp", "expired", "expires"),
        *("expiration", "expiry", "field", "fields", "file", "files", "folder", "format", "hint", "host"),
        *("httponly", "in", "index", "invalid", "issuer", "kwargs", "len", "length", "lifetime", "limit"),
        *("limits", "manager", "masked", "masker", "max", "metastore", "min", "missing", "name", "names"),
        *("path", "policy", "present", "provider", "rate", "ref", "reference", "remaining", "required"),
        *("rotated", "rotation", "samesite", "scope", "scopes", "secure", "set", "size", "state", "status"),
        *("store", "strategy", "total", "ttl", "type", "types", "updated", "uri", "url", "usage", "used"),
        *("valid", "var", "version", "versions", "cfg", "go", "ini", "java", "js", "json", "log", "md", "py"),
        *("toml", "ts", "txt", "yaml", "yml"),
    }
)  # fmt: skip
"""A word after the secret's that says that the value is something about it, and not the secret itself."""
_PLACES = frozenset(
    {"cancellation", "completion", "continuation", "cursor", "next", "page", "paging", "prompt", "sync"}
)
"""A word before ``token`` that makes it a place in a list, or a piece of text."""

_NAMED = frozenset({"existing", "pull"})
"""A word before ``secret`` that says that the value is the name of one of Kubernetes'."""

_OF_OTHER_LANGUAGES = (
    *("kennwort", "motdepasse", "mot_de_passe", "mot-de-passe", "senha", "wachtwoord", "passord", "adgangskode"),
    *("salasana", "haslo", "heslo"),
)
LITERALS = (
    *("passw", "passphrase", "passcode", "pwd", "secret", "token", "authorization", "credential", "creds", "cookie"),
    *("keyfile", "_pass", "dbpass", "userpass", "mypass", "pgpass", "ftppass", "smtppass", "sshpass", "rootpass"),
    *(f"{word}{between}key" for word in sorted(_KEYS) for between in ("", "_", "-", ".")),
    *("api key", "access key", "private key"),
    *("adminpass", "sudopass", "storepass", "keypass", "-pass", "pw"),
    *(*_OF_OTHER_LANGUAGES, "contrasena", "contraseña", "losenord", "lösenord"),
)
"""Words of which each such name has one, in lower case."""
NAME_FILTER = (
    *("passw", "passphrase", "passcode", "pwd", "secret", "token", "authorization", "credential", "creds", "cookie"),
    *("keyfile", "_pass", "dbpass", "userpass", "mypass", "pgpass", "ftppass", "smtppass", "sshpass", "rootpass"),
    *("adminpass", "sudopass", "_key", "-key", ".key", "api key", "access key", "private key", "apikey", "accesskey"),
    *("privatekey", "accountkey", "sharedkey", "signingkey", "encryptionkey", "masterkey", "storagekey", "fernetkey"),
    *("authkey", "presharedkey", "sshkey", "licensekey", "webhookkey", "storepass", "keypass", "-pass"),
    *("_pw", "-pw", "pw_", "pw=", "pw:", "pw'", 'pw"', "pw\\", "pw ", "pw%"),
    *(*_OF_OTHER_LANGUAGES, "contrase", "senord"),
)
"""Part of each of those, so few as can be. Of these and ``RULE_FILTER`` the automaton of each line is made, which is
a fifth faster while they have few different characters: 64 classes of bytes."""


@lru_cache(maxsize=4096)
def is_secret_name(name: str, more: tuple[str, ...] = ()) -> bool:
    """True where ``name`` names a secret; ``more``: words that do so wherever they stand in a name."""
    if not name.isascii():
        name = "".join(one for one in unicodedata.normalize("NFKD", name) if not unicodedata.combining(one))
    small = name.lower()
    if any(word.lower() in small for word in more):
        return True
    if not any(literal in small for literal in LITERALS):
        return False
    words = [word.lower() for word in _WORDS.findall(name[-256:])]
    return any(_says(words, place) for place in range(len(words)))


def _says(words: list[str], place: int) -> bool:
    """True where the word at ``place`` names a secret, and its neighbours do not say otherwise."""
    word, before = words[place], words[place - 1] if place else ""
    after = words[place + 1] if place + 1 < len(words) else ""
    if word == "pass":
        return before in _OWNERS and not after
    if after in _ABOUT or (after == "key" and word in _KEYS) or _SECRET.fullmatch(after):
        return False  # the next word decides
    if (word == "token" and before in _PLACES) or (before in _NAMED and word in {"secret", "secrets"}):
        return False
    if word == "mot":
        return words[place : place + 3] == ["mot", "de", "passe"]
    return before in _KEYS if word == "key" else bool(_SECRET.fullmatch(word))
