"""``engine export``: the results of a run as a table, CSV, TSV or Parquet."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from engine.console.messages import say, warn
from engine.console.streams import DASH
from engine.errors import StorageError, UsageError, nearest
from engine.job.counted import agreeing, counted

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Sequence

    from engine.ledger.survey import Survey
    from engine.output.result_table import Column

FORMATS = ("csv", "tsv", "parquet")
STATUSES = ("succeeded", "failed", "invalid")


class _Choice(click.Choice[str]):
    """A choice that suggests the nearest word for a mistyped one."""

    def get_invalid_choice_message(self, value: Any, ctx: click.Context | None) -> str:
        return super().get_invalid_choice_message(value, ctx).rstrip(".") + nearest(str(value), self.choices)


@click.command(short_help="The results as a table: CSV, TSV or Parquet.")
@click.argument("run_dir", type=click.Path(path_type=Path))
@click.option("-o", "--output", metavar="FILE|-", default=DASH, help="Where the table goes; by default to stdout.")
@click.option("--format", "format_", type=_Choice(FORMATS), help="Of what kind; by default as FILE ends, else csv.")
@click.option("--status", "statuses", type=_Choice(STATUSES), multiple=True, help="Only these jobs; may be repeated.")
@click.option("--columns", metavar="NAME,...", help="Only these columns, in this order.")
def export(run_dir: Path, *, output: str, format_: str | None, statuses: tuple[str, ...], columns: str | None) -> None:
    """Write the results of the run in RUN_DIR as a table, one row a job, in the order of the input.

    What the job lines gave comes back beside the results: a column for each name in params and in metadata. Jobs that
    are not at rest yet are left out. Works beside a running process. Parquet needs -o FILE, and pyarrow.

    \b
    engine export jobs.run -o results.csv
    engine export jobs.run -o results.parquet
    engine export jobs.run --status failed --columns line,id,error_kind,error_message
    """
    from engine.console.report_command import snapshot
    from engine.disk.run_dir import RunDir
    from engine.ledger.survey import survey
    from engine.output.result_table import table_columns

    format_ = format_ or _format_of(output)
    _check(format_, output)
    names = () if columns is None else _names(columns)
    directory = RunDir(run_dir)
    directory.must_exist()
    wanted = tuple(dict.fromkeys(statuses)) or STATUSES
    with snapshot(directory) as db:
        _write(db, table_columns(db, names), wanted, format_, output)
        found = survey(db)
    if output != DASH:
        rows = sum(getattr(found, status) for status in wanted)
        say(f"wrote {output} with {rows:,} {'row' if rows == 1 else 'rows'}")
    _say_what_is_left(found)


def _format_of(output: str) -> str:
    """Return the format that a file's name asks for."""
    if output == DASH:
        return "csv"
    ending = Path(output).suffix.lower().removeprefix(".")
    if ending not in FORMATS:
        raise UsageError(
            f"{output} does not say what it is to hold{nearest(ending, FORMATS)}",
            hint=f"let the name end in .csv, .tsv or .parquet, or give --format {', '.join(FORMATS)}",
        )
    return ending


def _check(format_: str, output: str) -> None:
    """Refuse what cannot be written before anything is read."""
    if output != DASH and Path(output).exists() and not Path(output).is_file():
        raise UsageError(f"{output} is no file that a table could replace", hint="name another, or - for stdout")
    if format_ != "parquet":
        return
    from engine.console.export.parquet import require_pyarrow

    if output == DASH:
        raise UsageError("Parquet needs a file to be written to", hint="name one: -o results.parquet")
    require_pyarrow()


def _names(columns: str) -> tuple[str, ...]:
    """Read a list of columns, as a row of CSV, because a name may hold a comma."""
    import csv

    names = tuple(name.strip() for name in next(csv.reader([columns], skipinitialspace=True), []))
    if not all(names) or not names:
        raise UsageError("--columns names a column that has no name", hint="write them as line,id,status,file")
    return names


def _write(
    db: sqlite3.Connection, columns: Sequence[Column], statuses: Sequence[Any], format_: str, output: str
) -> None:
    import sys

    from engine.console.export.delimited import COMMA, TAB, as_delimited
    from engine.console.export.parquet import write_parquet
    from engine.output.result_table import result_rows

    rows = result_rows(db, columns, statuses)
    separator = TAB if format_ == "tsv" else COMMA
    if output == DASH:
        for block in as_delimited(columns, rows, separator=separator, for_terminal=sys.stdout.isatty()):
            click.echo(block, nl=False)
        return
    with _file(Path(output)) as file:
        if format_ == "parquet":
            write_parquet(file, columns, rows)
        else:
            file.writelines(as_delimited(columns, rows, separator=separator))


@contextmanager
def _file(target: Path) -> Iterator[BinaryIO]:
    """Open a file that takes the place of ``target`` once the whole table is in it."""
    from engine.disk.durable import replacement
    from engine.disk.run_dir import OF_THE_DISK

    try:
        with replacement(target) as file:
            yield file
    except OSError as error:
        raise (StorageError if error.errno in OF_THE_DISK else UsageError)(
            f"the table cannot be written to {target} ({error.strerror or error})", hint="name another file with -o"
        ) from error


def _say_what_is_left(found: Survey) -> None:
    """Say how many jobs the table does not have because nobody knows yet how they end."""
    left = found.lines - found.succeeded - found.failed - found.invalid
    unread = "" if found.input_complete else "; the input is not read to its end"
    if left or unread:
        jobs = f"{left:,} of {counted(found.lines, 'job')} {agreeing(left, 'is', 'are')}"
        warn(f"{jobs} not at rest yet, and not in the table{unread}")
