from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.scale import Size, need

PAGE = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()


def test_the_page_says_what_the_model_says():
    found = need(Size())
    for words in (
        f"{found.documents_per_day / 1e6:.0f} million a day",
        f"{found.gb_per_day:.0f} GB a day",
        f"{round(found.documents_per_s_mean, -2):,.0f} a second",
        f"{round(found.documents_per_s_peak, -2):,.0f} a second",
        f"{found.watcher_load_at_peak * 100:.0f} % of one",
        f"{found.es_hot_gb:.0f} GB",
        f"{found.es_all_gb / 1000:.1f} TB of data, {found.es_disk_gb / 1000:.1f} TB of disk",
        f"{found.es_primary_shards_a_month} primary shards",
        f"US$ {round(found.cw_month, -2):,.0f} a month",
    ):
        assert words in PAGE, words


def test_twice_the_tasks_are_twice_the_documents_that_tasks_make():
    small, large = need(Size(series=0)), need(Size(series=0, tasks_per_day=2_000_000))
    assert large.documents_per_day == pytest.approx(2 * small.documents_per_day)
    assert large.cw_ingest_month == pytest.approx(2 * small.cw_ingest_month)


def test_a_price_is_an_input():
    dear = need(replace(Size(), cw_ingest_per_gb=1.0))
    assert dear.cw_ingest_month == pytest.approx(2 * need(Size()).cw_ingest_month)
