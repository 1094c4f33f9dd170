"""One CloudFormation template: topics, log groups, dashboards, alarms, filters and queries."""

from __future__ import annotations

import json
import re
from typing import Any

from observability import catalog
from observability.dashboards.boards import BOARDS
from observability.dashboards.cloudwatch.alarms import anomaly_detectors, composites, metric_alarms
from observability.dashboards.cloudwatch.boards import dashboards
from observability.dashboards.cloudwatch.filters import metric_filters, saved_queries
from observability.dashboards.names import Account

__all__ = ["template"]

Resource = dict[str, Any]
_RUNBOOK = re.compile(r"\$\{RunbookUrl\}/([a-z-]*)(?:\.md)?")

_PARAMETERS: dict[str, tuple[str, str]] = {
    "Environment": ("dev", "The option [core] environment: the env dimension of every metric."),
    "Namespace": ("Contrail", "The option [cloudwatch] namespace."),
    "LogGroupPrefix": ("/contrail", "The option [cloudwatch] log_group_prefix."),
    "AirflowUrl": (
        "http://127.0.0.1:8080",
        "Address of the Airflow UI as people reach it, without a slash at its end.",
    ),
    "RunbookUrl": (
        "",
        "Address under which docs/runbooks is served, without a slash at its end; empty: our page in Airflow.",
    ),
    "AlertEmail": ("", "Who is notified of composite alarms; empty: subscribe to the topic yourself."),
    "CreateLogGroups": ("true", "false where the relay has created the log groups already."),
}


def template() -> Resource:
    """The template as a JSON object."""
    account = Account()
    resources = {
        **_topics(),
        **_log_groups(account),
        **_dashboards(account),
        **_alarms(account),
        **_logs(account),
    }
    return {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Description": "Contrail: dashboards, alarms, metric filters and queries, generated from "
        "observability/catalog/",
        "Parameters": {
            name: {"Type": "String", "Default": default, "Description": text, **_allowed(name)}
            for name, (default, text) in _PARAMETERS.items()
        },
        "Conditions": {
            "HasEmail": {"Fn::Not": [{"Fn::Equals": [{"Ref": "AlertEmail"}, ""]}]},
            "ServesRunbooks": {"Fn::Not": [{"Fn::Equals": [{"Ref": "RunbookUrl"}, ""]}]},
            "OwnsLogGroups": {"Fn::Equals": [{"Ref": "CreateLogGroups"}, "true"]},
        },
        "Resources": resources,
        "Outputs": {
            "PageTopic": {"Description": "Topic of the composite alarms.", "Value": {"Ref": "PageTopic"}},
            "DetailTopic": {"Description": "Topic of every single alarm.", "Value": {"Ref": "DetailTopic"}},
        },
    }


def _dashboards(account: Account) -> Resource:
    bodies = zip(BOARDS, dashboards(account).items(), strict=True)
    return {
        f"Dashboard{_logical(board.key)}": _resource(
            "AWS::CloudWatch::Dashboard", {"DashboardName": name, "DashboardBody": json.dumps(body)}
        )
        for board, (name, body) in bodies
    }


def _alarms(account: Account) -> Resource:
    found = {
        _id("Alarm", name, account): _resource("AWS::CloudWatch::Alarm", alarm)
        for name, alarm in metric_alarms(account).items()
    }
    for name, alarm in composites(account).items():
        composite = _resource("AWS::CloudWatch::CompositeAlarm", alarm)
        members = re.findall(r'ALARM\("([^"]+)"\)', alarm["AlarmRule"])
        suppressor = ["CompositePlatform"] if "ActionsSuppressor" in alarm else []
        composite["DependsOn"] = [*(_id("Alarm", one, account) for one in members), *suppressor]
        found[_id("Composite", name, account)] = composite
    for key, detector in anomaly_detectors(account).items():
        found[f"Usual{_logical(key)}"] = _resource("AWS::CloudWatch::AnomalyDetector", detector)
    return found


def _logs(account: Account) -> Resource:
    resources: Resource = {}
    for name, one in metric_filters(account).items():
        found = _resource("AWS::Logs::MetricFilter", one)
        found["Properties"]["LogGroupName"] = _group(one["LogGroupName"])
        resources[_id("Filter", name, account)] = found
    for name, query in saved_queries(account).items():
        found = _resource("AWS::Logs::QueryDefinition", query)
        found["Properties"]["LogGroupNames"] = [_group(group) for group in query["LogGroupNames"]]
        resources[f"Query{_logical(name.rsplit('/', 1)[1])}"] = found
    return resources


def _allowed(name: str) -> Resource:
    return {"AllowedValues": ["true", "false"]} if name == "CreateLogGroups" else {}


def _topics() -> Resource:
    topics = {
        f"{kind}Topic": _resource("AWS::SNS::Topic", {"TopicName": f"contrail-${{Environment}}-{kind.lower()}"})
        for kind in ("Page", "Detail")
    }
    subscription = _resource(
        "AWS::SNS::Subscription",
        {"TopicArn": {"Ref": "PageTopic"}, "Protocol": "email", "Endpoint": {"Ref": "AlertEmail"}},
    )
    return {**topics, "PageByEmail": {"Condition": "HasEmail", **subscription}}


def _log_groups(account: Account) -> Resource:
    kept = _retentions()
    return {
        _group_id(name): {
            "Condition": "OwnsLogGroups",
            "DeletionPolicy": "Retain",
            "UpdateReplacePolicy": "Retain",
            **_resource(
                "AWS::Logs::LogGroup",
                {
                    "LogGroupName": f"{account.log_group_prefix}/{account.environment}/{name}",
                    "RetentionInDays": kept[name],
                },
            ),
        }
        for name, dataset in catalog.DATASETS.items()
        if dataset.type == "logs"
    }


def _retentions() -> dict[str, int]:
    """Days by dataset: the catalogue's are among those that CloudWatch allows."""
    return {name: dataset.retention_days for name, dataset in catalog.DATASETS.items()}


def _group(name: str) -> Resource:
    """A log group by name, which makes CloudFormation create it first where it is ours to create."""
    return {"Fn::If": ["OwnsLogGroups", {"Ref": _group_id(name.rsplit("/", 1)[1])}, _substituted(name)]}


def _group_id(dataset: str) -> str:
    return f"LogGroup{_logical(dataset)}"


def _id(kind: str, name: str, account: Account) -> str:
    return f"{kind}{_logical(name.removeprefix(account.name('')))}"


def _logical(key: str) -> str:
    return "".join(word.capitalize() for word in re.split(r"[^A-Za-z0-9]+", key) if word)


def _resource(kind: str, properties: Resource) -> Resource:
    return {"Type": kind, "Properties": _substituted(properties)}


def _our_page(page: str) -> str:
    ours = Account(runbook_url="")
    return ours.runbook(page) if page else ours.runbooks


def _substituted(value: Any) -> Any:
    """Strings that name a parameter or a resource become ``Fn::Sub``, a name alone ``Ref``."""
    if isinstance(value, dict):
        return {key: _substituted(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_substituted(inner) for inner in value]
    if not isinstance(value, str) or "${" not in value:
        return value
    if "${RunbookUrl}" in value:
        ours = _RUNBOOK.sub(lambda match: _our_page(match[1]), value)
        return {"Fn::If": ["ServesRunbooks", {"Fn::Sub": value}, {"Fn::Sub": ours}]}
    alone = re.fullmatch(r"\$\{([A-Za-z:]+)\}", value)
    return {"Ref": alone.group(1)} if alone else {"Fn::Sub": value}
