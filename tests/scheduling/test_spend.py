"""The book of the money: what is set aside, what may be charged, what was charged."""

from __future__ import annotations

import pytest

from engine.scheduling.spend import Spend


@pytest.fixture
def spend() -> Spend:
    return Spend(cost_usd_max=20.0, jobs_max=None, listed_price_usd=lambda _: 4.0, spent_usd=0.0)


def test_a_job_whose_turn_is_next_takes_room_and_is_not_yet_at_the_provider(spend: Spend) -> None:
    for job in range(5):
        spend.reserve(job, 4.0)
    assert (spend.reserved_usd, spend.at_provider_usd) == (20.0, 0.0)
    assert "has no room" in spend.refusal("any")
    spend.submit(0)
    assert spend.at_provider_usd == 4.0


def test_whatever_becomes_of_jobs_the_book_is_empty_in_the_end(spend: Spend) -> None:
    for job in range(4):
        spend.reserve(job, 4.0)
    spend.submit(0)
    spend.settle(0, "any", 4.5)
    spend.submit(1)
    spend.give_back(1)
    spend.submit(2)
    spend.give_back(2, accepted=False)
    spend.give_back(3, accepted=False)
    assert (spend.reserved_usd, spend.at_provider_usd, spend.spent_usd, spend.mean_usd) == (0.0, 0.0, 4.5, 4.5)


def test_what_is_submitted_again_although_it_may_have_been_charged_stays_set_aside(spend: Spend) -> None:
    spend.reserve(0, 4.0)
    spend.submit(0)
    spend.write_off(0)
    spend.reserve(0, 4.0)
    assert (spend.reserved_usd, spend.at_provider_usd) == (8.0, 4.0)
