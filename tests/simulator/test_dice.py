from __future__ import annotations

from statistics import median

from engine.simulator.dice import Dice


def test_the_same_seed_and_subject_give_the_same_draw() -> None:
    assert Dice(1).share("a", 2) == Dice(1).share("a", 2)
    assert Dice(1).hex_id("a") == Dice(1).hex_id("a")


def test_another_seed_or_subject_gives_another_draw() -> None:
    assert len({Dice(1).share("a", 2), Dice(2).share("a", 2), Dice(1).share("a", 3), Dice(1).share("a2")}) == 4


def test_shares_fill_the_interval_evenly() -> None:
    shares = [Dice(3).share(number) for number in range(4000)]
    assert min(shares) > 0
    assert max(shares) < 1
    assert abs(sum(shares) / len(shares) - 0.5) < 0.02


def test_durations_have_the_median_that_was_asked_for() -> None:
    durations = [Dice(5).lognormal(713.0, 0.15, number) for number in range(4000)]
    assert abs(median(durations) / 713.0 - 1) < 0.01


def test_an_id_is_32_lowercase_hexadecimal_digits() -> None:
    text = Dice(1).hex_id("x")
    assert len(text) == 32
    assert set(text) <= set("0123456789abcdef")
