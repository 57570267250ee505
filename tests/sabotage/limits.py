"""Variants that exceed the rate or the budget, or stall."""

from __future__ import annotations

from tests.sabotage.variant import Variant

LIMITS = (
    Variant(
        "requests go out in bursts",
        "no minute holds more submissions than the limit",
        "engine/scheduling/lane.py",
        "        self._limiter = _limiter(pace.per_minute)\n",
        "        self._limiter = AsyncLimiter(pace.per_minute, 60)\n",
        "tests/scheduling/test_lane.py::test_no_window_of_a_minute_holds_more_than_the_limit_and_nearly_all_of_it_is_used",
    ),
    Variant(
        "every 429 of a burst halves the pace",
        "the plan is used",
        "engine/scheduling/pace.py",
        "if not self._adaptive or permit.epoch != self._epoch:\n            return\n        self._forget_old()",
        "if not self._adaptive:\n            return\n        self._forget_old()",
        "tests/scheduling/test_pace.py::test_a_burst_of_429s_halves_the_pace_once",
    ),
    Variant(
        "Retry-After is obeyed however long it is",
        "never a stall without a stated reason",
        "engine/provider/throttle.py",
        "return min(max(*usable, WAIT_S_MIN), WAIT_S_MAX) if usable else None",
        "return max(*usable, WAIT_S_MIN) if usable else None",
        "tests/provider/test_throttle.py::test_a_wait_is_clamped",
    ),
    Variant(
        "any digit is a digit",
        "a header means what it says or nothing",
        "engine/provider/throttle.py",
        r'_SECONDS = re.compile(r"[0-9]{1,13}(\.[0-9]{1,9})?\Z", re.ASCII)',
        r'_SECONDS = re.compile(r"\d{1,13}(\.\d{1,9})?\Z")',
        "tests/provider/test_throttle.py::test_what_cannot_be_read_is_no_hint",
    ),
    Variant(
        "a price is reserved only once it is charged",
        "bounded spending",
        "engine/scheduling/feeder.py",
        "        self._spend.reserve(flight.job, flight.price_usd)\n",
        "",
        "tests/runs/test_money.py::test_the_bill_never_exceeds_the_budget_and_raising_it_finishes_the_batch",
    ),
)
