"""Runs batches of paid submit-and-poll media generations, durably.

The names below are for programs; each is loaded when first used, so that importing the package costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engine.config import RunConfig
    from engine.errors import EngineError
    from engine.job.records import ResultLine
    from engine.library import Job, Run

__version__ = "0.1.0"
__all__ = ["EngineError", "Job", "ResultLine", "Run", "RunConfig"]

_HOME = {
    "EngineError": "engine.errors",
    "Job": "engine.library",
    "ResultLine": "engine.job.records",
    "Run": "engine.library",
    "RunConfig": "engine.config",
}


def __getattr__(name: str) -> object:
    """Load an exported name when it is first asked for."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value
