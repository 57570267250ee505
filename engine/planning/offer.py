"""What is known of one provider of a batch, and what follows from it for any job. Asks nobody."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from engine.connection import describe
from engine.input_files.inspection import Inspector
from engine.provider_configs import configs_by_provider

if TYPE_CHECKING:
    from engine.config import RunConfig
    from engine.provider.description import ProviderDescription

POLLS_PER_JOB = 6.0
"""What the learned schedule needs for jobs whose durations spread by 15 % (the published average job)."""
RETENTION_SHARE = 1 / 4
"""In flight x 2 requests (a poll and a fetch) must drain within half the life of a record."""


class Offer(NamedTuple):
    """One provider of the batch: its name (empty for the first), how it is configured, and its description."""

    name: str
    config: RunConfig
    description: ProviderDescription

    @property
    def tables(self) -> str:
        """What stands in the configuration before the names of this provider's tables."""
        return f"providers.{self.name}." if self.name else ""

    @property
    def is_synchronous(self) -> bool:
        """Whether a submission is answered with the result."""
        return self.description.submit.is_synchronous

    @property
    def requests_per_job(self) -> float:
        """How many requests a job takes: its submission, and where that is not answered with the result, the others."""
        return 1.0 if self.is_synchronous else 2 + POLLS_PER_JOB

    @property
    def record_life_s(self) -> float:
        """How long a request can be asked about."""
        return self.description.record_life_s

    @property
    def record_life_min(self) -> float:
        """The same in minutes, as people are told it."""
        return self.record_life_s / 60

    @property
    def patience_s(self) -> float:
        """How long the reply to a submission is waited for."""
        return max(self.config.provider.submit_timeout_s, self.description.submit.reply_s_max)

    @property
    def in_flight_safe(self) -> int:
        """How many jobs in flight can be harvested before their records expire."""
        limits = self.config.limits
        if self.is_synchronous:
            return limits.max_in_flight  # nothing is asked about, so nothing can expire unread
        per_minute = limits.submits_per_minute if limits.shared else limits.polls_per_minute
        return int(per_minute * self.record_life_s / 60 * RETENTION_SHARE)

    @property
    def inspector(self) -> Inspector | None:
        """Who looks at local files; None if the provider takes none. The simulator takes them once it runs."""
        upload = self.description.upload
        takes = upload.inline or upload.wrap or self.config.provider.upload_url or self.description.upload_url
        return Inspector(upload.bytes_max) if takes else None

    @property
    def is_inline(self) -> bool:
        """Whether a job carries its local files inside itself."""
        uploads = self.config.provider.upload_url or self.description.upload_url
        return self.description.upload.inline and not uploads

    def price_usd(self, model: str) -> float | None:
        """Return what a job of a model costs: as configured, else as published; None where nobody knows."""
        known = self.description.models.get(model)
        return self.config.budget.price_usd or (known.price_usd if known else None)

    def duration_s(self, model: str) -> float | None:
        """Return how long a job of a model takes: as configured, else as published; None where nobody knows."""
        known = self.description.models.get(model)
        return self.config.polling.expected_duration_s or (known.expected_duration_s if known else None)


def offers_of(config: RunConfig) -> dict[str, Offer]:
    """Return the providers of a configuration by name, the first one first.

    Raises:
        ConfigError: one of them is not right.
    """
    return {name: Offer(name, own, describe(own, name)) for name, own in configs_by_provider(config).items()}
