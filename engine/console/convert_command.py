"""``engine convert``: a table or a JSON array as job lines."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from engine.console.messages import say
from engine.console.streams import DASH
from engine.job.counted import counted

if TYPE_CHECKING:
    from collections.abc import Callable

    from engine.intake.source import InputSource


def _pairs(_context: click.Context, option: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    """Read ``PARAM=…`` as often as it comes."""
    found: dict[str, str] = {}
    for value in values:
        name, equals, text = value.partition("=")
        if not equals or not name or not text:
            raise click.BadParameter(f"{value!r} must be PARAM=...", param=option)
        if name in found:
            raise click.BadParameter(f"{name!r} is given twice", param=option)
        quoted = len(text) > 1 and text[0] == text[-1] and text[0] in "\"'"
        found[name] = text[1:-1] if quoted else text
    return found


@click.command(short_help="A table (CSV, TSV) or a JSON array as job lines.")
@click.argument("table", type=click.Path(path_type=Path))
@click.option("-o", "--output", metavar="FILE|-", default=DASH, help="Where the lines go; by default to stdout.")
@click.option(
    "--map", "renames", metavar="PARAM=COLUMN", multiple=True, callback=_pairs, help="Send a column as PARAM."
)
@click.option(
    "--template",
    "templates",
    metavar="PARAM=TEXT",
    multiple=True,
    callback=_pairs,
    help="Make PARAM of columns: {name}.",
)
@click.option("--metadata", metavar="COLUMN", multiple=True, help="Give a column back with the result; do not send it.")
def convert(
    table: Path, *, output: str, renames: dict[str, str], templates: dict[str, str], metadata: tuple[str, ...]
) -> None:
    """Write TABLE (.csv, .tsv, or .json with one array) as job lines (JSONL).

    A column is sent as the parameter of its name; id and model are the job's own, and metadata.NAME comes back with the
    result. NAME:integer, :number, :boolean or :json says what the cells are. An empty cell is an absent parameter. A
    column that a template uses is not sent by itself.

    \b
    engine convert people.csv --map image_url=photo --template 'prompt="Hello {name}"' -o jobs.jsonl
    engine run people.csv              reads a table directly, by its header alone
    """
    import asyncio

    from engine.disk.durable import replacement
    from engine.errors import UsageError
    from engine.intake.kinds import open_input
    from engine.intake.table_source import TABLES, TableSource
    from engine.job.table import Wishes

    wishes = Wishes(renames, templates, metadata)
    source: InputSource
    if table.suffix.lower() in TABLES:
        source = TableSource(table, wishes)
    elif any(wishes):
        raise UsageError(f"{table} is no table: it has no columns to map", hint="give a .csv or a .tsv")
    else:
        source = open_input(table)

    async def pour(write: Callable[[bytes], object]) -> int:
        """Write the lines without the empty ones, which keep the place of the header; return how many there are."""
        count = 0
        async for block in source.blocks():
            lines = [line for line in block.splitlines(keepends=True) if line.strip()]
            write(b"".join(lines))
            count += len(lines)
        return count

    if output == DASH:
        asyncio.run(pour(lambda lines: click.echo(lines, nl=False)))
        return
    with replacement(Path(output)) as file:
        count = asyncio.run(pour(file.write))
    say(f"wrote {output} with {counted(count, 'line')}")
