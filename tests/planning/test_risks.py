"""Each risk is named when its condition holds, and not before."""

from __future__ import annotations

import pytest

from engine.config import RunConfig
from engine.planning.offer import offers_of
from engine.planning.plan import ModelPlan
from engine.planning.risks import risks


def risks_of(
    *settings: str, model: str = "avatar", price_usd: float | None = 4.0, duration_s: float | None = 60.0
) -> list[str]:
    offers = offers_of(RunConfig.load(None, settings))
    return risks([ModelPlan(model=model, jobs=1, price_usd=price_usd, duration_s=duration_s)], offers)


def test_a_batch_that_is_known_and_fits_has_none() -> None:
    assert risks_of("limits.max_in_flight=9000", duration_s=1_800.0) == []


def test_more_in_flight_than_can_be_harvested() -> None:
    (found,) = risks_of("limits.max_in_flight=9001")
    assert found == (
        "limits.max_in_flight is 9,001, but at this plan only 9,000 requests can be harvested safely before their"
        " records expire after 60 min"
    )


def test_a_job_that_may_outlive_its_record() -> None:
    assert risks_of(duration_s=1_801.0) == ["avatar takes 1801 s, more than half of the 60 min its record lives"]


def test_a_job_that_may_outlast_the_patience_for_its_reply() -> None:
    settings = ("provider.preset=segmind-sync", "provider.submit_timeout_s=4000")
    assert risks_of(*settings, duration_s=2_000.0) == []
    assert risks_of(*settings, duration_s=2_001.0) == [
        "avatar takes 2001 s, more than half of the 4000 s its reply may take"
    ]


@pytest.mark.parametrize(("model", "tables"), [("avatar", ""), ("second:avatar", "providers.second.")])
def test_what_nobody_knows_is_named_with_the_key_that_would_say_it(model: str, tables: str) -> None:
    found = risks_of("providers.second.preset=fal", model=model, price_usd=None, duration_s=None)
    assert found == [
        f"the price of {model} is not known: set {tables}budget.price_usd",
        f"the duration of {model} is not known: set {tables}polling.expected_duration_s",
    ]
