import json
import os
import re
import shlex
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from topology import COMMANDS
from typer.testing import CliRunner

from observability.catalog import ALERT_INDEX, DATASETS
from observability.cli import app
from observability.local.environment import read_env_file
from observability.relay.sources.files.airflow_logs import log_stream
from observability.settings import load_settings

ROOT = Path(__file__).parents[2]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES = COMPOSE["services"]
ONCE = {"keys", "init", "elk-users", "elk-setup", "kibana-setup", "cloudwatch-setup"}
WRITES_ITS_ROOT = {"elasticsearch", "kibana", "localstack"}
services = pytest.mark.parametrize("name", sorted(SERVICES))


def environment(name):
    return {
        key: re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", str(value))
        for key, value in SERVICES[name].get("environment", {}).items()
    }


@pytest.mark.parametrize("file", ["docker-compose.yml", "deploy/compose/statsd-socket.yml"])
def test_the_file_is_valid_by_the_compose_specification(file):
    command = [
        Path(sys.executable).with_name("check-jsonschema"),
        "--builtin-schema",
        "vendor.compose-spec",
        ROOT / file,
    ]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "ok -- validation done")


def test_with_the_socket_for_metrics_all_that_sends_some_waits_for_the_relay_and_shares_its_folder():
    added = yaml.safe_load((ROOT / "deploy/compose/statsd-socket.yml").read_text())["services"]
    airflow = {name for name, service in SERVICES.items() if "airflow" in service.get("command", ())}
    assert {name for name in added if name != "relay"} == airflow
    for name, more in added.items():
        path = Path(more["environment"]["AIRFLOW__METRICS__STATSD_SOCKET_PATH"])
        assert any(volume == f"contrail:{path.parent}" for volume in SERVICES[name]["volumes"])
        assert name == "relay" or more["depends_on"]["relay"]["condition"] == "service_healthy"
    assert "healthcheck" in SERVICES["relay"]


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_a_service_runs_the_command_that_the_topology_test_runs(name):
    assert tuple(SERVICES[name]["command"]) == COMMANDS[name]


@services
def test_no_service_is_privileged_or_root_or_gains_rights(name):
    service = SERVICES[name]
    assert not {"privileged", "pid", "ipc", "userns_mode", "devices", "cap_add"} & set(service)
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert int(service["user"].split(":")[0]) > 0
    assert service.get("network_mode", "none") == "none"
    assert not any("docker.sock" in str(volume) for volume in service.get("volumes", ()))


@services
def test_the_root_file_system_is_read_only_unless_it_is_said_why(name):
    assert SERVICES[name]["read_only"] is (name not in WRITES_ITS_ROOT)


@services
def test_ports_are_bound_to_loopback_by_default(name):
    for port in SERVICES[name].get("ports", ()):
        assert port.startswith("${BIND_ADDRESS:-127.0.0.1}:")


def test_only_what_people_use_has_a_port():
    assert {name for name, service in SERVICES.items() if service.get("ports")} == {
        "api-server",
        "elasticsearch",
        "kibana",
    }


@services
def test_every_image_is_pinned(name):
    image = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", SERVICES[name]["image"])
    assert re.fullmatch(r"[\w./-]+:\d+\.\d+(\.\d+)?[\w.-]*", image), image
    assert "latest" not in image


@services
def test_every_service_has_limits_and_says_how_it_is(name):
    service = SERVICES[name]
    assert set(service["deploy"]["resources"]["limits"]) == {"cpus", "memory"}
    assert ("healthcheck" in service, service["restart"]) == (
        (False, "no") if name in ONCE else (True, "unless-stopped")
    )


@services
def test_no_secret_stands_in_the_file(name):
    for key, value in environment(name).items():
        if re.search(r"PASSWORD|SECRET_KEY|JWT_SECRET|FERNET|TOKEN", key):
            assert key.endswith(("_CMD", "_FILE")), key
        assert not re.search(r"://[^/\s]*:[^@/\s]+@", value), key


def test_the_keys_of_others_are_mounted_by_nobody():
    mounted = {}
    for name, service in SERVICES.items():
        for volume in service.get("volumes", ()):
            if str(volume).startswith("keys-"):
                mounted.setdefault(str(volume).split(":")[0], set()).add(name)
                assert name == "keys" or str(volume).endswith(":ro")
    assert mounted
    for volume, readers in mounted.items():  # which service may see what: test_least_privilege.py
        assert readers == {"keys", volume.removeprefix("keys-")}
    folders = re.findall(r"(?<= )/keys/([a-z-]+)", (ROOT / "Dockerfile").read_text())
    assert {f"keys-{name}" for name in folders if name != "all"} == set(mounted)


def test_every_option_that_the_file_sets_is_one():
    for name in ("relay", "watcher", "elk-setup", "kibana-setup"):
        found = load_settings(environ=environment(name))
        assert found.core.environment == "prod"
        assert found.relay.sinks == ("elasticsearch",)


def test_every_variable_is_explained_and_every_explained_one_is_used():
    text = (ROOT / "docker-compose.yml").read_text()
    example = (ROOT / ".env.example").read_text()
    used = set(re.findall(r"\$\{(\w+)(?::-|\})", text)) - {"HOSTNAME"}
    explained = dict(re.findall(r"^([A-Z_]+)=(.*)$", example, re.MULTILINE))
    assert used | {"COMPOSE_PROFILES"} == set(explained)
    defaults = dict(re.findall(r"\$\{(\w+):-([^}]*)\}", text))
    assert {name: explained[name] for name in defaults} == defaults


def test_what_a_service_waits_for_exists_in_its_profile():
    for name, service in SERVICES.items():
        for other, how in service.get("depends_on", {}).items():
            optional = how.get("required") is False
            assert other in SERVICES
            if not optional:
                assert set(SERVICES[other].get("profiles", ())) <= set(service.get("profiles", ())), (name, other)
            if how["condition"] == "service_healthy":
                assert "healthcheck" in SERVICES[other]
            if how["condition"] == "service_completed_successfully":
                assert other in ONCE


def test_what_runs_tasks_waits_for_the_api_server_that_they_report_to():
    running = {name for name, service in SERVICES.items() if "worker" in service.get("command", ())}
    assert running == {"worker"}
    assert SERVICES["worker"]["depends_on"]["api-server"] == {"condition": "service_healthy"}


def test_airflows_settings_of_the_file_exist_in_airflow():
    from airflow.configuration import conf

    described = conf.configuration_description
    for key in [*environment("scheduler"), *read_env_file(ROOT / "config" / "airflow.env")]:
        if key.startswith("AIRFLOW__"):
            _, section, option = key.lower().split("__")
            option = option.removesuffix("_cmd")
            if section == "usage_data_collection":  # gone since Airflow 3.2, set for those before
                continue
            assert option in described.get(section, {}).get("options", {}) or conf.has_option(section, option), key


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    folder = tmp_path_factory.mktemp("keys")
    for _ in range(2):
        subprocess.run([sys.executable, ROOT / "deploy/compose/first_start.py", folder], check=True)
    return folder


def content(folder):
    return {path.relative_to(folder): path.read_text() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_secrets_are_made_once_and_kept(keys):
    before = content(keys)
    made = {path: text for path, text in before.items() if path.parts[0] == "all"}
    subprocess.run([sys.executable, ROOT / "deploy/compose/first_start.py", keys], check=True)
    assert content(keys) == before
    assert len(set(made.values())) == len(made) > 20


def test_secrets_are_readable_by_user_and_group_only(keys):
    modes = {stat.S_IMODE(path.stat().st_mode) for path in keys.rglob("*") if path.is_file()}
    assert modes == {0o440, 0o400}


def test_every_key_that_a_service_reads_is_made(keys):
    wanted = {
        f"{name}/{file}"
        for name, service in SERVICES.items()
        if name != "keys"
        for file in re.findall(r"/keys/([\w.]+\w)", yaml.safe_dump(service, width=10_000))
    }
    assert len(wanted) > 30
    assert wanted <= {str(path) for path in content(keys)}


def test_connections_open_with_the_passwords_that_the_servers_have(keys):
    found = {}
    for path in keys.glob("*/connections.json"):
        found |= json.loads(path.read_text())
    users = keys / "elk-users"
    assert found["warehouse"]["password"] == (keys / "postgres/warehouse").read_text()
    for name in ("elasticsearch_default", "elasticsearch_setup", "kibana_setup"):
        assert found[name]["password"] == (users / found[name]["login"]).read_text()
    people = json.loads((keys / "api-server/passwords.json").read_text())
    assert found["airflow_api"]["password"] == people[found["airflow_api"]["login"]]
    assert {connection["host"] for connection in found.values()} <= set(SERVICES)


@pytest.mark.parametrize("server", ["elasticsearch", "kibana"])
def test_a_client_that_trusts_our_authority_trusts_the_servers_and_nobody_else(keys, server):
    import socket
    import ssl
    import threading

    offered = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    offered.load_cert_chain(keys / server / f"{server}.crt", keys / server / f"{server}.key")
    ours, theirs = socket.socketpair()

    def serve():
        with theirs, pytest.MonkeyPatch.context():
            try:
                with offered.wrap_socket(theirs, server_side=True) as connection:
                    connection.recv(1)
            except (ssl.SSLError, OSError):
                return

    def handshake(name):
        trust = ssl.create_default_context(cafile=keys / "relay/ca.crt")
        with ours, trust.wrap_socket(ours, server_hostname=name) as connection:
            return connection.version()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        assert handshake(server) == "TLSv1.3"
    finally:
        thread.join()


@pytest.mark.parametrize(
    ("user", "privileges"),
    [
        # maintenance: to refresh, where a reply was lost and what arrived is looked up
        ("contrail_relay", {"create_doc", "auto_configure", "read", "maintenance"}),
        ("contrail_reader", {"read", "view_index_metadata"}),
        ("contrail_watcher", {"read", "view_index_metadata"}),
    ],
)
def test_a_user_of_elasticsearch_may_append_or_read_and_no_more(user, privileges):
    sys.path.insert(0, str(ROOT / "deploy/compose"))
    import elk

    role = elk.ROLES[user]
    alerts = {ALERT_INDEX} if user == "contrail_watcher" else set()
    assert role["cluster"] == ["monitor"]
    for part in role["indices"]:
        assert set(part["privileges"]) == privileges
        assert set(part["names"]) - alerts == {spec.stream("*") for spec in DATASETS.values()}


def test_the_roles_follow_the_index_prefix_of_a_company():
    code = "import elk; print(*(name for role in elk.ROLES.values() for name in role['indices'][0]['names']))"
    environ = {**os.environ, "CONTRAIL_ELASTICSEARCH__INDEX_PREFIX": "acme-", "PYTHONPATH": str(ROOT)}

    answer = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT / "deploy/compose",
        env=environ,
        capture_output=True,
        text=True,
        check=True,
    )

    streams = {spec.stream("*", "acme-") for spec in DATASETS.values()}
    assert set(answer.stdout.split()) == {*streams, f"acme-{ALERT_INDEX}"}


def test_users_of_elasticsearch_are_set_by_its_security_api():
    import elk
    import httpx

    asked = []

    def answer(request):
        asked.append((request.method, request.url.path, json.loads(request.content or b"null")))
        return httpx.Response(404 if request.method == "DELETE" else 200, json={})

    with httpx.Client(base_url="https://elasticsearch:9200", transport=httpx.MockTransport(answer)) as client:
        elk.set_up(client, {"kibana_system": "k"} | {user: f"p-{user}" for user in elk.USERS})
    assert asked[1:] == [
        ("PUT", "/_security/user/kibana_system/_password", {"password": "k"}),
        *(("PUT", f"/_security/role/{role}", body) for role, body in elk.ROLES.items()),
        *(
            ("PUT", f"/_security/user/{user}", {"password": f"p-{user}", "roles": roles})
            for user, roles in elk.USERS.items()
        ),
        ("DELETE", "/_security/user/contrail", None),
        ("DELETE", "/_security/role/contrail", None),
    ]


OWN_COMMANDS = {
    name: service["command"][1:]
    for name, service in SERVICES.items()
    if service.get("command", [""])[0] == "contrail" and service["command"][1] != "tee"  # those run in test_topology
}


@pytest.mark.parametrize("name", sorted(OWN_COMMANDS))
def test_the_commands_of_contrail_are_there(name):
    done = CliRunner().invoke(app, [*OWN_COMMANDS[name], "--help"])
    assert done.exit_code == 0, done.output


def test_the_image_runs_the_command_it_is_given_and_no_other():
    """The base image's entry point takes what it does not know for a command of Airflow's, and waits for a database."""
    assert 'ENTRYPOINT ["/usr/bin/dumb-init", "--"]' in (ROOT / "Dockerfile").read_text().splitlines()


@pytest.mark.parametrize("name", ["api-server", "scheduler", "dag-processor", "triggerer", "worker"])
def test_what_a_component_says_is_kept_where_the_relay_reads_it(name):
    kept = f"{SERVICES[name]['command'][2]}/host.log"
    stream = log_stream(kept, "host", "test")
    assert f'"airflow.component":"{name}"'.encode() in stream.prefix
    assert "logs:/opt/airflow/logs" in SERVICES[name]["volumes"]
    assert "logs:/opt/airflow/logs" in SERVICES["relay"]["volumes"]


def test_the_shell_that_makes_databases_is_correct():
    subprocess.run(["sh", "-n", ROOT / "deploy/compose/databases.sh"], check=True)


def test_the_dockerfile_installs_by_hash_and_ends_as_no_root():
    text = (ROOT / "Dockerfile").read_text()
    assert "--require-hashes" in text
    assert [line.split()[1] for line in text.splitlines() if line.startswith("USER")][-1] == "50000:0"
    for source in re.findall(r"^COPY (?!--from)(?:--chown=\S+ )?(.+) \S+$", text, re.MULTILINE):
        for path in shlex.split(source):
            assert (ROOT / path).exists(), path
    lock = (ROOT / "requirements/production.lock").read_text()
    assert "--index-url" not in lock
    assert "--extra-index-url" not in lock
    assert re.search(r"^apache-airflow==3\.3\.2 ", lock, re.MULTILINE)
    assert "apache/airflow:3.3.2" in text


def test_the_image_builds_from_what_its_dockerfile_copies(tmp_path):
    """The wheel needs no file of the checkout that the build stage leaves out or ``.dockerignore`` hides."""
    build = (ROOT / "Dockerfile").read_text().split("\nFROM ")[1].partition("WORKDIR")[2]
    sources = re.findall(r"^COPY (?:--chown=\S+ )?(.+) \S+$", build, re.MULTILINE)
    seen = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert sources
    for source in (path for line in sources for path in shlex.split(line)):
        assert source in seen
        target = tmp_path / source
        target.parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if (ROOT / source).is_dir() else shutil.copy)(ROOT / source, target)
    (tmp_path / "out").mkdir()
    command = [sys.executable, "-c", "import hatchling.build as b; b.build_wheel('out')"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
