"""The parts that a run has for one provider, each made from its section of the configuration.

Nothing here runs: ``run`` opens what is made (the provider's client alone is opened here, because a program's own has
nothing to open), and ``scheduling`` puts it to work.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypeAlias

from engine.fleet.fleet import Storage
from engine.input_files.inspection import Inspector
from engine.input_files.stager import Stager
from engine.media.downloader import Downloader
from engine.media.keyed import Keyed
from engine.media.part import free_bytes
from engine.provider.addresses import is_trusted, key_headers
from engine.provider.history import HttpHistory
from engine.provider.http_provider import HttpProvider
from engine.run.learning import Learned
from engine.scheduling.durations import Durations
from engine.scheduling.halt import HaltRules
from engine.scheduling.lane import Lane, Lanes, spacing_s
from engine.scheduling.life import Life
from engine.scheduling.pace import Pace
from engine.scheduling.polling import FixedPolling, LearnedPolling

if TYPE_CHECKING:
    import random
    from collections.abc import Awaitable, Callable, Mapping
    from contextlib import AsyncExitStack
    from pathlib import Path

    from engine.clock import Clock
    from engine.config import RunConfig
    from engine.config.sections import Provider as ProviderSettings
    from engine.connection import Connection
    from engine.ledger.ledger import Ledger
    from engine.media.fetcher import Fetcher
    from engine.provider.description import ProviderDescription
    from engine.provider.history import History
    from engine.provider.protocol import Provider
    from engine.provider.verdict import Unavailable
    from engine.scheduling.durations import DurationsState
    from engine.scheduling.polling import PollingPolicy

Balance: TypeAlias = "Callable[[], Awaitable[float | Unavailable | None]]"
"""Reads what the account holds, in US dollars; None if the provider does not tell."""

SUBMIT_CONCURRENCY = 64
READ_CONCURRENCY = 64
HELD_CONCURRENCY = 1_000_000
"""Of requests that the provider holds for as long as a job runs; what is in flight bounds them."""
EXPECTED_DURATION_S = 60.0
SPREAD = 0.35
SPREAD_WITHOUT_KNOWLEDGE = 1.0
"""Standard deviations of the logarithm of a duration, to begin with: around a given expectation, and around none."""
RECALLED_JOBS_MAX = 30.0
"""So many jobs does the knowledge of earlier runs count for: soon outweighed if the provider has changed."""
HISTORY_AGAIN_GRACES = 1 / 15
HISTORY_AGAIN_S_MIN = 1.0


class Parts:
    """Makes the parts for one provider of a run."""

    def __init__(self, config: RunConfig, connection: Connection, *, clock: Clock, rng: random.Random) -> None:
        self.config = self._config = config
        self.connection = self._connection = connection
        self._models = connection.description.models
        self._clock = clock
        self._rng = rng
        self._policies: dict[str, PollingPolicy] = {}
        self._recalled: dict[str, tuple[DurationsState, float]] = {}
        self._per_minute: dict[str, float] = {}
        self._lanes: dict[str, Lane] = {}

    # --- network ----------------------------------------------------------------------------------

    async def open_provider(
        self, stack: AsyncExitStack, own: Provider | None
    ) -> tuple[Provider, History | None, Balance]:
        """Return who is submitted to, its record of requests, and who tells the account's balance.

        Args:
            stack: closes what is opened.
            own: a program's own provider, if it has one.
        """
        if own is not None:
            return own, None, _untold
        client = await stack.enter_async_context(client_of(self._connection, self._config.provider, clock=self._clock))
        return client, self._history(client), client.credits_usd

    def _history(self, provider: HttpProvider) -> HttpHistory | None:
        url = self._connection.history_url
        return HttpHistory(provider.get, history_url=url) if url else None

    def downloader(self, media: Path, *, path_prefix: str, keyed: Mapping[str, Keyed]) -> Downloader:
        """Return the downloader into the directory ``media``, to be opened; ``keyed`` by the name of each provider."""
        return Downloader(
            media_dir=media,
            path_prefix=path_prefix,
            allow_private_hosts=self._connection.allow_private_hosts,
            bytes_max=self._config.downloads.bytes_max,
            reserve_bytes=self._config.storage.reserve_bytes,
            clock=self._clock,
            rng=self._rng,
            keyed=keyed,
        )

    def keyed(self) -> Keyed | None:
        """Return what opens the provider's own addresses to a download; None if none of them serves files."""
        connection = self._connection
        if not connection.description.result.bytes:
            return None
        return Keyed(
            lambda url: is_trusted(str(url), connection.base_url, connection.description),
            key_headers(connection.description, connection.api_key),
            connection.api_key,
        )

    def storage(self, media: Path, *, path_prefix: str) -> Storage:
        """Return what a fleet has to know of the downloads into the directory ``media``."""
        return Storage(
            media=media,
            path_prefix=path_prefix,
            places=self._config.downloads.concurrency,
            allow_private_hosts=self._connection.allow_private_hosts,
            bytes_max=self._config.downloads.bytes_max,
            reserve_bytes=self._config.storage.reserve_bytes,
        )

    # --- decisions --------------------------------------------------------------------------------

    def inspector(self) -> Inspector | None:
        """Return who looks at local files; None if the provider takes none."""
        upload = self._connection.description.upload
        return Inspector(upload.bytes_max) if self._connection.upload_url or upload.inline else None

    def stager(self, ledger: Ledger, provider: Provider) -> Stager:
        """Return who gives a job's local files addresses that the provider can read."""
        description = self._connection.description
        return Stager(
            self.inspector(),
            provider if self._connection.upload_url and isinstance(provider, HttpProvider) else None,
            ledger,
            catalogue=self._models,
            provider=description.name,
            life_s=description.upload.life_s,
            clock=self._clock,
        )

    def life(
        self, ledger: Ledger, provider: Provider, fetcher: Fetcher | None, history: History | None, stager: Stager
    ) -> Life:
        """Return what makes the steps of a job's life."""
        grace_s = self._config.recovery.grace_s
        return Life(
            ledger,
            provider,
            fetcher,
            history,
            stager,
            clock=self._clock,
            rng=self._rng,
            expects_media=self._expects_media,
            attempts_max=self._config.retry.attempts_max,
            job_deadline_s=self._config.recovery.job_deadline_s,
            record_life_s=self._record_life_s,
            output_life_s=self._connection.description.output_life_s,
            history_again_s=max(HISTORY_AGAIN_S_MIN, grace_s * HISTORY_AGAIN_GRACES),
        )

    def lanes(self, *, resumed: bool) -> Lanes:
        """Return the lanes of requests; those of a resumed run wait for one turn, as if a request had just gone out.

        Requests are spaced evenly in every process, so that this alone keeps the window across a restart.
        """
        limits, description = self._config.limits, self._connection.description
        at_once = {"submit": submit_concurrency(description), "read": read_concurrency(description)}
        if limits.shared:
            at_once["submit"] = max(at_once.values())
        prefix = self._connection.name and f"{self._connection.name} "
        submits = self._lane(f"{prefix}submit", limits.submits_per_minute, at_once["submit"])
        reads = submits if limits.shared else self._lane(f"{prefix}read", limits.polls_per_minute, at_once["read"])
        for lane in {submits, reads} if resumed else ():
            lane.hold_until(self._clock.now() + spacing_s(lane.per_minute))
        return Lanes(submits, reads)

    def halt_rules(self) -> HaltRules:
        """Return what decides whether failures stop the batch."""
        halt = self._config.halt
        return HaltRules(halt.failed_share, halt.after_jobs, halt.same_failures)

    def listed_price_usd(self, model: str) -> float | None:
        """Return what a job of a model is said to cost, an empty name meaning the default model; None if unknown."""
        if self._config.budget.price_usd is not None:
            return self._config.budget.price_usd
        known = self._models.get(model or self._connection.default_model or "")
        return known.price_usd if known else None

    def polling_for(self, model: str) -> PollingPolicy:
        """Return the polling policy of a model; durations are learned for each model apart."""
        if model not in self._policies:
            self._policies[model] = self._new_policy(model)
        return self._policies[model]

    # --- what is learned --------------------------------------------------------------------------

    def recall(self, earlier: Mapping[str, DurationsState], of_this_run: Learned | None) -> None:
        """Begin with what earlier runs, and earlier processes of this one, have learned; before any part is made."""
        self._recalled = {model: (state, RECALLED_JOBS_MAX) for model, state in earlier.items()}
        if of_this_run is not None:
            self._recalled |= {model: (state, math.inf) for model, state in of_this_run.durations.items()}
            self._per_minute = of_this_run.per_minute

    def learned(self) -> Learned:
        """Return what is learned by now."""
        return Learned(
            {
                model: policy.durations.state()
                for model, policy in self._policies.items()
                if isinstance(policy, LearnedPolling) and policy.durations.finished_jobs
            },
            {name: lane.per_minute for name, lane in self._lanes.items()},
        )

    def low_disk(self, media: Path) -> str:
        """Say that there is no room for further results; empty while there is."""
        reserve_bytes = self._config.storage.reserve_bytes
        if not self._config.downloads.enabled or free_bytes(media) >= reserve_bytes:
            return ""
        return f"less than {reserve_bytes / 1e9:,.1f} GB are free in {media}: paid results must find room"

    def _new_policy(self, model: str) -> PollingPolicy:
        known = self._models.get(model)
        expected_s = self._connection.expected_duration_s or (known.expected_duration_s if known else None)
        if self._config.polling.policy == "fixed":
            return FixedPolling(self._config.polling.interval_s, typical_s=expected_s)
        spread = SPREAD if expected_s else SPREAD_WITHOUT_KNOWLEDGE
        durations = Durations(expected_s=expected_s or EXPECTED_DURATION_S, spread=spread)
        if model in self._recalled:
            state, jobs_max = self._recalled[model]
            durations.recall(state, jobs_max=jobs_max)
        return LearnedPolling(durations, self._clock.now)

    @property
    def _record_life_s(self) -> float:
        """How long a request can be asked about: never, where the reply to its submission is all that there is."""
        description = self._connection.description
        return 0.0 if description.submit.is_synchronous else description.record_life_s

    def _expects_media(self, model: str) -> bool:
        known = self._models.get(model)
        return known is None or known.output != "text"

    def _lane(self, name: str, per_minute: float, concurrency: int) -> Lane:
        adaptive = self._config.limits.adaptive
        pace = Pace(per_minute, adaptive=adaptive is not False, discover=adaptive == "discover", clock=self._clock)
        if name in self._per_minute:
            pace.restore(self._per_minute[name])
        lane = Lane(name, pace=pace, concurrency=concurrency, clock=self._clock, rng=self._rng)
        self._lanes[name] = lane
        return lane


def client_of(
    connection: Connection, settings: ProviderSettings, *, clock: Clock, patience_s: float = math.inf
) -> HttpProvider:
    """Return the client that speaks to a provider, to be opened.

    Args:
        connection: where it is, and the key.
        settings: the configured time-outs and bounds.
        clock: tells how long a 429 asks us to wait, where the reply has no date.
        patience_s: no reply is waited for longer than this, whatever is configured.
    """
    return HttpProvider(
        connection.description,
        base_url=connection.base_url,
        upload_url=connection.upload_url,
        api_key=connection.api_key,
        clock=clock,
        connect_timeout_s=min(settings.connect_timeout_s, patience_s),
        submit_timeout_s=min(settings.submit_timeout_s, patience_s),
        request_timeout_s=min(settings.request_timeout_s, patience_s),
        reply_bytes_max=settings.reply_bytes_max,
        submits_max=submit_concurrency(connection.description),
        reads_max=read_concurrency(connection.description),
    )


def submit_concurrency(description: ProviderDescription) -> int:
    """Return how many submissions may be under way at once; one that blocks until its end takes no other's place."""
    return HELD_CONCURRENCY if description.submit.is_synchronous else SUBMIT_CONCURRENCY


def read_concurrency(description: ProviderDescription) -> int:
    """Return how many polls and fetches may be under way at once; a poll that is held takes no other's place."""
    return HELD_CONCURRENCY if description.status.wait_s else READ_CONCURRENCY


async def _untold() -> None:
    """Answer for a provider that does not tell what the account holds."""
