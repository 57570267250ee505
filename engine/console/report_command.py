"""``engine report``: the run as one page, or as JSON, a table or a few lines."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from engine.console.messages import say

if TYPE_CHECKING:
    from engine.console.report.figures import Report
    from engine.ledger.run_dir import RunDir

FORMATS = ("html", "md", "json", "csv")
DASH = "-"


@click.command(short_help="One page on how it went, with the media to look at.")
@click.argument("run_dir", type=click.Path(path_type=Path))
@click.option(
    "--format", "format_", type=click.Choice(FORMATS), default="html", show_default=True, help="Of what kind."
)
@click.option(
    "-o", "--output", metavar="FILE|-", help="Write there; html goes to RUN_DIR/report.html, others to stdout."
)
def report(run_dir: Path, *, format_: str, output: str | None) -> None:
    """Report on the run in RUN_DIR: figures, charts, failures with the command that tries them again, a gallery.

    The page is one file, loads nothing from anywhere, and can be moved along with the run directory. Works beside a
    running process.

    \b
    engine report jobs.run
    engine report jobs.run --format csv -o jobs.csv
    """
    from engine.ledger.run_dir import RunDir  # noqa: PLC0415

    directory = RunDir(run_dir)
    directory.must_exist()
    target = directory.report if output is None and format_ == "html" else Path(output or DASH)
    content = _content(directory, format_, beside=Path() if str(target) == DASH else target.absolute().parent)
    if str(target) == DASH:
        click.echo(content, nl=False)
        return
    _write(target, content)
    say(f"wrote {target} ({len(content) / 1e6:,.1f} MB)")


def _content(directory: RunDir, format_: str, *, beside: Path) -> bytes:
    from engine.console.report import formats  # noqa: PLC0415

    found = gathered(directory)
    match format_:
        case "html":
            return formats.as_html(found, root=directory.root, beside=beside).encode()
        case "json":
            return formats.as_json(found)
        case "csv":
            return formats.as_csv(found).encode()
        case _:
            return formats.as_markdown(found).encode()


def gathered(directory: RunDir) -> Report:
    """Read the report of a run as it stands now."""
    from engine.clock import SystemClock  # noqa: PLC0415
    from engine.console.report.figures import gather  # noqa: PLC0415
    from engine.ledger.run_dir import lock_holder  # noqa: PLC0415
    from engine.ledger.schema import open_for_reading  # noqa: PLC0415

    db = open_for_reading(directory.ledger)
    try:
        db.execute("BEGIN")  # one snapshot, whatever is committed meanwhile
        return gather(
            db, name=directory.root.name, made_utc=SystemClock().utc(), running=lock_holder(directory) or None
        )
    finally:
        db.close()


def _write(target: Path, content: bytes) -> None:
    from engine.errors import UsageError  # noqa: PLC0415
    from engine.ledger.durable import replacement  # noqa: PLC0415

    try:
        with replacement(target) as file:
            file.write(content)
    except OSError as error:
        raise UsageError(
            f"the report cannot be written to {target} ({error.strerror})", hint="name another file with -o"
        ) from error
