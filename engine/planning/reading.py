"""Read a whole batch as a run would: into a ledger, which lives in a temporary directory for as long as that takes.

By the very reader that a run uses, so that what passes here passes there, and memory stays flat.
"""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from engine.input_files.forecast import FileForecast, Forecaster
from engine.input_files.line_files import FileIntake
from engine.intake.job_reader import JobReader
from engine.job.model_name import FIRST_PROVIDER, provider_of
from engine.job.records import decode_json
from engine.ledger.flights import pending_after
from engine.ledger.ledger import Ledger
from engine.media.url_check import unanswered
from engine.planning.plan import InvalidLine, ModelPlan

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import AsyncIterator, Mapping

    from engine.config import RunConfig
    from engine.intake.source import InputSource
    from engine.job.flight import Flight
    from engine.job.model import Model
    from engine.planning.offer import Offer

INVALID_SHOWN_MAX = 20
BLOCK_JOBS = 256


@dataclass(frozen=True, slots=True)
class Found:
    """What the input holds.

    Attributes:
        lines, invalid, invalid_lines, equal_bodies, models, uploads, unanswered_urls: as in a plan.
        equal_by_model: the equal bodies of each model.
        warnings: what the reader has to say of valid lines.
    """

    lines: int
    invalid: int
    invalid_lines: tuple[InvalidLine, ...]
    equal_bodies: int
    models: tuple[ModelPlan, ...]
    equal_by_model: Mapping[str, int]
    uploads: FileForecast = field(default_factory=FileForecast)
    unanswered_urls: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


async def read_batch(source: InputSource, config: RunConfig, offers: Mapping[str, Offer], *, check_urls: bool) -> Found:
    """Read the whole input.

    Args:
        source: the input.
        config: the whole configuration.
        offers: the providers of the batch by name.
        check_urls: whether to ask every input URL whether it answers.

    Raises:
        UsageError: the input cannot be read.
    """
    catalogue = {name: model for offer in offers.values() for name, model in offer.description.models.items()}
    with tempfile.TemporaryDirectory(prefix="engine-plan-") as directory:
        ledger = Ledger.open(Path(directory) / "plan.db")
        try:
            warnings = await _spool(ledger, source, catalogue, offers)
            found = await ledger.read(_look, offers)
            urls = await _unanswered(ledger, config) if check_urls else {}
            files = await _local_files(ledger, catalogue, offers)
        finally:
            ledger.close()
    return replace(found, uploads=files.forecast(), unanswered_urls=urls, warnings=(*warnings, *files.changed))


async def _spool(
    ledger: Ledger, source: InputSource, catalogue: Mapping[str, Model], offers: Mapping[str, Offer]
) -> tuple[str, ...]:
    """Read every line into the ledger; return what there is to say of valid ones."""
    first = offers[FIRST_PROVIDER]
    reader = JobReader(
        ledger,
        source,
        catalogue=catalogue,
        default_model=first.config.provider.model or first.description.default_model or None,
        providers=[name for name in offers if name],
        accept_appended=False,
        dedupe=False,
        files=FileIntake(
            source.directory,
            catalogue,
            inspectors={name: offer.inspector for name, offer in offers.items()},
            titles={name: name or first.description.name for name in offers},
        ),
        on_spooled=lambda _spooled: None,
    )
    await reader.begin()
    await reader.run()
    return tuple(_numbered(reader, text) for text in reader.warnings)


def _numbered(reader: JobReader, text: str) -> str:
    lines = reader.warnings[text]
    return f"{text} (line {reader.first_lines[text]}" + (f" and {lines - 1} more)" if lines > 1 else ")")


def _look(db: sqlite3.Connection, offers: Mapping[str, Offer]) -> Found:
    """Count what was read."""
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
    return ModelPlan(model=model, jobs=jobs, price_usd=offer.price_usd(model), duration_s=offer.duration_s(model))


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


async def _local_files(ledger: Ledger, catalogue: Mapping[str, Model], offers: Mapping[str, Offer]) -> Forecaster:
    """Add up the local files of all jobs; each was found to be one that its provider takes."""
    forecaster = Forecaster(catalogue, inline={name: offer.is_inline for name, offer in offers.items()})
    if any(offer.inspector for offer in offers.values()):
        async for block in _blocks(ledger):
            await asyncio.to_thread(forecaster.add, block)
    return forecaster
