"""The template is sound and deploys, the API installs the same, and nothing watches a metric that nobody sends."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import uuid
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from functools import cache, partial
from pathlib import Path

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from filled import carried, not_installed

from observability import catalog
from observability.dashboard_installer import cloudwatch as module
from observability.dashboard_installer import verify
from observability.dashboard_installer.changes import InstallError
from observability.dashboard_installer.cloudwatch import account_of, install, open_aws
from observability.dashboard_installer.verify import metrics_of, verify_cloudwatch
from observability.dashboards.build import ROOT
from observability.dashboards.cloudwatch.alarms import GROUPS, composites, metric_alarms
from observability.dashboards.cloudwatch.boards import dashboards
from observability.dashboards.cloudwatch.filters import FILTERED_NAMESPACE, FILTERS
from observability.dashboards.cloudwatch.template import template
from observability.dashboards.names import Account, Names
from observability.settings import load_settings

TEMPLATE = ROOT / "dashboards/generated/cloudwatch/template.json"
LIMITS = {"description": 1024, "rule": 10_240, "metrics": 500}
"""Of an alarm's description and rule, and of the metrics on one dashboard widget (AWS's service quotas)."""


@pytest.fixture(scope="module")
def account():
    return Account(
        environment="prod",
        namespace="Contrail",
        log_group_prefix="/contrail",
        region="eu-central-1",
        airflow_url="https://airflow.example",
        runbook_url="",
        page_topic="arn:aws:sns:eu-central-1:123456789012:page",
        detail_topic="arn:aws:sns:eu-central-1:123456789012:detail",
    )


def test_cfn_lint_finds_nothing_in_the_template():
    found = subprocess.run(
        [Path(sys.executable).parent / "cfn-lint", TEMPLATE], capture_output=True, text=True, timeout=120, check=False
    )

    assert (found.returncode, found.stdout) == (0, "")


def test_every_alarm_acts_says_what_missing_data_means_and_names_its_runbook(account):
    for name, alarm in metric_alarms(account).items():
        assert alarm["AlarmActions"] == [account.detail_topic], name
        assert alarm["TreatMissingData"] in {"breaching", "notBreaching"}, name
        assert "Runbook: http" in alarm["AlarmDescription"], name
        assert len(alarm["AlarmDescription"]) <= LIMITS["description"], name


def test_silence_breaches_and_the_absence_of_failures_does_not(account):
    breaching = {
        name.removeprefix("contrail-prod-")
        for name, alarm in metric_alarms(account).items()
        if alarm["TreatMissingData"] == "breaching"
    }

    assert breaching == {
        "component-silent-scheduler",
        "component-silent-dag-processor",
        "component-silent-triggerer",
        "component-silent-api-server",
        "component-silent-relay",
        "watcher-silent",
        "scheduler-heartbeat-absent",
        "canary-silent",
    }


def test_every_rule_is_in_one_composite_and_only_composites_wake_people():
    body = template()["Resources"]
    composed = [member for _, members in GROUPS.values() for member in members]

    assert set(catalog.MONITORS) <= set(composed)
    assert len(composed) == len(set(composed))
    pages = {name for name, one in body.items() if {"Ref": "PageTopic"} in one["Properties"].get("AlarmActions", [])}
    assert pages == {"CompositePlatform", "CompositePipelines", "CompositeData", "CompositeTelemetry"}


def test_a_relay_that_is_silent_does_not_keep_failing_pipelines_from_paging():
    rules = {
        name: one["Properties"]["AlarmRule"]
        for name, one in template()["Resources"].items()
        if name.startswith("Composite")
    }
    named = {group for group, rule in rules.items() if "component-silent-relay" in json.dumps(rule)}

    assert named == {"CompositeTelemetry"}
    assert "component-silent-api-server" in json.dumps(rules["CompositePlatform"])


def test_every_alarm_is_in_one_composite(account):
    composed = [
        one for body in composites(account).values() for one in re.findall(r'ALARM\("([^"]+)"\)', body["AlarmRule"])
    ]

    assert sorted(composed) == sorted(metric_alarms(account))


def test_failing_pipelines_do_not_page_while_airflow_itself_is_down():
    resources = template()["Resources"]

    assert resources["CompositePipelines"]["Properties"]["ActionsSuppressor"] == {
        "Fn::Sub": "contrail-${Environment}-platform"
    }
    assert "CompositePlatform" in resources["CompositePipelines"]["DependsOn"]


def test_widgets_stay_inside_the_grid_and_cover_nothing(account):
    for name, body in dashboards(account).items():
        taken = set()
        for widget in body["widgets"]:
            cells = {
                (x, y)
                for x in range(widget["x"], widget["x"] + widget["width"])
                for y in range(widget["y"], widget["y"] + widget["height"])
            }
            assert widget["x"] + widget["width"] <= 24, name
            assert not cells & taken, (name, widget["properties"].get("title"))
            taken |= cells


def test_every_dimension_set_on_a_board_or_in_an_alarm_is_one_that_the_relay_sends(account):
    asked = [
        (name, {tag for tag, _ in dimensions})
        for body in dashboards(account).values()
        for widget in body["widgets"]
        for name, dimensions in metrics_of(widget["properties"])
        if name not in {one.metric for one in FILTERS}
    ]
    asked += [
        (alarm["MetricName"], {one["Name"] for one in alarm["Dimensions"]})
        for alarm in metric_alarms(account).values()
        if "MetricName" in alarm
    ]

    assert len(asked) > 60
    assert [one for one in asked if one[1] not in [set(sent) for sent in catalog.DIMENSIONS[one[0]]]] == []


# on moto


@pytest.fixture(scope="module")
def settings(aws_environ):
    return load_settings(environ=aws_environ)


PARAMETERS = {
    "Environment": "prod",
    "Namespace": "Contrail",
    "LogGroupPrefix": "/contrail",
    "AirflowUrl": "https://airflow.example",
    "RunbookUrl": "",
    "PageTopic": "arn:aws:sns:eu-west-1:123456789012:page",
    "DetailTopic": "arn:aws:sns:eu-west-1:123456789012:detail",
}


def resolved(value):
    """A property of the template as CloudFormation hands it to the service."""
    if isinstance(value, list):
        return [resolved(one) for one in value]
    if not isinstance(value, dict):
        return value
    if "Ref" in value:
        return PARAMETERS[value["Ref"]]
    if "Fn::If" in value:
        condition, yes, no = value["Fn::If"]
        assert condition == "ServesRunbooks"
        return resolved(yes if PARAMETERS["RunbookUrl"] else no)
    if "Fn::Sub" in value:
        return re.sub(r"\$\{([A-Za-z:]+)\}", lambda match: PARAMETERS[match[1]], value["Fn::Sub"])
    return {key: resolved(one) for key, one in value.items()}


@pytest.mark.aws
@pytest.mark.filterwarnings("ignore:Tried to parse AWS")  # moto deploys no alarms, filters and queries
def test_the_template_deploys_its_topics_log_groups_and_dashboards(moto_url, aws_environ):
    client = boto3.client("cloudformation", region_name="eu-west-1", endpoint_url=moto_url)
    given = [{"ParameterKey": "Environment", "ParameterValue": "prod"}]

    client.create_stack(StackName="contrail", TemplateBody=TEMPLATE.read_text("utf-8"), Parameters=given)

    assert client.describe_stacks(StackName="contrail")["Stacks"][0]["StackStatus"] == "CREATE_COMPLETE"
    watch = boto3.client("cloudwatch", region_name="eu-west-1", endpoint_url=moto_url)
    boards = {
        one["DashboardName"] for one in watch.list_dashboards(DashboardNamePrefix="contrail-prod")["DashboardEntries"]
    }
    assert boards == set(dashboards(Account(environment="prod")))
    body = json.loads(watch.get_dashboard(DashboardName="contrail-prod-operations")["DashboardBody"])
    assert "${" not in json.dumps(body)
    groups = boto3.client("logs", region_name="eu-west-1", endpoint_url=moto_url).describe_log_groups()["logGroups"]
    assert {one["logGroupName"]: one["retentionInDays"] for one in groups} == {
        f"/contrail/prod/{name}": one.retention_days for name, one in catalog.DATASETS.items() if one.type == "logs"
    }


@pytest.mark.aws
@pytest.mark.filterwarnings("ignore:Tried to parse AWS")
@pytest.mark.parametrize(
    ("served_at", "expected"),
    [
        ("", "https://airflow.example/contrail/runbooks?page=task-failed"),
        ("https://runbooks.example/x", "https://runbooks.example/x/task-failed.md"),
    ],
)
def test_cloudformation_writes_the_runbooks_address_that_was_given_or_that_of_our_page(
    served_at, expected, moto_url, aws_environ
):
    body = template()
    # moto deploys no alarms, but evaluates their descriptions: here as outputs of the same stack
    alarms = {name: one for name, one in body["Resources"].items() if one["Type"] == "AWS::CloudWatch::Alarm"}
    body["Outputs"] |= {name: {"Value": one["Properties"]["AlarmDescription"]} for name, one in alarms.items()}
    client = boto3.client("cloudformation", region_name="eu-west-1", endpoint_url=moto_url)
    given = {
        "Environment": f"r{uuid.uuid4().hex[:6]}",
        "RunbookUrl": served_at,
        "AirflowUrl": "https://airflow.example",
    }
    stack = f"contrail-{given['Environment']}"

    client.create_stack(
        StackName=stack,
        TemplateBody=json.dumps(body),
        Parameters=[{"ParameterKey": name, "ParameterValue": value} for name, value in given.items()],
    )

    outputs = client.describe_stacks(StackName=stack)["Stacks"][0]["Outputs"]
    said = {one["OutputKey"]: one["OutputValue"] for one in outputs}
    assert {name for name in alarms if "${" in said[name] or "Runbook: https://" not in said[name]} == set()
    assert said["AlarmTaskFailed"].endswith(f"Runbook: {expected}")


@pytest.mark.aws
def test_cloudwatch_takes_every_alarm_of_the_template(moto_url, aws_environ):
    client = boto3.client("cloudwatch", region_name="eu-west-1", endpoint_url=moto_url)
    alarms = [one["Properties"] for one in template()["Resources"].values() if one["Type"] == "AWS::CloudWatch::Alarm"]

    for alarm in alarms:
        client.put_metric_alarm(**resolved(alarm))

    there = client.describe_alarms()["MetricAlarms"]
    assert {one["AlarmName"] for one in there} == set(metric_alarms(Account(environment="prod")))
    assert all(one["AlarmActions"] == [PARAMETERS["DetailTopic"]] for one in there)


def at_once(settings):
    """Clients that do not try again: moto answers a call that it does not know with 500."""
    options = settings.cloudwatch
    config = Config(retries={"total_max_attempts": 1})
    return cache(partial(boto3.client, region_name=options.region, endpoint_url=options.endpoint_url, config=config))


@pytest.mark.aws
def test_the_api_installs_everything_and_a_second_time_changes_nothing(settings):
    client, region = at_once(settings), settings.cloudwatch.region
    where = account_of(settings, Names(), region)

    first = install(client, where)
    second = install(client, where)

    assert first.count("created") == len(dashboards(where)) + len(metric_alarms(where)) + len(FILTERS)
    assert second.count("created") + second.count("updated") == 0
    assert {why for change, _, why in second.lines if change == "left out"} <= {
        f"the endpoint does not know {call}"
        for call in ("PutAnomalyDetector", "PutCompositeAlarm", "DescribeQueryDefinitions", "PutQueryDefinition")
    }


class FailingOnce:
    """Clients of which one call fails, before (``lost`` False) or after it was carried out."""

    def __init__(self, client, failing, *, lost):
        self._client, self._failing, self._lost = client, failing, lost
        self.calls = 0

    def __call__(self, service):
        return FailingService(self, self._client(service))

    def ask(self, call, given):
        self.calls += 1
        if self.calls != self._failing:
            return call(**given)
        if self._lost:
            with suppress(ClientError):  # moto does not know every call
                call(**given)
        raise ClientError({"Error": {"Code": "ServiceUnavailable", "Message": "it failed once"}}, call.__name__)


class FailingService:
    def __init__(self, clients, real):
        self._clients, self._real = clients, real

    def __getattr__(self, name):
        return lambda **given: self._clients.ask(getattr(self._real, name), given)


@pytest.mark.aws
@pytest.mark.parametrize("lost", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_whichever_call_of_an_installation_fails_the_next_one_finishes_it(settings, monkeypatch, lost):
    for name in ("dashboards", "metric_alarms", "metric_filters", "saved_queries", "anomaly_detectors", "composites"):
        whole = getattr(module, name)
        monkeypatch.setattr(module, name, lambda where, whole=whole: dict(list(whole(where).items())[:2]))
    client, region = at_once(settings), settings.cloudwatch.region
    failing, failed = 0, True
    while failed:
        failing += 1
        environment = f"{settings.core.environment}-{lost}-{failing}".lower()
        where = replace(account_of(settings, Names(), region), environment=environment)
        clients = FailingOnce(client, failing, lost=lost)
        try:
            install(clients, where)
            failed = False
        except InstallError:
            failed = True
        again = install(client, where)
        made = {what for change, what, _ in again.lines if change != "left out"}
        last = install(client, where)
        assert {what for change, what, _ in last.lines if change == "unchanged"} == made, failing
        assert len(made) == 6, failing  # two dashboards, two alarms, two filters
    assert failing > 12


@pytest.mark.aws
def test_an_installation_leaves_the_alarms_of_others_alone(settings):
    client, region = at_once(settings), settings.cloudwatch.region
    client("cloudwatch").put_metric_alarm(
        AlarmName="theirs",
        Namespace="Theirs",
        MetricName="m",
        Statistic="Sum",
        Period=60,
        EvaluationPeriods=1,
        Threshold=1,
        ComparisonOperator="GreaterThanThreshold",
    )

    install(client, account_of(settings, Names(), region))

    assert [
        one["AlarmName"] for one in client("cloudwatch").describe_alarms(AlarmNames=["theirs"])["MetricAlarms"]
    ] == ["theirs"]


_PUT_AT_ONCE = 500


def emf(settings, client):
    """The metrics in the log events that arrived: (name, dimensions) of each directive, as CloudWatch reads EMF."""
    group = f"{settings.cloudwatch.log_group_prefix}/{settings.core.environment}/airflow.statsd"
    for page in client("logs").get_paginator("filter_log_events").paginate(logGroupName=group):
        for event in page["events"]:
            document = json.loads(event["message"])
            for directive in document.get("_aws", {}).get("CloudWatchMetrics", []):
                assert directive["Namespace"] == settings.cloudwatch.namespace
                for names in directive["Dimensions"]:
                    assert len(names) <= 30
                    assert all(isinstance(document[name], str) and document[name] for name in names)
                    for one in directive["Metrics"]:
                        values = document[one["Name"]]
                        yield one["Name"], tuple(sorted((name, document[name]) for name in names)), values


def received(home, folder, aws_environ):
    """A deployment on moto that got everything below ``home``, and its metrics made of EMF, which moto does not do."""
    environ = (
        aws_environ
        | {
            "CONTRAIL_RELAY__SINKS": "cloudwatch",
            "CONTRAIL_CORE__ENVIRONMENT": "dev",  # that of the demo and the drills, which stands in their documents
            "CONTRAIL_CLOUDWATCH__LOG_GROUP_PREFIX": f"/c{uuid.uuid4().hex[:6]}",
            "CONTRAIL_CLOUDWATCH__NAMESPACE": f"Contrail{uuid.uuid4().hex[:6]}",
        }
    )
    settings = carried(home, folder, environ)
    client, region = open_aws(settings)
    watch = client("cloudwatch")
    data = [
        {"MetricName": name, "Value": value, "Dimensions": [{"Name": tag, "Value": word} for tag, word in dimensions]}
        for name, dimensions, values in emf(settings, client)
        for value in set(values if isinstance(values, list) else [values])
    ]
    for start in range(0, len(data), _PUT_AT_ONCE):
        watch.put_metric_data(Namespace=settings.cloudwatch.namespace, MetricData=data[start : start + _PUT_AT_ONCE])
    return client, account_of(settings, Names(), region)


@pytest.fixture(scope="module")
def demo_on_moto(demo, aws_environ, tmp_path_factory):
    return received(demo.home, tmp_path_factory.mktemp("demo-moto"), aws_environ)


@pytest.fixture(scope="module")
def drills_on_moto(drills, aws_environ, tmp_path_factory):
    return received(drills, tmp_path_factory.mktemp("drills-moto-relay"), aws_environ)


@pytest.fixture(scope="module")
def verdicts_of_drills(drills_on_moto):
    return verify_cloudwatch(*drills_on_moto)


@pytest.mark.aws
@pytest.mark.airflow
def test_every_widget_shows_what_the_demo_or_a_drill_really_sent(demo_on_moto, verdicts_of_drills):
    verdicts = verify_cloudwatch(*demo_on_moto), verdicts_of_drills
    empty = {
        f"{one.board} / {one.panel}": one.reason
        for one, other in zip(*verdicts, strict=True)
        if one.rows == 0 and (other.rows == 0 or not one.quiet)
    }

    assert set(empty) - not_installed() == set()


@pytest.mark.aws
def test_a_widget_whose_metric_was_renamed_is_named(drills_on_moto, verdicts_of_drills, monkeypatch):
    def renamed(account):
        bodies = dashboards(account)
        text = json.dumps(bodies[account.name("operations")])
        assert "contrail.deadline.missed" in text
        changed = json.loads(text.replace("contrail.deadline.missed", "contrail.deadline.missing"))
        return bodies | {account.name("operations"): changed}

    there = {(one.board, one.panel) for one in verdicts_of_drills if one.rows}
    monkeypatch.setattr(verify, "dashboards", renamed)
    still_there = {(one.board, one.panel) for one in verify_cloudwatch(*drills_on_moto) if one.rows}

    assert there - still_there == {("Contrail: operations overview", "Deadlines missed")}


@pytest.mark.aws
@pytest.mark.airflow
def test_every_alarm_watches_a_metric_under_dimensions_that_were_really_received(demo_on_moto, drills_on_moto):
    known = set()
    for client, account in (demo_on_moto, drills_on_moto):
        for page in client("cloudwatch").get_paginator("list_metrics").paginate(Namespace=account.namespace):
            for metric in page["Metrics"]:
                dimensions = {one["Name"]: one["Value"] for one in metric["Dimensions"] if one["Name"] != "env"}
                known.add((metric["MetricName"], tuple(sorted(dimensions.items()))))
    watched = {}
    for name, alarm in metric_alarms(Account()).items():
        measured = alarm if "MetricName" in alarm else alarm["Metrics"][0]["MetricStat"]["Metric"]
        dimensions = {one["Name"]: one["Value"] for one in measured["Dimensions"] if one["Name"] != "env"}
        watched[name] = (measured["MetricName"], tuple(sorted(dimensions.items())))

    assert {name: one for name, one in watched.items() if one not in known} == {}


_COMPARE = {
    "GreaterThanThreshold": lambda value, limit: value > limit,
    "LessThanThreshold": lambda value, limit: value < limit,
}
NOT_SET_OFF = {
    "relay-lag": "the drill's relay keeps up",
    "scheduler-heartbeat-absent": "its metric is Airflow's",
    "component-silent-relay": "the drill's relay goes on; benchmarks/everywhere.py holds one",
    "component-silent-api-server": "the drill's Airflow answers; benchmarks/everywhere.py holds one",
}


def received_by(cloudwatch, alarm):
    """The alarm's own statistic of the metrics that CloudWatch received."""
    now = datetime.now(timezone.utc)
    return cloudwatch.get_metric_statistics(
        Namespace=alarm["Namespace"],
        MetricName=alarm["MetricName"],
        Dimensions=alarm["Dimensions"],
        Statistics=[alarm["Statistic"]],
        StartTime=now - timedelta(hours=3),
        EndTime=now + timedelta(minutes=1),
        Period=alarm["Period"],
    )["Datapoints"]


def judged(alarm, points):
    """The verdict of CloudWatch over these points: each is compared as the alarm says."""
    if not points:
        return "ALARM" if alarm["TreatMissingData"] == "breaching" else "OK"
    compare = _COMPARE[alarm["ComparisonOperator"]]
    return "ALARM" if any(compare(point[alarm["Statistic"]], alarm["Threshold"]) for point in points) else "OK"


@pytest.mark.aws
def test_an_alarms_own_expression_over_what_the_drills_sent_is_alarm_and_over_nothing_only_silence_is(drills_on_moto):
    client, account = drills_on_moto
    alarms = {name: alarm for name, alarm in metric_alarms(account).items() if "MetricName" in alarm}
    keys = {name: name.removeprefix(account.name("")) for name in alarms}
    nowhere = replace(account, environment="nobody-sends-here")

    cloudwatch = client("cloudwatch")
    fired = {keys[name] for name, alarm in alarms.items() if judged(alarm, received_by(cloudwatch, alarm)) == "ALARM"}
    silent = {
        name.removeprefix(nowhere.name(""))
        for name, alarm in metric_alarms(nowhere).items()
        if "MetricName" in alarm and judged(alarm, []) == "ALARM"
    }

    absent = {key for key, rule in catalog.MONITORS.items() if rule.absent}
    assert {key for key in keys.values() if key not in NOT_SET_OFF} - fired - absent == set()
    assert "relay-lag" not in fired
    assert "canary-silent" not in fired
    heartbeats = {key for key in keys.values() if key.startswith("component-silent")}
    assert silent == absent | heartbeats


def test_the_metrics_that_cloudwatch_makes_itself_are_those_of_the_filters(account):
    own = account.namespace + FILTERED_NAMESPACE
    drawn = {
        entry[1]
        for body in dashboards(account).values()
        for widget in body["widgets"]
        for entry in widget["properties"].get("metrics", [])
        if entry[0] == own
    }

    assert drawn == {one.metric for one in FILTERS}
