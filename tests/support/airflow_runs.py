"""Runs on the shared platform, and the events that they left."""

from __future__ import annotations

from dataclasses import dataclass, field

import orjson
from airflow_platform import wait_until

from observability.journal import frames

DONE = ("success", "failed")


@dataclass
class Run:
    """A run of a DAG on the shared platform."""

    platform: object
    dag_id: str
    run_id: str
    api: object = field(repr=False)

    @property
    def path(self):
        return f"/dags/{self.dag_id}/dagRuns/{self.run_id}"

    def state(self):
        return self.api.call("GET", self.path)["state"]

    def events(self, action=None, task_id=None):
        """Documents of the journal about this run, in the order of their time."""
        found = [
            document
            for document in journal_of(self.platform)
            if document.get("airflow.dag_id") == self.dag_id
            and document.get("airflow.run_id") == self.run_id
            and action in (None, document["event.action"])
            and task_id in (None, document.get("airflow.task_id"))
        ]
        return sorted(found, key=lambda document: document["@timestamp"])

    def log(self, task_id, try_number=1, map_index=-1):
        """The lines that the UI shows, without the header that Airflow puts above them."""
        answer = self.api.call(
            "GET", f"{self.path}/taskInstances/{task_id}/logs/{try_number}", params={"map_index": map_index}
        )
        lines = answer["content"]
        head = next(i for i, line in enumerate(lines) if line["event"] == "::endgroup::")
        return lines[head + 1 :]


def journal_of(platform):
    files = sorted((platform.layout.home / "journal").glob("*.journal"))
    return [
        orjson.loads(found.document)
        for file in files
        for found in frames(file.read_bytes())
        if found.document and b'"event.action"' in found.document
    ]


def appear(api, dag_id):
    """Wait until Airflow has read the DAG."""
    wait_until(lambda: any(dag["dag_id"] == dag_id for dag in api.pages("/dags", "dags")), within=60)


def pause(api, dag_id):
    appear(api, dag_id)
    api.call("PATCH", f"/dags/{dag_id}", json={"is_paused": True})


def trigger(platform, api, dag_id, **body):
    """A new run of the DAG, as soon as Airflow has it."""
    appear(api, dag_id)
    made = api.call("POST", f"/dags/{dag_id}/dagRuns", json={"logical_date": None, **body})
    return Run(platform, dag_id, made["dag_run_id"], api)
