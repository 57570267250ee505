"""Why and how a run stops before its input is exhausted.

A stop is a value: what the person is told, the exit code, and how much is still done first.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engine.errors import ExitCode


class Manner(IntEnum):
    """How a run winds down; a later stop can only be harder."""

    HARVEST = 1
    """No new submissions; everything that is paid for is polled, fetched and downloaded."""
    DOWNLOADS = 2
    """No API requests any more (the key is refused); running downloads finish."""
    NOW = 3
    """Nothing more; the state is durable as it is."""


@dataclass(frozen=True, slots=True)
class Stop:
    """One reason to stop.

    Attributes:
        kind: one word for programs: ``interrupted``, ``unauthorized``, ``no_credit``, ...
        message: a sentence for people.
        hint: what to do about it; may be empty.
        exit_code: how the process ends.
        manner: how the run winds down.
    """

    kind: str
    message: str
    exit_code: ExitCode
    manner: Manner = Manner.HARVEST
    hint: str = ""

    def harder(self, manner: Manner) -> Stop:
        """Return this reason, carried out in another manner."""
        return replace(self, manner=manner)
