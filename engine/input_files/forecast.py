"""What a batch would upload: the distinct local files of its jobs, before any of them goes anywhere."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from engine.input_files.inspection import Inspector
from engine.input_files.references import may_hold_references, references
from engine.job.local_file import local_path
from engine.job.records import decode_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from engine.input_files.inspection import FileFacts
    from engine.job.flight import Flight
    from engine.job.model import Model

SHOWN_MAX = 20


class LocalFile(msgspec.Struct, frozen=True, kw_only=True):
    """One local file that jobs need."""

    path: str
    bytes: int
    content_type: str


class FileForecast(msgspec.Struct, frozen=True, kw_only=True):
    """The local files of a batch.

    Attributes:
        files: how many there are; equal contents under two names count twice, and are uploaded once.
        bytes: how long they are together.
        largest: the largest of them.
        inline: whether they are sent inside the jobs instead of being uploaded.
    """

    files: int = 0
    bytes: int = 0
    largest: tuple[LocalFile, ...] = ()
    inline: bool = False


class Forecaster:
    """Adds up the local files of jobs, block by block."""

    def __init__(self, catalogue: Mapping[str, Model]) -> None:
        self._inspector = Inspector(sys.maxsize)
        self._catalogue = catalogue
        self._seen: set[str] = set()
        self._bytes = 0
        self._largest: list[FileFacts] = []

    def add(self, flights: Iterable[Flight]) -> None:
        """Count the files of these jobs; each was looked at before. Blocks."""
        for flight in flights:
            if not may_hold_references(flight.params):
                continue
            for reference in references(decode_json(flight.params), self._catalogue.get(flight.model)):
                if reference.value not in self._seen:
                    self._seen.add(reference.value)
                    self._count(self._inspector.facts(local_path(reference.value, Path("/"))))

    def _count(self, facts: FileFacts) -> None:
        self._bytes += facts.bytes
        self._largest = sorted([*self._largest, facts], key=lambda known: -known.bytes)[:SHOWN_MAX]

    def forecast(self, *, inline: bool) -> FileForecast:
        """Return what was added up."""
        largest = (
            LocalFile(path=str(facts.path), bytes=facts.bytes, content_type=facts.content_type)
            for facts in self._largest
        )
        return FileForecast(files=len(self._seen), bytes=self._bytes, largest=tuple(largest), inline=inline)
