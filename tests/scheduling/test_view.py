"""How a run stands: one provider as it is, several as one."""

from __future__ import annotations

from engine.scheduling.view import together
from tests.views import a_view


def test_one_provider_stands_as_it_is_without_its_name() -> None:
    view = a_view("no credit")
    assert together([("segmind", view)]) == view


def test_of_several_each_that_waits_is_named() -> None:
    views = [("segmind", a_view("no credit")), ("fal", a_view()), ("own", a_view("a 429"))]
    assert together(views).waits_for == "segmind: no credit; own: a 429"


def test_of_several_the_paces_add_up_and_any_trouble_is_one() -> None:
    views = [
        ("segmind", a_view(can_cancel=True)),
        ("fal", a_view("a 429", submit_pace_per_minute=20.0, shortfall="too late")),
    ]
    view = together(views)
    assert (view.submit_pace_per_minute, view.is_held_up, view.shortfall, view.can_cancel) == (
        70,
        True,
        "too late",
        True,
    )


def test_the_harvest_of_several_takes_as_long_as_the_longest_if_all_are_known() -> None:
    assert together([("segmind", a_view(harvest_s=60.0)), ("fal", a_view(harvest_s=90.0))]).harvest_s == 90.0
    assert together([("segmind", a_view(harvest_s=60.0)), ("fal", a_view(harvest_s=None))]).harvest_s is None
