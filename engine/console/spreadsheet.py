"""Texts in the cells of a table, so that a spreadsheet which opens it runs none of them.

Ids, prompts, metadata and a server's messages come from outside, and a spreadsheet takes a cell that begins like a
formula for one, with all that formulas can do (https://owasp.org/www-community/attacks/CSV_Injection).
"""

from __future__ import annotations

import re

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
"""A spreadsheet takes a cell that begins so for a formula."""

_FORMULA = re.compile(r"'*[=+\-@\t\r]")
_NUMBER = re.compile(r"[+-](?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")


def inert(text: str) -> str:
    """Return ``text`` with a ``'`` before it if a spreadsheet would run it; a number stays as it is.

    A text that looks as if it had already got its ``'`` gets one more, so that a reader who takes one off wherever a
    formula follows has exactly what was there.
    """
    return f"'{text}" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text
