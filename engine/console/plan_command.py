"""``engine plan``: what a batch would take; pays nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from engine.console.messages import harmless, say, warn
from engine.console.streams import DASH, STDIN_FD
from engine.console.words import duration_words, size_words
from engine.job.counted import agreeing, counted
from engine.job.money import usd_words

if TYPE_CHECKING:
    from engine.config import RunConfig
    from engine.input_files.forecast import FileForecast
    from engine.intake.source import InputSource
    from engine.planning.plan import Plan

PLAN_VERSION = 1
LARGEST_SHOWN_MAX = 5


@click.command(short_help="Validate and estimate a batch; pays nothing.")
@click.argument("input_name", metavar="INPUT|-", type=click.Path(allow_dash=True))
@click.option("-c", "--config", "config_path", type=click.Path(path_type=Path), help="Configuration file (TOML).")
@click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="One key of the configuration; may be repeated."
)
@click.option("--offline", is_flag=True, help="Make no request at all, not even for the account's balance.")
@click.option("--check-urls", is_flag=True, help="Ask every input URL whether it answers (HEAD).")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def plan(
    input_name: str,
    config_path: Path | None,
    overrides: tuple[str, ...],
    *,
    offline: bool,
    check_urls: bool,
    as_json: bool,
) -> int:
    """Validate every line of INPUT and estimate cost, time, requests and risks. Submits nothing.

    Ends with 0 if every line is valid, with 1 otherwise.
    """
    import asyncio

    from engine.config import RunConfig
    from engine.console.run_command import opened
    from engine.intake.source import PipeSource

    config = RunConfig.load(config_path, overrides)
    source = PipeSource(STDIN_FD, "stdin") if input_name == DASH else opened(Path(input_name), config)
    return asyncio.run(_plan(source, config, offline=offline, check_urls=check_urls, as_json=as_json))


async def _plan(source: InputSource, config: RunConfig, *, offline: bool, check_urls: bool, as_json: bool) -> int:
    import orjson

    from engine.planning.plan import as_record
    from engine.planning.planner import make_plan

    made = await make_plan(source, config, check_urls=check_urls)
    balance_usd = None if offline else await _balance_usd(config)
    if as_json:
        record = {"version": PLAN_VERSION, "balance_usd": balance_usd, **as_record(made)}
        click.echo(orjson.dumps(record).decode())
    else:
        click.echo("\n".join(_lines(made, balance_usd)))
        for line in made.invalid_lines:
            who = f"line {line.line}" + (f", {line.id!r}" if line.id else "")
            warn(f"{who}: {line.message}")
        for text in made.warnings:
            warn(text)
    return 1 if made.invalid or made.unanswered_urls else 0


async def _balance_usd(config: RunConfig) -> float | None:
    """Ask for the balance: free of charge, and the one request that a plan makes. None without a key or an answer."""
    from engine.clock import SystemClock
    from engine.connection import connection_without_key, describe, key_for
    from engine.errors import AccountError
    from engine.provider.verdict import Unavailable
    from engine.run.parts import client_of

    description = describe(config)
    if not (config.provider.base_url or description.base_url):  # the simulator inside the engine
        return None
    try:
        key = key_for(config, description).key
    except AccountError as error:
        say(f"the balance was not asked for: {error}")
        return None
    connection = replace(connection_without_key(config), api_key=key)
    async with client_of(connection, config.provider, clock=SystemClock()) as provider:
        balance = await provider.credits_usd()
    if isinstance(balance, Unavailable):
        say(f"the balance could not be read: {balance.reason}")
        return None
    return balance


def _lines(made: Plan, balance_usd: float | None) -> list[str]:
    lines = [
        f"lines       {made.lines:,}: {made.jobs:,} valid, {made.invalid:,} invalid",
        *(
            f"model       {harmless(entry.model)}: {counted(entry.jobs, 'job')}"
            + ("" if entry.price_usd is None else f" at ${entry.price_usd:,.3f}")
            + ("" if entry.duration_s is None else f", {entry.duration_s:,.0f} s each")
            for entry in made.models
        ),
        f"submissions {made.submissions:,}",
        f"cost        {_cost_words(made)}",
        f"time        {_time_words(made)}",
        f"requests    about {made.requests:,}",
        f"disk        {made.disk_free_bytes / 1e9:,.1f} GB free{_room_words(made)}",
        f"in flight   up to {made.in_flight_safe:,} can be brought home before the provider forgets them",
    ]
    if made.uploads.files:
        size = size_words(made.uploads.bytes)
        lines.append(f"local files {made.uploads.files:,}, {size}, {_way_of(made.uploads)}; the largest:")
        lines += [
            f"            {harmless(file.path)} ({size_words(file.bytes)}, {file.content_type})"
            for file in made.uploads.largest[:LARGEST_SHOWN_MAX]
        ]
    if made.equal_bodies:
        worth = "" if made.equal_bodies_usd is None else f", {usd_words(made.equal_bodies_usd)}"
        lines.append(
            f"equal       {counted(made.equal_bodies, 'job')} {agreeing(made.equal_bodies, 'repeats', 'repeat')}"
            f" an earlier body{worth} (budget.dedupe submits each body once)"
        )
    if balance_usd is not None:
        enough = "" if made.cost_usd_min <= balance_usd else ": not enough for this batch"
        lines.append(f"balance     {usd_words(balance_usd)}{enough}")
    lines += [f"no answer   {harmless(url)}: {problem}" for url, problem in made.unanswered_urls.items()]
    return lines


def _cost_words(made: Plan) -> str:
    """Say what the batch costs, as far as the prices are known."""
    if not made.unpriced:
        return usd_words(made.cost_usd_min)
    if made.unpriced == made.submissions:
        return "unknown"
    return f"at least {usd_words(made.cost_usd_min)}, and {counted(made.unpriced, 'job')} of unknown price"


def _time_words(made: Plan) -> str:
    """Say how long the batch takes, as far as the durations are known."""
    if made.wall_s_min is None:
        return "unknown" if made.untimed else "none"
    about = f"about {duration_words(made.wall_s_min)}"
    if made.untimed:
        return f"at least {about}, and {counted(made.untimed, 'job')} of unknown duration"
    return f"{about}, bound by {made.bound_by}"


def _room_words(made: Plan) -> str:
    """Say how large a job's files may be before the disk is full; nothing is said of a batch without jobs."""
    return f": room for {made.disk_bytes_per_job_max / 1e6:,.1f} MB a job" if made.submissions else ""


def _way_of(files: FileForecast) -> str:
    if files.inline:
        return "sent inside the jobs"
    return "uploaded once per content" + (f", {files.inline_files} sent inside the jobs" if files.inline_files else "")
