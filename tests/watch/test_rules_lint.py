"""Each mistake and each remark of the rules: at which place, in which words, and where there is none."""

from __future__ import annotations

import pytest

from observability.watch.rules import lint
from observability.watch.rules.model import AlertingConfig

LEAST = {
    "channels": {"file": {"type": "file"}, "log": {"type": "log"}},
    "receivers": {"all": {"channels": ["file"], "fallback": "log"}},
    "routes": [{"receiver": "all"}],
}
NOBODY = "no receiver is called 'bob'; known receivers are all, chief"
TWO = {"all": {"channels": ["file"], "fallback": "log"}, "chief": {"channels": ["log"]}}
IDLE = lint._ZONE_IDLE
ZONED = {"timezone": "Europe/Berlin", "dag": ["x"]}


def rules(**parts):
    return AlertingConfig.model_validate({**LEAST, **parts})


def deadline(name="a", **more):
    return {"name": name, "dag": "x", "success_within": "1d", **more}


def behind(number, route):
    return ("routes", number), (
        f"no incident gets here: route {route} takes every one; put it before that, or give that continue: true"
    )


@pytest.mark.parametrize(
    ("parts", "found"),
    [
        ({}, []),
        (
            {"channels": {**LEAST["channels"], "log": {"type": "log", "url": "env:X", "to": ["a"]}}},
            [
                (("channels", "log", "to"), "a channel of type log does not use it; it is for smtp"),
                (
                    ("channels", "log", "url"),
                    "a channel of type log does not use it; it is for webhook, slack, apprise, address, pagerduty",
                ),
            ],
        ),
        ({"channels": {**LEAST["channels"], "file": {"type": "file", "path": "x", "timeout": "5s"}}}, []),
        ({"deadlines": [deadline(), deadline("b")]}, []),
        (
            {"deadlines": [deadline(), deadline("b"), deadline()]},
            [(("deadlines", 2, "name"), "another deadline is called 'a'; give each its own name")],
        ),
        (
            {"deadlines": [{**deadline(), "success_within": None, "starts_by": "06:00", "calendar": "bank"}]},
            [(("deadlines", 0, "calendar"), "no calendar is called 'bank'; known calendars are none yet")],
        ),
        (
            {
                "deadlines": [{**deadline(), "success_within": None, "starts_by": "06:00", "calendar": "bank"}],
                "calendars": {"a": "a.txt", "b": "b.txt"},
            },
            [(("deadlines", 0, "calendar"), "no calendar is called 'bank'; known calendars are a, b")],
        ),
        (
            {
                "deadlines": [{**deadline(), "success_within": None, "starts_by": "06:00", "calendar": "a"}],
                "calendars": {"a": "a.txt"},
            },
            [],
        ),
        (
            {"silences": [{"match": {"dag": ["x"]}}, {"comment": "all"}, {"ends": "2026-01-01T00:00Z"}]},
            [(
                ("silences", 1),
                'it silences everything for ever; give match or ends, or match: {dag: "*"} if that is meant',
            )],
        ),
        ({"silences": [{"match": ZONED}]}, [(("silences", 0, "match", "timezone"), IDLE)]),
        (
            {"silences": [{"match": ZONED, "starts": "2026-01-01T00:00Z"}]},
            [(("silences", 0, "match", "timezone"), IDLE)],
        ),
        ({"silences": [{"match": ZONED, "starts": "2026-01-01T00:00"}]}, []),
        ({"silences": [{"match": ZONED, "ends": "2026-01-01T00:00"}]}, []),
        ({"silences": [{"match": {**ZONED, "days": ["mon"]}}]}, []),
        ({"routes": [{"receiver": "all", "match": ZONED}]}, [(("routes", 0, "match", "timezone"), IDLE)]),
        ({"routes": [{"receiver": "all", "match": {**ZONED, "hours": "08:00-18:00"}}]}, []),
        ({"routes": [{"receiver": "all", "match": {**ZONED, "days": ["mon"]}}]}, []),
        ({"routes": [{"receiver": "all", "match": {"dag": ["x"]}}, {"receiver": "all"}]}, []),
        ({"routes": [{"receiver": "all", "continue": True}, {"receiver": "all"}]}, []),
        ({"routes": [{"receiver": "all"}] * 3}, [behind(1, 1), behind(2, 1)]),
        (
            {"routes": [{"receiver": "all", "match": {"dag": ["x"]}}, {"receiver": "all"}, {"receiver": "all"}]},
            [behind(2, 2)],
        ),
        (
            {"receivers": {**TWO, "all": {"channels": ["file", "fax"], "fallback": "phone"}}},
            [
                (("receivers", "all", "channels", 1), "no channel is called 'fax'; known channels are file, log"),
                (("receivers", "all", "fallback"), "no channel is called 'phone'; known channels are file, log"),
            ],
        ),
        (
            {"receivers": {
                **TWO,
                "all": {"channels": ["file"], "escalate": [{"after": "1m", "receiver": "chief"},
                                                           {"after": "2m", "receiver": "bob"}]},
            }},
            [(("receivers", "all", "escalate", 1), NOBODY)],
        ),
        (
            {"receivers": TWO, "routes": [{"receiver": "all", "match": {"dag": ["x"]}}, {"receiver": "bob"}]},
            [(("routes", 1, "receiver"), NOBODY)],
        ),
        ({"receivers": TWO, "proof": {"canary_receiver": "bob"}}, [(("proof", "canary_receiver"), NOBODY)]),
        ({"receivers": TWO, "proof": {"canary_receiver": "chief"}}, []),
        (
            {"receivers": {"all": {"channels": ["file", "file"], "fallback": "file"}}},
            [(("receivers", "all", "fallback"), "'file' cannot stand in for itself; other channels are log")],
        ),
        (
            {"receivers": {"all": {"channels": ["file"], "fallback": "file"}}, "channels": {"file": {"type": "file"}}},
            [(("receivers", "all", "fallback"), "'file' cannot stand in for itself; other channels are none yet")],
        ),
        ({"receivers": {"all": {"channels": ["file", "log"], "fallback": "file"}}}, []),
        (
            {"receivers": {
                **TWO,
                "all": {"channels": ["file"], "escalate": [{"after": "2m", "receiver": "chief"},
                                                           {"after": "1m", "receiver": "chief"}]},
            }},
            [(("receivers", "all", "escalate"), "the steps must stand in the order of their times, the soonest first")],
        ),
        (
            {"receivers": {
                **TWO,
                "all": {"channels": ["file"], "escalate": [{"after": "1m", "receiver": "chief"},
                                                           {"after": "2m", "receiver": "chief"}]},
            }},
            [],
        ),
    ],
)  # fmt: skip
def test_the_mistakes_of_rules(parts, found):
    assert list(lint.mistakes(rules(**parts))) == found


UNNAMED = "no route, escalation or canary names this receiver"
DAGX = {"match": {"dag": ["x"]}}


@pytest.mark.parametrize(
    ("parts", "found"),
    [
        ({}, []),
        ({"receivers": TWO}, [(("receivers", "chief"), UNNAMED)]),
        ({"receivers": TWO, "proof": {"canary_receiver": "chief"}}, []),
        ({"receivers": TWO, "routes": [{"receiver": "chief", **DAGX}, {"receiver": "all"}]}, []),
        ({"receivers": TWO, "routes": [{"receiver": "chief", **DAGX}]}, []),  # the first hears of the others
        ({"receivers": TWO, "routes": [{"receiver": "chief"}]}, [(("receivers", "all"), UNNAMED)]),
        (
            {"receivers": {
                **TWO, "all": {"channels": ["file"], "escalate": [{"after": "1m", "receiver": "chief"}]},
            }},
            [],
        ),
        (
            {"channels": {**LEAST["channels"], "spare": {"type": "log"}}},
            [(("channels", "spare"), "no receiver uses this channel")],
        ),
        ({"receivers": {"all": {"channels": ["file"]}}}, [(("channels", "log"), "no receiver uses this channel")]),
        (
            {"calendars": {"bank": "x.txt", "used": "y.txt"},
             "deadlines": [{"name": "a", "dag": "x", "starts_by": "06:00", "calendar": "used"}]},
            [(
                ("calendars", "bank"),
                "no deadline here uses this calendar; one that is declared beside its DAG may",
            )],
        ),
        (
            {"routes": [{"receiver": "all", **DAGX}, {"receiver": "all", "continue": True}]},
            [(("routes", 1, "continue"), "there is no route after this one")],
        ),
        ({"routes": [{"receiver": "all", "continue": True}, {"receiver": "all"}]}, []),
        (
            {"routes": [{"receiver": "all", **DAGX}] * 2 + [{"receiver": "all", "continue": True}]},
            [(("routes", 2, "continue"), "there is no route after this one")],
        ),
    ],
)  # fmt: skip
def test_the_remarks_on_rules(parts, found):
    assert list(lint.remarks(rules(**parts))) == found


@pytest.mark.parametrize(
    ("deadlines", "found"),
    [
        ([deadline(dag="load")], []),
        ([deadline(dag="l*")], []),
        ([deadline(dag="lood")], [(("deadlines", 0, "dag"), "of a: Airflow knows no DAG 'lood'; is 'load' meant?")]),
        ([deadline(), deadline("b", dag="zzz*")], [
            (("deadlines", 0, "dag"), "of a: Airflow knows no DAG 'x'"),
            (("deadlines", 1, "dag"), "of b: Airflow knows no DAG 'zzz*'"),
        ]),
        (
            [{"name": "p", "ready_by": "07:00", "parts": [{"dag": "load"}, {"asset": "s3://a"}, {"dag": "zz"}]}],
            [(("deadlines", 0, "parts", 2, "dag"), "of p: Airflow knows no DAG 'zz'")],
        ),
        ([{"name": "f", "asset": "s3://a", "fresh_within": "1h"}], []),
    ],
)  # fmt: skip
def test_the_dags_that_airflow_does_not_know(deadlines, found):
    assert list(lint.unknown_dags(rules(deadlines=deadlines), ["load", "loads", "clean"])) == found
