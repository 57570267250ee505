"""Nights on a disk that dies, deterministic by their seed; any number by hand: ``python -m tests.simulation``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.simulation.night import simulate

if TYPE_CHECKING:
    from pathlib import Path

ROUNDS = 24


@pytest.mark.parametrize("round_", range(ROUNDS))
def test_whatever_the_disk_loses_and_the_provider_does_nothing_is_lost_and_nothing_paid_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int, round_: int
) -> None:
    simulate(tmp_path, f"{seed}:{round_}", monkeypatch)


def test_the_same_seed_is_the_same_night(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    nights = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        nights.append(simulate(tmp_path / name, f"{seed}:same", monkeypatch))
    assert nights[0] == nights[1]
