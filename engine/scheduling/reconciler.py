"""Settle submissions of unknown outcome from the provider's own history.

Each lost submission is looked up at growing distances from its intent, because rows of the history lag.
Found, it is adopted under the id the provider gave it. Absent, it proves nothing until the grace is over
*and* the history shows a later submission of ours; then ``recovery.on_unknown`` decides. Nothing is ever
submitted again on a guess, unless the user asked for it. Knows nothing of HTTP, and submits nothing itself.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from engine.job.records import JobError
from engine.ledger.claims import claims, first_intent_after
from engine.ledger.group_commit import RefusedChange
from engine.provider.history import HistoryRow
from engine.provider.verdict import Unavailable
from engine.scheduling.reconciliation import AFTER_INTENT_S, BEFORE_INTENT_S, assign, shows_later

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from structlog.typing import FilteringBoundLogger

    from engine.clock import Clock
    from engine.job.flight import Flight
    from engine.ledger.ledger import Ledger
    from engine.provider.history import History

    Policy = Literal["hold", "resubmit", "fail"]

LOOK_AT_GRACES = (1 / 15, 1 / 3, 1.0, 2.0, 4.0)
"""When to look, in multiples of the grace from the intent on: 1, 5, 15, 30 and 60 min for the default grace."""
FIRST_LOOK_S_MIN = 0.2
RETRY_S = 20.0


@dataclass(slots=True, eq=False)
class Case:
    """One submission of unknown outcome, while it is being settled.

    Attributes:
        flight: the job.
        since_at: when it was taken up here, monotonic seconds.
        due_at: when to look next, monotonic seconds; None once there is nothing more to wait for.
        looks: how many of the planned looks are done.
        absent: whether it was proven that the provider does not have it.
    """

    flight: Flight
    since_at: float
    due_at: float | None
    looks: int = 0
    absent: bool = False


class SubmitOnceMore(Protocol):
    """Takes a job back for another submission; ``proven`` says that the lost one was never accepted."""

    def __call__(self, flight: Flight, *, proven: bool) -> None:
        """Take the job back."""
        ...


class Failed(Protocol):
    """Takes a job whose outcome was decided, with how many copies of it were answered."""

    def __call__(self, flight: Flight, *, copies: int) -> None:
        """Take note of it."""
        ...


@dataclass(frozen=True, slots=True)
class Findings:
    """What the reconciler tells the scheduler: who was found, is submitted again, failed; and that it looked."""

    adopted: Callable[[Flight], None]
    again: SubmitOnceMore
    failed: Failed
    changed: Callable[[], None]


class Reconciler:
    """Works on every unknown outcome of a run.

    Args:
        history: the provider's record; None if it has none, and then nothing can ever be proven.
        policy: ``recovery.on_unknown``.
        grace_s: ``recovery.grace_s``.
        attempts_max: submissions a job may spend.
    """

    def __init__(
        self,
        ledger: Ledger,
        history: History | None,
        *,
        policy: Policy,
        grace_s: float,
        attempts_max: int,
        clock: Clock,
        log: FilteringBoundLogger,
        findings: Findings,
    ) -> None:
        self._ledger = ledger
        self._history = history
        self._policy = policy
        self._grace_s = grace_s if history is not None else 0.0  # waiting helps nobody where nothing can appear
        self._attempts_max = attempts_max
        self._clock = clock
        self._log = log
        self._findings = findings
        self._cases: dict[int, Case] = {}
        self._news = asyncio.Event()
        self._looking = False
        self._release = False
        self.first_pass_done = True

    def __len__(self) -> int:
        return len(self._cases)

    def __repr__(self) -> str:
        return f"<Reconciler: {len(self._cases)} unknown, {sum(case.absent for case in self._cases.values())} absent>"

    # --- from outside -----------------------------------------------------------------------------

    def take_up(self, flights: list[Flight]) -> None:
        """Take up what an earlier process left unknown; its first look comes before any new submission."""
        self.first_pass_done = not flights
        for flight in flights:
            self._cases[flight.job] = Case(flight, self._clock.now(), due_at=self._clock.now())
        self._news.set()

    def add(self, flight: Flight) -> None:
        """Take up one more case; its row needs a while to appear."""
        now = self._clock.now()
        self._cases[flight.job] = Case(flight, now, due_at=now + LOOK_AT_GRACES[0] * self._grace_s)
        self._news.set()

    @property
    def waits(self) -> bool:
        """Whether a case may still be settled by waiting."""
        return self._looking or self._release or any(case.due_at is not None for case in self._cases.values())

    @property
    def looks_in_s(self) -> tuple[float, float] | None:
        """In how many seconds the next look is planned and, if nothing is found by then, the last; None without any."""
        now = self._clock.now()
        planned = [(case.due_at, case) for case in self._cases.values() if case.due_at is not None]
        if not planned:
            return None
        last_at = max(max(due_at, self._last_look_at(case)) for due_at, case in planned)
        return max(0.0, min(due_at for due_at, _ in planned) - now), max(0.0, last_at - now)

    def _last_look_at(self, case: Case) -> float:
        return case.flight.intended_at + LOOK_AT_GRACES[-1] * self._grace_s

    def recent(self, typical_s: Callable[[str], float]) -> int:
        """Return how many lost submissions may be running at the provider now, by the typical time of their model."""
        return sum(self._age_s(case) < typical_s(case.flight.model) for case in self._cases.values())

    def find(self, job: int) -> Flight | None:
        """Return the flight of a job whose submission has an unknown outcome; None if it is not among them."""
        case = self._cases.get(job)
        return None if case is None else case.flight

    def ask_release(self) -> None:
        """Ask, at the end of a batch, that what was proven absent is submitted again."""
        self._release = True
        self._news.set()

    async def _release_absent(self) -> None:
        """Look once more at every case, and submit again what is absent still; then the others get one more look."""
        self._release = False
        for case in self._cases.values():
            case.due_at, case.absent = self._clock.now(), False
        await self._look()
        absent = [case for case in self._cases.values() if case.absent]
        for case in absent:
            await self._submit_again(case, "absent from the history, which shows later submissions")
        for case in self._cases.values():
            # What is submitted again now is the later submission that the others were waiting for.
            case.due_at = self._clock.now() + max(FIRST_LOOK_S_MIN, self._grace_s) if absent else None

    # --- looking ----------------------------------------------------------------------------------

    async def run(self) -> None:
        """Look when it is time, until cancelled."""
        while True:
            if self._release:
                await self._looking_at(self._release_absent())
            due_at = min((case.due_at for case in self._cases.values() if case.due_at is not None), default=None)
            if due_at is None or not await self._sleep_until(due_at):
                if due_at is None:
                    await self._news.wait()
                self._news.clear()
                continue
            await self._looking_at(self._look())

    async def _looking_at(self, look: Coroutine[None, None, None]) -> None:
        self._looking = True
        try:
            await look
        finally:
            self._looking = False
            self.first_pass_done = True
        self._findings.changed()

    async def _sleep_until(self, moment: float) -> bool:
        """Sleep; returns False if news came first."""
        wait_s = moment - self._clock.now()
        if wait_s <= 0:
            return True
        sleep = asyncio.ensure_future(self._clock.sleep(wait_s))
        news = asyncio.ensure_future(self._news.wait())
        try:
            await asyncio.wait({sleep, news}, return_when=asyncio.FIRST_COMPLETED)
            return sleep.done()
        finally:
            sleep.cancel()
            news.cancel()

    async def _look(self) -> None:
        """Look at every case that is due, then decide what its absence means by now."""
        now = self._clock.now()
        due = [case for case in self._cases.values() if case.due_at is not None and case.due_at <= now]
        named = [case for case in due if case.flight.request_id]
        while named and await self._look_by_id(named[0]):
            named.pop(0)
        for case in named[1:]:  # the history is away: it would be asked once for each in vain
            self._looked(case, answered=False)
        for group in _windows([case for case in due if not case.flight.request_id]):
            await self._look_by_body(group)

    async def _look_by_id(self, case: Case) -> bool:
        """Look up a request whose id is known, but whose status the provider no longer tells.

        Returns whether the history answered.
        """
        row = None if self._history is None else await self._history.row(case.flight.request_id)
        if isinstance(row, HistoryRow) and row.state != "running":
            # The scheduler asks about it in the ordinary way; a record that is gone leads back to this row.
            await self._adopt(case, row)
            return True
        answered = not isinstance(row, Unavailable)
        self._log.info("not_settled", id=case.flight.id, request_id=case.flight.request_id)
        if self._policy == "fail" and self._grace_is_over(case):
            await self._give_up(case)
        else:  # it was accepted, so it is never submitted again
            self._looked(case, answered=answered)
        return answered

    async def _look_by_body(self, group: list[Case]) -> None:
        """Look for submissions whose id was never learned, in the window around their intents."""
        rows = await self._rows_around(group)
        if isinstance(rows, Unavailable):
            self._log.warning("history_unavailable", reason=rows.reason, unknown=len(group))
            for case in group:
                await self._conclude(case, looked=False, proven=False)
            return
        ours, claimants = await self._ledger.read(claims, group[0].flight.model, [row.request_id for row in rows])
        for flight, row in assign(claimants, rows, owned=ours):
            found = self._cases.get(flight.job)
            if found is not None:
                await self._adopt(found, row)
        for case in group:
            if case.flight.job in self._cases:
                proven = self._grace_is_over(case) and await self._has_caught_up(case, rows, ours)
                await self._conclude(case, looked=True, proven=proven)

    async def _rows_around(self, group: list[Case]) -> list[HistoryRow] | Unavailable:
        if self._history is None:
            return Unavailable("this provider has no history")
        intents = [case.flight.intent_utc for case in group]
        return await self._history.rows(
            group[0].flight.model, since_utc=min(intents) - BEFORE_INTENT_S, until_utc=max(intents) + AFTER_INTENT_S
        )

    async def _has_caught_up(self, case: Case, rows: list[HistoryRow], ours: dict[str, Flight]) -> bool:
        """Whether the history shows a submission of ours that was intended later than the lost one."""
        flight = case.flight
        if shows_later(rows, ours, than_utc=flight.intent_utc):
            return True
        later_utc = await self._ledger.read(first_intent_after, flight.model, flight.intent_utc)
        if later_utc is None or self._history is None:
            return False
        around = await self._history.rows(
            flight.model, since_utc=later_utc - BEFORE_INTENT_S, until_utc=later_utc + AFTER_INTENT_S
        )
        if isinstance(around, Unavailable):
            return False
        owners, _ = await self._ledger.read(claims, flight.model, [row.request_id for row in around])
        return shows_later(around, owners, than_utc=flight.intent_utc)

    # --- concluding -------------------------------------------------------------------------------

    async def _adopt(self, case: Case, row: HistoryRow) -> None:
        flight = case.flight
        # One that was accepted before knows when; taken up by a later process, it may know nothing else.
        accepted_utc = flight.submitted_utc if flight.request_id else 0.0
        submitted_utc = row.created_utc or accepted_utc or flight.intent_utc
        try:
            await self._ledger.accepted(flight.job, flight.attempts, row.request_id, utc=submitted_utc)
        except RefusedChange:
            # Its row was claimed while we looked: the reply of an equal job came after all.
            self._looked(case, answered=False)
            return
        if not accepted_utc:
            flight.submitted_at = flight.intended_at
        flight.request_id, flight.submitted_utc = row.request_id, submitted_utc
        flight.error, flight.failures = None, 0
        del self._cases[flight.job]
        self._log.info("adopted", id=flight.id, request_id=row.request_id)
        self._findings.adopted(flight)

    async def _conclude(self, case: Case, *, looked: bool, proven: bool) -> None:
        """Decide what it means that a look did not find a submission."""
        case.absent = case.absent or proven
        if self._grace_is_over(case) and self._policy == "resubmit":
            await self._submit_again(case, "recovery.on_unknown is resubmit")
        elif self._grace_is_over(case) and self._policy == "fail":
            await self._give_up(case)
        elif case.absent:
            case.due_at = None
            self._log.info("absent", id=case.flight.id)
        else:
            self._looked(case, answered=looked)

    async def _submit_again(self, case: Case, why: str) -> None:
        """Let the scheduler submit a job once more, if it has an attempt left."""
        flight = case.flight
        if not flight.has_attempt_left(self._attempts_max):
            message = f"{flight.attempts} submissions got no answer; the last was {why}"
            await self._fail(case, JobError(kind="not_accepted", message=message, retryable=True, paid=not case.absent))
            return
        await self._ledger.released(flight.job, proven=case.absent)
        self._log.warning("submitted_again", id=flight.id, reason=why)
        flight.error, flight.request_id = None, ""
        del self._cases[flight.job]  # only now: until it is somewhere else, it keeps the run from ending
        self._findings.again(flight, proven=case.absent)

    async def _give_up(self, case: Case) -> None:
        message = "the provider may have accepted it and may charge for it; recovery.on_unknown is fail"
        await self._fail(case, JobError(kind="unknown_outcome", message=message, paid=True))

    async def _fail(self, case: Case, error: JobError) -> None:
        flight = case.flight
        flight.error = error
        copies = await self._ledger.failed(flight.job, flight.attempts, error)
        del self._cases[flight.job]
        self._findings.failed(flight, copies=copies)

    # --- when to look -----------------------------------------------------------------------------

    def _age_s(self, case: Case) -> float:
        return self._clock.now() - case.flight.intended_at

    def _grace_is_over(self, case: Case) -> bool:
        return self._age_s(case) >= self._grace_s

    def _looked(self, case: Case, *, answered: bool) -> None:
        """Plan the next look: the next of the list after an answer, the same again after none."""
        if answered:
            self._plan_next_look(case)
        elif self._clock.now() - case.since_at > self._grace_s * LOOK_AT_GRACES[-1]:
            case.due_at = None
        else:
            case.due_at = self._clock.now() + min(RETRY_S, max(FIRST_LOOK_S_MIN, self._grace_s / 15))

    def _plan_next_look(self, case: Case) -> None:
        """Plan the next look of the list; those whose time has passed are one look, made at once."""
        age_s = self._age_s(case)
        planned = [share * self._grace_s for share in LOOK_AT_GRACES]
        while case.looks < len(planned) and planned[case.looks] <= age_s:
            case.looks += 1
        if case.looks == len(planned):
            case.due_at = None
            return
        wait_s = planned[case.looks] - age_s
        case.due_at = self._clock.now() + max(wait_s, FIRST_LOOK_S_MIN)
        case.looks += 1


def _windows(cases: list[Case]) -> list[list[Case]]:
    """Group cases of one model whose windows overlap, so that one scan of the history serves them all."""
    groups: list[list[Case]] = []
    for case in sorted(cases, key=lambda case: (case.flight.model, case.flight.intent_utc)):
        last = groups[-1][-1].flight if groups else None
        near = last is not None and case.flight.intent_utc - last.intent_utc <= BEFORE_INTENT_S + AFTER_INTENT_S
        if near and last is not None and last.model == case.flight.model:
            groups[-1].append(case)
        else:
            groups.append([case])
    return groups
