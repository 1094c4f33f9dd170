"""Tables of who may read which secret: a service, pod or secret without an entry fails, and so does one too many."""

import json
import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
SERVICES = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
KEYS = ROOT / "deploy/compose/first_start.py"

READS = {
    "init": {"sql_alchemy_conn", "fernet_key"},
    "api-server": {
        "sql_alchemy_conn", "fernet_key", "jwt_secret", "api_secret_key", "passwords.json", "connections.json",
        "ca.crt",
    },
    "scheduler": {"sql_alchemy_conn", "fernet_key", "jwt_secret", "broker_url", "result_backend"},
    "dag-processor": {"sql_alchemy_conn", "fernet_key", "connections.json"},
    "triggerer": {"sql_alchemy_conn", "fernet_key", "connections.json"},
    "worker": {"sql_alchemy_conn", "broker_url", "result_backend", "connections.json"},
    "relay": {"connections.json", "ca.crt"},
    "watcher": {"connections.json", "variables.json", "pgpass", "ca.crt"},
    "postgres": {"superuser", "airflow", "contrail", "warehouse"},
    "valkey": {"password"},
    "elasticsearch": {"elastic", "elasticsearch.key", "elasticsearch.crt", "ca.crt"},
    "elk-users": {
        "elastic", "kibana_system", "contrail_relay", "contrail_reader", "contrail_watcher", "contrail_setup",
        "contrail_boards", "ca.crt",
    },
    "elk-setup": {"connections.json", "ca.crt"},
    "kibana": {"kibana_system", "encryption", "kibana.key", "kibana.crt", "ca.crt"},
    "kibana-setup": {"connections.json", "ca.crt"},
    "cloudwatch-setup": {"connections.json"},
    "localstack": set(),
}  # fmt: skip
"""Service of the compose file → the files that it sees."""
DAG_CODE = {"dag-processor", "triggerer", "worker"}
DATABASE = {"init", "api-server", "scheduler"} | DAG_CODE
HOLD = {
    "fernet_key": {"init", "api-server", "scheduler", "dag-processor", "triggerer"},
    "jwt_secret": {"api-server", "scheduler"},
    "api_secret_key": {"api-server"},
    "admin": {"api-server"},
    "watcher": {"api-server", "watcher"},
    "postgres": {"postgres"},
    "postgres_airflow": {"postgres"} | DATABASE,
    "postgres_contrail": {"postgres", "watcher"},
    "postgres_warehouse": {"postgres"} | DAG_CODE,
    "valkey": {"valkey", "scheduler", "worker"},
    "elastic": {"elasticsearch", "elk-users"},
    "kibana_system": {"kibana", "elk-users"},
    "encryption": {"kibana"},
    "contrail_relay": {"elk-users", "relay"},
    "contrail_reader": {"elk-users", "api-server"},
    "contrail_watcher": {"elk-users", "watcher"},
    "contrail_setup": {"elk-users", "elk-setup"},
    "contrail_boards": {"elk-users", "kibana-setup"},
    "elasticsearch.key": {"elasticsearch"},
    "kibana.key": {"kibana"},
}
"""Secret → the services in whose files it stands, under whatever name and in whatever form."""
PUBLIC = {"ca.crt", "elasticsearch.crt", "kibana.crt"}

COMPONENTS = {"scheduler", "dagProcessor", "triggerer", "apiServer", "workers"}
MOUNTS = {
    ("contrail-relay", "relay"): {"contrail-sink"},
    ("contrail-watcher", "watcher"): {"contrail-watcher"},
    ("contrail-watcher", "relay"): {"contrail-sink"},
    ("pod-with-relay", "relay"): {"contrail-sink"},
    ("pod-with-relay", "base"): set(),
    ("pod-without-relay", "base"): {"contrail-sink"},
    **{(name, "relay"): {"contrail-sink"} for name in COMPONENTS},
    **{(name, "component"): {"contrail-reader"} if name == "apiServer" else set() for name in COMPONENTS},
}
"""Pod and container of the Kubernetes manifests → the Secrets that it sees."""
services = pytest.mark.parametrize("name", sorted(SERVICES))


def start(folder):
    subprocess.run([sys.executable, KEYS, folder], check=True)
    return folder


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    return start(tmp_path_factory.mktemp("keys"))


def secret_volumes(name):
    return [volume for volume in SERVICES[name].get("volumes", ()) if volume.startswith("keys")]


def test_every_service_is_in_the_table():
    assert set(READS) | {"keys"} == set(SERVICES)


@services
def test_a_service_mounts_its_own_secrets_and_no_others(name):
    mounted = secret_volumes(name)
    if name == "keys":
        assert set(mounted) == {"keys:/keys/all", *(f"keys-{one}:/keys/{one}" for one in READS if READS[one])}
        assert SERVICES[name]["network_mode"] == "none"
        return
    expected = {f"keys-{name}:/keys:ro"} if READS[name] else set()
    if name == "elasticsearch":  # its security manager reads certificates below its configuration only
        expected.add("keys-elasticsearch:/usr/share/elasticsearch/config/keys:ro")
    assert set(mounted) == expected
    assert not {"secrets", "configs", "volumes_from"} & set(SERVICES[name])


def test_a_volume_holds_what_its_service_reads_and_nothing_else(keys):
    found = {folder.name: {path.name for path in folder.iterdir()} for folder in keys.iterdir()}
    originals = found.pop("all")
    assert found == {name: files for name, files in READS.items() if files}
    assert originals == set(HOLD) | PUBLIC


@services
def test_what_a_service_names_is_there_and_what_is_there_is_named(name, keys):
    if name in {"keys", "localstack"}:
        return
    text = yaml.safe_dump(SERVICES[name], width=10_000)
    named = set(re.findall(r"/(?:keys|config/keys)/([\w.]+\w)", text))
    assert named <= READS[name]
    text += "".join(path.read_text() for path in (keys / name).glob("connections.json"))
    for script in ("databases.sh", "elk.py"):
        if script in text:
            text += (ROOT / "deploy/compose" / script).read_text()
    assert [file for file in READS[name] if not re.search(rf"\b{re.escape(file)}\b", text)] == []


@pytest.mark.parametrize("secret", sorted(HOLD))
def test_a_secret_stands_in_the_files_of_its_readers_only(secret, keys):
    value = (keys / "all" / secret).read_text()
    holders = {
        path.parent.name
        for path in keys.rglob("*")
        if path.is_file() and path.parent.name != "all" and value in path.read_text()
    }
    assert holders == HOLD[secret]


@services
def test_no_secret_is_in_the_environment_of_a_service(name):
    for key, value in (SERVICES[name].get("environment") or {}).items():
        assert not key.startswith("AIRFLOW_CONN_"), key
        if re.search(r"PASS|SECRET_KEY|JWT_SECRET|FERNET|TOKEN|SQL_ALCHEMY_CONN|BROKER_URL|RESULT_BACKEND", key):
            assert re.search(r"_CMD$|_FILE$|^PGPASSFILE$", key), key
            assert str(value).removeprefix("cat ").startswith("/keys/"), key


def test_modes_let_user_and_group_read_and_nobody_write(keys):
    for path in keys.rglob("*"):
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode == (0o750 if path.is_dir() else 0o400 if path.name == "pgpass" else 0o440), path


def test_what_people_add_stays_and_what_is_ours_follows_the_original(tmp_path):
    start(tmp_path)
    path = tmp_path / "worker/connections.json"
    own = {"conn_type": "http", "host": "theirs"}
    path.chmod(0o600)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"theirs": own}))
    for name in ("postgres_warehouse", "elastic"):
        (tmp_path / "all" / name).chmod(0o600)
        (tmp_path / "all" / name).write_text("changed")
    (tmp_path / "worker/elastic").write_text("left by an older version")
    start(tmp_path)
    found = json.loads(path.read_text())
    assert (found["theirs"], found["warehouse"]["password"]) == (own, "changed")
    assert (tmp_path / "elasticsearch/elastic").read_text() == "changed"
    assert {one.name for one in path.parent.iterdir()} == READS["worker"]


@pytest.mark.parametrize(
    ("name", "found", "refused"),
    [
        ("relay", "elasticsearch_default", "airflow_api"),
        pytest.param("watcher", "airflow_api", "warehouse", marks=pytest.mark.slow),
        ("worker", "warehouse", "airflow_api"),
        pytest.param("kibana-setup", "kibana_setup", "elasticsearch_setup", marks=pytest.mark.slow),
    ],
)
def test_airflow_finds_the_connections_of_a_service_and_no_others(name, found, refused, keys, tmp_path):
    environment = {
        key: re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", str(value)).replace("/keys/", f"{keys / name}/")
        for key, value in SERVICES[name]["environment"].items()
    }
    environment["AIRFLOW_HOME"] = environment["CONTRAIL_HOME"] = str(tmp_path)
    environment.pop("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_CMD", None)  # no PostgreSQL here: an empty SQLite

    asked = "import sys; from observability.airflow.connections import main; main(); del sys.argv[1]; main()"
    done = subprocess.run(
        [sys.executable, "-c", asked, found, refused], env={"PATH": os.environ["PATH"], **environment},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert json.loads(done.stdout.splitlines()[-1])["password"], done.stderr
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(f"there is no Airflow Connection '{refused}'")


def test_the_watcher_may_only_look_at_airflow():
    users = dict(
        one.split(":")
        for one in SERVICES["api-server"]["environment"]["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS"].split(",")
    )
    assert users == {"admin": "admin", "watcher": "viewer"}
    asked = (ROOT / "observability/watch/sources/api.py").read_text()
    assert set(re.findall(r'"(POST|PUT|PATCH|DELETE)", f?"([^"]+)', asked)) == {("POST", "/auth/token")}


def test_nobody_but_the_one_who_makes_users_is_superuser_of_elasticsearch():
    sys.path.insert(0, str(ROOT / "deploy/compose"))
    import elk

    assert set(elk.USERS) == {f"contrail_{name}" for name in ("relay", "reader", "watcher", "setup", "boards")}
    assert not {"superuser", "elastic"} & {role for roles in elk.USERS.values() for role in roles}
    for role in elk.ROLES.values():
        assert not {"all", "manage", "manage_security"} & set(role["cluster"])
        for part in role["indices"]:
            assert set(part["names"]) <= {*elk._STREAMS, elk._ALERTS}


# --- Kubernetes ------------------------------------------------------------------------------------------------------


def documents(path):
    return list(yaml.safe_load_all((ROOT / "deploy" / path).read_text()))


def specs():
    """Pod → (its labels, its specification as far as we write it)."""
    for path in sorted((ROOT / "deploy/kubernetes").glob("*.yaml")):
        for one in documents(path):
            if one["kind"] == "Pod":
                yield path.stem, one["metadata"]["labels"], one["spec"]
            elif "template" in one.get("spec", {}):
                template = one["spec"]["template"]
                yield one["metadata"]["name"], template["metadata"]["labels"], template["spec"]
    for name, part in documents("helm/values.yaml")[0].items():
        if isinstance(part, dict) and {"extraVolumes", "extraContainers"} & set(part):
            own = {"name": "component", "env": part.get("env", []), "volumeMounts": part["extraVolumeMounts"]}
            spec = {"containers": [own, *part["extraContainers"]], "volumes": part["extraVolumes"]}
            yield name, {"tier": "airflow", "component": name}, spec


def containers(spec):
    return [*spec.get("initContainers", []), *spec["containers"]]


def test_a_container_sees_the_secrets_of_the_table():
    found = {}
    for pod, _, spec in specs():
        secret = {one["name"]: one["secret"] for one in spec["volumes"] if "secret" in one}
        assert all(one["defaultMode"] == 0o440 for one in secret.values()), pod
        assert "shareProcessNamespace" not in spec
        assert not [one for one in spec["volumes"] if "projected" in one or "hostPath" in one]
        for container in containers(spec):
            mounts = [mount for mount in container["volumeMounts"] if mount["name"] in secret]
            assert all(mount["readOnly"] for mount in mounts), pod
            found[pod, container["name"]] = {secret[mount["name"]]["secretName"] for mount in mounts}
    assert found == MOUNTS


def test_no_secret_is_in_the_environment_of_a_container():
    values = documents("helm/values.yaml")[0]
    given = [one for _, _, spec in specs() for container in containers(spec) for one in container.get("envFrom", [])]
    given += yaml.safe_load(values["extraEnvFrom"])
    assert all(set(one) == {"configMapRef"} for one in given)
    variables = [one for _, _, spec in specs() for container in containers(spec) for one in container.get("env", [])]
    variables += values["env"]
    (shared,) = [one["data"] for one in documents("kubernetes/contrail.yaml") if one["kind"] == "ConfigMap"]
    variables += [{"name": name, "value": value} for name, value in shared.items()]
    for one in variables:
        assert set(one) == {"name", "value"}
        assert not one["name"].startswith(("AIRFLOW_CONN_", "AIRFLOW_VAR_")), one["name"]
        assert not re.search(r"://[^/\s]*:[^@/\s]+@", str(one["value"])), one["name"]
    assert not {"extraSecrets", "extraEnv", "secret"} & set(values)


def test_connections_are_read_from_a_file_that_the_container_mounts():
    for pod, _, spec in specs():
        for container in containers(spec):
            variables = {one["name"]: one["value"] for one in container.get("env", [])}
            files = json.loads(variables.get("AIRFLOW__SECRETS__BACKEND_KWARGS", "{}"))
            secret = {f"/etc/{name}" for name in MOUNTS[pod, container["name"]]}
            assert {os.path.dirname(path) for path in files.values()} == secret, pod  # noqa: PTH120 - paths of a pod
            mounted = {mount["mountPath"] for mount in container["volumeMounts"]}
            assert secret <= mounted


def selects(selector, labels):
    wanted = selector.get("matchLabels", {}).items() <= labels.items()
    return wanted and all(
        one["operator"] == "In" and labels.get(one["key"]) in one["values"]
        for one in selector.get("matchExpressions", [])
    )


def policies(labels):
    return [
        one["spec"]
        for one in documents("kubernetes/contrail.yaml")
        if one["kind"] == "NetworkPolicy" and selects(one["spec"]["podSelector"], labels)
    ]


def test_a_pod_of_ours_is_reached_on_its_port_by_those_who_need_it():
    reached = {}
    for pod, labels, spec in specs():
        listens = any(
            one == {"name": "CONTRAIL_RELAY__STATSD_HOST", "value": "0.0.0.0"}
            for container in containers(spec)
            for one in container.get("env", [])
        )
        if labels.get("app.kubernetes.io/component") in {"relay", "watcher"}:
            (policy,) = policies(labels)
            assert policy["policyTypes"] == ["Ingress"]
            reached[pod] = [port for rule in policy.get("ingress", []) for port in rule["ports"]]
            assert bool(reached[pod]) == listens, pod
        else:
            assert not listens, pod  # nothing but its own pod reaches it
    assert reached == {"contrail-relay": [{"protocol": "UDP", "port": 8125}], "contrail-watcher": []}


@pytest.mark.parametrize(
    ("labels", "may"),
    [
        *(({"tier": "airflow", "component": one, "release": "airflow"}, True) for one in ("scheduler", "worker")),
        *(({"tier": "airflow", "component": one}, True) for one in ("api-server", "dag-processor", "triggerer")),
        ({"app.kubernetes.io/name": "contrail", "app.kubernetes.io/component": "task", "dag_id": "d"}, True),
        ({"app.kubernetes.io/name": "contrail", "app.kubernetes.io/component": "watcher"}, False),
        ({"tier": "airflow", "component": "postgresql"}, False),
        ({"component": "scheduler"}, False),
        ({"app.kubernetes.io/component": "task"}, False),
        ({}, False),
    ],
)
def test_statsd_takes_from_components_and_tasks_only(labels, may):
    (policy,) = policies({"app.kubernetes.io/name": "contrail", "app.kubernetes.io/component": "relay"})
    (rule,) = policy["ingress"]
    assert all(set(peer) == {"podSelector"} for peer in rule["from"])
    assert any(selects(peer["podSelector"], labels) for peer in rule["from"]) is may
