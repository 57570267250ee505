"""Derive the plan of a batch from what its input holds: money, time, requests, disk. Pure.

Estimates come from published or configured figures of each model; where there is none, the plan says so instead of
guessing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.job.model_name import FIRST_PROVIDER, provider_of
from engine.planning.plan import ModelPlan, Plan
from engine.planning.risks import risks

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from engine.config import RunConfig
    from engine.planning.offer import Offer
    from engine.planning.reading import Found


def estimate(found: Found, config: RunConfig, offers: Mapping[str, Offer], *, disk_free_bytes: int) -> Plan:
    """Return the plan.

    Args:
        found: what the input holds.
        config: the whole configuration.
        offers: the providers of the batch by name.
        disk_free_bytes: free where the media go.
    """
    saved = found.equal_by_model if config.budget.dedupe else {}
    by_model = {entry.model: entry.jobs - saved.get(entry.model, 0) for entry in found.models}
    submissions = sum(by_model.values())
    wall_s, bound_by = _slowest([entry for entry in found.models if entry.duration_s is not None], offers, by_model)
    unpriced = sum(by_model[entry.model] for entry in found.models if entry.price_usd is None)
    untimed = sum(by_model[entry.model] for entry in found.models if entry.duration_s is None)
    cost_usd = _known_usd(found.models, by_model)
    requests = sum(count * offers[provider_of(model)].requests_per_job for model, count in by_model.items())
    return Plan(
        lines=found.lines,
        jobs=found.lines - found.invalid,
        invalid=found.invalid,
        invalid_lines=found.invalid_lines,
        equal_bodies=found.equal_bodies,
        equal_bodies_usd=_sum_usd(found.models, found.equal_by_model),
        submissions=submissions,
        models=found.models,
        cost_usd=None if unpriced else cost_usd,
        cost_usd_min=cost_usd,
        unpriced=unpriced,
        wall_s=None if untimed else wall_s,
        wall_s_min=wall_s,
        untimed=untimed,
        bound_by=None if untimed else bound_by,
        requests=round(requests),
        in_flight_safe=offers[FIRST_PROVIDER].in_flight_safe,
        disk_free_bytes=disk_free_bytes,
        disk_bytes_per_job_max=max(0, disk_free_bytes - config.storage.reserve_bytes) / max(1, submissions),
        uploads=found.uploads,
        unanswered_urls=dict(found.unanswered_urls),
        warnings=(*found.warnings, *risks(found.models, offers)),
    )


def _sum_usd(models: Sequence[ModelPlan], jobs: Mapping[str, int]) -> float | None:
    if any(entry.price_usd is None and jobs.get(entry.model, 0) for entry in models):
        return None
    return _known_usd(models, jobs)


def _known_usd(models: Sequence[ModelPlan], jobs: Mapping[str, int]) -> float:
    return round(sum((entry.price_usd or 0.0) * jobs.get(entry.model, 0) for entry in models), 2)


def _slowest(
    models: Sequence[ModelPlan], offers: Mapping[str, Offer], submissions: Mapping[str, int]
) -> tuple[float | None, str | None]:
    """Return the time of the provider that takes longest, since all work at once, and what sets it; None without jobs.

    The durations of the models are known.
    """
    bounds = []
    for name, offer in offers.items():
        own = [entry for entry in models if provider_of(entry.model) == name]
        if count := sum(submissions[entry.model] for entry in own):
            bounds.append(makespan_s(own, offer, count))
    return max(bounds, key=lambda bound: bound[0]) if bounds else (None, None)


def makespan_s(models: Sequence[ModelPlan], offer: Offer, submissions: int) -> tuple[float, str]:
    """Return the lower bound of the time that the jobs of one provider take, and what sets it.

    With N submissions, r requests a second, m of them per job, durations D and a cap C on what is in flight:
    max(m N / r, sum of D / C) + D.
    """
    total_s = sum((entry.duration_s or 0.0) * entry.jobs for entry in models)
    typical_s = total_s / sum(entry.jobs for entry in models)
    limits = offer.config.limits
    pace = ("requests", offer.requests_per_job) if limits.shared else ("submits_per_minute", 1.0)
    bounds = {
        pace[0]: pace[1] * submissions * 60 / limits.submits_per_minute,
        "max_in_flight": typical_s * submissions / limits.max_in_flight,
    }
    bound_by = max(bounds, key=lambda name: bounds[name])
    return bounds[bound_by] + typical_s, bound_by
