"""An empty account parks the submissions; it fails nothing and spends no attempt.

While parked, what is in flight is harvested and the account is asked now and then. Once it shows enough for
a job, one submission probes; its acceptance opens the rest. Without money and with nothing left in flight
there is nothing to wait for, unless the user asked to wait.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from engine.errors import ExitCode
from engine.job.money import usd_words
from engine.provider.verdict import Unavailable
from engine.scheduling.stop import Manner, Stop

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from engine.clock import Clock

RECHECK_FIRST_S = 2.0
RECHECK_MAX_S = 60.0
REFUSED_PROBES_MAX = 2
_SOMETHING_USD = 0.01


class Credit:
    """Whether the account can pay.

    Args:
        ask: reads the account's balance in US dollars; None if the provider does not tell it.
        price_usd: what one more job costs; None if nobody knows.
        may_wait: whether there is reason to wait now: something in flight, or the user's wish.
        on_open: called when submissions may go on.
        on_broke: called with the reason to stop when nothing is left to wait for.
    """

    def __init__(
        self,
        *,
        ask: Callable[[], Awaitable[float | Unavailable | None]],
        clock: Clock,
        price_usd: Callable[[], float | None],
        may_wait: Callable[[], bool],
        on_open: Callable[[], None],
        on_broke: Callable[[Stop], None],
    ) -> None:
        self._ask = ask
        self._clock = clock
        self._price_usd = price_usd
        self._may_wait = may_wait
        self._on_open = on_open
        self._on_broke = on_broke
        self._parked = asyncio.Event()
        self._message = ""
        self._probing = False
        self._refused_probes = 0
        self._recheck_s = RECHECK_FIRST_S

    @property
    def reason(self) -> str:
        """Why no submission may go out; empty while the account can pay, as far as we know."""
        return f"the account is out of credit ({self._message})" if self._parked.is_set() else ""

    @property
    def probing(self) -> bool:
        """Whether only one submission may be under way, to see if the account can pay again."""
        return self._probing

    def park(self, message: str) -> None:
        """Take note that a submission was refused for lack of money."""
        self._message = message
        if self._probing:
            self._refused_probes += 1
            self._recheck_s = min(RECHECK_MAX_S, self._recheck_s * 2)
        self._probing = False
        self._parked.set()

    def accepted(self) -> None:
        """Take note that a submission was accepted: the account can pay."""
        if self._probing:
            self._probing = False
            self._refused_probes = 0
            self._recheck_s = RECHECK_FIRST_S
            self._on_open()

    async def watch(self) -> None:
        """Ask the account while it is parked, until cancelled."""
        while True:
            await self._parked.wait()
            await self._clock.sleep(self._recheck_s)
            balance = await self._ask()
            can_pay = self._can_pay(balance)
            # A balance that pays for nothing (a team's limit, say) is as good as none.
            hopeless = not can_pay or self._refused_probes >= REFUSED_PROBES_MAX
            if hopeless and not self._may_wait():
                self._parked.clear()
                self._on_broke(self._broke(balance))
            elif can_pay:
                self._parked.clear()
                self._probing = True
                self._on_open()

    def _can_pay(self, balance: float | Unavailable | None) -> bool:
        """Whether a submission is worth a try; where a provider does not tell a balance, only a try can say."""
        if balance is None:
            return True
        return not isinstance(balance, Unavailable) and balance >= (self._price_usd() or _SOMETHING_USD)

    def _broke(self, balance: float | Unavailable | None) -> Stop:
        shows = f"; the account shows {usd_words(balance)}" if isinstance(balance, float) else ""
        return Stop(
            "no_credit",
            f"the account is out of credit: {self._message}{shows}",
            ExitCode.ACCOUNT,
            Manner.HARVEST,
            "top the account up, then run the same command again; no job was marked as failed",
        )
