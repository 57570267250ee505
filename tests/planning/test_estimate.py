"""The estimate of a batch, from facts alone: money, time by whichever limit binds, requests, disk."""

from __future__ import annotations

import pytest

from engine.config import RunConfig
from engine.planning.estimate import estimate
from engine.planning.offer import offers_of
from engine.planning.plan import ModelPlan, Plan
from engine.planning.reading import Found

MODEL = ModelPlan(model="avatar", jobs=100, price_usd=4.0, duration_s=600.0)


def plan_of(*settings: str, models: tuple[ModelPlan, ...] = (MODEL,), equal: int = 0, free_bytes: int = 0) -> Plan:
    config = RunConfig.load(None, settings)
    jobs = sum(entry.jobs for entry in models)
    found = Found(jobs + 1, 1, (), equal, models, {models[0].model: equal})
    return estimate(found, config, offers_of(config), disk_free_bytes=free_bytes)


def test_equal_bodies_are_submitted_unless_they_are_deduplicated() -> None:
    apart, once = plan_of(equal=10), plan_of("budget.dedupe=true", equal=10)
    assert (apart.submissions, apart.cost_usd, apart.equal_bodies_usd) == (100, 400.0, 40.0)
    assert (once.submissions, once.cost_usd, once.equal_bodies_usd) == (90, 360.0, 40.0)


def test_a_price_or_a_duration_that_nobody_knows_leaves_the_sum_unknown() -> None:
    plan = plan_of(models=(MODEL, ModelPlan(model="new", jobs=1, price_usd=None, duration_s=None)))
    assert (plan.jobs, plan.cost_usd, plan.wall_s, plan.bound_by) == (101, None, None, None)


def test_what_is_known_of_the_others_is_a_lower_bound() -> None:
    known = plan_of()
    plan = plan_of(models=(MODEL, ModelPlan(model="new", jobs=2, price_usd=None, duration_s=None)))
    assert (plan.cost_usd_min, plan.unpriced) == (known.cost_usd, 2)
    assert (plan.wall_s_min, plan.untimed) == (known.wall_s, 2)
    assert (known.cost_usd_min, known.unpriced, known.wall_s_min, known.untimed) == (400.0, 0, known.wall_s, 0)


def test_of_nothing_known_there_is_no_bound_in_time() -> None:
    plan = plan_of(models=(ModelPlan(model="new", jobs=2, price_usd=None, duration_s=None),))
    assert (plan.cost_usd_min, plan.wall_s_min) == (0.0, None)


@pytest.mark.parametrize(
    ("settings", "wall_s", "bound_by"),
    [
        (("limits.submits_per_minute=10", "limits.max_in_flight=200"), 100 * 6 + 600, "submits_per_minute"),
        (("limits.submits_per_minute=1000", "limits.max_in_flight=10"), 100 * 600 / 10 + 600, "max_in_flight"),
        (("limits.submits_per_minute=10", "limits.shared=true"), 100 * 8 * 6 + 600, "requests"),
    ],
)
def test_the_time_is_that_of_the_limit_that_binds_and_of_the_last_job(
    settings: tuple[str, ...], wall_s: float, bound_by: str
) -> None:
    plan = plan_of(*settings)
    assert plan.wall_s == pytest.approx(wall_s)
    assert plan.bound_by == bound_by


@pytest.mark.parametrize(("preset", "requests"), [("segmind", 800), ("segmind-sync", 100)])
def test_a_job_that_is_answered_with_its_result_takes_one_request(preset: str, requests: int) -> None:
    assert plan_of(f"provider.preset={preset}").requests == requests


def test_the_disk_is_shared_by_the_submissions_after_its_reserve() -> None:
    assert plan_of("storage.reserve_bytes=1000", free_bytes=51_000).disk_bytes_per_job_max == 500.0
    assert plan_of("storage.reserve_bytes=1000", free_bytes=10).disk_bytes_per_job_max == 0.0
