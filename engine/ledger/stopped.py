"""Why the process that worked last ended early, to be read by whoever comes later.

What holds if the books are never closed is noted when the work begins; closing them replaces it. So there is a reason
even if nothing could be written any more. Knows nothing of what a reason leads to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from engine.errors import EngineError


class Stopped(msgspec.Struct, frozen=True):
    """One reason.

    Attributes:
        kind: one word for programs, see "Kinds of stop" in FORMATS.md; ``killed`` or ``error`` if no stop was decided.
        message: a sentence for people.
        hint: what to do about it; may be empty.
    """

    kind: str
    message: str
    hint: str


KILLED = Stopped(
    "killed",
    "its process ended without closing its books: it was killed, it broke, or the machine went down",
    "go on with 'engine resume'; what it did until then is in run.log",
)


def broken_by(error: EngineError) -> Stopped:
    """Return the reason of a process that an error ended."""
    return Stopped("error", str(error), error.hint)


def as_fact(stopped: Stopped | None) -> str | None:
    """Return a reason as it stands among the facts of a run."""
    return None if stopped is None else msgspec.json.encode(stopped).decode()


def stopped_in(facts: Mapping[str, Any], *, running: bool) -> Stopped | None:
    """Return why the last process ended early, by the facts of a run; None if it did not, or ``running`` again."""
    fact = facts.get("stopped")
    return None if running or not fact else msgspec.json.decode(fact, type=Stopped)
