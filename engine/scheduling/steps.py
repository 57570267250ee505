"""What one step of a job's life came to: the values that ``life`` returns and the scheduler acts upon."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from engine.scheduling.stop import Stop


@dataclass(frozen=True, slots=True)
class Submitted:
    """The provider has the job; ask about it in time."""


@dataclass(frozen=True, slots=True)
class SubmitAgain:
    """The provider certainly does not have the job; submit it again after ``delay_s``."""

    delay_s: float


@dataclass(frozen=True, slots=True)
class StillWorking:
    """Not finished; ask again when the schedule says.

    ``queued`` says that it has not even begun; ``word`` is the provider's own for its status.
    """

    queued: bool = False
    word: str = ""


@dataclass(frozen=True, slots=True)
class AskAgain:
    """No usable answer; the same question again after ``delay_s``."""

    delay_s: float


@dataclass(frozen=True, slots=True)
class Finished:
    """Completed; its result is to be fetched. ``claimed_s`` is how long it took by the provider's word, if given."""

    claimed_s: float | None


@dataclass(frozen=True, slots=True)
class Fetched:
    """The result is recorded; its files are to be downloaded.

    Attributes:
        cost_usd: what it cost, if the provider said.
        lag_s: how late we learned of its completion; None where nothing tells it.
        end: what the very same answer told of its end, where a result comes with the status or as the reply to the
            submission.
    """

    cost_usd: float | None
    lag_s: float | None
    end: Finished | None = None


@dataclass(frozen=True, slots=True)
class AskWhere:
    """The files are not where they were said to be; the provider is to be asked where they are now."""


@dataclass(frozen=True, slots=True)
class Located:
    """The provider answered where the files are, or that it does not know; download again after ``delay_s``."""

    delay_s: float


@dataclass(frozen=True, slots=True)
class LeftReady:
    """The files cannot be had for now. The result is recorded, and the next process tries again."""

    reason: str


@dataclass(frozen=True, slots=True)
class AtRest:
    """The outcome is decided and recorded; its line is owed.

    ``stored_bytes`` were downloaded; ``copies`` are equal jobs that were answered with it.
    """

    succeeded: bool
    stored_bytes: int = 0
    copies: int = 0


@dataclass(frozen=True, slots=True)
class SetAside:
    """UNKNOWN or HELD, with the reason recorded; the others go on."""


@dataclass(frozen=True, slots=True)
class SlowDown:
    """The server asks the whole lane to wait."""

    wait_s: float


@dataclass(frozen=True, slots=True)
class Unreachable:
    """The request did not reach the provider; nobody else's would."""

    reason: str


@dataclass(frozen=True, slots=True)
class OutOfCredit:
    """The account cannot pay; submissions are parked, nothing fails."""

    message: str


@dataclass(frozen=True, slots=True)
class StopRun:
    """The whole run has to wind down."""

    stop: Stop


@dataclass(frozen=True, slots=True)
class CancelUnderWay:
    """The provider was asked to cancel; its status tells what becomes of that."""


@dataclass(frozen=True, slots=True)
class NotCancelled:
    """The provider does not cancel it; it goes on as if nobody had asked."""

    reason: str


SubmitStep: TypeAlias = (
    Submitted | Fetched | SubmitAgain | AtRest | SetAside | SlowDown | Unreachable | OutOfCredit | StopRun
)
PollStep: TypeAlias = (
    StillWorking | AskAgain | Finished | Fetched | AtRest | SetAside | SlowDown | Unreachable | StopRun
)
FetchStep: TypeAlias = AskAgain | Fetched | AtRest | SetAside | SlowDown | Unreachable | StopRun
DownloadStep: TypeAlias = AskAgain | AskWhere | AtRest | LeftReady | SetAside | StopRun
LocateStep: TypeAlias = AskAgain | Located | SetAside | SlowDown | Unreachable | StopRun
CancelStep: TypeAlias = AtRest | CancelUnderWay | NotCancelled | AskAgain | SetAside | SlowDown | Unreachable | StopRun
NoAnswer: TypeAlias = AskAgain | SlowDown | Unreachable | StopRun
"""What any reading request may come to besides an answer about what was asked."""
