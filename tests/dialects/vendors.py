"""The presets beside Segmind, each with a model to try it with, and how the simulator is told to speak like it."""

from __future__ import annotations

SYNCHRONOUS = "segmind-sync"
"""The preset whose submissions are answered with their results; it has tests of its own."""

MODELS = {
    "fal": "fal-ai/kling-video/v1/pro/ai-avatar",
    "replicate": "somebody/talking-head",
    "runway": "gen4_turbo",
    "bfl": "flux-pro-1.1",
    "luma": "ray-2",
}


def speaking(name: str) -> tuple[str, ...]:
    """Return the settings of a scenario that speaks like a vendor."""
    return (f"dialect={name}", "access.models=['*']")
