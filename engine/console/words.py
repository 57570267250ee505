"""Quantities as people say them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engine.estimate import Eta


def duration_words(duration_s: float) -> str:
    """Write a duration for people: ``8 s``, ``12 min``, ``7 h 05 min``, ``3 days 4 h``."""
    seconds = round(duration_s)
    if seconds < 100:  # noqa: PLR2004 (up to here seconds say more)
        return f"{seconds} s"
    minutes = round(seconds / 60)
    if minutes < 100:  # noqa: PLR2004 (up to here minutes say more)
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    days, hours = divmod(round(minutes / 60), 24)
    return f"{days:,} days" + (f" {hours} h" if hours else "")


def size_words(size_bytes: int) -> str:
    """Write a size: ``940 B``, ``12 kB``, ``3.4 MB``, ``12.1 GB``; powers of ten, as disks are sold."""
    if size_bytes < 1_000:  # noqa: PLR2004
        return f"{size_bytes} B"
    if size_bytes < 1_000_000:  # noqa: PLR2004
        return f"{size_bytes / 1e3:.0f} kB"
    return f"{size_bytes / 1e6:.1f} MB" if size_bytes < 1e9 else f"{size_bytes / 1e9:.1f} GB"  # noqa: PLR2004


def eta_words(eta: Eta) -> str:
    """Write an estimate: ``3 h 10 min, give or take 20 min``."""
    spread = f", give or take {duration_words(eta.spread_s)}" if eta.spread_s >= 1 else ""
    return f"{duration_words(eta.likely_s)}{spread}"
