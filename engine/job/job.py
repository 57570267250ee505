"""A job: what is to be generated, under a name that stays the same across restarts.

The id of a job that was given none is a hash of its model and params, so that lines may be reordered and
appended. Knows nothing of lines or of the ledger; whoever counts repeats gives the occurrence.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import orjson

ID_CHARS_MAX = 512
_ID_HEX_DIGITS = 16


@dataclass(frozen=True, slots=True)
class Job:
    """One generation to be paid for once.

    Attributes:
        id: names the job in the ledger, in the result line and in file names.
        model: the model of the provider.
        params: what is sent, exactly; JSON types.
        metadata: comes back in the result line and is never sent; JSON types.
        id_given: False if ``id`` is derived from model and params; a repeat then needs ``occurrence_id``.
    """

    id: str
    model: str
    params: dict[str, Any]
    metadata: Any = None
    id_given: bool = True


def canonical_json(params: object) -> bytes:
    """Return ``params`` in the one spelling that does not depend on the order or the white space it was written in.

    1 and 1.0 stay different, because they are sent differently.
    """
    return orjson.dumps(params, option=orjson.OPT_SORT_KEYS)


def body_sha256(model: str, params: dict[str, Any]) -> bytes:
    """Return the digest that tells whether two submissions are the same to the provider."""
    # No model's name holds a newline, so that no two pairs of model and params meet in the same bytes.
    return hashlib.sha256(model.encode() + b"\n" + canonical_json(params)).digest()


def derived_id(model: str, params: dict[str, Any], occurrence: int) -> str:
    """Return the id of the ``occurrence``-th job (from 1) with this model and these params, where none was given."""
    return occurrence_id(f"job-{body_sha256(model, params).hex()[:_ID_HEX_DIGITS]}", occurrence)


def occurrence_id(first_id: str, occurrence: int) -> str:
    """Return the id of a repeat of the job that was derived ``first_id``; the first keeps it as it is."""
    return first_id if occurrence == 1 else f"{first_id}-{occurrence}"
