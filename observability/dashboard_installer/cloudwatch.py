"""Dashboards, alarms, filters and queries into an AWS account, through its API.

The CloudFormation template deploys the same; use one of the two. Safe to repeat: equal things are left
alone, nothing is ever deleted.
"""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, NoRegionError

from observability.dashboard_installer.changes import Changes, InstallError, contains
from observability.dashboards.cloudwatch.alarms import anomaly_detectors, composites, metric_alarms
from observability.dashboards.cloudwatch.boards import dashboards
from observability.dashboards.cloudwatch.filters import metric_filters, saved_queries
from observability.dashboards.names import Account, Names
from observability.store.aws import aws_client

if TYPE_CHECKING:
    from collections.abc import Callable

    from observability.settings import Settings

__all__ = ["account_of", "install", "open_aws"]

_UNKNOWN = {"UnknownOperationException", "InvalidAction", "NotImplemented", "501", "404"}
"""Error codes of an endpoint that does not know a call at all (stand-ins for AWS know only some)."""


def open_aws(settings: Settings) -> tuple[Callable[[str], Any], str]:
    """From the name of a service to its client, and the region; by the Airflow Connection of ``[cloudwatch]``."""
    options = settings.cloudwatch

    def client(service: str) -> Any:
        given = {"region": options.region, "endpoint_url": options.endpoint_url}
        return aws_client(service, options.connection_id, Config(), **given)

    try:
        return client, client("cloudwatch").meta.region_name
    except NoRegionError:
        message = "no AWS region is named: set [cloudwatch] region, or region_name in the Connection"
        raise InstallError(message) from None


def account_of(settings: Settings, names: Names, region: str, page: str = "", detail: str = "") -> Account:
    """The AWS account of the settings; the topics are created under their usual names where none is given."""
    return Account(
        environment=settings.core.environment,
        namespace=settings.cloudwatch.namespace,
        log_group_prefix=settings.cloudwatch.log_group_prefix,
        region=region,
        airflow_url=names.airflow_url,
        runbook_url=names.runbook_url,
        page_topic=page,
        detail_topic=detail,
    )


def install(client: Callable[[str], Any], account: Account) -> Changes:
    """Put everything of ours into the account and say what changed. Raises :class:`InstallError`."""
    changes = Changes()
    try:
        account = _topics(client("sns"), account)
        cloudwatch, logs = client("cloudwatch"), client("logs")
        for name, body in dashboards(account).items():
            _dashboard(cloudwatch, name, body, changes)
        _alarms(cloudwatch, account, changes)
        for name, metric_filter in metric_filters(account).items():
            _filter(logs, name, metric_filter, changes)
        _queries(logs, account, changes)
    except (BotoCoreError, ClientError) as error:
        raise InstallError(f"AWS refused: {error}") from error
    return changes


def _topics(sns: Any, account: Account) -> Account:
    page = account.page_topic or sns.create_topic(Name=account.name("page"))["TopicArn"]
    detail = account.detail_topic or sns.create_topic(Name=account.name("detail"))["TopicArn"]
    return replace(account, page_topic=page, detail_topic=detail)


def _dashboard(cloudwatch: Any, name: str, body: dict[str, Any], changes: Changes) -> None:
    try:
        there = json.loads(cloudwatch.get_dashboard(DashboardName=name)["DashboardBody"])
    except ClientError as error:
        if error.response["Error"]["Code"] not in {"ResourceNotFound", "DashboardNotFoundError"}:
            raise
        there = None
    if there == body:
        changes.add("unchanged", f"dashboard {name}")
        return
    answer = cloudwatch.put_dashboard(DashboardName=name, DashboardBody=json.dumps(body))
    if faults := answer.get("DashboardValidationMessages"):
        raise InstallError(f"CloudWatch found faults in dashboard {name}: {faults}")
    changes.add("created" if there is None else "updated", f"dashboard {name}")


def _alarms(cloudwatch: Any, account: Account, changes: Changes) -> None:
    single, composed = metric_alarms(account), composites(account)
    there = _existing(cloudwatch, [*single, *composed])
    for key, detector in anomaly_detectors(account).items():
        _try(
            f"anomaly model {key}",
            changes,
            "updated",
            partial(cloudwatch.put_anomaly_detector, SingleMetricAnomalyDetector=detector),
        )
    for name, alarm in single.items():
        _put(f"alarm {name}", there.get(name), alarm, changes, partial(cloudwatch.put_metric_alarm, **alarm))
    for name, alarm in composed.items():
        _put(
            f"composite {name}",
            there.get(name),
            alarm,
            changes,
            partial(cloudwatch.put_composite_alarm, **alarm),
        )


def _existing(cloudwatch: Any, names: list[str]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for start in range(0, len(names), 100):
        wanted = names[start : start + 100]
        answer = cloudwatch.describe_alarms(AlarmNames=wanted, AlarmTypes=["MetricAlarm", "CompositeAlarm"])
        for alarm in (*answer.get("MetricAlarms", []), *answer.get("CompositeAlarms", [])):
            found[alarm["AlarmName"]] = alarm
    return found


def _put(
    what: str, there: dict[str, Any] | None, ours: dict[str, Any], changes: Changes, put: Callable[[], Any]
) -> None:
    if there is not None and contains(there, ours):
        changes.add("unchanged", what)
        return
    _try(what, changes, "created" if there is None else "updated", put)


def _try(what: str, changes: Changes, change: Any, call: Callable[[], Any]) -> None:
    """Make a call; an endpoint that does not know it at all is said, not fatal."""
    try:
        call()
    except ClientError as error:
        said = error.response["Error"]
        is_page = str(said.get("Message", "")).lower().startswith("<!doctype")  # AWS answers errors in its own form
        if str(said.get("Code", "")) not in _UNKNOWN and not is_page:
            raise
        changes.add("left out", what, f"the endpoint does not know {error.operation_name}")
        return
    changes.add(change, what)


def _filter(logs: Any, name: str, ours: dict[str, Any], changes: Changes) -> None:
    group = ours["LogGroupName"]
    known = logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"]
    if all(one["logGroupName"] != group for one in known):
        logs.create_log_group(logGroupName=group)
    wanted = _api(ours)
    found = logs.describe_metric_filters(logGroupName=group, filterNamePrefix=name)["metricFilters"]
    there = next((one for one in found if one["filterName"] == name), None)
    _put(f"metric filter {name}", there, wanted, changes, partial(logs.put_metric_filter, **wanted))


def _queries(logs: Any, account: Account, changes: Changes) -> None:
    there: dict[str, dict[str, Any]] = {}

    def read() -> None:
        answer = logs.describe_query_definitions(queryDefinitionNamePrefix=f"Contrail/{account.environment}/")
        there.update({one["name"]: one for one in answer["queryDefinitions"]})

    listed = Changes()
    _try("saved queries", listed, "unchanged", read)
    for name, query in saved_queries(account).items():
        wanted = _api(query)
        identity = there.get(name, {}).get("queryDefinitionId")
        given = {**wanted, **({"queryDefinitionId": identity} if identity else {})}
        _put(f"query {name}", there.get(name), wanted, changes, partial(logs.put_query_definition, **given))


def _api(resource: Any) -> Any:
    """CloudFormation's words in the API's: the first letter is small."""
    if isinstance(resource, dict):
        return {key[0].lower() + key[1:]: _api(value) for key, value in resource.items()}
    return [_api(one) for one in resource] if isinstance(resource, list) else resource
