"""How a number of things is written for people, and the verb that agrees with it. Pure."""

from __future__ import annotations


def counted(count: int, noun: str) -> str:
    """Write a number of things: ``1 file``, ``3 files``, ``1 copy``, ``3 copies``."""
    if count == 1:
        return f"{count} {noun}"
    plural = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
    return f"{count:,} {plural}"


def agreeing(count: int, one: str, more: str) -> str:
    """Return the form of a verb for so many: ``is`` or ``are``."""
    return one if count == 1 else more
