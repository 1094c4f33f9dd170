"""One address is enough for a first route: in a variable, in an Airflow Connection or in an Airflow Variable."""

from __future__ import annotations

import pytest
from airflow_platform import wait_until
from test_channels import MESSAGE
from webhook_server import Receiver

from observability.settings import get_settings
from observability.watch.ledger.database import Ledger
from observability.watch.notify.channels import address
from observability.watch.notify.channels.address import kind_of
from observability.watch.notify.channels.channel import ChannelRefused, Contact, open_channel
from observability.watch.rules.config import ChannelSpec
from observability.watch.rules.first_route import FirstRoute
from observability.watch.rules.in_force import keep_rules, usable_rules
from observability.watch.rules.loader import RulesFile, open_rules

pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")  # Apprise looks for it

SLACK = "https://hooks.slack.com/services/T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ"
DISCORD = "https://discord.com/api/webhooks/123456789012345678/abcdefghijklmnopqrstuvwxyz0123456789"


class Airflow:
    """The Connections and Variables that somebody has added so far."""

    def __init__(self):
        self.connections, self.variables = {}, {}

    def connection(self, conn_id):
        return self.connections[conn_id]

    def variable(self, key):
        return self.variables[key]


@pytest.fixture
def settings(tmp_path, monkeypatch):
    monkeypatch.setenv("CONTRAIL_HOME", str(tmp_path))
    monkeypatch.setattr("observability.watch.rules.loader._BESIDE", tmp_path / "no-such-file")
    get_settings.cache_clear()
    yield get_settings()
    get_settings.cache_clear()


def address_of(rules):
    found = rules.rules.channels.get("people")
    return found.url if found else None


def test_a_variable_of_the_process_is_enough_and_its_value_stands_nowhere(settings, monkeypatch):
    monkeypatch.setenv("CONTRAIL_ALERTS", SLACK)
    rules = open_rules(settings)
    assert (address_of(rules), SLACK in rules.text) == ("env:CONTRAIL_ALERTS", False)


@pytest.mark.parametrize("kind", ["connection", "variable"])
def test_a_connection_or_variable_is_taken_while_the_watcher_runs_and_stays_while_airflow_is_away(settings, kind):
    airflow = Airflow()
    rules = RulesFile(None, without=FirstRoute(settings, airflow, every_s=0.0).text)
    assert address_of(rules) is None
    getattr(airflow, f"{kind}s")["contrail_alerts"] = Contact(password=SLACK)
    wait_until(rules.reload, within=30)
    assert address_of(rules) == f"{kind}:contrail_alerts"
    getattr(airflow, f"{kind}s").clear()
    assert not rules.reload()


def test_an_option_stands_above_the_variable_and_the_variable_above_the_connection(settings, monkeypatch):
    airflow = Airflow()
    airflow.connections["contrail_alerts"] = Contact(password=SLACK)
    monkeypatch.setenv("CONTRAIL_ALERTS", SLACK)
    first = FirstRoute(settings, airflow, every_s=0.0)
    assert "env:CONTRAIL_ALERTS" in first.text()
    monkeypatch.setenv("CONTRAIL_WATCH__ALERTS_TO", "variable:chat")
    get_settings.cache_clear()
    assert "variable:chat" in FirstRoute(get_settings(), airflow, every_s=0.0).text()


def test_people_see_the_route_that_the_watcher_found(settings):
    ledger = Ledger(settings.ledger_url)
    airflow = Airflow()
    airflow.variables["contrail_alerts"] = SLACK
    first = FirstRoute(settings, airflow, every_s=0.0)
    rules = usable_rules(settings, ledger, first)
    wait_until(rules.reload, within=30)
    with ledger.transaction() as connection:
        keep_rules(connection, rules.text)
    assert address_of(usable_rules(settings, ledger)) == "variable:contrail_alerts"
    ledger.close()


@pytest.mark.parametrize(
    ("where", "with_apprise", "kind"),
    [
        (SLACK, False, "slack"),
        (SLACK, True, "slack"),
        ("arn:aws:sns:eu-west-1:123456789012:alerts", False, "sns"),
        ("https://alerts.example.com/hook?team=data", False, "webhook"),
        ("https://alerts.example.com/hook?team=data", True, "webhook"),
        (DISCORD, True, "apprise"),
        (DISCORD, False, ""),
        ("https://acme.webhook.office.com/webhookb2/x", False, ""),
        ("mailto://me:word@example.com", True, "apprise"),
        ("mailto://me:word@example.com", False, ""),
        ("nonsense://x", True, ""),
        ("only words", True, ""),
    ],
)
def test_the_address_says_which_channel_it_is(where, with_apprise, kind):
    assert kind_of(where, with_apprise=with_apprise) == kind


def test_a_message_reaches_what_the_address_leads_to(tmp_path, monkeypatch):
    with Receiver() as receiver:
        monkeypatch.setenv("CONTRAIL_ALERTS", receiver.url)
        spec = ChannelSpec.model_validate({"type": "address", "url": "env:CONTRAIL_ALERTS", "allow": ["127.0.0.1"]})
        open_channel("people", spec, Airflow(), tmp_path).send(MESSAGE, resent=False)
        assert receiver.wait_for(1)[0]["title"] == MESSAGE.title


def test_an_address_that_needs_apprise_is_refused_with_the_remedy_and_without_the_address(tmp_path, monkeypatch):
    monkeypatch.setattr(address, "find_spec", lambda _name: None)
    monkeypatch.setenv("CONTRAIL_ALERTS", DISCORD)
    spec = ChannelSpec.model_validate({"type": "address", "url": "env:CONTRAIL_ALERTS"})
    with pytest.raises(ChannelRefused, match=r"contrail-etl\[alerts\]") as refused:
        open_channel("people", spec, Airflow(), tmp_path)
    assert "abcdefghijkl" not in str(refused.value)
