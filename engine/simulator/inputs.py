"""Check a job's inputs the way the provider does: after the job was queued.

A refused body is accepted with 200, runs for a few milliseconds and ends FAILED with the text returned
here. Knows nothing of HTTP.
"""

from __future__ import annotations

from urllib.parse import urlsplit

_AVATAR_REQUIRED = ("image_url", "audio_url")


def refused_input(model: str, body: dict[str, object]) -> str | None:
    """Return why the inputs are refused, or None."""
    for name in _required(model):
        if body.get(name) in (None, ""):
            return f"Input validation error: '{name}' is a required property"
    for name, value in body.items():
        if name.endswith("_url") and value not in (None, "") and not _is_public_url(value):
            return f"Input validation error: '{name}' must be a public http(s) URL"
    return None


def _required(model: str) -> tuple[str, ...]:
    return _AVATAR_REQUIRED if model.startswith("kling-") and model.endswith("-avatar") else ()


def _is_public_url(value: object) -> bool:
    if not isinstance(value, str):
        return False
    try:
        parts = urlsplit(value)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname)
