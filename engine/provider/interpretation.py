"""What each HTTP reply means for a job, under the rules of a provider's description.

Pure functions of a reply. Two rules come before all others: on a submission, whatever does not say clearly
that nothing was accepted is *unknown*; on a status or result, the body's own word wins over the HTTP code,
because some providers report a failed generation as 422. Texts of errors change weekly and are never
matched exactly; a few word stems tell money from parameters where one code means both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from engine.job.records import JobError
from engine.provider.addresses import named_addresses
from engine.provider.answers import answered
from engine.provider.json_path import value_at
from engine.provider.reply import NoReply, Reply, media_urls, number, usable_request_id
from engine.provider.results import metrics_of, result_of
from engine.provider.throttle import throttle_wait_s
from engine.provider.verdict import (
    Accepted,
    Completed,
    Failed,
    NotFound,
    NotReady,
    NotSent,
    OutOfMoney,
    Rejected,
    ServerError,
    Throttled,
    Unauthorized,
    Unavailable,
    UnknownOutcome,
    Uploaded,
    UploadRefused,
    Working,
    WrongContract,
)

if TYPE_CHECKING:
    from engine.provider.description import ProviderDescription
    from engine.provider.verdict import FetchVerdict, PollVerdict, SubmitVerdict, UploadVerdict

NOT_ACCEPTABLE = 406
_REFUSED_FOR_ITSELF = frozenset({400, NOT_ACCEPTABLE, 413, 415, 422})
_WRONG_ADDRESS = frozenset({300, 301, 302, 303, 304, 305, 307, 308, 405, 411, 414, 421, 426, 431})


def submit_verdict(reply: Reply | NoReply, provider: ProviderDescription, *, model: str, utc: float) -> SubmitVerdict:
    """Say what became of a submission."""
    if isinstance(reply, NoReply):
        if reply.bad_certificate:
            return WrongContract(reply.reason)
        return UnknownOutcome(reply.reason) if reply.sent else NotSent(reply.reason)
    status = reply.status
    if 200 <= status < 300:  # noqa: PLR2004 (the HTTP class of success)
        if provider.submit.is_synchronous:
            return answered(reply, provider)
        body = reply.object()
        request_id = usable_request_id(reply.value_at(provider.submit.id, body))
        if request_id is None:
            return UnknownOutcome(f"HTTP {status} without a usable request id", status)
        return Accepted(request_id, named_addresses(body, provider))
    text = reply.error_text(provider.errors)
    if status == NOT_ACCEPTABLE and _is_about_content_type(text):
        return WrongContract(f"the provider refuses how we speak: {text}", status)
    if _is_about_money(status, text, provider):
        return OutOfMoney(text, status)
    match status:
        case 401:
            return Unauthorized(text)
        case 403:
            return Rejected(JobError(kind="forbidden", message=text, http_status=status))
        case 404 | 410:
            return WrongContract(f"the provider does not offer the model {model!r}: {text}", status)
        case 429:
            return Throttled(throttle_wait_s(reply.headers, utc=utc))
        case _ if status in provider.submit.safe_codes and reply.object():
            return ServerError(text, status)
        case _ if status in _REFUSED_FOR_ITSELF:
            return Rejected(JobError(kind="rejected", message=text, http_status=status))
        case _ if status in _WRONG_ADDRESS:
            return WrongContract(f"the provider answered {status} to a submission: {text}", status)
        case _:
            # 5xx, and whatever an edge may say (408, 409, 499) that does not rule out that the job was passed on.
            return UnknownOutcome(text, status)


def poll_verdict(reply: Reply | NoReply, provider: ProviderDescription, *, utc: float) -> PollVerdict:
    """Say what a status reply tells of a request."""
    if isinstance(reply, Reply):
        rules, body = provider.status, reply.object()
        word = value_at(body, rules.word)
        counts = reply.status in rules.codes
        if word in rules.failed and (counts or reply.status in rules.failed_codes):
            return _failed(reply, body, provider)
        if word in rules.done and counts:
            if value_at(body, rules.failed_if):
                return _failed(reply, body, provider)
            if provider.result.is_in_status:
                return result_of(reply, body, provider)
            return Completed(metrics_of(reply, body, provider))
        if word in rules.gone and (counts or reply.status in {404, 410}):
            return NotFound(str(word))
        if isinstance(word, str) and counts:
            return Working(word)
    return _reading_verdict(reply, provider, utc=utc)


def fetch_verdict(reply: Reply | NoReply, provider: ProviderDescription, *, utc: float) -> FetchVerdict:
    """Say what a result reply tells of a request whose status was one of success."""
    if provider.result.is_in_status:
        found = poll_verdict(reply, provider, utc=utc)
        assert not isinstance(found, Completed), "a result that is in the status comes with it"
        return NotReady(f"it is still {found.status}") if isinstance(found, Working) else found
    if isinstance(reply, Reply):
        rules, body = provider.result, reply.object()
        word = value_at(body, rules.word)
        fails = word in provider.status.failed if rules.word else reply.status in rules.failed_codes
        if fails and reply.status in {200, *rules.failed_codes}:
            return _failed(reply, body, provider)
        if reply.status == 200 and body:  # noqa: PLR2004
            # A body that names another status may name URLs too: those of the inputs.
            told = not rules.word or word in provider.status.done
            if told or (not isinstance(word, str) and media_urls(body, rules.outputs)):
                return result_of(reply, body, provider)
            return NotReady(f"the result still says {word!r}")
    return _reading_verdict(reply, provider, utc=utc)


def upload_verdict(reply: Reply | NoReply, provider: ProviderDescription, *, utc: float) -> UploadVerdict:
    """Say what became of an upload; nothing is charged for one."""
    if isinstance(reply, NoReply):
        return WrongContract(reply.reason) if reply.bad_certificate else Unavailable(reply.reason, reached=reply.sent)
    status, text = reply.status, reply.error_text(provider.errors)
    match status:
        case _ if 200 <= status < 300:  # noqa: PLR2004 (the HTTP class of success)
            url = next(iter(media_urls(reply.object(), provider.upload.urls)), None)
            return Uploaded(url) if url else WrongContract(f"the answer to an upload names no address: {text}", status)
        case 401:
            return Unauthorized(text)
        case 429:
            return Throttled(throttle_wait_s(reply.headers, utc=utc))
        case _ if status in _WRONG_ADDRESS | {404, 410}:
            return WrongContract(f"the provider answered {status} to an upload: {text}", status)
        case _ if 400 <= status < 500:  # noqa: PLR2004 (the HTTP class of refusals)
            return UploadRefused(text)
        case _:
            return Unavailable(text)


def balance_usd(reply: Reply, provider: ProviderDescription) -> float | None:
    """Return what the account holds by a reply to the question for its balance; None if it does not say."""
    body = reply.object()
    first, *others = [number(value_at(body, place)) for place in provider.credits.amounts]
    return None if first is None else first + sum(amount for amount in others if amount is not None)


def _failed(reply: Reply, body: dict[str, Any], provider: ProviderDescription) -> Failed:
    return Failed(reply.error_text(provider.errors), reply.status, metrics_of(reply, body, provider))


def _is_about_money(status: int, text: str, provider: ProviderDescription) -> bool:
    """Tell an empty account from a refused job where one HTTP status means both."""
    lowered = text.lower()
    phrases = provider.submit.money_words.get(str(status), ())
    return status == 402 or any(all(word in lowered for word in phrase.split()) for phrase in phrases)  # noqa: PLR2004


def _is_about_content_type(text: str) -> bool:
    """Tell our own mistake from a refused parameter where one HTTP status means both."""
    lowered = text.lower()
    return "content" in lowered and "type" in lowered


def _reading_verdict(
    reply: Reply | NoReply, provider: ProviderDescription, *, utc: float
) -> Unauthorized | WrongContract | NotFound | Throttled | Unavailable:
    """Say what a reading request came to that brought no terminal or working status."""
    if isinstance(reply, NoReply):
        return WrongContract(reply.reason) if reply.bad_certificate else Unavailable(reply.reason, reached=reply.sent)
    text = reply.error_text(provider.errors)
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
