"""Find the key: in an environment variable or a file, never in the arguments of a command.

The key is returned to whoever opens the connection and is kept nowhere else.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from engine.errors import AccountError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

SIMULATOR_KEY = "SG_0123456789abcdef"
"""What the simulator is shown; a real key never goes there."""


def find_api_key(variable: str, file: Path | None, *, environ: Mapping[str, str] = os.environ) -> str:
    """Return the key.

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
    return key
