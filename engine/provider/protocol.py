"""What the engine needs of a provider: submit, poll, fetch, and, where there is such a thing, cancel.

Whoever implements ``Provider`` answers with verdicts and never raises for what a server or a network did.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from engine.provider.verdict import CancelVerdict, FetchVerdict, PollVerdict, SubmitVerdict

_NO_ADDRESSES: Mapping[str, str] = MappingProxyType({})


class Request(NamedTuple):
    """What the provider made of one submission, as it is asked about.

    Attributes:
        id: the provider's name of it.
        model: what it was submitted to.
        addresses: as in ``Accepted``.
    """

    id: str
    model: str = ""
    addresses: Mapping[str, str] = _NO_ADDRESSES


class Provider(Protocol):
    """A service that accepts a generation, can be asked about it, and hands out its result."""

    async def submit(self, model: str, params: dict[str, Any]) -> SubmitVerdict:
        """Submit one job, once; this is the only call that costs money."""
        ...

    async def poll(self, request: Request) -> PollVerdict:
        """Ask whether a request is finished; the answer may be its result at once."""
        ...

    async def fetch(self, request: Request) -> FetchVerdict:
        """Read the result of a completed request."""
        ...


@runtime_checkable
class CancellingProvider(Protocol):
    """A provider that can also cancel; whoever implements ``Provider`` alone cannot."""

    def can_cancel(self, model: str) -> bool:
        """Whether requests of a model can be cancelled at all."""
        ...

    async def cancel(self, request: Request, *, seen: str) -> CancelVerdict:
        """Ask for a request to be cancelled; ``seen`` is the word of its status just before."""
        ...
