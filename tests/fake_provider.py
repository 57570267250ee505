"""A provider in memory, on whatever clock it is given: it accepts, works, completes, and fails as it is told.

Verdicts can be scripted (the next ones, in order) or drawn; whatever is not said otherwise goes well. Every
request is kept with its time, so that a test can ask what was sent, when, and how often for which job.
"""

from __future__ import annotations

import asyncio
import hashlib
import heapq
import math
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from engine.job.records import StoredFile
from engine.provider.verdict import Accepted, Cancelled, Completed, Failed, Metrics, NotFound, NotReady, Result, Working

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from engine.clock import Clock
    from engine.media.downloader import DownloadTask
    from engine.provider.protocol import Request
    from engine.provider.verdict import CancelVerdict, FetchVerdict, PollVerdict, SubmitVerdict

    Draw = Callable[[random.Random], Any]

COST_USD = 4.475


@dataclass(slots=True)
class _Request:
    params: dict[str, Any]
    done_at: float
    forgotten_at: float
    fails: bool


@dataclass
class FakeProvider:
    """Implements ``engine.provider.protocol.Provider``.

    Attributes:
        duration_s: the median time of a generation.
        spread: the standard deviation of its logarithm.
        latency_s: how long every answer takes.
        submit_script, poll_script, fetch_script: the next verdicts; an exception is raised.
        draw_submit, draw_poll, draw_fetch: an unscripted verdict, or None for the usual one.
        duration_of: how long the generation of the nth accepted submission takes, instead of a draw.
        fails: whether the nth one fails.
        workers: how many generations run at once; the others queue.
        record_life_s: how long after its submission a request is known.
        cancellable: whether requests can be cancelled, by which they are forgotten.
        cancel_script: the next verdicts on cancellations.
        trace: everything that was asked: (when, what, of whom).
    """

    clock: Clock
    rng: random.Random
    duration_s: float = 713.0
    spread: float = 0.15
    latency_s: float = 0.05
    submit_script: deque[Any] = field(default_factory=deque)
    poll_script: deque[Any] = field(default_factory=deque)
    fetch_script: deque[Any] = field(default_factory=deque)
    draw_submit: Draw | None = None
    draw_poll: Draw | None = None
    draw_fetch: Draw | None = None
    trace: list[tuple[float, str, str]] = field(default_factory=list)
    duration_of: Callable[[int], float] | None = None
    fails: Callable[[int], bool] = lambda _: False
    workers: int | None = None
    record_life_s: float = math.inf
    cancellable: bool = False
    cancel_script: deque[Any] = field(default_factory=deque)
    running: int = 0
    running_peak: int = 0

    def __post_init__(self) -> None:
        self._requests: dict[str, _Request] = {}
        self._free_at: list[float] = []
        self.accepted: Counter[str] = Counter()

    async def submit(self, model: str, params: dict[str, Any]) -> SubmitVerdict:
        self._note("submit", str(params.get("prompt", "")))
        verdict = await self._answer(self.submit_script, self.draw_submit)
        if verdict is not None:
            return self._known(verdict)
        request_id = f"{len(self._requests):032x}"
        self._begin(request_id, params)
        return Accepted(request_id)

    async def poll(self, request: Request) -> PollVerdict:
        request_id = request.id
        self._note("poll", request_id)
        verdict = await self._answer(self.poll_script, self.draw_poll)
        if verdict is not None:
            found: PollVerdict = verdict
            return found
        known = self._known_request(request_id)
        if known is None:
            return NotFound("no such request")
        if self.clock.now() < known.done_at:
            return Working("PROCESSING")
        return Failed("face not found", 422, Metrics()) if known.fails else Completed(Metrics())

    async def fetch(self, request: Request) -> FetchVerdict:
        request_id = request.id
        self._note("fetch", request_id)
        verdict = await self._answer(self.fetch_script, self.draw_fetch)
        if verdict is not None:
            found: FetchVerdict = verdict
            return found
        known = self._known_request(request_id)
        if known is None:
            return NotFound("no such request")
        if self.clock.now() < known.done_at:
            return NotReady("still PROCESSING")
        url = f"https://images.example.com/{request_id}.mp4"
        return Result({"output": url}, (url,), 4, "video/mp4", Metrics(cost_usd=COST_USD))

    def can_cancel(self, model: str) -> bool:
        return self.cancellable

    async def cancel(self, request: Request, *, seen: str) -> CancelVerdict:
        self._note("cancel", request.id)
        verdict = await self._answer(self.cancel_script, None)
        if verdict is not None:
            found: CancelVerdict = verdict
            return found
        if self._known_request(request.id) is None:
            return NotFound("no such request")
        self.forget(request.id)
        return Cancelled(paid=False)

    def forget(self, request_id: str) -> None:
        """Lose the record of a request."""
        self._requests[request_id].forgotten_at = self.clock.now()

    async def credits_usd(self) -> float:
        return 1_000_000.0

    def count(self, what: str) -> int:
        return sum(1 for _, asked, _ in self.trace if asked == what)

    def times(self, what: str) -> list[float]:
        return [moment for moment, asked, _ in self.trace if asked == what]

    def _note(self, what: str, whom: str) -> None:
        self.trace.append((round(self.clock.now(), 6), what, whom))

    async def _answer(self, script: deque[Any], draw: Draw | None) -> Any:
        await self.clock.sleep(self.latency_s)
        verdict = script.popleft() if script else draw(self.rng) if draw else None
        if isinstance(verdict, Exception):
            raise verdict
        return verdict

    def _known(self, verdict: SubmitVerdict) -> SubmitVerdict:
        if isinstance(verdict, Accepted):
            self._begin(verdict.request_id, {})
        return verdict

    def _begin(self, request_id: str, params: dict[str, Any]) -> None:
        number, now = len(self._requests), self.clock.now()
        if self.duration_of is None:
            duration_s = self.duration_s * self.rng.lognormvariate(0.0, self.spread)
        else:
            duration_s = self.duration_of(number)
        done_at = now + duration_s
        if self.workers:
            if not self._free_at:
                self._free_at = [0.0] * self.workers
            done_at = max(now, heapq.heappop(self._free_at)) + duration_s
            heapq.heappush(self._free_at, done_at)
        self._requests[request_id] = _Request(params, done_at, now + self.record_life_s, self.fails(number))
        self.accepted[str(params.get("prompt", ""))] += 1
        self.running += 1
        self.running_peak = max(self.running_peak, self.running)
        asyncio.get_running_loop().call_at(done_at, self._ended)

    def _known_request(self, request_id: str) -> _Request | None:
        request = self._requests.get(request_id)
        return None if request is None or self.clock.now() >= request.forgotten_at else request

    def _ended(self) -> None:
        self.running -= 1


@dataclass
class FakeFetcher:
    """Implements ``engine.media.fetcher.Fetcher`` without a network or a disk."""

    clock: Clock
    seconds: float = 1.0
    script: deque[Any] = field(default_factory=deque)
    tasks: list[DownloadTask] = field(default_factory=list)

    async def fetch(self, task: DownloadTask) -> StoredFile:
        self.tasks.append(task)
        await self.clock.sleep(self.seconds)
        if self.script and isinstance(self.script[0], Exception):
            raise self.script.popleft()
        return StoredFile(
            path=f"media/{task.name}.mp4",
            url=task.url,
            bytes=4,
            sha256=hashlib.sha256(b"film").hexdigest(),
            content_type="video/mp4",
            checks=("length",),
        )
