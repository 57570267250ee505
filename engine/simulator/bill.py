"""Count what arrived and what is paid for, per body, as it happens.

``Books`` is written by the routes and the life of jobs at constant cost; ``Bill`` is the statement made
from it on request. A body is known by its model and its JSON with sorted keys, so that the order of keys
does not make two of one. Knows nothing of HTTP.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from hashlib import sha256

import msgspec
import orjson

from engine.simulator.rate_window import WindowPeak

_LEAKS_KEPT_MAX = 100


class BodyBill(msgspec.Struct, frozen=True, kw_only=True):
    """What one body came to."""

    body_sha256: str
    model: str
    body: dict[str, object]
    attempts: int  # POSTs of this body that were let through to the model
    accepted: int
    paid: int
    request_ids: list[str]


class Bill(msgspec.Struct, frozen=True, kw_only=True):
    """Everything the simulator counted since it was made.

    With a journal, jobs and money are counted from its first line, and requests from the last start.
    """

    submits: int  # POSTs to a model that arrived, refused ones too
    accepted: int
    paid: int
    failed: int
    cancelled: int  # jobs that ended so; billed in part of the cases, and never paid
    cancels: int  # requests for that
    billed_usd: float
    in_flight: int
    in_flight_max: int
    accepted_more_than_once: int  # bodies
    paid_more_than_once: int  # bodies
    paid_surplus: int  # paid jobs beyond the first of each body
    polls: int
    result_gets: int
    results_fetched: int  # jobs whose COMPLETED result was served at least once
    history_requests: int
    history_requests_per_s_max: int
    credit_checks: int
    uploads: int
    downloads: int
    rate_limited: int  # 429 answers
    submits_in_window_max: int
    requests_in_window_max: int
    window_s: float
    key_leaks: int
    key_leak_requests: list[str]
    replies: dict[str, int]  # by HTTP status
    faults: dict[str, int]
    internal_errors: int  # of the simulator itself; anything but 0 is a bug in it
    last_internal_error: str
    bodies: list[BodyBill]


@dataclass(slots=True)
class BodyAccount:
    """The running count of one body."""

    sha256: str
    model: str
    body: bytes
    attempts: int = 0
    paid: int = 0
    request_ids: list[str] = field(default_factory=list)

    @property
    def accepted(self) -> int:
        """How many jobs this body became."""
        return len(self.request_ids)


class Books:
    """The running counts."""

    def __init__(self) -> None:
        self._bodies: dict[str, BodyAccount] = {}
        self.counts: Counter[str] = Counter()
        self.replies: Counter[str] = Counter()
        self.billed_usd = 0.0
        self.in_flight = 0
        self.in_flight_max = 0
        self.leaks: list[str] = []
        self.last_internal_error = ""
        self._submit_peak = WindowPeak()
        self._request_peak = WindowPeak()
        self._history_peak = WindowPeak()

    def account_of(self, model: str, body: dict[str, object]) -> BodyAccount:
        """Return the account of this body, a new one if it was never seen."""
        canonical = orjson.dumps(body, option=orjson.OPT_SORT_KEYS)
        sha = sha256(model.encode() + b"\n" + canonical).hexdigest()
        account = self._bodies.get(sha)
        if account is None:
            # orjson returns bytes that keep their 4 kB work buffer; a copy is as long as its text.
            account = self._bodies[sha] = BodyAccount(sha, model, bytes(memoryview(canonical)))
        return account

    def arrived(self, now_s: float, window_s: float, *, submit: bool) -> None:
        """Count a request to the API."""
        self._request_peak.add(now_s, window_s)
        if submit:
            self.counts["submits"] += 1
            self._submit_peak.add(now_s, window_s)

    def history_asked(self, now_s: float) -> None:
        """Count a request to the history."""
        self.counts["history_requests"] += 1
        self._history_peak.add(now_s, 1.0)

    def accepted(self, account: BodyAccount, request_id: str) -> None:
        """Count a job that will be billed if it completes."""
        account.request_ids.append(request_id)
        self.counts["accepted"] += 1
        self.in_flight += 1
        self.in_flight_max = max(self.in_flight_max, self.in_flight)

    def ended(self, sha256_hex: str, price_usd: float, *, paid: bool) -> None:
        """Count a job's end."""
        self.in_flight -= 1
        self.counts["paid" if paid else "failed"] += 1
        if paid:
            self._bodies[sha256_hex].paid += 1
            self.billed_usd += price_usd

    def cancelled(self, price_usd: float, *, charged: bool) -> None:
        """Count a job that ended because it was cancelled."""
        self.in_flight -= 1
        self.counts["cancelled"] += 1
        if charged:
            self.billed_usd += price_usd

    def leaked(self, request_line: str) -> None:
        """Remember a request to the output host that carried the key."""
        self.counts["key_leaks"] += 1
        if len(self.leaks) < _LEAKS_KEPT_MAX:
            self.leaks.append(request_line)

    def statement(self, *, window_s: float, faults: Counter[str], with_bodies: bool = True) -> Bill:
        """Return the bill; the bodies take time in proportion to their number."""
        accounts = list(self._bodies.values())
        names = (
            "submits",
            "accepted",
            "paid",
            "failed",
            "cancelled",
            "cancels",
            "polls",
            "result_gets",
            "results_fetched",
        )
        more = (
            "history_requests",
            "credit_checks",
            "uploads",
            "downloads",
            "rate_limited",
            "key_leaks",
            "internal_errors",
        )
        return Bill(
            **{name: self.counts[name] for name in names + more},
            billed_usd=round(self.billed_usd, 6),
            in_flight=self.in_flight,
            in_flight_max=self.in_flight_max,
            accepted_more_than_once=sum(account.accepted > 1 for account in accounts),
            paid_more_than_once=sum(account.paid > 1 for account in accounts),
            paid_surplus=sum(max(0, account.paid - 1) for account in accounts),
            history_requests_per_s_max=self._history_peak.peak,
            submits_in_window_max=self._submit_peak.peak,
            requests_in_window_max=self._request_peak.peak,
            window_s=window_s,
            key_leak_requests=list(self.leaks),
            replies=dict(self.replies),
            faults={str(name): count for name, count in faults.items()},
            last_internal_error=self.last_internal_error,
            bodies=[_body_bill(account) for account in accounts] if with_bodies else [],
        )


def _body_bill(account: BodyAccount) -> BodyBill:
    return BodyBill(
        body_sha256=account.sha256,
        model=account.model,
        body=orjson.loads(account.body),
        attempts=account.attempts,
        accepted=account.accepted,
        paid=account.paid,
        request_ids=list(account.request_ids),
    )
