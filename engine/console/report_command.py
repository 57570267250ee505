"""``engine report``: the run as one page, or as JSON, a table or a few lines."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from engine.console.messages import say
from engine.console.streams import DASH

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator

    from engine.console.report.figures import Report
    from engine.disk.run_dir import RunDir

FORMATS = ("html", "md", "json", "csv")


@click.command(short_help="One page on how it went, with the media to look at.")
@click.argument("run_dir", type=click.Path(path_type=Path))
@click.option(
    "--format", "format_", type=click.Choice(FORMATS), default="html", show_default=True, help="Of what kind."
)
@click.option(
    "-o", "--output", metavar="FILE|-", help="Write there; html goes to RUN_DIR/report.html, others to stdout."
)
@click.option(
    "--from-line", type=click.IntRange(min=1), default=1, help="Line of the input that the page's jobs begin with."
)
@click.option("--gallery", type=click.IntRange(min=0), default=10_000, show_default=True, help="Jobs on the page.")
def report(run_dir: Path, *, format_: str, output: str | None, from_line: int, gallery: int) -> None:
    """Report on the run in RUN_DIR: figures, charts, failures with the command that tries them again, a gallery.

    The page is one file, loads nothing from anywhere, and can be moved along with the run directory. Of a large batch
    it shows the figures of all and the jobs of a part; csv and json hold every job. Works beside a running process.

    \b
    engine report jobs.run
    engine report jobs.run --format csv -o jobs.csv
    """
    from engine.disk.run_dir import RunDir

    directory = RunDir(run_dir)
    directory.must_exist()
    target = directory.report if output is None and format_ == "html" else Path(output or DASH)
    to_stdout = str(target) == DASH
    beside = Path() if to_stdout else target.absolute().parent
    with snapshot(directory) as db:
        pieces = _pieces(db, directory, format_, beside=beside, from_line=from_line, jobs_max=gallery)
        if to_stdout:
            for piece in pieces:
                click.echo(piece, nl=False)
            return
        _write(target, pieces)
    say(f"wrote {target} ({target.stat().st_size / 1e6:,.1f} MB)")


def _pieces(
    db: sqlite3.Connection, directory: RunDir, format_: str, *, beside: Path, from_line: int, jobs_max: int
) -> Iterable[bytes]:
    """Return the report in pieces, each made when it is asked for."""
    from engine.console.report import formats
    from engine.console.report.job_rows import job_page, job_rows

    match format_:
        case "html":
            page = job_page(db, from_line=from_line, jobs_max=jobs_max)
            return [formats.as_html(figures(db, directory), page, root=directory.root, beside=beside).encode()]
        case "json":
            return formats.as_json(figures(db, directory), job_rows(db))
        case "csv":
            return formats.as_csv(job_rows(db))
        case _:
            return [formats.as_markdown(figures(db, directory)).encode()]


@contextmanager
def snapshot(directory: RunDir) -> Iterator[sqlite3.Connection]:
    """Open the ledger as it stands now, whatever is committed meanwhile."""
    from engine.ledger.schema import open_for_reading

    db = open_for_reading(directory.ledger)
    try:
        db.execute("BEGIN")
        yield db
    finally:
        db.close()


def figures(db: sqlite3.Connection, directory: RunDir) -> Report:
    """Read the figures of a run."""
    from engine.clock import SystemClock
    from engine.console.report.figures import gather
    from engine.disk.run_dir import lock_holder

    return gather(db, name=directory.root.name, made_utc=SystemClock().utc(), running=lock_holder(directory) or None)


def _write(target: Path, pieces: Iterable[bytes]) -> None:
    from engine.disk.durable import replacement
    from engine.errors import UsageError

    try:
        with replacement(target) as file:
            file.writelines(pieces)
    except OSError as error:
        raise UsageError(
            f"the report cannot be written to {target} ({error.strerror})", hint="name another file with -o"
        ) from error
