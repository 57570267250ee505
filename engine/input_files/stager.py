"""Give the local files of a job addresses that the provider can read, just before the job is submitted.

A file is uploaded once per content: what was uploaded is in the ledger, and jobs that need the same content at the
same time wait for one upload. Where a provider takes files inside the job itself, they are put there.
Knows nothing of when a job is submitted.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeAlias

from engine.input_files.inspection import InputFileError
from engine.input_files.references import may_hold_references, references, replaced
from engine.job.local_file import local_path
from engine.job.records import decode_json, encode_json
from engine.ledger.uploads import Upload, last_upload, note_upload
from engine.provider.verdict import Uploaded, UploadRefused

if TYPE_CHECKING:
    from collections.abc import Mapping

    from engine.clock import Clock
    from engine.input_files.inspection import FileContent, Inspector
    from engine.input_files.references import Reference
    from engine.job.flight import Flight
    from engine.job.model import Model
    from engine.ledger.ledger import Ledger
    from engine.provider.verdict import UploadFailure, UploadVerdict

AHEAD_CONCURRENCY = 4
"""Uploads made ahead of the submissions that need them; each holds its file in memory."""


class Uploader(Protocol):
    """A place where files get an address."""

    async def upload(self, data_uri: str) -> UploadVerdict:
        """Upload one file, given as a data URI."""
        ...


@dataclass(frozen=True, slots=True)
class Staged:
    """What is to be sent as a job's parameters.

    Attributes:
        params: their JSON.
        remembered: whether the ledger has to keep them, because they are not what the job line says.
    """

    params: bytes
    remembered: bool


Staging: TypeAlias = "Staged | UploadFailure"


class Stager:
    """Stages jobs.

    Args:
        inspector: looks at files; None if the provider takes none, and then no job has any.
        uploader: None if files are sent inside the job.
        catalogue: the models whose parameters are known, by name.
        provider: its name, under which uploads are remembered.
        life_s: how long an uploaded file can be relied on.
    """

    def __init__(
        self,
        inspector: Inspector | None,
        uploader: Uploader | None,
        ledger: Ledger,
        *,
        catalogue: Mapping[str, Model],
        provider: str,
        life_s: float,
        clock: Clock,
    ) -> None:
        self._inspector = inspector
        self._uploader = uploader
        self._ledger = ledger
        self._catalogue = catalogue
        self._provider = provider
        self._life_s = life_s
        self._clock = clock
        self._ahead: asyncio.Queue[Flight] = asyncio.Queue()
        self._uploading: dict[bytes, asyncio.Future[UploadVerdict | None]] = {}

    async def stage(self, flight: Flight) -> Staging:
        """Return what to send for a job, or why that cannot be had now."""
        if self._inspector is None or not may_hold_references(flight.params):
            return Staged(flight.params, remembered=False)
        params, model = decode_json(flight.params), self._catalogue.get(flight.model)
        addresses: dict[str, str] = {}
        for reference in references(params, model):
            if reference.value not in addresses:
                found = await self._address(reference, self._inspector)
                if not isinstance(found, Uploaded):
                    return found
                addresses[reference.value] = found.url
        staged = replaced(params, model, lambda reference: addresses[reference.value])
        return Staged(encode_json(staged), remembered=bool(addresses) and self._uploader is not None)

    # --- ahead of time ----------------------------------------------------------------------------

    def expect(self, flight: Flight) -> None:
        """Take note that a job waits for its turn: its files can be uploaded meanwhile."""
        if self._uploader is not None and may_hold_references(flight.params):
            self._ahead.put_nowait(flight)

    async def run(self) -> None:
        """Upload ahead, until cancelled; what fails here is met again when the job's turn has come."""
        while True:
            flight = await self._ahead.get()
            if not flight.intent_utc:
                with contextlib.suppress(Exception):
                    await self.stage(flight)

    # --- one file ---------------------------------------------------------------------------------

    async def _address(self, reference: Reference, inspector: Inspector) -> UploadVerdict:
        path = local_path(reference.value, Path("/"))
        accepts = reference.parameter.accepts
        try:
            if self._uploader is None:
                return Uploaded(await asyncio.to_thread(lambda: inspector.content(path, accepts).data_uri()))
            digest = await asyncio.to_thread(inspector.sha256, path)
            return await self._uploaded(digest) or await self._upload_once(digest, path, accepts)
        except InputFileError as error:
            return UploadRefused(f"{reference.place}: the file {path} {error}")

    async def _uploaded(self, digest: bytes) -> Uploaded | None:
        found = await self._ledger.read(last_upload, self._provider, digest)
        if found is None or self._clock.utc() - found.utc > self._life_s:
            return None
        return Uploaded(found.url)

    async def _upload_once(self, digest: bytes, path: Path, accepts: tuple[str, ...]) -> UploadVerdict:
        """Upload a file, unless somebody does so already: then wait for what comes of that."""
        assert self._inspector is not None
        while (under_way := self._uploading.get(digest)) is not None:
            if (found := await asyncio.shield(under_way)) is not None:
                return found
        self._uploading[digest] = outcome = asyncio.get_running_loop().create_future()
        try:
            file = await asyncio.to_thread(self._inspector.content, path, accepts)
            verdict = await self._upload(file)
            outcome.set_result(verdict)
        finally:
            del self._uploading[digest]
            if not outcome.done():
                outcome.set_result(None)  # it broke: whoever waits tries for himself
        return verdict

    async def _upload(self, file: FileContent) -> UploadVerdict:
        assert self._uploader is not None
        verdict = await self._uploader.upload(await asyncio.to_thread(file.data_uri))
        if isinstance(verdict, Uploaded):
            # By what was read just now: the file may have changed since its digest was taken.
            digest = hashlib.sha256(file.content).digest()
            upload = Upload(verdict.url, self._clock.utc())
            await self._ledger.change(note_upload, self._provider, digest, upload)
        return verdict
