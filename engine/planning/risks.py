"""What may go wrong with a batch as it is configured: a table of conditions, each with its sentence. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.job.model_name import provider_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from engine.planning.offer import Offer
    from engine.planning.plan import ModelPlan

_OF_A_PROVIDER: tuple[tuple[Callable[[Offer], bool], str], ...] = (
    (
        lambda offer: offer.config.limits.max_in_flight > offer.in_flight_safe,
        (
            "{offer.tables}limits.max_in_flight is {offer.config.limits.max_in_flight:,}, but at this plan only"
            " {offer.in_flight_safe:,} requests can be harvested safely before their records expire after"
            " {offer.record_life_min:.0f} min"
        ),
    ),
)
_OF_A_MODEL: tuple[tuple[Callable[[ModelPlan, Offer], bool], str], ...] = (
    (
        lambda jobs, offer: not offer.is_synchronous and _takes_longer(jobs, offer.record_life_s / 2),
        (
            "{jobs.model} takes {jobs.duration_s:.0f} s, more than half of the {offer.record_life_min:.0f} min its"
            " record lives"
        ),
    ),
    (
        lambda jobs, offer: offer.is_synchronous and _takes_longer(jobs, offer.patience_s / 2),
        "{jobs.model} takes {jobs.duration_s:.0f} s, more than half of the {offer.patience_s:.0f} s its reply may take",
    ),
    (
        lambda jobs, _: jobs.price_usd is None,
        "the price of {jobs.model} is not known: set {offer.tables}budget.price_usd",
    ),
    (
        lambda jobs, _: jobs.duration_s is None,
        "the duration of {jobs.model} is not known: set {offer.tables}polling.expected_duration_s",
    ),
)


def risks(models: Sequence[ModelPlan], offers: Mapping[str, Offer]) -> list[str]:
    """Return a sentence for each risk, provider by provider."""
    return [risk for offer in offers.values() for risk in _risks_of(offer, models)]


def _risks_of(offer: Offer, models: Sequence[ModelPlan]) -> list[str]:
    own = [jobs for jobs in models if provider_of(jobs.model) == offer.name]
    return [
        *(sentence.format(offer=offer) for applies, sentence in _OF_A_PROVIDER if applies(offer)),
        *(
            sentence.format(jobs=jobs, offer=offer)
            for applies, sentence in _OF_A_MODEL
            for jobs in own
            if applies(jobs, offer)
        ),
    ]


def _takes_longer(jobs: ModelPlan, bound_s: float) -> bool:
    return jobs.duration_s is not None and jobs.duration_s > bound_s
