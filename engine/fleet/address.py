"""Which fleet is meant: a cluster by its address, the one this machine knows of, or a private one for trying it. Pure.

Knows nothing of Ray but whether it is installed.
"""

from __future__ import annotations

import importlib.util
import re
from dataclasses import dataclass

from engine.errors import UsageError

WORKERS_MAX = 64
AUTO = "auto"

_LOCAL = re.compile(r"local:(?P<workers>[0-9]{1,3})\Z", re.ASCII)
_CLUSTER = re.compile(r"(?:ray://)?(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]):(?P<port>[0-9]{1,5})\Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class FleetAddress:
    """Where a fleet is.

    Attributes:
        text: as it was written.
        workers: how many workers of a private fleet run on this machine; None for those of a cluster's nodes.
    """

    text: str
    workers: int | None = None

    @property
    def members(self) -> str:
        """What the members of such a fleet are called."""
        return "nodes" if self.workers is None else "workers"


def fleet_address(text: str) -> FleetAddress:
    """Return the address that ``text`` spells.

    Raises:
        UsageError: it is none.
    """
    if text == AUTO:
        return FleetAddress(text)
    if (local := _LOCAL.match(text)) and 1 <= int(local["workers"]) <= WORKERS_MAX:
        return FleetAddress(text, int(local["workers"]))
    if (cluster := _CLUSTER.match(text)) and not text.startswith("local:") and 1 <= int(cluster["port"]) <= 65_535:  # noqa: PLR2004 (a port)
        return FleetAddress(text)
    raise UsageError(
        f"{text!r} is no fleet", hint=f"auto, local:N with N up to {WORKERS_MAX}, ray://HOST:10001 or HOST:6379"
    )


def usable_fleet(text: str) -> FleetAddress:
    """Return the address that ``text`` spells, once it is clear that the library for it is there; does not load it.

    Raises:
        UsageError: it is none, or Ray is not installed.
    """
    address = fleet_address(text)
    if importlib.util.find_spec("ray") is None:
        raise UsageError(
            "a fleet needs Ray, which is not installed",
            hint="pip install 'media-batch-engine[ray]', here and on every node",
        )
    return address
