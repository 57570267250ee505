"""What a request to a provider came to, as values: the verdicts on submissions, polls, fetches, uploads, cancellations.

A verdict says what happened in the engine's words; it carries no HTTP beyond the status that is shown to people.
Whoever implements ``Provider`` translates, once, at this border.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

    from engine.job.records import JobError


@dataclass(frozen=True, slots=True)
class Metrics:
    """What the provider measured of one request; None where it said nothing usable.

    Attributes:
        cost_usd: what was charged.
        inference_s: how long the generation ran.
        queue_s: how long it waited before.
        credits_usd: what the account holds afterwards.
    """

    cost_usd: float | None = None
    inference_s: float | None = None
    queue_s: float | None = None
    credits_usd: float | None = None


# --- verdicts that any request may get ------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Throttled:
    """Too many requests (429). ``wait_s`` is the server's word, already clamped; None if it gave none."""

    wait_s: float | None


@dataclass(frozen=True, slots=True)
class Unauthorized:
    """The key is missing, wrong or expired: the run stops with all state kept."""

    message: str


@dataclass(frozen=True, slots=True)
class WrongContract:
    """The answer says that we speak to the wrong place or in the wrong way: the run stops."""

    message: str
    http_status: int | None = None


@dataclass(frozen=True, slots=True)
class Unavailable:
    """A reading request got no usable answer; asking again later is free. ``reached`` tells a sick server from none."""

    reason: str
    reached: bool = True


@dataclass(frozen=True, slots=True)
class NotFound:
    """The provider does not know the request id: too young, or past the life of its record."""

    message: str


# --- verdicts on a submission ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Accepted:
    """The provider has the submission and named it.

    Attributes:
        request_id: its name.
        addresses: where it said that the request can be asked about (``status``), fetched (``result``) and cancelled
            (``cancel``).
    """

    request_id: str
    addresses: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NotSent:
    """No byte of the request left this machine: submitting again is safe and spends no attempt."""

    reason: str


@dataclass(frozen=True, slots=True)
class ServerError:
    """The server answered in its documented way that it failed and accepted nothing: bounded retry."""

    message: str
    http_status: int


@dataclass(frozen=True, slots=True)
class Rejected:
    """This submission was refused for what it is; the job fails and the run goes on."""

    error: JobError


@dataclass(frozen=True, slots=True)
class UnknownOutcome:
    """The provider may have accepted the submission: it must never be repeated blindly."""

    reason: str
    http_status: int | None = None


@dataclass(frozen=True, slots=True)
class OutOfMoney:
    """The account's credit or a spending limit is used up: nothing was accepted, no attempt is spent."""

    message: str
    http_status: int


@dataclass(frozen=True, slots=True)
class Answered:
    """The reply to the submission is its result: paid for, and perhaps nowhere else to be had.

    Attributes:
        request_id: the provider's name of the request; empty if it gave none.
        result: the result; a file that came as the very body is a ``data:`` URI among its ``urls``.
    """

    request_id: str
    result: Result


SubmitVerdict: TypeAlias = (
    Accepted
    | Answered
    | NotSent
    | ServerError
    | Rejected
    | UnknownOutcome
    | OutOfMoney
    | Throttled
    | Unauthorized
    | WrongContract
)


# --- verdicts on a poll and on a fetch ------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Working:
    """Not finished. ``status`` is the provider's own word, shown to people and never relied upon."""

    status: str


@dataclass(frozen=True, slots=True)
class Completed:
    """Finished and charged; the result may be fetched."""

    metrics: Metrics


@dataclass(frozen=True, slots=True)
class Failed:
    """The generation failed; it is final for this request and was not charged."""

    message: str
    http_status: int
    metrics: Metrics


@dataclass(frozen=True, slots=True)
class Result:
    """The result of a completed request.

    Attributes:
        output: the body as the provider sent it (JSON types).
        urls: where its files are, in order; empty for a result without media.
        bytes_expected: the length of the first file, if the provider said one.
        content_type: the media type of the first file, if the provider said one.
        metrics: what it cost and how long it took.
    """

    output: Any
    urls: tuple[str, ...]
    bytes_expected: int | None
    content_type: str | None
    metrics: Metrics


@dataclass(frozen=True, slots=True)
class NotReady:
    """Completed by its status, but the result is not served yet."""

    reason: str


PollVerdict: TypeAlias = (
    Working | Completed | Result | Failed | NotFound | Unavailable | Throttled | Unauthorized | WrongContract
)
FetchVerdict: TypeAlias = Result | Failed | NotReady | NotFound | Unavailable | Throttled | Unauthorized | WrongContract


# --- verdicts on an upload ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Uploaded:
    """A file can be read at ``url``."""

    url: str


@dataclass(frozen=True, slots=True)
class UploadRefused:
    """This file was refused for what it is; the jobs that need it fail, unpaid."""

    message: str


UploadFailure: TypeAlias = UploadRefused | Unavailable | Throttled | Unauthorized | WrongContract
UploadVerdict: TypeAlias = Uploaded | UploadFailure


# --- verdicts on a cancellation -------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The request has ended; nobody can ask about it any more. ``paid`` says whether it may be charged all the same."""

    paid: bool = True


@dataclass(frozen=True, slots=True)
class CancelAsked:
    """The provider will try; its status tells what became of it. ``paid``: whether it may be charged if it ends so."""

    paid: bool = True


@dataclass(frozen=True, slots=True)
class CancelRefused:
    """The request goes on, or had ended by itself: its status tells."""

    reason: str


CancelVerdict: TypeAlias = (
    Cancelled | CancelAsked | CancelRefused | NotFound | Unavailable | Throttled | Unauthorized | WrongContract
)
