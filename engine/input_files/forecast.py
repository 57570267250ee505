"""What a batch would upload: the distinct local files of its jobs, before any of them goes anywhere."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from engine.input_files.inspection import InputFileError, Inspector
from engine.input_files.references import may_hold_references, references
from engine.job.local_file import local_path
from engine.job.model_name import provider_of
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
        inline: whether all of them are sent inside the jobs instead of being uploaded.
        inline_files: how many of them are.
    """

    files: int = 0
    bytes: int = 0
    largest: tuple[LocalFile, ...] = ()
    inline: bool = False
    inline_files: int = 0


class Forecaster:
    """Adds up the local files of jobs, block by block.

    Args:
        catalogue: the models whose parameters are known, by name.
        inline: whether files are sent inside the job, by the name of the provider.
    """

    def __init__(self, catalogue: Mapping[str, Model], *, inline: Mapping[str, bool]) -> None:
        self._inspector = Inspector(sys.maxsize)
        self._catalogue = catalogue
        self._inline = inline
        self._is_inline: dict[str, bool] = {}
        self._bytes = 0
        self._largest: list[FileFacts] = []
        self._changed: dict[str, str] = {}

    @property
    def changed(self) -> tuple[str, ...]:
        """A sentence for each file that could be used when its line was read, and cannot be any more."""
        return tuple(self._changed.values())

    def add(self, flights: Iterable[Flight]) -> None:
        """Count the files of these jobs; each was looked at before. Blocks."""
        for flight in flights:
            if not may_hold_references(flight.params):
                continue
            inline = self._inline[provider_of(flight.model)]
            for reference in references(decode_json(flight.params), self._catalogue.get(flight.model)):
                self._add_file(reference.value, inline=inline)

    def _add_file(self, name: str, *, inline: bool) -> None:
        if name in self._changed:
            return
        if name not in self._is_inline:
            path = local_path(name, Path("/"))
            try:
                self._count(self._inspector.facts(path))
            except InputFileError as error:
                self._changed[name] = f"the file {path} was changed while the plan was made: it {error}"
                return
        # What one provider takes inside the job and another has uploaded is uploaded.
        self._is_inline[name] = inline and self._is_inline.get(name, True)

    def _count(self, facts: FileFacts) -> None:
        self._bytes += facts.bytes
        self._largest = sorted([*self._largest, facts], key=lambda known: -known.bytes)[:SHOWN_MAX]

    def forecast(self) -> FileForecast:
        """Return what was added up."""
        largest = (
            LocalFile(path=str(facts.path), bytes=facts.bytes, content_type=facts.content_type)
            for facts in self._largest
        )
        files, inline_files = len(self._is_inline), sum(self._is_inline.values())
        return FileForecast(
            files=files,
            bytes=self._bytes,
            largest=tuple(largest),
            inline=0 < files == inline_files,
            inline_files=inline_files,
        )
