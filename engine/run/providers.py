"""The providers of one run: each by its name, with its connection and the parts that are made for it.

What concerns all of them together is answered here: which models there are, what a job costs, what was learned.
"""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from engine.connection import environment_without_keys
from engine.errors import UsageError
from engine.fleet.fleet import Fleet
from engine.input_files.line_files import FileIntake
from engine.job.model_name import FIRST_PROVIDER, provider_of
from engine.ledger.accounts import accounts as read_accounts
from engine.ledger.counts import count_waiting, count_waiting_by_provider, providers_of_unfinished
from engine.media.transfer import as_url
from engine.provider_configs import configs_by_provider
from engine.run.learning import Learned
from engine.run.parts import Parts
from engine.scheduling.given import Given
from engine.scheduling.halt import Canary
from engine.scheduling.landing import Rules
from engine.scheduling.scheduler import Scheduler
from engine.scheduling.schedulers import Schedulers, total
from engine.scheduling.spend import Spend
from engine.scheduling.tally import Tally

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Mapping
    from contextlib import AsyncExitStack
    from pathlib import Path

    from structlog.typing import FilteringBoundLogger

    from engine.clock import Clock
    from engine.config import RunConfig
    from engine.connection import Connection
    from engine.fleet.address import FleetAddress
    from engine.job.model import Model
    from engine.ledger.ledger import Ledger
    from engine.ledger.survey import Survey
    from engine.media.downloader import Downloader, DownloadTask
    from engine.media.fetcher import Fetcher
    from engine.media.keyed import Keyed
    from engine.run.request import RunRequest
    from engine.scheduling.deadline import Deadline, Target
    from engine.scheduling.durations import DurationsState
    from engine.scheduling.halt import CanaryReport


class Common(NamedTuple):
    """What all schedulers of a run share.

    Attributes:
        request: what the run is asked to do.
        stack: closes what is opened for them.
        ledger: of the run.
        fetcher: downloads; None if nothing is to be downloaded.
        download_places: how many files are downloaded at the same time; it may change while the run works.
        media: the directory that files go to.
        log: of the run.
        on_decided: called whenever an outcome was decided and its line is owed.
        deadline: when what was submitted should be home.
        target: when the whole batch should be home.
        resumed: whether an earlier process has submitted something.
    """

    request: RunRequest
    stack: AsyncExitStack
    ledger: Ledger
    fetcher: Fetcher | None
    download_places: Callable[[], int]
    media: Path
    log: FilteringBoundLogger
    on_decided: Callable[[], None]
    deadline: Deadline | None
    target: Target | None
    resumed: bool


class RunProviders:
    """Every provider of a run.

    Args:
        config: the whole configuration.
        connections: each by the name of its provider, the first provider's first.
    """

    def __init__(
        self, config: RunConfig, connections: Mapping[str, Connection], *, clock: Clock, rng: random.Random
    ) -> None:
        self._config = config
        self._connections = connections
        self._clock = clock
        self._rng = rng
        configs = configs_by_provider(config)
        self._parts = {
            name: Parts(configs[name], connection, clock=clock, rng=rng) for name, connection in connections.items()
        }
        self.tallies = {name: Tally() for name in connections}
        self._spend: Spend | None = None

    @property
    def tally(self) -> Tally:
        """The figures of all providers together; there is one book of the money."""
        whole = total(list(self.tallies.values()))
        if self._spend is not None:
            whole.spent_usd, whole.reserved_usd = self._spend.spent_usd, self._spend.at_provider_usd
            whole.mean_usd = self._spend.mean_usd
        return whole

    @property
    def shared_tally(self) -> Tally:
        """Where the run counts what belongs to no provider."""
        return self.tallies[FIRST_PROVIDER]

    @property
    def first(self) -> Connection:
        """The connection to the first provider."""
        return self._connections[FIRST_PROVIDER]

    @property
    def further(self) -> list[str]:
        """The names of the others."""
        return [name for name in self._connections if name != FIRST_PROVIDER]

    @property
    def catalogue(self) -> dict[str, Model]:
        """The models of all providers, as the run calls them."""
        return {
            name: model
            for connection in self._connections.values()
            for name, model in connection.description.models.items()
        }

    @property
    def titles(self) -> dict[str, str]:
        """How each provider is called to people."""
        return {name: connection.title for name, connection in self._connections.items()}

    def file_intake(self, directory: Path) -> FileIntake:
        """Return what looks at the local files that job lines name, relative to ``directory``."""
        inspectors = {name: parts.inspector() for name, parts in self._parts.items()}
        return FileIntake(directory, self.catalogue, inspectors=inspectors, titles=self.titles)

    def downloader(self, media: Path, *, path_prefix: str) -> Downloader:
        """Return the downloader into the directory ``media``, to be opened."""
        return self._parts[FIRST_PROVIDER].downloader(media, path_prefix=path_prefix, keyed=self._keyed)

    @property
    def _keyed(self) -> dict[str, Keyed]:
        """What opens the addresses of those providers whose API serves files."""
        return {name: opener for name, parts in self._parts.items() if (opener := parts.keyed()) is not None}

    def _needs_key(self, task: DownloadTask) -> bool:
        """Whether a file is the API's own, and so is served to whoever shows the key."""
        keyed = self._keyed.get(task.provider)
        if keyed is None:
            return False
        try:
            return keyed.covers(as_url(task.url))
        except ValueError:
            return False

    def fleet(
        self,
        address: FleetAddress,
        local: Fetcher,
        media: Path,
        *,
        path_prefix: str,
        log: FilteringBoundLogger,
        announce: Callable[[str], None],
    ) -> Fleet:
        """Return the fleet that helps ``local``, to be opened; it sees no key."""
        return Fleet(
            address,
            self._parts[FIRST_PROVIDER].storage(media, path_prefix=path_prefix),
            local,
            needs_key=self._needs_key,
            environment=environment_without_keys(self._config),
            clock=self._clock,
            rng=self._rng,
            log=log,
            announce=announce,
        )

    # --- going on with a run ----------------------------------------------------------------------

    async def check(self, ledger: Ledger) -> None:
        """Refuse to go on without a provider, or with another one in its place: it knows none of its requests.

        Raises:
            UsageError: a provider is missing, or is another one.
        """
        facts = await ledger.facts()
        begun_with = {FIRST_PROVIDER: facts.get("provider"), **json.loads(facts.get("providers") or "{}")}
        missing = begun_with.keys() - self._connections.keys()
        if missing and (needed := sorted(missing & await ledger.read(providers_of_unfinished))):
            raise UsageError(
                f"this run has jobs of the provider {needed[0]!r}, which the configuration lacks",
                hint=f"give the same configuration again, with [providers.{needed[0]}]",
            )
        for name, connection in self._connections.items():
            before, now = begun_with.get(name) or connection.description.name, connection.description.name
            if before != now:
                raise UsageError(
                    f"this run was begun with the provider {before!r}; {now!r} knows nothing of its requests",
                    hint="give the same configuration again ('engine resume' remembers it), or another --run-dir",
                )

    async def take_up_figures(self, ledger: Ledger, found: Survey, *, input_complete: bool) -> None:
        """Begin the figures with what earlier processes did."""
        tally = self.shared_tally
        tally.lines = found.lines
        tally.succeeded, tally.failed, tally.invalid = found.succeeded, found.failed, found.invalid
        tally.unknown, tally.held, tally.written = found.unknown, found.held, found.written
        if self.further:
            waiting = await ledger.read(count_waiting_by_provider)
        else:
            waiting = {FIRST_PROVIDER: await ledger.read(count_waiting)}
        for name, of_provider in self.tallies.items():
            of_provider.pending = waiting.get(name, 0)
            of_provider.input_complete = input_complete

    def input_ended(self) -> None:
        """Take note that no more jobs come."""
        for tally in self.tallies.values():
            tally.input_complete = True

    @property
    def further_descriptions(self) -> str | None:
        """The further providers' names with those of their descriptions, as JSON; None if there are none."""
        others = {name: self._connections[name].description.name for name in self.further}
        return json.dumps(others) if others else None

    # --- what is learned --------------------------------------------------------------------------

    def recall(self, earlier: Mapping[str, DurationsState], of_this_run: Learned | None) -> None:
        """Begin with what earlier runs, and earlier processes of this one, have learned; before any part is made."""
        for parts in self._parts.values():
            parts.recall(earlier, of_this_run)

    def learned(self) -> Learned:
        """Return what is learned by now."""
        found = [parts.learned() for parts in self._parts.values()]
        return Learned(
            {model: state for learned in found for model, state in learned.durations.items()},
            {lane: pace for learned in found for lane, pace in learned.per_minute.items()},
        )

    def listed_price_usd(self, model: str) -> float | None:
        """Return what a job of a model is said to cost, an empty name meaning the default model; None if unknown."""
        return self._parts[provider_of(model)].listed_price_usd(model)

    # --- the schedulers ---------------------------------------------------------------------------

    async def schedulers(self, common: Common, found: Survey) -> Schedulers:
        """Return the schedulers, one for each provider, ready to run."""
        request, accounts = common.request, await common.ledger.read(read_accounts)
        spend = Spend(
            cost_usd_max=self._config.budget.cost_usd_max,
            jobs_max=request.jobs_max,
            listed_price_usd=self.listed_price_usd,
            spent_usd=found.spent_usd,
            highest_usd=accounts.highest_usd,
            written_off_usd=accounts.written_off_usd,
        )
        self._spend = spend
        # Before any scheduler works: one that read this later would reserve again for what another has settled since.
        for job, model, price_usd in accounts.reserved:
            spend.reserve(job, price_usd or spend.price_usd(model), counted=False)
        canary = Canary(
            jobs=self._config.canary.jobs,
            decided=found.succeeded + found.failed,
            on_released=partial(_tell_of_canary, request),
        )
        schedulers = Schedulers(titles=self.titles, announce=request.announce)
        for name, parts in self._parts.items():
            rules = Rules(spend, canary, parts.halt_rules())
            schedulers.add(name, await self._scheduler(name, common, rules, schedulers))
        return schedulers

    async def _scheduler(self, name: str, common: Common, rules: Rules, schedulers: Schedulers) -> Scheduler:
        request, parts = common.request, self._parts[name]
        provider, history, ask_credits = await parts.open_provider(common.stack, request.provider)
        stager = parts.stager(common.ledger, provider)
        given = Given(
            ledger=common.ledger,
            life=parts.life(common.ledger, provider, common.fetcher, history, stager),
            config=parts.config,
            lanes=parts.lanes(resumed=common.resumed),
            rules=rules,
            history=history,
            stager=stager,
            ask_credits=ask_credits,
            polling_for=parts.polling_for,
            clock=self._clock,
            tally=self.tallies[name],
            log=common.log,
            record_life_s=parts.connection.description.record_life_s,
            low_disk=partial(parts.low_disk, common.media),
            output_life_s=parts.connection.description.output_life_s,
            download_places=common.download_places,
            wait_for_credit=request.wait_for_credit,
            on_decided=common.on_decided,
            announce=request.announce,
            deadline=common.deadline,
            target=common.target,
            provider=name if self.further else None,
            on_stop=partial(schedulers.decided_to_stop, name),
            others_under_way=partial(schedulers.under_way_besides, name),
        )
        return Scheduler(given)


def _tell_of_canary(request: RunRequest, report: CanaryReport) -> None:
    """Tell the person what the first jobs measured; if some failed, also one who wants to hear of nothing else."""
    tell = request.announce if report.failed else request.remark
    tell(report.sentence())
