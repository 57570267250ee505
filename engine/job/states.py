"""The life of a job, as a table.

::

    PENDING ──> SUBMITTING ──> SUBMITTED ──> READY ──> STORED ──> DONE
                    │              │           │
                    └─> UNKNOWN <──┘           └─> FAILED ──> DONE      (INVALID ──> DONE)

Rule 1: every change of a job's state is one entry of ``TRANSITIONS``; the ledger refuses any other.
Rule 2: each arrow is a durable commit made *before* the next effect outside: SUBMITTING is on disk
before the first byte of the POST, SUBMITTED before the reply is acted upon, STORED before the line.
Rule 3: this file knows nothing of HTTP, files or time. The ledger, the tests and FORMATS.md read it.
"""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    """Where a job is in its life; the value is what the ledger stores."""

    PENDING = "pending"
    """Read and valid; nothing of it has left this machine, or what left was proven not accepted."""
    SUBMITTING = "submitting"
    """The intent is on disk; the POST may be under way. Found after a crash, it becomes UNKNOWN."""
    SUBMITTED = "submitted"
    """The provider gave a request id; the generation is queued or running there."""
    READY = "ready"
    """The provider's result is recorded; its files are still to be downloaded."""
    STORED = "stored"
    """Every file is on disk, verified and durable; the result line is still to be written."""
    FAILED = "failed"
    """The outcome is final and bad; the result line is still to be written."""
    INVALID = "invalid"
    """The job line was refused before anything was paid; the result line is still to be written."""
    UNKNOWN = "unknown"
    """The provider may have the submission and may charge for it; we do not know."""
    HELD = "held"
    """Set aside with its reason because going on by ourselves would risk money; a person decides."""
    DONE = "done"
    """At rest: exactly one result line is in the output."""


TRANSITIONS: dict[State, frozenset[State]] = {
    State.PENDING: frozenset({State.SUBMITTING, State.STORED, State.FAILED, State.HELD}),
    State.SUBMITTING: frozenset({State.SUBMITTED, State.PENDING, State.FAILED, State.UNKNOWN, State.HELD}),
    State.SUBMITTED: frozenset({State.READY, State.FAILED, State.UNKNOWN, State.HELD}),
    State.READY: frozenset({State.READY, State.STORED, State.FAILED, State.HELD}),
    State.UNKNOWN: frozenset({State.SUBMITTED, State.PENDING, State.FAILED, State.HELD}),
    State.HELD: frozenset({State.PENDING, State.SUBMITTED, State.READY, State.FAILED, State.UNKNOWN}),
    State.STORED: frozenset({State.DONE}),
    State.FAILED: frozenset({State.DONE}),
    State.INVALID: frozenset({State.DONE}),
    State.DONE: frozenset({State.PENDING, State.SUBMITTED, State.READY}),
}
"""From each state to every state it may become.

PENDING becomes STORED as a copy of an equal job; DONE leads on only by ``engine retry`` and ``engine verify``.
"""

BIRTH: frozenset[State] = frozenset({State.PENDING, State.INVALID})
"""The states in which a job line enters the ledger."""

IN_FLIGHT: frozenset[State] = frozenset({State.SUBMITTING, State.SUBMITTED, State.READY})
"""Submitted, not yet at rest, and still moving: what the in-flight cap counts."""

UNWRITTEN: frozenset[State] = frozenset({State.STORED, State.FAILED, State.INVALID})
"""The outcome is decided; the result line is owed."""


def origins_of(after: State) -> frozenset[State]:
    """Return every state that may become ``after``; the ledger guards its updates with it."""
    return frozenset(state for state, targets in TRANSITIONS.items() if after in targets)
