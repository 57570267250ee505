"""Make the plan of a batch: read it, look at the disk, estimate. Pays nothing."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from engine.planning.estimate import estimate
from engine.planning.offer import offers_of
from engine.planning.reading import read_batch

if TYPE_CHECKING:
    from engine.config import RunConfig
    from engine.intake.source import InputSource
    from engine.planning.plan import Plan


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
    found = await read_batch(source, config, offers, check_urls=check_urls)
    disk_free_bytes = shutil.disk_usage(config.storage.directory or Path.cwd()).free
    return estimate(found, config, offers, disk_free_bytes=disk_free_bytes)
