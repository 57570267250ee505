"""``engine verify``: the audit of a run, told to a person, and its repair."""

from __future__ import annotations

import shlex
from collections import Counter
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from engine.console.messages import harmless, say, warn
from engine.errors import ExitCode
from engine.job.counted import counted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from engine.audit.audit import Audit, Watcher
    from engine.audit.findings import Finding
    from engine.disk.run_dir import RunDir

VERIFY_VERSION = 1
SHOWN_OF_A_KIND_MAX = 20


@click.command(short_help="Hold ledger, output and files against each other.")
@click.argument("run_dir", type=click.Path(path_type=Path))
@click.option("--quick", is_flag=True, help="Compare the lengths of files only; reads none of them.")
@click.option("--repair", is_flag=True, help="Mend what is found; downloads again, pays nothing, deletes nothing.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def verify(run_dir: Path, *, quick: bool, repair: bool, as_json: bool) -> int:
    """Check the run in RUN_DIR: is every file that was paid for there and whole, every result line in its place?

    Ends with 0 if all is well, with 1 if something differs. Works beside a running process.

    \b
    engine verify jobs.run
    engine verify jobs.run --repair
    """
    from engine.disk.run_dir import RunDir

    directory = RunDir(run_dir)
    directory.must_exist()
    found = _audited(directory, quick=quick)
    lost: list[int] = []
    if repair and found.findings:
        lost = _repair(directory, found)
        found = _audited(directory, quick=quick)
    if as_json:
        from engine.audit.audit import encode

        click.echo(encode(found, version=VERIFY_VERSION))
    else:
        click.echo("\n".join(_lines(found, run_dir)))
    return ExitCode.SOME_FAILED if found.findings or lost else ExitCode.SUCCEEDED


def _audited(directory: RunDir, *, quick: bool) -> Audit:
    from engine.audit.audit import audit
    from engine.disk.run_dir import lock_holder

    with _shown_progress() as watcher:
        return audit(directory, quick=quick, at_work=lock_holder(directory) is not None, watcher=watcher)


@contextmanager
def _shown_progress() -> Iterator[Watcher]:
    """Show on a terminal how many bytes are checked; elsewhere say nothing."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    from engine.audit.audit import Watcher

    console = Console(stderr=True)
    columns = (TextColumn("checking files"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal, redirect_stdout=False
    ) as bar:
        task = bar.add_task("", total=None)

        def begins(size_bytes: int) -> None:
            bar.update(task, total=size_bytes)

        def checked(size_bytes: int) -> None:
            bar.advance(task, size_bytes)

        yield Watcher(begins, checked)


def _repair(directory: RunDir, found: Audit) -> list[int]:
    """Set wrong files aside, then let a run that submits nothing download them again and write the output anew.

    Returns the jobs whose files could not be had again.
    """
    from engine.audit.audit import jobs_to_download, without_files
    from engine.audit.findings import Remedy
    from engine.audit.object_audit import set_aside_objects
    from engine.audit.set_aside import set_aside
    from engine.clock import SystemClock
    from engine.console.conduct import conduct
    from engine.console.run_command import config_of_run
    from engine.disk.run_dir import RunLock
    from engine.ledger.reopening import Selection
    from engine.run.request import RunRequest

    with RunLock(directory, SystemClock()):
        config = config_of_run(directory.root)
        moved = [str(path) for path in set_aside(found.findings, directory.root)]
        for place in [*moved, *set_aside_objects(found.findings, config.storage)]:
            say(f"set aside: {harmless(place)}")
        remedies = {finding.remedy for finding in found.findings}
        if Remedy.RECOUNT in remedies:
            _recount(directory)
    if not remedies & {Remedy.DOWNLOAD, Remedy.REBUILD}:
        return []
    wanted = jobs_to_download(found)
    conduct(
        RunRequest(
            root=directory.root,
            config=config,
            reopen=Selection(failed=False, downloads=wanted),
            harvest_only=True,
            rebuild_output=True,
            announce=say,
        ),
        quiet=False,
        show_progress=True,
    )
    lost = without_files(directory, wanted)
    if lost:
        warn(f"the files of {counted(len(lost), 'job')} could not be had again; their result lines say why")
    return lost


def _recount(directory: RunDir) -> None:
    from engine.ledger.schema import open_for_writing
    from engine.ledger.totals import correct

    with closing(open_for_writing(directory.ledger)) as db:
        correct(db)
    say("counted anew: the totals of the ledger")


def _lines(found: Audit, run_dir: Path) -> list[str]:
    how = "by their length" if found.quick else "byte for byte"
    size = f"{found.bytes / 1e6:,.1f} MB"
    sought = f"looked for {counted(found.lines, 'result line')} and {counted(found.files, 'file')} ({size}), {how}"
    if not found.findings:
        return [f"{sought}: all as the ledger says"]
    lines, shown = [f"{sought}: {counted(len(found.findings), 'thing')} not as the ledger says"], Counter[str]()
    for finding in found.findings:
        shown[finding.kind] += 1
        if shown[finding.kind] <= SHOWN_OF_A_KIND_MAX:
            lines.append(_words(finding))
    for kind, count in shown.items():
        if count > SHOWN_OF_A_KIND_MAX:
            lines.append(f"{kind:<16} and {count - SHOWN_OF_A_KIND_MAX} more (--json names them all)")
    return [*lines, "", *_remedies(found, run_dir)]


def _words(finding: Finding) -> str:
    whose = f" ({finding.id!r})" if finding.id is not None else ""
    return f"{finding.kind:<16} {harmless(f'{finding.subject}{whose}: {finding.detail}')}"


def _remedies(found: Audit, run_dir: Path) -> list[str]:
    """Return what mends what was found: one command for all that it can, with what it does."""
    counts = Counter(finding.remedy.value for finding in found.findings)
    deeds = {
        "download": f"downloads {counted(counts['download'], 'file')} anew",
        "set_aside": f"moves {counted(counts['set_aside'], 'file')} into set-aside/",
        "recount": "counts the totals anew",
        "rebuild": "writes the output anew from the ledger",
    }
    wanted = [words for remedy, words in deeds.items() if counts[remedy]]
    repair = f"engine verify {shlex.quote(str(run_dir))} --repair   {', '.join(wanted)}; submits nothing"
    backup = "restore run.db and its -wal file from a backup: the ledger alone knows what was paid for"
    return [harmless(words) for words, is_needed in ((repair, wanted), (backup, counts["backup"])) if is_needed]
