"""What one provider calls things: where it is asked, where the key stands, and how it words a job.

The world is the same for all: what is accepted, worked on, billed and forgotten. Each dialect only says it in its
own way. Knows nothing of faults.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from engine.simulator.timestamps import Notation, write_instant

if TYPE_CHECKING:
    from collections.abc import Mapping

    from engine.simulator.job import Job, JobState
    from engine.simulator.world import World


class Asked(NamedTuple):
    """What a submission asks for."""

    model: str
    inputs: dict[str, object]


class Worded(NamedTuple):
    """A JSON reply with its HTTP status."""

    body: dict[str, Any]
    http_status: int = 200


class CancelRoute(NamedTuple):
    """How a job is cancelled.

    Attributes:
        method, path: the route, with ``{request_id}``.
        charged_when: the states in which a job that is cancelled is charged.
        deletes: whether its record is gone then, also that of a job that had ended.
    """

    method: str
    path: str
    charged_when: frozenset[JobState]
    deletes: bool = False


class Dialect(Protocol):
    """One provider's way to say things.

    Attributes:
        name: the provider's.
        submit_path: the route of a submission; ``{model}`` if the model stands there.
        submits_below: what the paths of all billable requests begin with.
        status_path, result_path: the routes that are asked about a job, with ``{request_id}``; no second one where
            the status holds the result, and none where the reply to a submission is the result.
        unknown_word: a word for a running job that nobody documented.
        cancel: how a job is cancelled; None where that is not possible.
    """

    name: str
    submit_path: str
    submits_below: tuple[str, ...]
    status_path: str
    result_path: str
    unknown_word: str
    cancel: CancelRoute | None

    def key_of(self, headers: Mapping[str, str]) -> str | None:
        """Return the key that a request shows."""
        ...

    def asked(self, match: Mapping[str, str], body: dict[str, object]) -> Asked | None:
        """Return what a submission asks for; None if its body has not the provider's form."""
        ...

    def accepted(self, world: World, job: Job, origin: str) -> Worded:
        """Word the acceptance of a job; the addresses in it begin with ``origin``."""
        ...

    def status(self, world: World, job: Job, state: JobState | str) -> Worded:
        """Word how a job is doing; ``state`` may be the word that nobody documented."""
        ...

    def result(self, world: World, job: Job) -> Worded:
        """Word the result of a completed job."""
        ...

    def cancelled(self, world: World, job: Job, before: JobState) -> Worded | None:
        """Word the answer to a cancellation of a job that was in this state; None for one without a body (204)."""
        ...


def bearer(headers: Mapping[str, str], scheme: str = "Bearer") -> str | None:
    """Return the key of an Authorization header of this scheme."""
    shown, _, key = headers.get("Authorization", "").partition(" ")
    return key if shown == scheme and key else None


def created(job: Job) -> str:
    """Return when a job was accepted, as most write it."""
    return write_instant(job.created_utc, Notation.ISO_Z)
