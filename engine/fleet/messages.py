"""What the coordinator and the bridge say to each other: one JSON object a line, and nothing else.

Orders go to the bridge, events come back. No key, no job, no money is in any of them. Pure.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from engine.job.records import StoredFile  # noqa: TC001 (msgspec reads the annotations at run time)
from engine.media.failures import FailureKind  # noqa: TC001 (as above)

LINE_BYTES_MAX = 1024 * 1024


class Message(msgspec.Struct, frozen=True, kw_only=True, tag_field="type"):
    """One line."""


# --- orders ---------------------------------------------------------------------------------------


class Open(Message, frozen=True, kw_only=True, tag="open"):
    """Join the fleet; the first order, once.

    Attributes:
        address: as a person gave it.
        workers: how many workers a private fleet gets; None to use a cluster's nodes.
        places: files that each worker downloads at the same time.
        engine: our version; a worker with another is refused.
        media_dir: where files go; every worker must see it.
        path_prefix: what stands before a file's name in its record.
        marker: the name of a file in ``media_dir``, and what it holds: a worker that cannot read it sees another disk.
        marker_text: what the marker holds.
        allow_private_hosts, bytes_max, reserve_bytes: as for the local downloader.
    """

    address: str
    workers: int | None
    places: int
    engine: str
    media_dir: str
    path_prefix: str
    marker: str
    marker_text: str
    allow_private_hosts: bool
    bytes_max: int
    reserve_bytes: int


class Fetch(Message, frozen=True, kw_only=True, tag="fetch"):
    """Download one file; answered by ``Stored``, ``Failed`` or ``Broken`` with the same id."""

    id: int
    worker: str
    url: str
    name: str
    bytes_expected: int | None
    content_type: str | None


class Cancel(Message, frozen=True, kw_only=True, tag="cancel"):
    """Leave a file alone; it is answered all the same."""

    id: int


class Replace(Message, frozen=True, kw_only=True, tag="replace"):
    """End a worker that does not answer, and put another in its place."""

    worker: str


class Dismiss(Message, frozen=True, kw_only=True, tag="dismiss"):
    """End a worker and use its node no more."""

    worker: str


class Measure(Message, frozen=True, kw_only=True, tag="measure"):
    """Time a write and a read of so many bytes on the storage; answered by ``Measured``."""

    worker: str
    bytes: int


Order: TypeAlias = Open | Fetch | Cancel | Replace | Dismiss | Measure

# --- events ---------------------------------------------------------------------------------------

Refusal: TypeAlias = Literal["engine", "storage", "disk"]
"""Why a worker is not used: it runs another engine or none, it does not see the storage, its disk fails or is full."""
Cause: TypeAlias = Literal["address", "version", "token", "ray"]
"""Why there is no fleet: nobody answers there, another Ray or Python, no or a wrong token, Ray itself."""


class Opened(Message, frozen=True, kw_only=True, tag="opened"):
    """The fleet is joined; ``workers`` of it are being looked at."""

    ray: str
    python: str
    secured: bool
    workers: int


class Joined(Message, frozen=True, kw_only=True, tag="joined"):
    """A worker is ready: it runs our version and sees the storage."""

    worker: str
    name: str


class Left(Message, frozen=True, kw_only=True, tag="left"):
    """A worker is gone; it may join again."""

    worker: str
    reason: str


class Refused(Message, frozen=True, kw_only=True, tag="refused"):
    """A worker cannot be used."""

    worker: str
    name: str
    cause: Refusal
    message: str


class Stored(Message, frozen=True, kw_only=True, tag="stored"):
    """A file is on disk, verified and durable."""

    id: int
    file: StoredFile


class Failed(Message, frozen=True, kw_only=True, tag="failed"):
    """A file cannot be had; see ``DownloadError``."""

    id: int
    kind: FailureKind
    message: str
    http_status: int | None = None
    first_bytes: str = ""


class Broken(Message, frozen=True, kw_only=True, tag="broken"):
    """The worker could not do its work, which says nothing of the file; ``disk`` if its storage refused."""

    id: int
    reason: str
    disk: bool = False


class Measured(Message, frozen=True, kw_only=True, tag="measured"):
    """How quick the storage is from a worker, in bytes a second; ``error`` instead if it cannot be used."""

    worker: str
    write_bytes_per_s: float = 0.0
    read_bytes_per_s: float = 0.0
    error: str = ""


class Unusable(Message, frozen=True, kw_only=True, tag="unusable"):
    """There is no fleet; the bridge ends."""

    cause: Cause
    message: str


class Alive(Message, frozen=True, kw_only=True, tag="alive"):
    """A sign of life of the bridge itself."""


Event: TypeAlias = Opened | Joined | Left | Refused | Stored | Failed | Broken | Measured | Unusable | Alive
Outcome: TypeAlias = Stored | Failed | Broken

_ENCODER = msgspec.json.Encoder()
_ORDERS: msgspec.json.Decoder[Order] = msgspec.json.Decoder(Order)
_EVENTS: msgspec.json.Decoder[Event] = msgspec.json.Decoder(Event)


def encoded(message: Order | Event) -> bytes:
    """Return a message as a line."""
    return _ENCODER.encode(message) + b"\n"


def order_of(line: bytes) -> Order:
    """Return the order that a line holds.

    Raises:
        msgspec.MsgspecError: it holds none.
    """
    return _ORDERS.decode(line)


def event_of(line: bytes) -> Event:
    """Return the event that a line holds.

    Raises:
        msgspec.MsgspecError: it holds none.
    """
    return _EVENTS.decode(line)
