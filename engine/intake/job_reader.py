"""Read job lines into the ledger, durably and in blocks, while the run is already working.

The ledger remembers how many bytes it took in and what they hash to. A second run on the same input reads
that far to see that it *is* the same, and goes on behind it: a run killed in the middle of its input loses
nothing and takes nothing in twice. Memory holds one block, however long the input is.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol

from engine.errors import UsageError
from engine.job.job import body_sha256
from engine.job.job_line import JobLine, LineError, parse_job_line
from engine.job.line_splitter import LINE_BYTES_MAX, LineSplitter, Oversized
from engine.job.records import JobError, encode_json
from engine.ledger.new_lines import InputRow, SpoolMark, add_lines

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence

    from engine.intake.source import InputSource
    from engine.job.line_splitter import NumberedLine
    from engine.job.model import Model
    from engine.ledger.ledger import Ledger
    from engine.ledger.new_lines import Spooled

NOTHING_READ = SpoolMark(0, hashlib.sha256().hexdigest(), 0, ends_in_newline=True, complete=False)
WARNINGS_KEPT_MAX = 100
WARNINGS_TOLD_MAX = 20
"""So many different warnings are told while the input is read; all that are kept are counted at the end."""


class LocalFiles(Protocol):
    """What takes in the local files that lines name."""

    def take(self, params: dict[str, Any], model_name: str) -> tuple[dict[str, Any], list[str]]:
        """Return params with every local file named in full, and a sentence for each that cannot be used."""
        ...


class JobReader:
    """Spools one input into the ledger.

    Args:
        catalogue: the models whose parameters are known; lines are held to them before anything is paid.
        default_model: the model of lines that name none.
        providers: the names of the run's further providers.
        accept_appended: whether lines may have been appended since the input was read to its end.
        dedupe: whether equal bodies are to be submitted once.
        files: looks at the local files that lines name; None if they are nobody's business here.
        on_spooled: called after each block with what it held.
        on_warning: called with what is odd about valid lines, each sentence once, before any job of its block can run.
    """

    def __init__(
        self,
        ledger: Ledger,
        source: InputSource,
        *,
        catalogue: Mapping[str, Model],
        default_model: str | None,
        providers: Collection[str] = (),
        accept_appended: bool,
        dedupe: bool,
        files: LocalFiles | None,
        on_spooled: Callable[[Spooled], None],
        on_warning: Callable[[str], None] = lambda _text: None,
    ) -> None:
        self._ledger = ledger
        self._source = source
        self._catalogue = catalogue
        self._default_model = default_model
        self._providers = providers
        self._accept_appended = accept_appended
        self._dedupe = dedupe
        self._files = files
        self._on_spooled = on_spooled
        self._on_warning = on_warning
        self._mark = NOTHING_READ
        self._hash = hashlib.sha256()
        self._read_bytes = 0
        self._splitter = LineSplitter()
        self._blocks = source.blocks()
        self._beginning = b""
        self._nothing_new = False
        self.warnings: Counter[str] = Counter()
        self.first_lines: dict[str, int] = {}

    async def begin(self) -> None:
        """Read what the ledger already has of this input, and see that it is the same.

        Raises:
            UsageError: the source is not what this run has begun with, or cannot be read.
        """
        self._mark = spool_mark(await self._ledger.facts())
        self._splitter = LineSplitter(lines_before=self._mark.lines)
        if self._source.continues:
            self._read_bytes = self._mark.bytes
            self._hash = hashlib.sha256(self._mark.sha256.encode())  # what was read before stands in it by its digest
            return
        self._beginning = await self._skip_known(self._blocks)
        if self._mark.complete:
            appended = self._beginning or await anext(self._blocks, b"")
            self._beginning = self._without_joint(appended) if appended else b""
            self._nothing_new = not appended

    async def run(self) -> None:
        """Spool what is new to the end of the source; ``begin`` must have been awaited.

        Raises:
            UsageError: the source cannot be read.
        """
        if self._nothing_new:
            return
        if self._beginning:
            await self._take(self._beginning)
        async for block in self._blocks:
            await self._take(block)
        await self._finish()

    async def _skip_known(self, blocks: AsyncIterator[bytes]) -> bytes:
        """Read what the ledger already has, see that it is the same, and return what came behind it."""
        beyond = b""
        while self._read_bytes < self._mark.bytes:
            block = await anext(blocks, b"")
            if not block:
                raise self._changed(f"it has {self._read_bytes} bytes, but {self._mark.bytes} were read before")
            missing_bytes = self._mark.bytes - self._read_bytes
            known, beyond = block[:missing_bytes], block[missing_bytes:]
            self._hash.update(known)
            self._read_bytes += len(known)
        if self._hash.hexdigest() != self._mark.sha256:
            raise self._changed("lines that were read before are different now")
        return beyond

    def _without_joint(self, appended: bytes) -> bytes:
        """Allow lines behind the former end if that was asked for; the last line must have stayed as it was."""
        if not self._accept_appended:
            raise self._changed("lines were appended", hint="add --append to take the new lines in")
        if self._mark.ends_in_newline:
            return appended
        joint, newline, new = appended.partition(b"\n")
        if joint not in {b"", b"\r"} or not newline:
            raise self._changed("its last line was continued")
        self._hash.update(joint + newline)
        self._read_bytes += len(joint + newline)
        return new

    async def _take(self, block: bytes) -> None:
        """Take the lines that a block completes into the ledger, with the mark behind the last of them."""
        lines = self._splitter.feed(block)
        end = block.rfind(b"\n") + 1
        self._hash.update(block[:end])
        if end:
            mark = SpoolMark(
                self._read_bytes + end,
                self._hash.hexdigest(),
                self._mark.lines + len(lines),
                ends_in_newline=True,
                complete=False,
            )
            await self._spool(lines, mark)
        self._hash.update(block[end:])
        self._read_bytes += len(block)

    async def _finish(self) -> None:
        """Take a last line without a newline in, and mark the input as read to its end."""
        last = self._splitter.finish()
        mark = SpoolMark(
            self._read_bytes,
            self._hash.hexdigest(),
            self._mark.lines + len(last),
            ends_in_newline=not last,
            complete=True,
        )
        await self._spool(last, mark)

    async def _spool(self, lines: Sequence[NumberedLine], mark: SpoolMark) -> None:
        known = len(self.first_lines)
        rows = await asyncio.to_thread(self._rows, lines)
        self._tell_warnings(after=known)
        spooled = await self._ledger.change(add_lines, rows, mark, dedupe=self._dedupe)
        self._mark = mark
        self._on_spooled(spooled)

    def _rows(self, lines: Sequence[NumberedLine]) -> list[InputRow]:
        rows = (self._row(number, text) for number, text in lines)
        return [row for row in rows if row is not None]

    def _row(self, number: int, text: bytes | Oversized) -> InputRow | None:
        """Return what the ledger keeps of one line; None for a blank one."""
        if isinstance(text, Oversized):
            message = f"the line has {text.length_bytes} bytes; at most {LINE_BYTES_MAX} are allowed"
            return _invalid(number, LineError("bad_line", message))
        parsed = parse_job_line(
            text,
            catalogue=self._catalogue,
            default_model=self._default_model,
            providers=self._providers,
            first=number == 1,
        )
        if parsed is None:
            return None
        if isinstance(parsed, LineError):
            return _invalid(number, parsed)
        job = parsed.job
        params, problems = (job.params, []) if self._files is None else self._files.take(job.params, job.model)
        if problems:
            given_id = job.id if job.id_given else None
            return _invalid(number, LineError("bad_params", "; ".join(problems), given_id, job.model, job.metadata))
        self._note_warnings(number, parsed)
        return InputRow(
            line=number,
            id=job.id,
            id_given=job.id_given,
            model=job.model,
            params=encode_json(params),
            metadata=None if job.metadata is None else encode_json(job.metadata),
            body_sha256=body_sha256(job.model, job.params),
            error=None,
        )

    def _note_warnings(self, number: int, parsed: JobLine) -> None:
        for warning in parsed.warnings:
            if warning in self.warnings or len(self.warnings) < WARNINGS_KEPT_MAX:
                self.warnings[warning] += 1
                self.first_lines.setdefault(warning, number)

    def _tell_warnings(self, *, after: int) -> None:
        """Tell the warnings that are new since there were ``after``."""
        for text, number in islice(self.first_lines.items(), after, WARNINGS_TOLD_MAX):
            self._on_warning(f"line {number}: {text}")

    def _changed(self, how: str, *, hint: str = "") -> UsageError:
        return UsageError(
            f"the input {self._source.name} is not what this run has begun with: {how}",
            hint=hint or "continue with what was read by 'engine resume RUN_DIR', or begin another run with --run-dir",
        )


def spool_mark(facts: Mapping[str, object]) -> SpoolMark:
    """Return how far the ledger's facts say that the input was read."""
    if "input_bytes" not in facts:
        return NOTHING_READ
    values: list[Any] = [facts[f"input_{name}"] for name in SpoolMark._fields]
    mark = SpoolMark(*values)
    return mark._replace(ends_in_newline=bool(mark.ends_in_newline), complete=bool(mark.complete))


def _invalid(number: int, error: LineError) -> InputRow:
    return InputRow(
        line=number,
        id=error.id,
        id_given=error.id is not None,
        model=error.model,
        params=None,
        metadata=None if error.metadata is None else encode_json(error.metadata),
        body_sha256=None,
        error=JobError(kind=error.kind, message=error.message),
    )
