"""``engine doctor``: what a run would need, looked at before the night; submits nothing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from engine.console.messages import harmless
from engine.job.counted import counted

if TYPE_CHECKING:
    from engine.doctor.check import Check, Examination

COLOURS = {"ok": "green", "warning": "yellow", "problem": "red"}


@click.command(short_help="Is everything ready? Key, account, network, disk.")
@click.option("-c", "--config", "config_path", type=click.Path(path_type=Path), help="Configuration file (TOML).")
@click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="One key of the configuration; may be repeated."
)
@click.option(
    "--run-dir",
    type=click.Path(path_type=Path),
    default=Path(),
    help="Where the run will live; default: the current directory.",
)
@click.option("--fleet", metavar="WHERE", help="Look at a fleet too: auto, local:N, ray://HOST:PORT or HOST:PORT.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def doctor(
    config_path: Path | None, overrides: tuple[str, ...], run_dir: Path, fleet: str | None, *, as_json: bool
) -> int:
    """Look at everything that a run would need: key, credits, network, clock, disk, limits, versions.

    Makes two free requests to the provider and submits nothing. Ends with 0 if there is no problem, warnings or
    not; with 2 if the configuration is wrong, with 5 if the key is, with 1 for any other problem.

    \b
    engine doctor -c configs/overnight.toml
    """
    import asyncio

    import orjson

    from engine.config import RunConfig
    from engine.doctor.check import as_record
    from engine.doctor.doctor import examine
    from engine.fleet.address import usable_fleet

    where = None if fleet is None else usable_fleet(fleet)
    found = asyncio.run(examine(RunConfig.load(config_path, overrides), run_place=run_dir, fleet=where))
    if as_json:
        click.echo(orjson.dumps(as_record(found)).decode())
    else:
        click.echo("\n".join(_lines(found)))
    return int(found.exit_code)


def _lines(found: Examination) -> list[str]:
    lines = [line for check in found.checks for line in _check_lines(check)]
    problems, warnings = found.count("problem"), found.count("warning")
    return [
        *lines,
        "",
        f"{counted(len(found.checks), 'check')}: {counted(problems, 'problem')}, {counted(warnings, 'warning')}",
    ]


def _check_lines(check: Check) -> list[str]:
    level = click.style(f"{check.level:<8}", fg=COLOURS[check.level])
    lines = [f"{level} {check.check:<13} {harmless(check.message)}"]
    return [*lines, *([f"{'':<22} -> {harmless(check.hint)}"] if check.hint else [])]
