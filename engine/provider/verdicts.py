"""The provider's error table as code: what each HTTP reply means for a job.

Pure functions of a reply. Two rules come before all others: on a submission, whatever does not say clearly
that nothing was accepted is *unknown*; on a status or result, ``body.status`` wins over the HTTP code,
because the provider reports a failed generation as 422. Texts of errors change weekly and are never
matched exactly; a few word stems tell money from parameters where one code means both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.job.records import JobError
from engine.provider.protocol import (
    Accepted,
    Completed,
    Failed,
    NotFound,
    NotReady,
    NotSent,
    OutOfMoney,
    Rejected,
    Result,
    ServerError,
    Throttled,
    Unauthorized,
    Unavailable,
    UnknownOutcome,
    Working,
    WrongContract,
)
from engine.provider.reply import NoReply, Reply, file_facts, media_urls, metrics_of, request_id_of
from engine.provider.throttle import throttle_wait_s

if TYPE_CHECKING:
    from engine.provider.protocol import FetchVerdict, PollVerdict, SubmitVerdict

_MONEY_STEMS = ("credit", "balance", "fund", "spend", "billing", "payment", "money", "budget", "quota")
_REFUSED_FOR_ITSELF = frozenset({400, 413, 415, 422})
_WRONG_ADDRESS = frozenset({300, 301, 302, 303, 304, 305, 307, 308, 405, 411, 414, 421, 426, 431})
_TOLD = frozenset({200, 202})
_DONE_WORD = "COMPLETED"
_FAILED_WORD = "FAILED"


def submit_verdict(reply: Reply | NoReply, *, model: str, utc: float) -> SubmitVerdict:
    """Say what became of a submission."""
    if isinstance(reply, NoReply):
        if reply.bad_certificate:
            return WrongContract(reply.reason)
        return UnknownOutcome(reply.reason) if reply.sent else NotSent(reply.reason)
    status, text = reply.status, reply.error_text()
    if 200 <= status < 300:  # noqa: PLR2004 (the HTTP class of success)
        request_id = request_id_of(reply.object())
        if request_id is None:
            return UnknownOutcome(f"HTTP {status} without a usable request id", status)
        return Accepted(request_id)
    match status:
        case 401:
            return Unauthorized(text)
        case 402:
            return OutOfMoney(text, status)
        case 403:
            return Rejected(JobError(kind="forbidden", message=text, http_status=status))
        case 404 | 410:
            return WrongContract(f"the provider does not offer the model {model!r}: {text}", status)
        case 406:
            return _not_acceptable(text)
        case 429:
            return Throttled(throttle_wait_s(reply.headers, utc=utc))
        case 500 if reply.object():
            return ServerError(text, status)
        case _ if status in _REFUSED_FOR_ITSELF:
            return Rejected(JobError(kind="rejected", message=text, http_status=status))
        case _ if status in _WRONG_ADDRESS:
            return WrongContract(f"the provider answered {status} to a submission: {text}", status)
        case _:
            # 5xx, and whatever an edge may say (408, 409, 499) that does not rule out that the job was passed on.
            return UnknownOutcome(text, status)


def poll_verdict(reply: Reply | NoReply, *, utc: float) -> PollVerdict:
    """Say what a status reply tells of a request."""
    if isinstance(reply, Reply):
        body = reply.object()
        match body.get("status"):
            case "COMPLETED" if reply.status in _TOLD:
                return Completed(metrics_of(body))
            case "FAILED" if reply.status in _TOLD or reply.status == 422:  # noqa: PLR2004 (how FAILED is documented)
                return Failed(reply.error_text(), reply.status, metrics_of(body))
            case str() as word if reply.status in _TOLD:
                return Working(word)
            case _:
                pass
    return _reading_verdict(reply, utc=utc)


def fetch_verdict(reply: Reply | NoReply, *, utc: float) -> FetchVerdict:
    """Say what a result reply tells of a request whose status was COMPLETED."""
    if isinstance(reply, Reply):
        body = reply.object()
        word = body.get("status")
        if word == _FAILED_WORD and reply.status in {200, 422}:
            return Failed(reply.error_text(), reply.status, metrics_of(body))
        if reply.status == 200 and body:  # noqa: PLR2004
            urls = media_urls(body)
            # A body that names another status may name URLs too: those of the inputs.
            if word == _DONE_WORD or (urls and not isinstance(word, str)):
                size, kind = file_facts(body)
                return Result(body, urls, size, kind, metrics_of(body))
            return NotReady(f"the result still says {word!r}")
    return _reading_verdict(reply, utc=utc)


def _not_acceptable(text: str) -> SubmitVerdict:
    """Tell the three meanings of 406 apart: our own mistake, the account's money, a refused parameter."""
    lowered = text.lower()
    if "content" in lowered and "type" in lowered:
        return WrongContract(f"the provider refuses how we speak: {text}", 406)
    if any(stem in lowered for stem in _MONEY_STEMS) or ("team" in lowered and "limit" in lowered):
        return OutOfMoney(text, 406)
    return Rejected(JobError(kind="rejected", message=text, http_status=406))


def _reading_verdict(
    reply: Reply | NoReply, *, utc: float
) -> Unauthorized | WrongContract | NotFound | Throttled | Unavailable:
    """Say what a reading request came to that brought no terminal or working status."""
    if isinstance(reply, NoReply):
        return WrongContract(reply.reason) if reply.bad_certificate else Unavailable(reply.reason, reached=reply.sent)
    text = reply.error_text()
    match reply.status:
        case 401:
            return Unauthorized(text)
        case 404 | 410:
            return NotFound(text)
        case 429:
            return Throttled(throttle_wait_s(reply.headers, utc=utc))
        case 405 | 301 | 302 | 303 | 307 | 308:
            return WrongContract(f"the provider answered {reply.status} to a status request: {text}", reply.status)
        case _:
            return Unavailable(text)
