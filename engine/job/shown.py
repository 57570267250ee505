"""How a value that came from outside stands in a message: short, on one line, everything unprintable escaped, no key.

Pure: knows nothing of what is wrong with it.
"""

from __future__ import annotations

import re

SHOWN_CHARS_MAX = 80
API_KEY = re.compile(r"SG_[0-9A-Fa-f]{8,}")
"""What looks like an API key; nothing that does is ever repeated."""


def shown(value: object) -> str:
    """Return ``value`` as it may stand in a message; a text stands in quotes."""
    text = without_api_keys(str(value).lower() if isinstance(value, bool) else ascii(value))
    return text if len(text) <= SHOWN_CHARS_MAX else text[: SHOWN_CHARS_MAX - 1] + "…"


def without_api_keys(text: str) -> str:
    """Return ``text`` with whatever looks like an API key taken out."""
    return API_KEY.sub("SG_…", text)
