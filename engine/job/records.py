"""The records a job leaves behind: its files, its error, its result line. FORMATS.md describes each field.

Knows nothing of where the records are kept or sent; turns values into bytes and back.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec
import orjson

Status = Literal["succeeded", "failed", "invalid"]


class StoredFile(msgspec.Struct, frozen=True, kw_only=True):
    """One verified file on disk.

    Attributes:
        path: relative to the run directory.
        url: where it came from.
        bytes: its length.
        sha256: lowercase hex digest of the whole content.
        content_type: the media type found in the content, or the server's word where the content tells nothing.
        checks: what was verified, for example ``["length", "mp4"]``.
    """

    path: str
    url: str
    bytes: int
    sha256: str
    content_type: str
    checks: tuple[str, ...]


FAILURE_KINDS = (
    "input_file",
    "rejected",
    "forbidden",
    "server_error",
    "generation_failed",
    "cancelled",
    "no_media",
    "bad_media",
    "too_large",
    "blocked_address",
    "expired",
    "not_accepted",
    "unknown_outcome",
    "request_id_taken",
    "internal",
)
"""What a job fails of, or is set aside for; a program's own provider may have kinds of its own."""


class JobError(msgspec.Struct, frozen=True, kw_only=True):
    """Why a job failed or a line is invalid.

    Attributes:
        kind: one word of the table in FORMATS.md.
        message: a sentence; the provider's own text where there is one.
        http_status: the status the provider answered with, if that decided.
        retryable: whether the same job may well succeed if it is submitted again.
        paid: whether the provider charged, or may have charged, for it.
    """

    kind: str
    message: str
    http_status: int | None = None
    retryable: bool = False
    paid: bool = False


class Timings(msgspec.Struct, frozen=True, kw_only=True):
    """When things happened, and how long they took at the provider."""

    submitted_utc: str | None = None
    completed_utc: str | None = None
    stored_utc: str | None = None
    queue_s: float | None = None
    inference_s: float | None = None
    lag_s: float | None = None


class ResultLine(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the output: everything known of one input line that is at rest.

    ``id`` is None only for an invalid line that gave none; ``seq`` is the line's place in the output, from 0.
    """

    id: str | None
    line: int
    seq: int
    status: Status
    model: str | None
    request_id: str | None
    output: Any
    files: tuple[StoredFile, ...]
    error: JobError | None
    cost_usd: float | None
    attempts: int
    timings: Timings
    metadata: Any


def encode_line(result: ResultLine) -> bytes:
    """Return the result as one line of UTF-8 JSON, ending in a newline and holding no other."""
    return orjson.dumps(msgspec.to_builtins(result), option=orjson.OPT_APPEND_NEWLINE)


def encode_json(value: Any) -> bytes:
    """Return ``value`` (JSON types, or records of this file) as compact JSON, in the order it was written."""
    return orjson.dumps(value, default=msgspec.to_builtins)


def decode_json(content: bytes) -> Any:
    """Return the value of JSON bytes that the engine itself has written."""
    return orjson.loads(content)
