"""Tests of printing: whole names in a pipe, and no markup of others obeyed."""

from __future__ import annotations

import pytest

from observability.cli.printing import console, table

NAME = "[red]a_dag_with_a_long_name_[/]." + "and_a_task_with_a_longer_one" * 5


@pytest.fixture
def shown(capsys, monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)

    def show(**variables):
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        rows = table("what", "why")
        rows.add_row(NAME, "[bold]why")
        console().print(rows)
        return capsys.readouterr().out

    return show


def test_a_long_name_stands_whole_in_a_pipe(shown):
    assert NAME in shown()
    assert "[bold]why" in shown()


def test_a_width_that_is_asked_for_is_kept(shown):
    assert max(map(len, shown(COLUMNS="60").splitlines())) <= 60
