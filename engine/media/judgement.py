"""Decide whether a body that has ended is the whole file.

Two witnesses are heard: what the hosts said of its length, and what the content shows of itself. Where no length was
said by anyone and the content cannot show its end either, the same bytes must come twice. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from engine.media.answer_head import Refused
from engine.media.content import BadMediaError

if TYPE_CHECKING:
    from engine.media.verify import MediaFacts


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of a body besides its content.

    Attributes:
        bytes: how many came.
        bytes_expected: how many the provider announced.
        total: how many the host announced; they came, or the try would have failed.
        framed: whether the protocol marked the end.
        interrupted: what broke the body off.
        repeated: whether an earlier try brought the very same bytes.
    """

    bytes: int
    bytes_expected: int | None
    total: int | None
    framed: bool
    interrupted: str | None
    repeated: bool


def proved(found: MediaFacts | BadMediaError, evidence: Evidence) -> tuple[str, ...] | Refused:
    """Return the checks that prove the file whole, or why this try has failed."""
    expected = evidence.bytes_expected
    if isinstance(found, BadMediaError):
        return _flaw(f"not a whole media file: {found.reason}", evidence, more_may_come=found.truncated)
    if expected is not None and evidence.bytes != expected:
        message = f"{evidence.bytes} bytes came where the provider announced {expected}"
        return _flaw(message, evidence, more_may_come=evidence.bytes < expected)
    if expected is not None or evidence.total is not None:
        return "length", *found.checks
    if evidence.framed and evidence.interrupted is None:
        return "framing", *found.checks
    if not found.end_certain and not evidence.repeated:
        return Refused("unreachable", "nothing shows where the file ends; it must come twice", forget=True)
    return found.checks if found.end_certain else ("repeat", *found.checks)


def _flaw(message: str, evidence: Evidence, *, more_may_come: bool) -> Refused:
    """Tell a file that is bad from one that was cut on its way, which nobody can see when no length was said."""
    broken_off = evidence.total is None and evidence.interrupted is not None
    if more_may_come and (broken_off or not evidence.framed) and not evidence.repeated:
        return Refused("unreachable", f"{message}; {evidence.interrupted or 'the host marked no end'}")
    return Refused("bad_media", message, forget=True)
