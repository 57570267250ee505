"""The name of a model, and of the provider before it: ``fal:fal-ai/flux/dev``; without one, the run's first provider.

The name of the model becomes part of a URL, so it is narrow; a colon is in none.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from engine.errors import nearest
from engine.job.shown import shown

if TYPE_CHECKING:
    from collections.abc import Collection

MODEL_NAME_CHARS_MAX = 128
COLON = ":"
FIRST_PROVIDER = ""
"""The name of the provider that a model without a prefix belongs to."""

_MODEL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,127}\Z", re.ASCII)
_PROVIDER_NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}\Z", re.ASCII)


def model_name_problem(name: str) -> str:
    """Say what is wrong with the name of a model, or return an empty string; the name becomes part of a URL."""
    # A URL library resolves the segments "", "." and "..": the job would be sent to another address.
    if _MODEL_NAME.match(name) and not {"", ".", ".."} & set(name.split("/")) and ".." not in name:
        return ""
    return (
        f"must be the name of a model, such as 'kling-2.6': at most {MODEL_NAME_CHARS_MAX} letters, digits,"
        f" '.', '_', '-' and single '/', not {shown(name)}"
    )


def provider_name_problem(name: str) -> str:
    """Say what is wrong with the name that a run gives a further provider, or return an empty string."""
    if _PROVIDER_NAME.match(name):
        return ""
    return f"must be a name of at most 32 lowercase letters, digits, '_' and '-', such as 'fal', not {shown(name)}"


def job_model_problem(name: str, providers: Collection[str]) -> str:
    """Say what is wrong with a model as a job line names it, or return an empty string.

    Args:
        name: the model, perhaps with a provider before it.
        providers: the names of the run's further providers.
    """
    provider, colon, model = name.rpartition(COLON)
    if colon and provider not in providers:
        known = f"; there are {', '.join(sorted(providers))}" if providers else ": there is no [providers] table"
        return (
            f"names the provider {shown(provider)}, which the configuration lacks{nearest(provider, providers)}{known}"
        )
    return model_name_problem(model)


def provider_of(model: str) -> str:
    """Return the name of the provider before a model; ``FIRST_PROVIDER`` if there is none."""
    return model.rpartition(COLON)[0]


def bare_model(model: str) -> str:
    """Return the model as its provider calls it."""
    return model.rpartition(COLON)[2]


def qualified_model(provider: str, model: str) -> str:
    """Return the model of a provider as a run calls it."""
    return f"{provider}{COLON}{model}" if provider else model
