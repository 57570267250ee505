"""What a person asked of a run while it worked: orders in ``control.jsonl``, appended and never rewritten.

Whoever gives an order appends it durably; the process at work reads what is new once a second, and the next
process reads it all. So an order survives every restart, and who asked for what, and when, stays to be read.
Knows nothing of what an order does.
"""

from __future__ import annotations

import fcntl
import os
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

import msgspec

from engine.disk.durable import PRIVATE_FILE_MODE, append, sync_directory
from engine.errors import StorageError
from engine.refusals import refusal_hint

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

Action = Literal["pause", "resume", "drain", "set", "reset", "cancel", "cancel_all"]
NEWLINE = b"\n"
LINE_BYTES_MAX = 2**20
"""No order is longer; what a disk error makes of the file must not fill the memory."""
NOTHING_OVER: Mapping[str, int] = MappingProxyType({})
_HINT = "free some space, then give the order again"


class Order(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing that was asked.

    Attributes:
        utc: when, seconds since the epoch.
        action: what.
        key, value: of ``set``: which key of the configuration, and its value.
        id: of ``cancel``: of which job.
    """

    utc: float
    action: Action
    key: str = ""
    value: int | float = 0
    id: str = ""


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """What holds after a number of orders.

    Attributes:
        paused_utc: since when submissions are paused; None if they are not.
        settings: the keys of the configuration that were set, with their values.
    """

    paused_utc: float | None = None
    settings: dict[str, int | float] = {}


class ControlJournal:
    """The file of orders."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def give(self, orders: Sequence[Order]) -> int:
        """Append orders durably; return where the file ends then, in bytes.

        A line that was torn is ended first, so that it takes no order with it.

        Raises:
            StorageError: they cannot be written.
        """
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            fd = os.open(self._path, flags, PRIVATE_FILE_MODE)
        except OSError as error:
            raise StorageError(
                f"the order cannot be written to {self._path} ({error.strerror})",
                hint=f"{refusal_hint(error)}; a run's orders lie in its directory",
            ) from error
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)  # what another is just writing is not torn
            lines = b"".join(msgspec.json.encode(order) + NEWLINE for order in orders)
            append(fd, lines if _ends_whole(fd) else NEWLINE + lines, name=f"the order in {self._path}", hint=_HINT)
            end = os.fstat(fd).st_size
        finally:
            os.close(fd)
        sync_directory(self._path.parent)
        return end

    def read(
        self, offset: int, *, until: int | None = None, over: Mapping[str, int] = NOTHING_OVER
    ) -> tuple[list[Order], int]:
        """Return the orders behind ``offset`` (and before ``until``), and where the last whole line of them ends.

        A line that is no order is passed over: a crash may have torn it, and whoever gave it was not told that it
        was taken. So is one that set a key and ends before the byte that ``over`` has for the key.
        """
        orders: list[Order] = []
        end = offset
        try:
            with self._path.open("rb") as file:
                file.seek(offset)
                for line, line_end in _whole_lines(file, offset):
                    if until is not None and line_end > until:
                        break
                    end = line_end
                    order = _order_of(line)
                    if order is not None and not (order.action == "set" and line_end <= over.get(order.key, 0)):
                        orders.append(order)
        except OSError:
            return [], offset
        return orders, end


def over_in(facts: Mapping[str, Any]) -> dict[str, int]:
    """Return the keys whose orders are over, by the facts of a run: up to which byte of the journal they are."""
    return msgspec.json.decode(facts.get("control_over") or "{}", type=dict[str, int])


def standing_in(journal: ControlJournal, facts: Mapping[str, Any]) -> Standing:
    """Return what holds of a journal, by the facts of its run."""
    return standing(journal.read(0, over=over_in(facts))[0])


def standing(orders: Iterable[Order]) -> Standing:
    """Return what holds after all ``orders``, the oldest first."""
    paused_utc: float | None = None
    settings: dict[str, int | float] = {}
    for order in orders:
        match order.action:
            case "pause":
                paused_utc = order.utc if paused_utc is None else paused_utc
            case "resume":
                paused_utc = None
            case "set":
                settings[order.key] = order.value
            case "reset":
                paused_utc, settings = None, {}
            case "drain" | "cancel" | "cancel_all":
                pass
    return Standing(paused_utc=paused_utc, settings=settings)


def _ends_whole(fd: int) -> bool:
    """Whether an open file is empty or ends with a line that is whole."""
    size_bytes = os.fstat(fd).st_size
    return size_bytes == 0 or os.pread(fd, 1, size_bytes - 1) == NEWLINE


def _whole_lines(file: BinaryIO, position: int) -> Iterator[tuple[bytes, int]]:
    """Yield each whole line with the byte where it ends; one too long to be an order is yielded as nothing."""
    is_long = False
    while piece := file.readline(LINE_BYTES_MAX):
        position += len(piece)
        if piece.endswith(NEWLINE):
            yield b"" if is_long else piece, position
            is_long = False
        elif len(piece) == LINE_BYTES_MAX:
            is_long = True
        else:
            return  # torn, or just being written


def _order_of(line: bytes) -> Order | None:
    try:
        return msgspec.json.decode(line, type=Order)
    except msgspec.DecodeError:
        return None
