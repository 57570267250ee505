"""``engine run`` and ``engine resume``: options in, one run, exit code out."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from engine.console.run_options import RunCommand, run_options
from engine.console.streams import DASH, STDIN_FD, STDOUT_FD
from engine.errors import UsageError

if TYPE_CHECKING:
    from engine.config import RunConfig
    from engine.intake.source import InputSource


@click.command(cls=RunCommand, short_help="Run a batch, or go on with it.")
@click.argument("input_name", metavar="INPUT|-", type=click.Path(allow_dash=True))
@click.option("--run-dir", type=click.Path(path_type=Path), help="Where the run lives; jobs.jsonl → jobs.run.")
@click.option("--append", is_flag=True, help="Take in lines that were appended to a finished input.")
@run_options
def run(input_name: str, run_dir: Path | None, *, append: bool, **options: Any) -> int:
    """Run every job line of INPUT (JSONL, a CSV or TSV table, or - for stdin), or go on with a run that was stopped.

    The same command on the same input resumes; on a finished batch it does nothing.

    \b
    engine run jobs.jsonl -c overnight.toml
    engine run jobs.jsonl --set limits.max_in_flight=50
    cat jobs.jsonl | engine run - --run-dir night -o - | tee results.jsonl
    """
    from engine.config import RunConfig
    from engine.intake.source import PipeSource

    config = RunConfig.load(options.pop("config_path"), options.pop("overrides"))
    if input_name == DASH:
        if run_dir is None:
            raise UsageError("reading from stdin needs a place for the run", hint="add --run-dir DIR")
        return _conduct(run_dir, config, source=PipeSource(STDIN_FD, "stdin"), accept_appended=append, **options)
    path = Path(input_name)
    source = opened(path, config)
    return _conduct(run_dir or default_run_dir(path), config, source=source, accept_appended=append, **options)


@click.command(cls=RunCommand, short_help="Go on with a run; needs no input.")
@click.argument("run_dir", type=click.Path(path_type=Path))
@run_options
def resume(run_dir: Path, config_path: Path | None, overrides: tuple[str, ...], **options: Any) -> int:
    """Go on with the run in RUN_DIR: its jobs and its configuration are in its ledger.

    \b
    engine resume jobs.run
    engine resume jobs.run --set limits.submits_per_minute=120
    """
    config = config_of_run(run_dir, config_path, overrides)
    return _conduct(run_dir, config, source=None, accept_appended=False, **options)


@click.command(cls=RunCommand, short_help="Failed jobs again.")
@click.argument("run_dir", type=click.Path(path_type=Path))
@click.option("--all-failed", is_flag=True, help="Every failed job.")
@click.option("--error", "kinds", multiple=True, metavar="KIND", help="Jobs that failed of this kind; may be repeated.")
@click.option("--id", "ids", multiple=True, metavar="ID", help="The job with this id; may be repeated.")
@click.option("--unknown", is_flag=True, help="Also unknown outcomes, which may have been paid for already.")
@click.option("--pay-again", is_flag=True, help="Also jobs that were paid for and have no file left to download.")
@run_options
def retry(
    run_dir: Path,
    config_path: Path | None,
    overrides: tuple[str, ...],
    *,
    all_failed: bool,
    kinds: tuple[str, ...],
    ids: tuple[str, ...],
    unknown: bool,
    pay_again: bool,
    **options: Any,
) -> int:
    """Try failed jobs of the run in RUN_DIR again, and go on with the run.

    Their lines leave the output and come back when the jobs are at rest again. What was paid for and can
    still be downloaded is downloaded, not submitted.

    \b
    engine retry jobs.run --all-failed
    engine retry jobs.run --error server_error --error generation_failed
    """
    from engine.console.named_jobs import check_kinds, places_of
    from engine.disk.run_dir import RunDir
    from engine.ledger.reopening import Selection

    if not (all_failed or kinds or ids or unknown):
        raise UsageError("nothing says which jobs to try again", hint="add --all-failed, --error KIND or --id ID")
    failed = all_failed or bool(kinds) or (bool(ids) and not unknown)
    chosen = Selection(failed, kinds, ids, unknown=unknown, pay_again=pay_again)
    config = config_of_run(run_dir, config_path, overrides)
    check_kinds(RunDir(run_dir), kinds)
    places_of(RunDir(run_dir), ids, looked_up_by="--jobs failed")
    return _conduct(run_dir, config, source=None, accept_appended=False, reopen=chosen, **options)


def opened(path: Path, config: RunConfig) -> InputSource:
    """Return the source for an input; a table that lacks a column which the model requires is refused as a whole.

    Raises:
        UsageError: it cannot be read, or lacks a column.
    """
    from engine.connection import describe
    from engine.intake.kinds import open_input
    from engine.intake.table_source import TableSource

    source = open_input(path)
    if isinstance(source, TableSource) and not source.has("model"):
        description = describe(config)
        model = description.models.get(config.provider.model or description.default_model)
        required = [name for name, parameter in model.parameters.items() if parameter.required] if model else []
        if model and (missing := [name for name in required if not source.has(name)]):
            raise UsageError(
                f"{path} has no column {missing[0]!r}, which the model {model.name} requires",
                hint=f"name it in the header, or: engine convert {path} --map {missing[0]}=COLUMN -o jobs.jsonl",
            )
    return source


def default_run_dir(path: Path) -> Path:
    """Return where the run of an input lives by default: ``jobs.jsonl`` → ``jobs.run`` beside it."""
    return path.with_suffix(".run") if path.suffix else path.with_name(path.name + ".run")


def config_of_run(run_dir: Path, config_path: Path | None = None, overrides: tuple[str, ...] = ()) -> RunConfig:
    """Return the configuration that a run was last given, or the one in a file, with overrides."""
    import orjson

    from engine.config import RunConfig
    from engine.disk.run_dir import RunDir
    from engine.ledger.schema import read_facts

    directory = RunDir(run_dir)
    directory.must_exist()
    if config_path is not None:
        return RunConfig.load(config_path, overrides)
    recorded = read_facts(directory.ledger).get("config")
    if recorded is None:
        raise UsageError(f"{run_dir} was never opened by a run", hint="begin it with: engine run INPUT")
    return RunConfig.from_mapping(orjson.loads(recorded), overrides)


def _conduct(
    root: Path,
    config: RunConfig,
    *,
    output: str | None,
    quiet: bool,
    no_progress: bool,
    dashboard_port: int | None,
    deadline_utc: float | None,
    span_s: float | None,
    cancel_on_stop: bool,
    on_finish: str | None,
    on_stop: str | None,
    fleet: str | None,
    **request: Any,
) -> int:
    from engine.clock import SystemClock
    from engine.console.conduct import conduct
    from engine.console.hooks import Hooks
    from engine.console.messages import say, warn
    from engine.fleet.address import usable_fleet
    from engine.run.request import RunRequest

    where = None if fleet is None else usable_fleet(fleet)
    if span_s is not None:
        deadline_utc = min(SystemClock().utc() + span_s, deadline_utc or math.inf)
    streams = output == DASH
    return conduct(
        RunRequest(
            root=root,
            config=config,
            output=Path(output) if output and not streams else None,
            stream_fd=STDOUT_FD if streams else None,
            announce=say,
            remark=_unheard if quiet else say,
            warn=_unheard if quiet else warn,
            fleet=where,
            deadline_utc=deadline_utc,
            **request,
        ),
        quiet=quiet,
        show_progress=not (quiet or no_progress),
        hooks=Hooks(on_finish, on_stop),
        dashboard_port=dashboard_port,
        cancel_on_stop=cancel_on_stop,
    )


def _unheard(_text: str) -> None:
    """Say nothing: what is told when all is well, or not meant badly, is not for a quiet run."""
