"""Find the key: in an environment variable or a file, never in the arguments of a command.

The key is returned to whoever opens the connection and is kept nowhere else; other programs do not see it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from engine.errors import AccountError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

SIMULATOR_KEY = "SG_0123456789abcdef"
"""What the simulator is shown; a real key never goes there."""
KEY_LENGTH_MIN = 8
"""A shorter key could stand in any value by chance; it is looked for as a whole value only."""


@dataclass(frozen=True, slots=True)
class FoundKey:
    """A key, and where it was found.

    Attributes:
        key: never to be written anywhere.
        place: where it was found, for people.
    """

    key: str = field(repr=False)
    place: str


def find_api_key(variable: str, file: Path | None, *, environ: Mapping[str, str] = os.environ) -> FoundKey:
    """Return the key: the environment comes before the file.

    Raises:
        AccountError: it is nowhere, or cannot be a key.
    """
    key = environ.get(variable, "").strip()
    place = f"the environment variable {variable}"
    if not key and file is not None:
        place = f"the file {file}"
        try:
            key = file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise AccountError(
                f"the key cannot be read from {place} ({type(error).__name__})", hint="see provider.api_key_file"
            ) from None
    if not key:
        raise AccountError(
            f"there is no API key: {place} is not set or empty",
            hint=f"export {variable}=... (the provider's console shows it), or name a file in provider.api_key_file",
        )
    if not key.isascii() or not key.isprintable() or " " in key:
        raise AccountError(
            f"what {place} holds cannot be an API key: it contains spaces or characters that no key has",
            hint="copy the key again, without quotation marks or line breaks",
        )
    return FoundKey(key, place)


def without_key(environ: Mapping[str, str], *, key: str, key_variables: Collection[str]) -> dict[str, str]:
    """Return the variables that another program may see: none is the key's, and none has the key in its value."""

    def holds_key(value: str) -> bool:
        return value.strip() == key or (len(key) >= KEY_LENGTH_MIN and key in value)

    return {
        name: value for name, value in environ.items() if name not in key_variables and not (key and holds_key(value))
    }
