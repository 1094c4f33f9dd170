"""The documents that prove boards were made by the product: each kind of event really happens in the drills."""

from __future__ import annotations

from play_drills import Stage

from observability import catalog


def test_the_product_emits_each_kind_of_event_when_what_it_is_about_happens(drills):
    assert set(catalog.EVENTS) - set(Stage(drills).emitted()) == set()
