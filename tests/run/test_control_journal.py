"""Orders are kept in the order they came, and whatever stands between them is passed over."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

import pytest

from engine.errors import StorageError
from engine.run.control_journal import LINE_BYTES_MAX, ControlJournal, Order, Standing, standing

if TYPE_CHECKING:
    from pathlib import Path

PAUSE, RESUME, RESET = (Order(utc=float(n), action=a) for n, a in ((1, "pause"), (2, "resume"), (3, "reset")))  # type: ignore[arg-type]
SLOW = Order(utc=4.0, action="set", key="limits.max_in_flight", value=5)
FAST = Order(utc=5.0, action="set", key="limits.max_in_flight", value=50)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "control.jsonl"


def test_what_was_given_is_read_once(path: Path) -> None:
    journal = ControlJournal(path)
    end = journal.give([PAUSE, SLOW])
    assert journal.read(0) == ([PAUSE, SLOW], end)
    journal.give([FAST])
    assert journal.read(end)[0] == [FAST]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_what_an_earlier_process_took_is_read_apart(path: Path) -> None:
    journal = ControlJournal(path)
    taken = journal.give([PAUSE])
    cancel = Order(utc=6.0, action="cancel", id="clip-7")
    journal.give([cancel])
    assert journal.read(0, until=taken) == ([PAUSE], taken)
    assert journal.read(taken)[0] == [cancel]
    assert standing([PAUSE, cancel]) == Standing(paused_utc=1.0)


def test_nothing_was_asked_where_there_is_no_file(path: Path) -> None:
    assert ControlJournal(path).read(0) == ([], 0)


def test_a_line_that_is_no_order_is_passed_over_and_a_torn_one_waits(path: Path) -> None:
    journal = ControlJournal(path)
    journal.give([PAUSE])
    with path.open("ab") as file:
        file.write(b'garbage\n{"utc":1,"action":"explode"}\n\xff\n{"utc":2.0,"act')
    orders, end = journal.read(0)
    assert orders == [PAUSE]
    with path.open("ab") as file:
        file.write(b'ion":"resume"}\n')
    assert journal.read(end)[0] == [RESUME]


def test_a_script_that_cancels_thousands_of_jobs_is_heard_to_its_end(path: Path) -> None:
    journal = ControlJournal(path)
    cancels = [Order(utc=6.0, action="cancel", id=f"clip-{number:0500}") for number in range(5_000)]
    taken = journal.give([PAUSE, *cancels])
    end = journal.give([RESUME])
    assert taken > 2 * LINE_BYTES_MAX
    assert journal.read(0, until=taken) == ([PAUSE, *cancels], taken)
    assert journal.read(taken) == ([RESUME], end)
    assert standing(journal.read(0)[0]) == Standing()


def test_what_is_too_long_for_an_order_is_passed_over_wherever_it_is_read_from(path: Path) -> None:
    end_of_a_line = b'{"utc":1.0,"action":"drain"}\n'
    path.write_bytes(b"x" * LINE_BYTES_MAX + end_of_a_line)
    end = ControlJournal(path).give([PAUSE])
    assert ControlJournal(path).read(0) == ([PAUSE], end)


@pytest.mark.parametrize("torn", [b'{"utc":2.0,"act', b"\x00\x00", b'{"utc":2.0,"action":"set",'])
def test_a_line_that_was_torn_takes_no_order_with_it(path: Path, torn: bytes) -> None:
    journal = ControlJournal(path)
    taken = journal.give([PAUSE])
    with path.open("ab") as file:
        file.write(torn)
    end = journal.give([RESUME, SLOW])
    assert journal.read(taken) == ([RESUME, SLOW], end)
    assert end == path.stat().st_size


def test_an_order_for_which_there_is_no_room_is_said_to_be_lost(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "write", refuse)
    with pytest.raises(StorageError, match=r"the order in .*control\.jsonl could not be written") as failure:
        ControlJournal(path).give([PAUSE])
    assert "give the order again" in failure.value.hint


def test_a_link_is_not_written_through(path: Path, tmp_path: Path) -> None:
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StorageError, match="cannot be written"):
        ControlJournal(path).give([PAUSE])


@pytest.mark.parametrize(
    ("orders", "holds"),
    [
        ([], Standing()),
        ([PAUSE], Standing(paused_utc=1.0)),
        ([PAUSE, RESUME], Standing()),
        ([SLOW, FAST], Standing(settings={"limits.max_in_flight": 50})),
        ([PAUSE, SLOW, RESET], Standing()),
        ([Order(utc=9.0, action="drain")], Standing()),
    ],
)
def test_what_holds_is_the_sum_of_what_was_asked(orders: list[Order], holds: Standing) -> None:
    assert standing(orders) == holds
