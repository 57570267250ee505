"""Amounts of money as people read them."""

from __future__ import annotations

import pytest

from engine.job.money import usd_words


@pytest.mark.parametrize(
    ("amount_usd", "words"),
    [
        (0.0, "$0.00"),
        (4.475, "$4.48"),
        (105.205, "$105.21"),
        (sum([4.475] * 57), "$255.08"),
        (-0.005, "$-0.01"),
        (1234567.891, "$1,234,567.89"),
        (30, "$30.00"),
    ],
)
def test_half_a_cent_is_rounded_up_whatever_it_was_added_up_from(amount_usd: float, words: str) -> None:
    assert usd_words(amount_usd) == words
