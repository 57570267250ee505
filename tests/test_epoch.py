"""A moment as servers write it: read, or no moment; nothing they write is an error."""

from __future__ import annotations

import pytest

from engine.epoch import epoch_of

NEW_YEAR = 1_767_225_600.0  # 2026-01-01T00:00:00Z


@pytest.mark.parametrize(
    "value",
    [
        1_767_225_600,
        1_767_225_600_000,
        1_767_225_600.0,
        "1767225600",
        "2026-01-01T00:00:00Z",
        "2026-01-01 01:00:00+01:00",
        "Thu, 01 Jan 2026 00:00:00 GMT",
    ],
)
def test_every_notation_is_read(value: object) -> None:
    assert epoch_of(value) == NEW_YEAR


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        -1,
        pytest.param(10**400, id="too-large-for-a-float"),
        float("nan"),
        float("inf"),
        [],
        "\u0661",
        "2026-13-45",
        "Mon, 01 Jan 99999999999999999999 00:00:00 GMT",
        "Mon, 99999999999999999999 Jan 2026 00:00:00 GMT",
        "Thu, 01 Jan 2026 00:00:00 +9999999999999999999999999",
    ],
)
def test_what_is_no_moment_is_none_and_never_an_error(value: object) -> None:
    assert epoch_of(value) is None
