"""A faithful, hostile provider on the loopback address, for tests, demonstrations and rehearsals.

``Simulator`` serves the provider's HTTP API from this process, misbehaves as its ``Scenario`` says, and
keeps a bill that counts paid jobs per body. It imports nothing from the rest of the engine, so that a
misreading in the client cannot hide in a shared line; the names below are loaded when first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engine.simulator.bill import Bill, BodyBill
    from engine.simulator.faults import Fault
    from engine.simulator.journal import JournalError
    from engine.simulator.scenario import Scenario, ScenarioError
    from engine.simulator.server import Simulator

__all__ = ["Bill", "BodyBill", "Fault", "JournalError", "Scenario", "ScenarioError", "Simulator"]

_HOME = {
    "Bill": "engine.simulator.bill",
    "BodyBill": "engine.simulator.bill",
    "Fault": "engine.simulator.faults",
    "JournalError": "engine.simulator.journal",
    "Scenario": "engine.simulator.scenario",
    "ScenarioError": "engine.simulator.scenario",
    "Simulator": "engine.simulator.server",
}


def __getattr__(name: str) -> object:
    """Load an exported name when it is first asked for."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value
