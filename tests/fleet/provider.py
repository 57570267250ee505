"""The simulated provider on a network that machines share: ``python -m tests.fleet.provider HOST KEY=VALUE ...``.

``engine simulate`` keeps to the loopback address, which another machine does not reach.
"""

from __future__ import annotations

import asyncio
import json
import sys

from engine.settings import setting_of_override
from engine.simulator import Scenario, Simulator


async def serve(host: str, overrides: list[str]) -> None:
    """Serve until ended, and say where first."""
    settings = [setting_of_override(text) for text in overrides]
    scenario = Scenario.load("calm", {setting.key: setting.value for setting in settings})
    async with Simulator(scenario, host=host) as simulator:
        addresses = {
            "base_url": simulator.base_url,
            "history_url": simulator.history_url,
            "bill_url": f"{simulator.base_url}/_simulator/bill",
        }
        print(json.dumps(addresses), flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], sys.argv[2:]))
