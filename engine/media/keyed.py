"""The one case in which a download shows a key: a file that the provider's own API serves, to its customers alone.

Holds what the request needs and says for which addresses; that the key goes no further, through no redirect either, is
``transfer``'s business.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from yarl import URL

REDACTED = "[key]"


@dataclass(frozen=True, slots=True)
class Keyed:
    """What opens the provider's own addresses.

    Attributes:
        covers: whether an address is the provider's own.
        headers: what a request there has to show.
        key: the key in them, which must be repeated nowhere.
    """

    covers: Callable[[URL], bool]
    headers: Mapping[str, str] = field(repr=False)
    key: str = field(repr=False)

    def without_key(self, text: str) -> str:
        """Return what a server said without the key, which it may have repeated."""
        return text.replace(self.key, REDACTED)
