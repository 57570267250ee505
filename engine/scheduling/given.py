"""What a scheduler is given to work with: the run's own parts, the plan, the rules, and what holds for its provider."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from engine.job.model_name import provider_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from structlog.typing import FilteringBoundLogger

    from engine.clock import Clock
    from engine.config import RunConfig
    from engine.input_files.stager import Stager
    from engine.ledger.ledger import Ledger
    from engine.provider.history import History
    from engine.provider.verdict import Unavailable
    from engine.scheduling.deadline import Deadline, Target
    from engine.scheduling.landing import Rules
    from engine.scheduling.lane import Lanes
    from engine.scheduling.life import Life
    from engine.scheduling.polling import PollingPolicy
    from engine.scheduling.stop import Stop
    from engine.scheduling.tally import Tally


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What a scheduler is given.

    Attributes:
        ledger: of the run.
        life: makes the steps of a job's life.
        config: its section holds for this scheduler's provider.
        lanes: pace what is asked of the provider.
        rules: decide whether the batch goes on.
        history: the provider's record of requests; None if it has none.
        stager: uploads the local files of jobs that wait for their turn.
        ask_credits: reads the account's balance in US dollars.
        polling_for: the polling policy of a model.
        clock, tally, log: of the run.
        record_life_s: how long the provider keeps a request's record, from its submission.
        output_life_s: how long the files of a result can be downloaded.
        low_disk: words for a disk without room for further results; empty while there is.
        wait_for_credit: whether an empty account is waited for even when nothing is in flight.
        on_decided: called whenever an outcome was decided and its line is owed.
        announce: tells the person something worth a line.
        deadline: when what was submitted should be home; None if that does not matter.
        target: when the whole batch should be home; None if that does not matter.
        provider: the name of the provider whose jobs it works on; None for all there are.
        on_stop: carries out a reason to stop that was found here; None to wind this scheduler down.
        download_places: how many files are downloaded at the same time, now; None for as many as configured.
        others_under_way: how many jobs of other providers are under way: their end may make room in the budget.
    """

    ledger: Ledger
    life: Life
    config: RunConfig
    lanes: Lanes
    rules: Rules
    history: History | None
    stager: Stager
    ask_credits: Callable[[], Awaitable[float | Unavailable | None]]
    polling_for: Callable[[str], PollingPolicy]
    clock: Clock
    tally: Tally
    log: FilteringBoundLogger
    record_life_s: float
    output_life_s: float = math.inf
    low_disk: Callable[[], str]
    wait_for_credit: bool
    on_decided: Callable[[], None]
    announce: Callable[[str], None]
    deadline: Deadline | None
    target: Target | None
    provider: str | None = None
    on_stop: Callable[[Stop], None] | None = None
    download_places: Callable[[], int] | None = None
    others_under_way: Callable[[], int] = field(default=int)

    @property
    def places(self) -> Callable[[], int]:
        """How many files are downloaded at the same time, now."""
        return self.download_places or (lambda: self.config.downloads.concurrency)

    def is_ours(self, model: str) -> bool:
        """Whether jobs of a model are this scheduler's."""
        return self.provider is None or provider_of(model) == self.provider
