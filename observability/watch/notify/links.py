"""The addresses that a message gives: our pages, Airflow, Kibana, CloudWatch, the runbook."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

from observability.events import base_iteration, region_of
from observability.runbooks import runbook_address, runbook_page
from observability.watch.notify import render

if TYPE_CHECKING:
    from observability.settings import Settings
    from observability.watch.incidents import Incident
    from observability.watch.rules.config import AlertingConfig

__all__ = ["Links"]


@dataclass(frozen=True, slots=True)
class Links:
    """Addresses of the places where one looks further; empty ones are left out."""

    airflow: str = ""
    kibana: str = ""
    cloudwatch_region: str = ""
    cloudwatch_group: str = ""
    runbooks: str = ""
    acts: bool = False

    @classmethod
    def of(cls, settings: Settings, rules: AlertingConfig) -> Links:
        """The links that the settings allow for."""
        aws = "cloudwatch" in settings.relay.sinks or settings.store.backend == "cloudwatch"
        group = f"{settings.cloudwatch.log_group_prefix}/{settings.core.environment}/airflow.task"
        return cls(
            airflow=settings.public_url,
            kibana=settings.core.kibana_url.rstrip("/"),
            cloudwatch_region=settings.cloudwatch.region if aws else "",
            cloudwatch_group=group,
            runbooks=rules.runbooks or settings.core.runbook_url,
            acts=settings.watch.act_link_hours > 0,
        )

    def to(self, incident: Incident) -> tuple[tuple[str, str], ...]:
        """(label, address) for an incident, the most useful first; only what a browser opens."""
        found = [
            ("Incident", self._incident(incident)),
            ("Contrail", self._contrail(incident)),
            ("Airflow", self._airflow(incident)),
        ]
        found += [("Kibana", self._kibana(incident)), ("CloudWatch Logs", self._cloudwatch(incident))]
        found += [("Runbook", self.runbook(incident))]
        return tuple((label, address) for label, address in found if render.is_web(address))

    def home(self) -> tuple[tuple[str, str], ...]:
        """(label, address) of what is about no incident."""
        return (("Contrail", f"{self.airflow}/contrail/"),) if render.is_web(self.airflow) else ()

    def runbook(self, incident: Incident) -> str:
        """Address of the page that says what to do; "" where it would lead nowhere."""
        page = runbook_page(incident.kind, incident.cause)
        given = str(incident.evidence.get("incident.runbook") or "")
        if render.is_web(given):
            return given
        page = given if re.fullmatch(r"[a-z][a-z-]{2,40}", given) else page
        address = runbook_address(page, served_at=self.runbooks, airflow=self.airflow)
        return address if render.is_web(address) else ""

    def _incident(self, incident: Incident) -> str:
        return f"{self.airflow}/contrail/incidents/{incident.id}" if incident.id else ""

    def _contrail(self, incident: Incident) -> str:
        path = f"{self.airflow}/contrail"
        if not self.airflow or not incident.dag_id:
            return f"{path}/" if self.airflow else ""
        path += f"/dags/{quote(incident.dag_id, safe='', errors='replace')}"
        if incident.run_id:
            path += f"/runs/{quote(incident.run_id, safe='', errors='replace')}"
        if incident.task_id:
            path += f"/tasks/{quote(incident.task_id, safe='', errors='replace')}"
        index = incident.map_index if incident.map_index >= 0 else None
        chosen = {"map_index": index, "iteration": base_iteration(incident.iteration)} if incident.task_id else {}
        query = urlencode({name: value for name, value in chosen.items() if value is not None})
        return f"{path}?{query}" if query else path

    def _airflow(self, incident: Incident) -> str:
        if not incident.dag_id or not self.airflow:
            return self.airflow
        path = f"{self.airflow}/dags/{quote(incident.dag_id, safe='', errors='replace')}"
        if incident.run_id:
            path += f"/runs/{quote(incident.run_id, safe='', errors='replace')}"
        if incident.run_id and incident.task_id:
            path += f"/tasks/{quote(incident.task_id, safe='', errors='replace')}"
            path += f"/mapped/{incident.map_index}" if incident.map_index >= 0 else ""
            if region := region_of(incident.region_id, incident.map_index, incident.iteration):
                path += "?" + urlencode({"region_id": region[0], "region_index": region[1]})
        return path

    def _kibana(self, incident: Incident) -> str:
        if not self.kibana or not incident.dag_id:
            return ""
        asked = [
            ("airflow.dag_id", incident.dag_id),
            ("airflow.run_id", incident.run_id),
            ("airflow.task_id", incident.task_id),
        ]
        kuery = " and ".join(f'{name}: "{_kuery(value)}"' for name, value in asked if value)
        state = f"(query:(language:kuery,query:'{_rison(kuery)}'))"
        return f"{self.kibana}/app/discover#/?_a={quote(state, safe='', errors='replace')}"

    def _cloudwatch(self, incident: Incident) -> str:
        if not self.cloudwatch_region or not incident.dag_id:
            return ""
        asked = [("airflow.dag_id", incident.dag_id), ("airflow.run_id", incident.run_id)]
        where = " and ".join(f"`{name}` = '{_insights(value)}'" for name, value in asked if value)
        query = f"fields @timestamp, event, level | filter {where} | sort @timestamp desc | limit 200"
        region = self.cloudwatch_region
        detail = f"~(editorString~'{_jsurl(query)}~source~(~'{_jsurl(self.cloudwatch_group)}))"
        base = f"https://{region}.console.aws.amazon.com/cloudwatch/home?{urlencode({'region': region})}"
        return f"{base}#logsV2:logs-insights?queryDetail={detail}"


def _kuery(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"')


def _rison(value: str) -> str:
    return value.replace("!", "!!").replace("'", "!'")


def _insights(value: str) -> str:
    return value.replace("\\", "\\\\").replace("'", "\\'")


def _jsurl(value: str) -> str:
    """A string inside CloudWatch's console fragment: everything but letters, digits, ``-_.`` as ``*xx``."""
    return "".join(
        c if c.isascii() and (c.isalnum() or c in "-_.") else "".join(f"*{b:02x}" for b in c.encode("utf-8", "replace"))
        for c in value
    )
