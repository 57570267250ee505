"""Rates and estimates: honest, or absent."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from engine.console.figures import WINDOW_S, Figures
from engine.scheduling.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Callable


class _Watch:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def watch() -> _Watch:
    return _Watch()


def figures_of(tally: Tally, now: Callable[[], float]) -> Figures:
    return Figures(lambda: tally, now)


def _work(figures: Figures, watch: _Watch, jobs: int, *, within_s: float) -> None:
    watch.now += within_s
    figures.tally.succeeded += jobs
    figures.tally.pending -= jobs
    figures.note()


def test_the_rate_is_what_came_to_rest_in_a_minute(watch: _Watch) -> None:
    figures = figures_of(Tally(pending=100), watch)
    _work(figures, watch, 30, within_s=60)
    assert figures.finished_per_minute == pytest.approx(30)


def test_failed_jobs_are_finished_too(watch: _Watch) -> None:
    figures = figures_of(Tally(), watch)
    figures.tally.failed = 5
    _work(figures, watch, 5, within_s=60)
    assert figures.finished_per_minute == pytest.approx(10)


def test_what_an_earlier_process_did_does_not_flatter_the_rate(watch: _Watch) -> None:
    figures = figures_of(Tally(succeeded=1000, pending=10), watch)
    _work(figures, watch, 1, within_s=60)
    assert figures.finished_per_minute == pytest.approx(1)


def test_a_rate_of_no_time_is_none_at_all() -> None:
    assert figures_of(Tally(), lambda: 5.0).finished_per_minute == 0


def test_there_is_no_estimate_before_three_jobs_finished(watch: _Watch) -> None:
    figures = figures_of(Tally(pending=100), watch)
    _work(figures, watch, 2, within_s=60)
    assert figures.eta is None


def test_the_estimate_counts_what_waits_and_what_is_in_flight(watch: _Watch) -> None:
    figures = figures_of(Tally(pending=20, generating=10), watch)
    _work(figures, watch, 10, within_s=60)
    assert figures.eta is not None
    assert figures.eta.likely_s == pytest.approx(120)


def test_the_rate_forgets_what_is_older_than_its_window(watch: _Watch) -> None:
    figures = figures_of(Tally(pending=1000), watch)
    _work(figures, watch, 900, within_s=1)
    _work(figures, watch, 1, within_s=WINDOW_S)
    _work(figures, watch, 1, within_s=60)
    assert figures.finished_per_minute == pytest.approx(1)


def test_an_estimate_survives_a_window_in_which_nothing_finished(watch: _Watch) -> None:
    figures = figures_of(Tally(pending=1000), watch)
    _work(figures, watch, 900, within_s=1)
    for _ in range(4):
        _work(figures, watch, 0, within_s=WINDOW_S)
    assert figures.eta is None
