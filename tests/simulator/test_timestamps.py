from __future__ import annotations

import pytest

from engine.simulator.timestamps import Notation, write_instant

INSTANT_UTC_S = 1_790_000_000.25  # 2026-09-21T14:13:20.25Z


@pytest.mark.parametrize(
    ("notation", "text"),
    [
        ("iso_z", "2026-09-21T14:13:20.250000Z"),
        ("iso_naive", "2026-09-21T14:13:21"),
        ("space", "2026-09-21 14:13:21"),
        ("epoch_s", "1790000001"),
        ("epoch_ms", "1790000000250"),
        ("http_date", "Mon, 21 Sep 2026 14:13:21 GMT"),
    ],
)
def test_an_instant_is_written_in_each_notation_and_never_rounded_down(notation: str, text: str) -> None:
    assert write_instant(INSTANT_UTC_S, Notation(notation)) == text


def test_every_notation_is_tested_above() -> None:
    assert len(Notation) == 6
