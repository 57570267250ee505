"""A described provider over HTTP: where each request goes and what is in it, by the rules of its description.

Joins three things that know nothing of each other: ``addresses`` say where, ``exchange`` asks there, ``interpretation``
says what the reply means. Knows no connection, and no time-out but as a number.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

import orjson

from engine.job.model_name import bare_model
from engine.provider.addresses import address, content_address, key_headers
from engine.provider.cancelling import cancel_verdict
from engine.provider.exchange import JSON, HttpExchange
from engine.provider.interpretation import balance_usd, fetch_verdict, poll_verdict, submit_verdict, upload_verdict
from engine.provider.reply import NoReply, Reply
from engine.provider.verdict import NotFound, Result, Unavailable, WrongContract

if TYPE_CHECKING:
    from types import TracebackType

    from engine.clock import Clock
    from engine.provider.description import ProviderDescription
    from engine.provider.protocol import Request
    from engine.provider.verdict import CancelVerdict, FetchVerdict, PollVerdict, SubmitVerdict, UploadVerdict

UPLOAD_FLOOR_BYTES_PER_S = 50_000
"""An upload may take longer than other requests, by what its body needs at this pace."""

_NO_CANCEL_ADDRESS = WrongContract("no address of the provider's is known at which the request could be cancelled")
_NO_ADDRESS = WrongContract("no address of the provider's is known at which the request could be asked about")
_NEVER_ASKED = NotFound("the reply to its submission was its result; only the provider's history knows it now")


class HttpProvider:
    """A described provider; an async context manager that owns its connections."""

    def __init__(
        self,
        description: ProviderDescription,
        *,
        base_url: str,
        upload_url: str = "",
        api_key: str,
        clock: Clock,
        connect_timeout_s: float,
        submit_timeout_s: float,
        request_timeout_s: float,
        reply_bytes_max: int,
        submits_max: int = 64,
        reads_max: int = 64,
    ) -> None:
        self._description = description
        self._base_url = base_url.rstrip("/")
        self._upload_url = upload_url
        self._clock = clock
        self._exchange = HttpExchange(
            base_url,
            api_key=api_key,
            key_headers=key_headers(description, api_key),
            connect_timeout_s=connect_timeout_s,
            reply_bytes_max=reply_bytes_max,
            submits_max=submits_max,
            reads_max=reads_max,
        )
        self._submit_s_max = max(submit_timeout_s, description.submit.reply_s_max)
        self._status_s_max = request_timeout_s + description.status.wait_s
        self._read_s_max = request_timeout_s

    async def __aenter__(self) -> Self:
        await self._exchange.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._exchange.__aexit__(kind, error, trace)

    async def submit(self, model: str, params: dict[str, Any]) -> SubmitVerdict:
        """Submit one job; see ``Provider.submit``."""
        rules, model = self._description.submit, bare_model(model)
        body = {rules.wrap: params} if rules.wrap else params
        reply = await self._exchange.submit(
            self._base_url + rules.path.format(model=model, id=""),
            orjson.dumps({**body, rules.model_key: model} if rules.model_key else body),
            within_s=self._submit_s_max,
            accept="*/*" if rules.is_synchronous else JSON,
        )
        return submit_verdict(reply, self._description, model=model, utc=self._clock.utc())

    async def poll(self, request: Request) -> PollVerdict:
        """Ask whether a request is finished; see ``Provider.poll``."""
        if self._description.submit.is_synchronous:
            return _NEVER_ASKED
        url = address(self._description, self._base_url, "status", request)
        if url is None:
            return _NO_ADDRESS
        reply = await self._exchange.read("GET", url, within_s=self._status_s_max)
        verdict = poll_verdict(reply, self._description, utc=self._clock.utc())
        return self._with_content(verdict, request) if isinstance(verdict, Result) else verdict

    async def fetch(self, request: Request) -> FetchVerdict:
        """Read the result of a completed request; see ``Provider.fetch``."""
        if self._description.submit.is_synchronous:
            return _NEVER_ASKED
        url = address(self._description, self._base_url, "result", request)
        if url is None:
            return _NO_ADDRESS
        verdict = fetch_verdict(await self.get(url), self._description, utc=self._clock.utc())
        return self._with_content(verdict, request) if isinstance(verdict, Result) else verdict

    def _with_content(self, result: Result, request: Request) -> Result | WrongContract:
        """Name the file of a result where its address answers the file itself."""
        if not self._description.result.bytes:
            return result
        url = content_address(self._description, self._base_url, request)
        return _NO_ADDRESS if url is None else replace(result, urls=(url,))

    async def upload(self, data_uri: str) -> UploadVerdict:
        """Upload one file; see ``Uploader.upload``."""
        content = orjson.dumps({self._description.upload.wrap: [data_uri]})
        within_s = self._read_s_max + len(content) / UPLOAD_FLOOR_BYTES_PER_S
        reply = await self._exchange.read("POST", self._upload_url, within_s=within_s, content=content)
        return upload_verdict(reply, self._description, utc=self._clock.utc())

    def can_cancel(self, model: str) -> bool:  # noqa: ARG002 (a description holds for all of its models)
        """Whether the provider offers cancelling; see ``CancellingProvider``."""
        return self._description.cancel.is_offered

    async def cancel(self, request: Request, *, seen: str) -> CancelVerdict:
        """Ask for a request to be cancelled; see ``CancellingProvider.cancel``."""
        rules = self._description.cancel
        url = address(self._description, self._base_url, "cancel", request)
        if url is None:
            return _NO_CANCEL_ADDRESS
        reply = await self._exchange.read(rules.method, url, within_s=self._read_s_max)
        return cancel_verdict(reply, self._description, seen=seen, utc=self._clock.utc())

    async def credits_usd(self) -> float | Unavailable | None:
        """Return what the account holds, in US dollars, free of charge; None if the provider does not tell."""
        rules = self._description.credits
        if not rules.path:
            return None
        reply = await self.get(self._base_url + rules.path)
        if isinstance(reply, NoReply):
            return Unavailable(reply.reason, reached=reply.sent)
        amount = balance_usd(reply, self._description) if reply.status == 200 else None  # noqa: PLR2004
        return Unavailable(reply.error_text(self._description.errors)) if amount is None else amount

    async def get(self, url: str) -> Reply | NoReply:
        """Make one GET with the key; only for addresses of the provider's API."""
        return await self._exchange.read("GET", url, within_s=self._read_s_max)
