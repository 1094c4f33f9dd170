"""Make Airflow's database with DAGs and, under FAB's auth manager, the users of :mod:`test_rights` with their roles.

One process does all of it: each that imports Airflow takes seconds of CPU.
"""

from __future__ import annotations

import sys

from airflow.cli.cli_parser import get_parser
from airflow.configuration import conf
from airflow.models.dag import DagModel
from airflow.models.dagbundle import DagBundleModel
from airflow.utils.session import create_session
from auth_manager import BARE_RUNS, EDITORS, LISTED, NO_ASSETS, ONLY_RUNS, PASSWORD

SUB_ENTITIES = ("DAG Runs", "Task Instances", "Task Logs")
VIEWS = ("Website", "Cluster Activity", "ImportError", "Pools", "Assets")


def migrate():
    arguments = get_parser().parse_args(["db", "migrate"])
    arguments.func(arguments)


def add_dags(dags):
    with create_session() as session:
        session.add(DagBundleModel(name="dags-of-the-test"))
        session.flush()
        for dag in dags:
            session.add(DagModel(dag_id=dag, bundle_name="dags-of-the-test", fileloc=f"/{dag}.py", is_stale=False))


def add_users(dags):
    """The roles as FAB's own pages make them: one for each reader, sub-entities for all DAGs, one by one or at once."""
    from airflow.providers.fab.auth_manager.cli_commands.utils import get_application_builder

    with get_application_builder() as builder:
        manager = builder.sm
        manager.sync_roles()
        for name, listed in LISTED.items():
            names = ("DAGs",) if listed is None else [f"DAG:{dag}" for dag in listed]
            parts = SUB_ENTITIES[: 1 if name in BARE_RUNS else 2 if name in ONLY_RUNS else 3]
            views = [view for view in VIEWS if view != "Assets" or name not in NO_ASSETS]
            role = manager.add_role(f"role-of-{name}")
            for resource in (*names, *parts, *(views if listed is None else ("Website",))):
                manager.add_permission_to_role(role, manager.create_permission("can_read", resource))
            assert manager.add_user(name, name, name, f"{name}@example.org", role, PASSWORD)
        for name, dag in EDITORS.items():
            role = manager.add_role(f"role-of-{name}")
            for action, names in (("can_read", (*SUB_ENTITIES, "Website")), ("can_edit", SUB_ENTITIES[:2])):
                for resource in (f"DAG:{dag}", *names):
                    manager.add_permission_to_role(role, manager.create_permission(action, resource))
            assert manager.add_user(name, name, name, f"{name}@example.org", role, PASSWORD)


def run_once(name):
    """Have the DAG ``name`` run for real: its first task fails, and the second waits for it in vain."""
    from airflow.models.serialized_dag import SerializedDagModel
    from airflow.sdk import DAG, task
    from airflow.serialization.serialized_objects import LazyDeserializedDAG

    with DAG(name, schedule=None) as dag:

        @task
        def load():
            raise ValueError("no such table: orders")

        @task
        def publish():
            pass

        load() >> publish()
    with create_session() as session:
        SerializedDagModel.write_dag(LazyDeserializedDAG.from_dag(dag), "dags-of-the-test", session=session)
    assert dag.test().state == "failed"


if __name__ == "__main__":
    ran = [name.removeprefix("ran:") for name in sys.argv[1:] if name.startswith("ran:")]
    dags = [name for name in sys.argv[1:] if not name.startswith("ran:")]
    migrate()
    add_dags([*dags, *ran])
    for one in ran:
        run_once(one)
    if conf.get("core", "auth_manager").endswith("FabAuthManager"):
        add_users(dags)
