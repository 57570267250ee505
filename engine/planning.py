"""What a batch would take, before anything is paid: validate every line, estimate money, time and requests.

The input is spooled into a ledger in a temporary directory by the very reader that a run uses, so that
what passes here passes there, and memory stays flat. Estimates come from published or configured figures of
each model; where there is none, the plan says so instead of guessing.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from engine.connection import describe
from engine.input_files.forecast import FileForecast, Forecaster
from engine.input_files.inspection import Inspector
from engine.input_files.intake import FileIntake
from engine.job.model_name import FIRST_PROVIDER, provider_of
from engine.job.records import decode_json
from engine.ledger.flights import pending_after
from engine.ledger.job_reader import JobReader
from engine.ledger.ledger import Ledger
from engine.media.url_check import unanswered
from engine.provider_configs import configs_by_provider

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import AsyncIterator, Mapping, Sequence

    from engine.config import RunConfig
    from engine.job.flight import Flight
    from engine.job.model import Model
    from engine.ledger.input_source import InputSource
    from engine.provider.description import ProviderDescription

POLLS_PER_JOB = 6.0
"""What the learned schedule needs for jobs whose durations spread by 15 % (the published average job)."""
INVALID_SHOWN_MAX = 20
BLOCK_JOBS = 256
RETENTION_SHARE = 1 / 4
"""In flight x 2 requests (a poll and a fetch) must drain within half the life of a record."""


class InvalidLine(msgspec.Struct, frozen=True, kw_only=True):
    """A line that would not be submitted, and why."""

    line: int
    id: str | None
    kind: str
    message: str


class ModelPlan(msgspec.Struct, frozen=True, kw_only=True):
    """The jobs of one model; price and duration are None where nobody knows them."""

    model: str
    jobs: int
    price_usd: float | None
    duration_s: float | None


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """The estimate of a batch.

    Attributes:
        lines: job lines (blank lines are none).
        jobs: valid ones.
        invalid: invalid ones.
        invalid_lines: the first of them, with reasons.
        equal_bodies: valid jobs whose body stood in an earlier line.
        equal_bodies_usd: what they cost; with ``budget.dedupe`` they are not submitted.
        submissions: what would be submitted.
        models: the jobs of each model.
        cost_usd: of all submissions; None if a price is unknown.
        wall_s: from the first submission to the last result, at the limits configured; None without durations.
        bound_by: what limits the time: ``submits_per_minute``, ``max_in_flight`` or ``requests``.
        requests: submissions, polls and fetches together.
        in_flight_safe: how many in flight can be harvested before their records expire.
        disk_free_bytes: free where the media go by default.
        disk_bytes_per_job_max: how large a job's files may be on average before that disk is full.
        uploads: the local files that jobs name.
        unanswered_urls: input URLs that do not answer, with the reason; only if they were asked.
        warnings: sentences about risks.
    """

    lines: int
    jobs: int
    invalid: int
    invalid_lines: tuple[InvalidLine, ...]
    equal_bodies: int
    equal_bodies_usd: float | None
    submissions: int
    models: tuple[ModelPlan, ...]
    cost_usd: float | None
    wall_s: float | None
    bound_by: str | None
    requests: int
    in_flight_safe: int
    disk_free_bytes: int
    disk_bytes_per_job_max: float
    uploads: FileForecast
    unanswered_urls: dict[str, str]
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Found:
    """What the input holds."""

    lines: int
    invalid: int
    invalid_lines: tuple[InvalidLine, ...]
    equal_bodies: int
    models: tuple[ModelPlan, ...]
    equal_by_model: dict[str, int]


class Offer(NamedTuple):
    """What is known of one provider of the batch: how it is configured, and its description."""

    config: RunConfig
    description: ProviderDescription

    @property
    def requests_per_job(self) -> float:
        """How many requests a job takes: its submission, and where that is not answered with the result, the others."""
        return 1.0 if self.description.submit.is_synchronous else 2 + POLLS_PER_JOB

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


def offers_of(config: RunConfig) -> dict[str, Offer]:
    """Return the providers of a configuration by name, the first one first.

    Raises:
        ConfigError: one of them is not right.
    """
    return {name: Offer(own, describe(own, name)) for name, own in configs_by_provider(config).items()}


async def make_plan(source: InputSource, config: RunConfig, *, check_urls: bool) -> Plan:
    """Read the whole input and estimate the batch.

    Args:
        source: the input.
        config: the whole configuration.
        check_urls: whether to ask every input URL whether it answers.

    Raises:
        UsageError: the input cannot be read.
    """
    offers = offers_of(config)
    first = offers[FIRST_PROVIDER].description
    catalogue = {name: model for offer in offers.values() for name, model in offer.description.models.items()}
    inspectors = {name: offer.inspector for name, offer in offers.items()}
    titles = {name: name or first.name for name in offers}
    files = FileIntake(source.directory, catalogue, inspectors=inspectors, titles=titles)
    with tempfile.TemporaryDirectory(prefix="engine-plan-") as directory:
        ledger = Ledger.open(Path(directory) / "plan.db")
        try:
            reader = JobReader(
                ledger,
                source,
                catalogue=catalogue,
                default_model=config.provider.model or first.default_model or None,
                providers=[name for name in offers if name],
                accept_appended=False,
                dedupe=False,
                files=files,
                on_spooled=lambda _spooled: None,
            )
            await reader.begin()
            await reader.run()
            found: Found = await ledger.read(lambda db: _look(db, offers))
            problems = await _unanswered(ledger, config) if check_urls else {}
            forecaster = await _local_files(ledger, catalogue, offers)
        finally:
            ledger.close()
    made = estimate(found, config, offers, warnings=[_numbered(reader, text) for text in reader.warnings])
    warnings = (*made.warnings, *forecaster.changed)
    return msgspec.structs.replace(made, unanswered_urls=problems, uploads=forecaster.forecast(), warnings=warnings)


def estimate(found: Found, config: RunConfig, offers: Mapping[str, Offer], *, warnings: list[str]) -> Plan:
    """Derive the plan from what the input holds. Pure."""
    jobs = found.lines - found.invalid
    saved = found.equal_by_model if config.budget.dedupe else {}
    submissions = jobs - sum(saved.values())
    wall_s, bound_by = _slowest(found, offers, saved)
    in_flight_safe = _in_flight_safe(offers[FIRST_PROVIDER])
    free_bytes = shutil.disk_usage(config.storage.directory or Path.cwd()).free
    return Plan(
        lines=found.lines,
        jobs=jobs,
        invalid=found.invalid,
        invalid_lines=found.invalid_lines,
        equal_bodies=found.equal_bodies,
        equal_bodies_usd=_sum_usd(found.models, found.equal_by_model),
        submissions=submissions,
        models=found.models,
        cost_usd=_sum_usd(
            found.models, {entry.model: entry.jobs - saved.get(entry.model, 0) for entry in found.models}
        ),
        wall_s=wall_s,
        bound_by=bound_by,
        requests=round(_requests(found, offers, saved)),
        in_flight_safe=in_flight_safe,
        disk_free_bytes=free_bytes,
        disk_bytes_per_job_max=max(0, free_bytes - config.storage.reserve_bytes) / max(1, submissions),
        uploads=FileForecast(),
        unanswered_urls={},
        warnings=(*warnings, *_risks(found, offers)),
    )


def _requests(found: Found, offers: Mapping[str, Offer], saved: Mapping[str, int]) -> float:
    return sum(
        (entry.jobs - saved.get(entry.model, 0)) * offers[provider_of(entry.model)].requests_per_job
        for entry in found.models
    )


def _slowest(found: Found, offers: Mapping[str, Offer], saved: Mapping[str, int]) -> tuple[float | None, str | None]:
    """Return the time of the provider that takes longest, since all work at once, and what sets it."""
    bounds = []
    for name, offer in offers.items():
        models = [entry for entry in found.models if provider_of(entry.model) == name]
        if submissions := sum(entry.jobs - saved.get(entry.model, 0) for entry in models):
            bounds.append(makespan_s(models, offer, submissions))
    if not bounds or any(wall_s is None for wall_s, _ in bounds):
        return None, None
    return max(bounds, key=lambda bound: bound[0] or 0.0)


def makespan_s(models: Sequence[ModelPlan], offer: Offer, submissions: int) -> tuple[float | None, str | None]:
    """Return the lower bound of the time that the jobs of one provider take, and what sets it.

    With N submissions, r requests a second, m of them per job, durations D and a cap C on what is in flight:
    max(m N / r, sum of D / C) + D.
    """
    if any(entry.duration_s is None for entry in models):
        return None, None
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


async def _local_files(ledger: Ledger, catalogue: Mapping[str, Model], offers: Mapping[str, Offer]) -> Forecaster:
    """Add up the local files of all jobs; each was found to be one that its provider takes."""
    forecaster = Forecaster(catalogue, inline={name: offer.is_inline for name, offer in offers.items()})
    if any(offer.inspector for offer in offers.values()):
        async for block in _blocks(ledger):
            await asyncio.to_thread(forecaster.add, block)
    return forecaster


async def _blocks(ledger: Ledger) -> AsyncIterator[list[Flight]]:
    """Yield the valid jobs of the batch, block by block."""
    last = -1
    while block := await ledger.read(pending_after, last, BLOCK_JOBS):
        last = block[-1].job
        yield block


async def _unanswered(ledger: Ledger, config: RunConfig) -> dict[str, str]:
    """Ask every distinct URL among the parameters of valid jobs."""

    async def urls() -> AsyncIterator[str]:
        seen: set[str] = set()
        async for block in _blocks(ledger):
            for flight in block:
                for value in decode_json(flight.params).values():
                    if isinstance(value, str) and value.startswith(("http://", "https://")) and value not in seen:
                        seen.add(value)
                        yield value

    return await unanswered(urls(), allow_private_hosts=config.downloads.allow_private_hosts)


def _look(db: sqlite3.Connection, offers: Mapping[str, Offer]) -> Found:
    (lines,) = db.execute("SELECT count(*) FROM input").fetchone()
    (invalid,) = db.execute("SELECT count(*) FROM input WHERE valid = 0").fetchone()
    counts = db.execute(
        "SELECT model, count(*), count(*) - count(DISTINCT body_sha256) FROM input WHERE valid = 1"
        " GROUP BY model ORDER BY count(*) DESC"
    ).fetchall()
    broken = db.execute(
        "SELECT line, id, error ->> 'kind', error ->> 'message' FROM input JOIN job USING (job)"
        " WHERE valid = 0 ORDER BY line LIMIT ?",
        (INVALID_SHOWN_MAX,),
    ).fetchall()
    return Found(
        lines=lines,
        invalid=invalid,
        invalid_lines=tuple(
            InvalidLine(line=line, id=id_, kind=kind, message=message) for line, id_, kind, message in broken
        ),
        equal_bodies=sum(equal for _, _, equal in counts),
        models=tuple(_model_plan(model, jobs, offers[provider_of(model)]) for model, jobs, _ in counts),
        equal_by_model={model: equal for model, _, equal in counts},
    )


def _model_plan(model: str, jobs: int, offer: Offer) -> ModelPlan:
    config, known = offer.config, offer.description.models.get(model)
    return ModelPlan(
        model=model,
        jobs=jobs,
        price_usd=config.budget.price_usd or (known.price_usd if known else None),
        duration_s=config.polling.expected_duration_s or (known.expected_duration_s if known else None),
    )


def _sum_usd(models: tuple[ModelPlan, ...], jobs: dict[str, int]) -> float | None:
    priced = [(entry.price_usd, jobs.get(entry.model, 0)) for entry in models]
    if any(price is None and count for price, count in priced):
        return None
    return round(sum((price or 0.0) * count for price, count in priced), 2)


def _in_flight_safe(offer: Offer) -> int:
    limits = offer.config.limits
    if offer.description.submit.is_synchronous:
        return limits.max_in_flight  # nothing is asked about, so nothing can expire unread
    per_minute = limits.submits_per_minute if limits.shared else limits.polls_per_minute
    return int(per_minute * offer.description.record_life_s / 60 * RETENTION_SHARE)


def _risks(found: Found, offers: Mapping[str, Offer]) -> list[str]:
    return [risk for name, offer in offers.items() for risk in _risks_of(name, offer, found)]


def _risks_of(name: str, offer: Offer, found: Found) -> list[str]:
    limits, life_s = offer.config.limits, offer.description.record_life_s
    models = [entry for entry in found.models if provider_of(entry.model) == name]
    place, budget, polling = (f"{f'providers.{name}.' if name else ''}{key}" for key in ("limits", "budget", "polling"))
    risks: list[str] = []
    submit = offer.description.submit
    patience_s = max(offer.config.provider.submit_timeout_s, submit.reply_s_max)
    if limits.max_in_flight > (in_flight_safe := _in_flight_safe(offer)):
        risks.append(
            f"{place}.max_in_flight is {limits.max_in_flight}, but at this plan only {in_flight_safe} requests"
            f" can be harvested safely before their records expire after {life_s / 60:.0f} min"
        )
    risks += [
        f"{entry.model} takes {entry.duration_s:.0f} s, more than half of the {life_s / 60:.0f} min its record lives"
        for entry in models
        if not submit.is_synchronous and entry.duration_s is not None and entry.duration_s > life_s / 2
    ]
    risks += [
        f"{entry.model} takes {entry.duration_s:.0f} s, more than half of the {patience_s:.0f} s its reply may take"
        for entry in models
        if submit.is_synchronous and entry.duration_s is not None and entry.duration_s > patience_s / 2
    ]
    risks += [
        f"the price of {entry.model} is not known: set {budget}.price_usd"
        for entry in models
        if entry.price_usd is None
    ]
    risks += [
        f"the duration of {entry.model} is not known: set {polling}.expected_duration_s"
        for entry in models
        if entry.duration_s is None
    ]
    return risks


def _numbered(reader: JobReader, text: str) -> str:
    lines = reader.warnings[text]
    return f"{text} (line {reader.first_lines[text]}" + (f" and {lines - 1} more)" if lines > 1 else ")")


def as_record(made: Plan) -> dict[str, Any]:
    """Return the plan as JSON types."""
    record: dict[str, Any] = msgspec.to_builtins(made)
    return record
