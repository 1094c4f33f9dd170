from pathlib import Path

import pytest
import yaml

from observability.relay.sources.files.airflow_logs import log_stream

DEPLOY = Path(__file__).parents[2] / "deploy"
TEMPLATES = sorted((DEPLOY / "kubernetes").glob("pod-*.yaml"))
CHART = ("scheduler", "dagProcessor", "triggerer", "apiServer", "workers")
"""The containers that write events in a pod of the official chart."""
template = pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.stem)


def documents(path):
    return list(yaml.safe_load_all(path.read_text()))


def pods():
    """Every pod that the files describe."""
    for path in TEMPLATES:
        yield path.stem, documents(path)[0]["spec"]
    for document in documents(DEPLOY / "kubernetes" / "contrail.yaml"):
        if document["kind"] in {"StatefulSet", "Deployment"}:
            yield document["metadata"]["name"], document["spec"]["template"]["spec"]


def without_none(value):
    if isinstance(value, dict):
        return {key: without_none(part) for key, part in value.items() if part is not None}
    return [without_none(part) for part in value] if isinstance(value, list) else value


@template
def test_kubernetes_executor_reads_a_template_and_knows_all_of_it(path):
    from airflow.providers.cncf.kubernetes.pod_generator import PodGenerator
    from kubernetes.client import ApiClient

    pod = PodGenerator.deserialize_model_file(str(path))
    assert without_none(ApiClient().sanitize_for_serialization(pod)) == documents(path)[0]


@template
def test_kubernetes_executor_puts_the_task_into_the_first_container(path):
    from airflow.providers.cncf.kubernetes.pod_generator import PodGenerator

    pod = PodGenerator.deserialize_model_file(str(path))
    assert [container.name for container in pod.spec.containers] == ["base"]
    assert pod.spec.restart_policy == "Never"


def test_the_other_objects_are_known_to_kubernetes_as_well():
    from kubernetes import client

    api = client.ApiClient()
    for document in documents(DEPLOY / "kubernetes" / "contrail.yaml"):
        known = api._ApiClient__deserialize(document, f"V1{document['kind']}")
        assert without_none(api.sanitize_for_serialization(known)) == document


def test_the_relay_runs_beside_the_task_before_it_and_until_after_it():
    spec = documents(DEPLOY / "kubernetes" / "pod-with-relay.yaml")[0]["spec"]
    (relay,) = spec["initContainers"]
    (base,) = spec["containers"]
    assert (relay["restartPolicy"], relay["command"]) == ("Always", ["contrail", "relay"])
    assert relay["volumeMounts"][: len(base["volumeMounts"])] == base["volumeMounts"]
    assert relay["env"][: len(base["env"])] == base["env"]  # the rest is the sink's secret: test_least_privilege.py
    assert spec["terminationGracePeriodSeconds"] > 10


@pytest.mark.parametrize(("name", "spec"), list(pods()), ids=[name for name, _ in pods()])
def test_every_container_is_hardened_and_bounded(name, spec):
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["automountServiceAccountToken"] is False
    for container in [*spec.get("initContainers", []), *spec["containers"]]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
        }, name  # fmt: skip
        assert "memory" in container["resources"]["limits"]
        mounted = {mount["mountPath"] for mount in container["volumeMounts"]}
        assert {"/tmp", "/var/lib/contrail"} <= mounted


def test_the_image_is_the_same_everywhere_and_the_one_of_compose():
    compose = (DEPLOY.parent / "docker-compose.yml").read_text()
    values = documents(DEPLOY / "helm" / "values.yaml")[0]
    images = {c["image"] for _, spec in pods() for c in [*spec.get("initContainers", []), *spec["containers"]]}
    images |= {"{repository}:{tag}".format(**values["images"]["airflow"])}
    images |= {container["image"] for name in CHART for container in values[name]["extraContainers"]}
    assert len(images) == 1
    assert f":-{images.pop()}}}" in compose


def test_settings_of_the_config_map_are_options_and_airflow_options():
    from airflow.configuration import conf

    from observability.settings import load_settings

    data = documents(DEPLOY / "kubernetes" / "contrail.yaml")[0]["data"]
    load_settings(environ=data)
    for key in data:
        if key.startswith("AIRFLOW__"):
            _, section, option = key.lower().split("__")
            assert conf.has_option(section, option), key


@pytest.mark.parametrize("name", CHART)
def test_a_component_of_the_chart_shares_a_home_with_the_relay_beside_it(name):
    component = documents(DEPLOY / "helm" / "values.yaml")[0][name]
    (relay,) = component["extraContainers"]
    assert relay["command"] == ["contrail", "relay"]
    homes = [next(one["value"] for one in part["env"] if one["name"] == "CONTRAIL_HOME") for part in (component, relay)]
    assert homes[0] == homes[1]
    mounted = [
        {one["name"]: one["mountPath"] for one in part}
        for part in (component["extraVolumeMounts"], relay["volumeMounts"])
    ]
    assert mounted[0]["contrail"] == mounted[1]["contrail"] == homes[0]
    assert [one["name"] for one in component["extraVolumes"] if "secret" not in one] == ["contrail"]


@pytest.mark.parametrize("name", CHART)
def test_what_a_component_of_the_chart_says_is_kept_where_its_relay_reads_it(name):
    component = documents(DEPLOY / "helm" / "values.yaml")[0][name]
    shell, flag, line = component["args"]
    folder = line.split()[3]
    assert (shell, flag, line.split()[:3]) == ("bash", "-c", ["exec", "contrail", "tee"])
    assert log_stream(f"{folder}/host.log", "host", "test").dataset == "airflow.component"


def test_what_the_watcher_finds_is_carried_by_the_relay_beside_it():
    (watcher,) = [
        one
        for one in documents(DEPLOY / "kubernetes" / "contrail.yaml")
        if one["metadata"]["name"] == "contrail-watcher"
    ]
    parts = {part["name"]: part for part in watcher["spec"]["template"]["spec"]["containers"]}
    assert parts["relay"]["command"] == ["contrail", "relay"]
    homes = [{one["name"]: one["value"] for one in part["env"]}["CONTRAIL_HOME"] for part in parts.values()]
    assert homes == ["/var/lib/contrail"] * 2
    assert "CONTRAIL_STATSD__HOST" not in {one["name"] for one in parts["watcher"]["env"]}  # its relay listens there
