"""What the provider says when it is asked what costs nothing: who we are, what is left, what it remembers.

Two requests are made at most, both of them GETs with the key that a run would use. Nothing is submitted.
"""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlencode, urlsplit

from engine.disk.detached import run_detached
from engine.doctor.check import Check, ok, problem, warning
from engine.doctor.machine import proxy_for
from engine.doctor.shape import has_records, shape_of
from engine.epoch import epoch_of_http_date
from engine.errors import ExitCode
from engine.job.money import usd_words
from engine.provider.addresses import address
from engine.provider.history import rows_of
from engine.provider.interpretation import balance_usd
from engine.provider.protocol import Request
from engine.provider.reply import NoReply, Reply
from engine.run.parts import client_of
from engine.scheduling.reconciliation import AFTER_INTENT_S, BEFORE_INTENT_S

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from engine.clock import Clock
    from engine.config import RunConfig
    from engine.connection import Connection
    from engine.errors import AccountError
    from engine.provider.history import HistoryRow
    from engine.provider.http_provider import HttpProvider

ACCOUNT_CHECKS = ("provider", "key", "credits", "clock")
NO_KEY = "none"
"""Shown in place of a key that is missing: whether the provider can be reached is worth knowing all the same."""
NAME_S_MAX = 8.0
EXCHANGE_S_MAX = 10.0
NOBODYS_ID = "0" * 32
SEE_KEY = "do what is said of the key"
REPORT_IT = (
    "lost replies cannot be settled with it: please report the history_shape of 'engine doctor --json': it holds keys"
    " and no values"
)
SKEW_S = 10.0
HISTORY_DAYS = 30
ROWS = 5
OK, UNAUTHORIZED, FORBIDDEN, THROTTLED = 200, 401, 403, 429


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request and what came of it; ``utc`` is ours at its middle."""

    reply: Reply | NoReply
    utc: float
    took_s: float


class Service:
    """Asks one provider.

    Args:
        connection: where it is, and the key; with ``NO_KEY`` if there is none.
        key_error: why there is no key; None if there is one.
    """

    def __init__(
        self, config: RunConfig, connection: Connection, *, clock: Clock, key_error: AccountError | None
    ) -> None:
        self._config = config
        self._connection = connection
        self._clock = clock
        self._key_error = key_error

    def client(self) -> HttpProvider:
        """Return the very client of a run, with less patience; to be opened."""
        return client_of(self._connection, self._config.provider, clock=self._clock, patience_s=EXCHANGE_S_MAX)

    async def account(self, client: HttpProvider) -> list[Check]:
        """Ask for the balance, and learn from the reply whatever it tells."""
        exchange = await self._ask(client.get, self._connection.base_url.rstrip("/") + self._free_path())
        found = [self._provider(exchange), self._key(exchange.reply), self._credits(exchange.reply)]
        return [*found, clock_check(exchange)]

    async def history(self, client: HttpProvider) -> tuple[list[Check], object]:
        """Ask for a few rows of the request history; return also their structure."""
        url, name = self._connection.history_url, "history"
        if self._key_error is not None:
            return [warning(name, "not asked: there is no key to ask with", SEE_KEY)], None
        if not url:
            hint = "a submission whose reply is lost stays unknown with this provider"
            return [warning(name, "the provider has no request history", hint)], None
        today = datetime.fromtimestamp(self._clock.utc(), UTC)
        query = {
            "page": 1,
            "per_page": ROWS,
            "from_date": f"{today - timedelta(days=HISTORY_DAYS):%Y-%m-%d}",
            "to_date": f"{today:%Y-%m-%d}",
            "sort_by": "model_created",
            "sort_order": "asc",
        }
        exchange = await self._ask(client.get, f"{url.rstrip('/')}/request-history?{urlencode(query)}")
        reply = exchange.reply
        hint = "a run works without it, but a submission whose reply is lost stays unknown until it answers"
        if isinstance(reply, NoReply):
            return [warning(name, f"{_host(url)} gave no answer: {reply.reason}", hint)], None
        if reply.status == UNAUTHORIZED:
            return [warning(name, f"{_host(url)} refuses the key", SEE_KEY)], None
        if reply.status != OK or reply.json() is None:
            return [warning(name, f"{_host(url)} answered: {reply.error_text()} (HTTP {reply.status})", hint)], None
        return [_history_check(reply)], shape_of(reply.json())

    def _free_path(self) -> str:
        """Return what can be asked for at no cost: the balance, or else a request that nobody has made."""
        rules = self._connection.description
        nobody = Request(NOBODYS_ID, self._connection.default_model or "none")
        return rules.credits.path or (address(rules, "", "status", nobody) or "/")

    @property
    def _usual(self) -> frozenset[int]:
        """The statuses of an answer in order: without a balance to ask for, the request is one that is not known."""
        known = {OK, UNAUTHORIZED, FORBIDDEN}
        return frozenset(known if self._connection.description.credits.path else {*known, 400, 404, 410, 422})

    async def _ask(self, get: Callable[[str], Awaitable[Reply | NoReply]], url: str) -> Exchange:
        began_at, utc = self._clock.now(), self._clock.utc()
        reply = await _unresolvable(url) or await get(url)
        took_s = self._clock.now() - began_at
        return Exchange(reply, utc + took_s / 2, took_s)

    def _provider(self, exchange: Exchange) -> Check:
        reply, name, host = exchange.reply, "provider", _host(self._connection.base_url)
        if isinstance(reply, NoReply):
            if reply.bad_certificate:
                hint = (
                    "if a proxy of yours opens TLS, add its authority: export SSL_CERT_FILE=...; else do not go on:"
                    " whoever answers is not the provider"
                )
                return problem(name, reply.reason, hint)
            hint = "check the network, and the proxy; a run would wait for it"
            return problem(name, f"{host} cannot be reached: {reply.reason}", hint)
        if reply.status in self._usual and reply.json() is not None:
            return ok(
                name, f"{self._connection.description.name} at {host} answered in {exchange.took_s * 1000:.0f} ms"
            )
        if reply.status == THROTTLED:
            hint = "another run may be using the plan; ask again in a minute"
            return warning(name, f"{host} answered that there were too many requests (HTTP 429)", hint)
        if reply.status >= 500:  # noqa: PLR2004 (the server's own trouble)
            return problem(name, f"{host} is in trouble: {reply.error_text()}", "ask again later; a run would wait")
        said = f"{host} does not answer as the API does: {reply.error_text()} (HTTP {reply.status})"
        return problem(name, said, "check provider.base_url and the proxy", ExitCode.USAGE)

    def _key(self, reply: Reply | NoReply) -> Check:
        name = "key"
        if self._key_error is not None:
            return problem(name, str(self._key_error), self._key_error.hint, ExitCode.ACCOUNT)
        status = None if isinstance(reply, NoReply) else reply.status
        if status == UNAUTHORIZED and isinstance(reply, Reply):
            said = f"the key from {self._connection.key_place} is refused: {reply.error_text()}"
            return problem(name, said, "make a new one in the provider's console", ExitCode.ACCOUNT)
        untold = not self._connection.description.credits.path
        if self._balance_usd(reply) is None and not (untold and status in self._usual - {FORBIDDEN}):
            said = f"there is one, from {self._connection.key_place}; whether it is accepted could not be learned"
            return warning(name, said, "ask again when the provider answers")
        return ok(name, f"the one from {self._connection.key_place} is accepted")

    def _credits(self, reply: Reply | NoReply) -> Check:
        name, balance_usd = "credits", self._balance_usd(reply)
        if not self._connection.description.credits.path:
            return warning(name, "the provider does not tell the balance", "look at its console before a large run")
        if balance_usd is None:
            return warning(name, "the balance is not known", "ask again when the key is accepted")
        model = self._connection.default_model
        known = self._connection.description.models.get(model or "")
        price_usd = self._config.budget.price_usd or (known.price_usd if known else None)
        if price_usd is None:
            return ok(name, f"{usd_words(balance_usd)}; what a job of {model or 'your model'} costs is not known")
        said = f"{usd_words(balance_usd)}; a job of {model or 'your model'} is listed at ${price_usd:,.3f}"
        if balance_usd < price_usd:
            return warning(name, said, "top the account up: no job can be paid for")
        return ok(name, said)

    def _balance_usd(self, reply: Reply | NoReply) -> float | None:
        if isinstance(reply, NoReply) or reply.status != OK:
            return None
        return balance_usd(reply, self._connection.description)


def clock_check(exchange: Exchange) -> Check:
    """Hold our clock against the moment that the reply names."""
    name = "clock"
    date = None if isinstance(exchange.reply, NoReply) else exchange.reply.headers.get("Date")
    theirs = epoch_of_http_date(date) if date else None
    if theirs is None:
        return warning(name, "not compared: no answer named the time", "ask again when the provider answers")
    ahead_s = exchange.utc - (theirs + 0.5)  # whole seconds, cut off
    said = f"{abs(ahead_s):,.0f} s {'ahead of' if ahead_s > 0 else 'behind'} the provider's"
    hint = "let the system set it (timedatectl set-ntp true)"
    if not -AFTER_INTENT_S < ahead_s < BEFORE_INTENT_S:
        said += ": lost replies could not be found in its history by their time"
        return problem(name, said, hint)
    if abs(ahead_s) > SKEW_S + exchange.took_s:
        return warning(name, said, hint)
    return ok(name, "agrees with the provider's")


def _history_check(reply: Reply) -> Check:
    name, rows = "history", rows_of(reply.json())
    if not rows:
        if has_records(reply.json()):
            hint = REPORT_IT
            return warning(name, "there are records, and none of them names a request_id", hint)
        return ok(name, f"it answers; it has no request of the last {HISTORY_DAYS} days to judge its rows by")
    missing = [word for word, is_there in _USED.items() if not any(is_there(row) for row in rows)]
    if missing:
        said = f"its rows are understood, but none says {' or '.join(missing)}"
        return warning(name, said, REPORT_IT)
    return ok(name, f"its rows are understood ({len(rows)} looked at)")


_USED: dict[str, Callable[[HistoryRow], bool]] = {
    "what was asked for": lambda row: row.body is not None,
    "when": lambda row: row.created_utc is not None,
    "of which model": lambda row: bool(row.model),
}


async def _unresolvable(url: str) -> NoReply | None:
    """Return why nobody can be asked at ``url``, if the name of whoever is to be connected to cannot be looked up.

    Looked up here first, because the HTTP library's own look-up would keep the process from ending.
    """
    parts = urlsplit(proxy_for(url) or url)
    try:
        await asyncio.wait_for(run_detached("name-lookup", socket.getaddrinfo, parts.hostname, parts.port), NAME_S_MAX)
    except TimeoutError:
        return NoReply(f"the name {parts.hostname} was not resolved within {NAME_S_MAX:.0f} s", sent=False)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no name"
        return NoReply(f"the name {parts.hostname} cannot be resolved ({reason})", sent=False)
    return None


def _host(url: str) -> str:
    return urlsplit(url).netloc
