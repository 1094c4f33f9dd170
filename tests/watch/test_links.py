"""Links of messages lead where people elsewhere can open them."""

from __future__ import annotations

import pytest

from observability.doctor.link import Broken
from observability.doctor.notifications import _links
from observability.settings import load_settings
from observability.watch.incidents import Incident
from observability.watch.notify.messages import Links

RULES = "channels: {a: {type: %s}}\nreceivers: {r: {channels: [a]}}\nroutes: [{receiver: r}]\n"


def settings(monkeypatch, tmp_path, channel, **environ):
    rules = tmp_path / "alerts.yaml"
    rules.write_text(RULES % channel)
    monkeypatch.setenv("CONTRAIL_WATCH__RULES_FILE", str(rules))
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    return load_settings()


@pytest.mark.parametrize(
    "named",
    [{}, {"AIRFLOW__API__BASE_URL": "http://localhost:8080"}, {"CONTRAIL_CORE__PUBLIC_URL": "http://[::1]:80"}],
)
def test_the_doctor_says_that_people_elsewhere_would_be_sent_to_this_machine(monkeypatch, tmp_path, named):
    with pytest.raises(Broken, match="only this machine opens; people elsewhere read a"):
        _links(settings(monkeypatch, tmp_path, "slack, url: 'env:X'", **named))


def test_the_doctor_is_content_where_nobody_is_told_elsewhere_or_the_address_is_theirs(monkeypatch, tmp_path):
    assert _links(settings(monkeypatch, tmp_path, "file"))
    named = {"AIRFLOW__API__BASE_URL": "https://airflow.example.com/etl/"}
    assert _links(settings(monkeypatch, tmp_path, "slack, url: 'env:X'", **named)) == "https://airflow.example.com/etl"


@pytest.mark.parametrize(
    "text", ["a#b", "a?b", "a%2Fb", "a/b", "a b", "größe", "日本", "a&b=c", "a'b\"c", "a+b", "..", "a;b"]
)
def test_an_id_of_any_letters_stays_one_part_of_the_address(text):
    from urllib.parse import parse_qs, unquote, urlsplit

    one = Incident(
        id="i", key="k", state="open", kind="task", severity="error", cause="app", reason="", certainty=3,
        first_seen=0.0, last_seen=0.0, dag_id=text, run_id=text, task_id=text, map_index=3,
    )  # fmt: skip
    links = dict(Links(airflow="https://host/airflow", kibana="https://kibana").to(one))
    parts = [unquote(part) for part in urlsplit(links["Airflow"]).path.split("/")]
    assert parts == ["", "airflow", "dags", text, "runs", text, "tasks", text, "mapped", "3"]
    ours = urlsplit(links["Contrail"])
    assert [unquote(part) for part in ours.path.split("/")] == [
        "", "airflow", "contrail", "dags", text, "runs", text, "tasks", text,
    ]  # fmt: skip
    assert parse_qs(ours.query) == {"map_index": ["3"]}
    assert "#" not in links["Kibana"].partition("#")[2]
