"""How long a 429 asks us to wait, in every spelling seen in the wild."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from engine.provider.throttle import RESET_HEADER, WAIT_S_MAX, WAIT_S_MIN, throttle_wait_s

if TYPE_CHECKING:
    import random

NOW = 1_767_225_600.0  # 2026-01-01T00:00:00Z
DATE = "Thu, 01 Jan 2026 00:00:00 GMT"


def wait(**headers: str) -> float | None:
    return throttle_wait_s({name.replace("_", "-"): text for name, text in headers.items()}, utc=NOW)


def reset(text: str, *, date: str = "") -> float | None:
    return throttle_wait_s({RESET_HEADER: text, "Date": date}, utc=NOW)


@pytest.mark.parametrize(
    "text",
    [
        "2026-01-01T00:00:30Z",
        "2026-01-01T00:00:30",
        "2026-01-01T00:00:30.000000",
        "2026-01-01T01:00:30+01:00",
        "2026-01-01 00:00:30",
        "1767225630",
        "1767225630.0",
        "1767225630000",
        "Thu, 01 Jan 2026 00:00:30 GMT",
        "  2026-01-01T00:00:30Z ",
    ],
)
def test_every_format_of_the_reset_header_is_read(text: str) -> None:
    assert reset(text) == pytest.approx(30)


def test_retry_after_is_seconds_or_a_date() -> None:
    assert wait(Retry_After="30") == 30
    assert wait(Retry_After="Thu, 01 Jan 2026 00:00:30 GMT") == 30


def test_a_moment_is_read_against_the_responses_own_clock() -> None:
    two_days_off = "Sat, 03 Jan 2026 00:00:00 GMT"
    assert reset("2026-01-03T00:00:30Z", date=two_days_off) == 30
    assert reset("2026-01-01T00:00:30Z", date=DATE) == 30


def test_the_longer_of_two_hints_counts() -> None:
    assert throttle_wait_s({"Retry-After": "5", RESET_HEADER: "2026-01-01T00:00:40Z"}, utc=NOW) == 40


@pytest.mark.parametrize(
    ("text", "clamped"), [("0", WAIT_S_MIN), ("0.5", WAIT_S_MIN), ("86400", WAIT_S_MAX), ("9999999999999", WAIT_S_MAX)]
)
def test_a_wait_is_clamped(text: str, clamped: float) -> None:
    assert wait(Retry_After=text) == clamped


def test_a_moment_that_has_passed_is_the_shortest_wait() -> None:
    assert reset("2025-12-31T23:59:00Z") == WAIT_S_MIN
    assert reset("2099-01-01T00:00:00Z") == WAIT_S_MAX


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-5",
        "nan",
        "inf",
        "1e5",
        "\uff11\uff12",
        "5, 10",
        "soon",
        "2026-13-45",
        "0x10",
        "9" * 400,
        "\u0661",
        "5 seconds",
        "Mon, 01 Jan 99999999999999999999 00:00:00 GMT",
        "Thu, 01 Jan 2026 00:00:00 +9999999999999999999999999",
    ],
)
def test_what_cannot_be_read_is_no_hint(text: str) -> None:
    assert wait(Retry_After=text) is None
    assert reset(text) is None


def test_an_absurd_date_of_the_response_is_no_date() -> None:
    assert wait(Retry_After="5", Date="Mon, 01 Jan 99999999999999999999 00:00:00 GMT") == 5


def test_without_a_header_there_is_no_hint() -> None:
    assert wait() is None


def test_no_text_breaks_it_or_leaves_the_bounds(rng: random.Random) -> None:
    letters = "0123456789 :-+,.TZWGMTJanSat/e\x00"
    for _ in range(3_000):
        text = "".join(rng.choices(letters, k=rng.randrange(32)))
        for headers in ({"Retry-After": text}, {RESET_HEADER: text}, {"Date": text, "Retry-After": "5"}):
            found = throttle_wait_s(headers, utc=NOW)
            assert found is None or WAIT_S_MIN <= found <= WAIT_S_MAX
