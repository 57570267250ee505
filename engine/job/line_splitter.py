r"""Split blocks of bytes into numbered lines, with a bound on memory.

Splits on ``\n`` and on nothing else, since U+2028 or ``\r`` may stand in a line of JSON. A line beyond the bound
is dropped as it streams and reported by its length. Knows nothing of what the lines say.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

LINE_BYTES_MAX = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Oversized:
    """A line that was longer than allowed and was not kept.

    Attributes:
        length_bytes: how long it was, its newline not counted.
    """

    length_bytes: int


NumberedLine: TypeAlias = tuple[int, bytes | Oversized]
"""The number of a physical line, from 1, and the line without its newline."""


class LineSplitter:
    """Takes blocks of any size, gives whole lines.

    Args:
        line_bytes_max: a longer line is not kept.
        lines_before: how many lines stand before the first block; numbers go on from there.
    """

    __slots__ = ("_length_bytes", "_line_bytes_max", "_lines", "_unfinished")

    def __init__(self, *, line_bytes_max: int = LINE_BYTES_MAX, lines_before: int = 0) -> None:
        self._line_bytes_max = line_bytes_max
        self._lines = lines_before
        # The unfinished line, and its whole length, which alone is kept once the line is too long.
        self._unfinished = bytearray()
        self._length_bytes = 0

    def feed(self, block: bytes) -> list[NumberedLine]:
        """Return the lines that ``block`` completes."""
        first, *rest = block.split(b"\n")
        self._hold(first)
        if not rest:
            return []
        number = self._lines + 1
        lines: list[NumberedLine] = [(number, self._take())]
        unfinished = rest.pop()
        lines += [(number + after, self._bounded(line)) for after, line in enumerate(rest, 1)]
        self._lines += len(rest)
        self._hold(unfinished)
        return lines

    def finish(self) -> list[NumberedLine]:
        """Return the last line if no newline ended it; nothing if the input ended with one."""
        return [(self._lines + 1, self._take())] if self._length_bytes else []

    def _bounded(self, line: bytes) -> bytes | Oversized:
        return line if len(line) <= self._line_bytes_max else Oversized(len(line))

    def _hold(self, piece: bytes) -> None:
        """Keep a piece of the unfinished line, as long as the line is within the bound."""
        if not piece:
            return
        self._length_bytes += len(piece)
        if self._length_bytes > self._line_bytes_max:
            self._unfinished.clear()
        else:
            self._unfinished += piece

    def _take(self) -> bytes | Oversized:
        """Return the unfinished line, which its newline has just ended."""
        length_bytes, line = self._length_bytes, bytes(self._unfinished)
        self._unfinished.clear()
        self._length_bytes = 0
        self._lines += 1
        return line if length_bytes <= self._line_bytes_max else Oversized(length_bytes)
