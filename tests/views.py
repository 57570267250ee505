"""How a run may stand, for tests of what is shown of it."""

from __future__ import annotations

from typing import Any

from engine.scheduling.view import View


def a_view(waits_for: str = "", **others: Any) -> View:
    """Return a view, held up if it waits for something."""
    usual = {"is_held_up": bool(waits_for), "submit_pace_per_minute": 50.0, "shortfall": ""}
    return View(waits_for, **{**usual, **others})
