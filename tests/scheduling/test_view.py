"""How a run stands: one provider as it is, several as one."""

from __future__ import annotations

from engine.scheduling.view import Remainder, sum_of, together
from tests.views import a_view


def test_one_provider_stands_as_it_is_without_its_name() -> None:
    view = a_view("no credit")
    assert together([("segmind", view)]) == view


def test_of_several_each_that_waits_is_named() -> None:
    views = [("segmind", a_view("no credit")), ("fal", a_view()), ("own", a_view("a 429"))]
    assert together(views).waits_for == "segmind: no credit; own: a 429"


def test_of_several_the_paces_add_up_and_any_trouble_is_one() -> None:
    waiting = a_view("a 429", submit_pace_per_minute=20.0, shortfall="too late")
    view = together([("segmind", a_view()), ("fal", waiting)])
    assert (view.submit_pace_per_minute, view.is_held_up, view.shortfall) == (70.0, True, "too late")


def test_what_is_left_of_several_takes_as_long_as_the_longest_if_all_are_known() -> None:
    assert sum_of([Remainder(60.0, can_cancel=False), Remainder(90.0, can_cancel=True)]) == Remainder(
        90.0, can_cancel=True
    )
    assert sum_of([Remainder(60.0, can_cancel=False), Remainder(None, can_cancel=False)]) == Remainder(
        None, can_cancel=False
    )
