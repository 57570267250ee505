"""What a reply to the wish to cancel a request means, under the rules of a provider's description.

A pure function of a reply. Nothing here stops a run but a refused key: a request that cannot be cancelled is brought
home as if nobody had asked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.provider.reply import NoReply
from engine.provider.throttle import throttle_wait_s
from engine.provider.verdict import (
    CancelAsked,
    Cancelled,
    CancelRefused,
    NotFound,
    Throttled,
    Unauthorized,
    Unavailable,
    WrongContract,
)

if TYPE_CHECKING:
    from engine.provider.description import ProviderDescription
    from engine.provider.reply import Reply
    from engine.provider.verdict import CancelVerdict


def cancel_verdict(reply: Reply | NoReply, provider: ProviderDescription, *, seen: str, utc: float) -> CancelVerdict:
    """Say what became of a wish to cancel; ``seen`` is the word of the request's status just before."""
    if isinstance(reply, NoReply):
        return WrongContract(reply.reason) if reply.bad_certificate else Unavailable(reply.reason, reached=reply.sent)
    text = reply.error_text(provider.errors)
    match reply.status:
        case status if 200 <= status < 300:  # noqa: PLR2004 (the HTTP class of success)
            # It may have begun since its status was read, and is cancelled all the same: free is what the vendor says.
            paid = seen not in provider.cancel.free
            return Cancelled(paid) if provider.cancel.final else CancelAsked(paid)
        case 401:
            return Unauthorized(text)
        case 404 | 410:
            return NotFound(text)
        case 429:
            return Throttled(throttle_wait_s(reply.headers, utc=utc))
        case 405 | 301 | 302 | 303 | 307 | 308:
            return WrongContract(f"the provider answered {reply.status} to a cancellation: {text}", reply.status)
        case status if 400 <= status < 500:  # noqa: PLR2004 (the HTTP class of refusal)
            return CancelRefused(text)
        case _:
            return Unavailable(text)
