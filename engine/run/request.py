"""What a run is asked to do: its directory, its input and output, and the wishes of this one call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from engine.config import RunConfig
    from engine.fleet.address import FleetAddress
    from engine.intake.source import InputSource
    from engine.job.records import ResultLine
    from engine.ledger.reopening import Selection
    from engine.provider.protocol import Provider


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRequest:
    """What a run is asked to do.

    Attributes:
        root: the run directory.
        config: the whole configuration.
        source: where job lines come from; None to go on with what the ledger has, and with its file if that is there.
        provider: a program's own way to submit, poll and fetch, instead of the configured provider; None for none.
        output: the output file, if not ``results.jsonl`` in the run directory.
        stream_fd: a file descriptor that gets every result line too.
        ordered: whether result lines keep the order of the input.
        accept_appended: whether lines may have been appended to an input that was read to its end.
        reopen: jobs at rest to try again; None for none.
        harvest_only: whether nothing new is submitted, and only what is paid for is brought home.
        fleet: where downloads go beside this machine; None to download here.
        rebuild_output: whether to write the output anew from the ledger first.
        jobs_max: how many jobs this process may submit; None for no limit.
        wait_for_credit: whether an empty account is waited for even when nothing is in flight.
        deadline_utc: when what was submitted should be home, seconds since the epoch; None if that does not matter.
        finish_by_utc: when the whole batch should be home; None if that does not matter.
        log_level: the least level that goes to ``run.log``.
        on_result: called with each result once it is written.
        announce: tells the person something worth a line.
        remark: tells the person what is as it should be.
        warn: tells the person of what is allowed and probably not meant, as soon as it is seen.
    """

    root: Path
    config: RunConfig
    source: InputSource | None = None
    provider: Provider | None = None
    output: Path | None = None
    stream_fd: int | None = None
    ordered: bool = False
    accept_appended: bool = False
    reopen: Selection | None = None
    harvest_only: bool = False
    fleet: FleetAddress | None = None
    rebuild_output: bool = False
    jobs_max: int | None = None
    wait_for_credit: bool = False
    deadline_utc: float | None = None
    finish_by_utc: float | None = None
    log_level: str = "info"
    on_result: Callable[[ResultLine], object] = lambda _result: None
    announce: Callable[[str], None] = lambda _text: None
    remark: Callable[[str], None] = lambda _text: None
    warn: Callable[[str], None] = lambda _text: None
