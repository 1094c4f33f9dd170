"""KQL becomes the query that Kibana would send."""

from __future__ import annotations

import pytest

from observability.dashboards.kibana.kql import KqlError, fields, to_query


def match(field, value):
    return {"match_phrase": {field: value}}


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("", {"match_all": {}}),
        ('a.b : "x y"', match("a.b", "x y")),
        ("a : *", {"exists": {"field": "a"}}),
        ("a >= 3", {"range": {"a": {"gte": "3"}}}),
        ("not a : *", {"bool": {"must_not": [{"exists": {"field": "a"}}]}}),
        ('a : ("x" or "y")', {"bool": {"should": [match("a", "x"), match("a", "y")], "minimum_should_match": 1}}),
        ('a : "x" and b : "y"', {"bool": {"filter": [match("a", "x"), match("b", "y")]}}),
        (
            'a : "x" or b : "and" and c : z',
            {
                "bool": {
                    "should": [match("a", "x"), {"bool": {"filter": [match("b", "and"), match("c", "z")]}}],
                    "minimum_should_match": 1,
                }
            },
        ),
    ],
)
def test_a_text_becomes_its_query(text, query):
    assert to_query(text) == query


@pytest.mark.parametrize("text", ["a :", "a", '(a : "x"', 'a : "x" )', "and", '"'])
def test_what_is_no_kql_is_refused(text):
    with pytest.raises(KqlError):
        to_query(text)


def test_the_fields_of_a_text_are_those_that_it_names():
    assert fields('(a : "x" or not b : *) and c > 1') == {"a", "b", "c"}
