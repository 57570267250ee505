"""How lines enter the ledger: whose id it is, how repeats are named, and that a block is taken in whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.ledger.counts import count_jobs
from engine.ledger.flights import pending_after
from engine.ledger.new_lines import Spooled, add_lines
from tests.jobs import bad_row, job_row, open_inline, read_to

if TYPE_CHECKING:
    from pathlib import Path

    from engine.ledger.ledger import Ledger


async def test_the_first_of_two_lines_with_one_id_wins_and_the_second_is_invalid(ledger: Ledger) -> None:
    spooled = await ledger.change(
        add_lines, [job_row(1, id_="a", prompt="x"), job_row(2, id_="a", prompt="y")], read_to(2)
    )
    assert spooled == Spooled({"": 1}, 0, 1)
    (error,) = await ledger.read(lambda db: db.execute("SELECT error FROM job WHERE job = 1").fetchone())
    assert b'"duplicate_id"' in error
    assert b"line 1" in error


async def test_an_id_is_taken_across_blocks_too(ledger: Ledger) -> None:
    await ledger.change(add_lines, [job_row(1, id_="a", prompt="x")], read_to(1, complete=False))
    assert await ledger.change(add_lines, [job_row(2, id_="a", prompt="y")], read_to(2)) == Spooled({}, 0, 1)


async def test_an_invalid_line_takes_no_id(ledger: Ledger) -> None:
    broken = bad_row(1)._replace(id="a", id_given=True)
    assert await ledger.change(add_lines, [broken, job_row(2, id_="a", prompt="x")], read_to(2)) == Spooled(
        {"": 1}, 0, 1
    )


async def test_repeats_of_a_job_without_an_id_are_numbered_across_blocks_and_restarts(db_path: Path) -> None:
    names = list[str]()
    for line in range(1, 4):
        ledger = open_inline(db_path)
        rows = [job_row(2 * line - 1, prompt="same"), job_row(2 * line, prompt=f"other {line}")]
        await ledger.change(add_lines, rows, read_to(2 * line))
        names = [flight.id for flight in await ledger.read(pending_after, -1, 10)]
        ledger.close()
    first = names[0]
    assert [names[0], names[2], names[4]] == [first, f"{first}-2", f"{first}-3"]
    assert len(set(names)) == 6


async def test_a_block_is_taken_in_whole_with_its_mark(ledger: Ledger) -> None:
    mark = read_to(2)
    await ledger.change(add_lines, [job_row(1, id_="a", prompt="x"), bad_row(2)], mark)
    facts = await ledger.facts()
    assert [facts[f"input_{name}"] for name in mark._fields] == list(mark)
    assert await ledger.read(count_jobs) == {"pending": 1, "invalid": 1}
