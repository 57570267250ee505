"""What a known-bad variant of the engine is: an edit that breaks one promise on purpose, and the test that must notice.

The text of the edit must stand in its file exactly once, so that a variant which no longer fits the code is seen at
once.
"""

from __future__ import annotations

from typing import NamedTuple


class Variant(NamedTuple):
    """One sabotage.

    Attributes:
        name: what is done, in a few words.
        promise: which promise it breaks.
        file: in which file.
        text, instead: what stands there, and what is put in its place.
        test: which test must fail, as pytest names it without its parameters.
    """

    name: str
    promise: str
    file: str
    text: str
    instead: str
    test: str
