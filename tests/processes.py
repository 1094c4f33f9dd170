"""Share the tests out among several processes: each server starts once, and the longest groups begin first."""

from __future__ import annotations

from pathlib import Path

from _pytest.nodeid import NodeId

__all__ = ["by_length", "name_process", "process_of"]

SERVERS = ("postgresql_server", "elasticsearch_node", "platform", "demo")
"""Fixtures that start a server for a whole session: their tests stay in one process, so that each starts once."""

NODES = {"store": "elasticsearch 2", "dashboards": "elasticsearch 2"}
"""Two nodes, by the folder of the tests, because those of one node would take longer than all others together."""

SPLIT = frozenset({"airflow/ui/test_rights.py", "airflow/ui/test_acts.py"})
"""Files in which each parameter starts a server of its own."""

BESIDE = {
    "airflow/ui/test_acts_in_a_browser.py": "airflow/ui/test_acts.py",
    "airflow/ui/test_attacks.py": "airflow/ui/test_acts.py",
    "airflow/ui/test_live_pages.py": "airflow/ui/test_acts.py",
}
"""Files whose tests use the server of another one, which starts once for both."""

LONGEST = (
    "postgresql_server", "elasticsearch 1", "demo", "test_redact.py",  # four processes begin with these
    "elasticsearch_node", "airflow/ui/test_rights.py fab", "elasticsearch 2", "platform",
    "airflow/ui/test_rights.py keycloak", "airflow/ui/test_rights.py simple",
    "airflow/ui/test_acts.py fab", "airflow/ui/test_acts.py simple", "airflow/ui/test_access.py",
    "airflow/ui/test_rights_unknown.py", "dags/test_canary_rounds.py", "watch/test_store_source.py",
    "production/test_least_privilege.py", "production/test_secrets.py", "airflow/test_preload.py",
    "watch/test_watcher.py", "airflow/ui/test_addresses.py", "dags/test_integrity.py", "watch/test_trials.py",
    "airflow/test_example_dags.py", "relay/sources/test_statsd_spool.py", "production/test_modes.py",
    "watch/test_baseline.py",
    "watch/test_channels.py", "watch/test_apprise_services.py", "watch/test_engine.py", "watch/test_bad_answers.py",
    "relay/sources/test_statsd.py", "relay/test_relay.py", "relay/test_soak.py", "store/test_cloudwatch_memory.py",
    "relay/test_delivery_state.py", "relay/test_sink_worker_machine.py", "relay/sinks/test_cloudwatch.py",
    "benchmarks/test_framework.py", "cli/test_doctor.py", "dashboards/test_install_kibana.py",
)  # fmt: skip
"""Groups of more than ten seconds, the longest first: one that began last would keep a single process busy.

Two of the first four start an Airflow, and no more: three that start at once on two cores starve each other.
"""

_TESTS = Path(__file__).parent


def process_of(item):
    """The group whose tests share a process with this one: those of the same server, else of the same file."""
    path = item.path.relative_to(_TESTS) if item.path.is_relative_to(_TESTS) else Path(item.path.name)
    parameters = getattr(item, "callspec", None)
    words = [value for value in parameters.params.values() if isinstance(value, str)] if parameters else []
    if server := next((name for name in SERVERS if name in item.fixturenames), None):
        return server
    asks_later = "elasticsearch" in words and item.get_closest_marker("elasticsearch") is not None
    if asks_later or "elasticsearch_url" in item.fixturenames:
        return NODES.get(path.parts[0], "elasticsearch 1")
    file = BESIDE.get(str(path), str(path))
    return " ".join([file, *words]) if file in SPLIT else file


def name_process(item):
    """Put the group's name behind the test's id, where the process that hands tests out looks for it.

    pytest-xdist 3.8 does so in an attribute that pytest 9.2 no longer reads; every process then starts every server.
    """
    if not item.nodeid.endswith(f"@{_group(item)}"):
        item._id = NodeId.parse(f"{item.nodeid}@{_group(item)}")


def by_length(items):
    """Sort in place by when the group should begin; within a group, and where nothing is known, the order stays."""
    rank = {name: number for number, name in enumerate(LONGEST)}
    first = {}
    for item in items:
        first.setdefault(_group(item), len(first))
    items.sort(key=lambda item: (rank.get(_group(item), len(rank)), first[_group(item)]))


def _group(item):
    return item.get_closest_marker("xdist_group").args[0]
