"""Find values in what a server sent, by a path as a provider's description writes it: ``output.0.url``.

A name looks into an object, a whole number into a list, and ``*`` at every item of a list. A path that leads nowhere
finds nothing, because a server may send anything.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

_PATH = re.compile(r"[A-Za-z0-9_-]+(\.([A-Za-z0-9_-]+|\*))*\Z", re.ASCII)
EVERY = "*"


def path_problem(path: str, *, many: bool = False) -> str:
    """Say what is wrong with a path, or return an empty string; only where ``many`` may it lead to several values."""
    if _PATH.match(path) and (many or EVERY not in path):
        return ""
    return f"must be names and numbers with dots between them{', or *' if many else ''}, not {path!r}"


def value_at(body: Any, path: str) -> Any:
    """Return the value at a path that has no ``*``; None if there is none, and for the empty path."""
    return next(iter(values_at(body, path)), None)


def values_at(body: Any, path: str) -> list[Any]:
    """Return every value that a path leads to, in order."""
    found = [body] if path else []
    for step in _steps(path):
        found = [value for place in found for value in _inside(place, step)]
    return found


@cache
def _steps(path: str) -> tuple[str, ...]:
    return tuple(path.split("."))


def _inside(place: Any, step: str) -> list[Any]:
    if isinstance(place, dict):
        return [place[step]] if step in place else []
    if isinstance(place, list) and step == EVERY:
        return place
    if isinstance(place, list) and step.isdigit() and int(step) < len(place):
        return [place[int(step)]]
    return []
