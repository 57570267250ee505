"""What a person names on the command line of a run that exists: jobs by their ids, failures by their kinds.

A name that nobody knows is refused before anything is begun, with the nearest one that is known.
"""

from __future__ import annotations

import re
import shlex
from contextlib import closing
from typing import TYPE_CHECKING

from engine.errors import UsageError, nearest
from engine.job.records import FAILURE_KINDS
from engine.ledger.cancel_book import ids_like, place_of
from engine.ledger.job_history import invalid_line
from engine.ledger.schema import open_for_reading
from engine.ledger.survey import causes

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

    from engine.disk.run_dir import RunDir
    from engine.ledger.cancel_book import Place

UNKNOWN_TOLD_MAX = 5


def places_of(directory: RunDir, ids: Iterable[str], *, looked_up_by: str) -> list[Place]:
    """Return where the jobs with these ids are, each once.

    Args:
        directory: of the run.
        ids: as they were given.
        looked_up_by: the flags of ``engine status`` that list the jobs which could be meant.

    Raises:
        UsageError: no job has one of the ids.
    """
    with closing(open_for_reading(directory.ledger)) as db:
        places = [place_of(db, id_) for id_ in dict.fromkeys(ids)]
        unknown = [unknown_words(db, place.id) for place in places if place.job is None]
    if unknown:
        where = f"engine status {shlex.quote(str(directory.root))} {looked_up_by}"
        raise UsageError("; ".join(unknown[:UNKNOWN_TOLD_MAX]), hint=f"nothing was begun or changed; the ids: {where}")
    return places


def check_kinds(directory: RunDir, kinds: Iterable[str]) -> None:
    """See that jobs can fail of each of these kinds.

    Raises:
        UsageError: there is no such kind.
    """
    with closing(open_for_reading(directory.ledger)) as db:
        here = [cause.kind for cause in causes(db) if cause.status == "failed"]
    known = [*here, *(kind for kind in FAILURE_KINDS if kind not in here)]
    for kind in kinds:
        if kind not in known:
            raise UsageError(
                f"jobs do not fail of the kind {kind!r}{nearest(kind, known)}",
                hint=f"{_kinds_words(here)}; the kinds are {', '.join(known)}; nothing was begun",
            )


def _kinds_words(here: list[str]) -> str:
    return f"in this run jobs failed of {', '.join(here)}" if here else "no job of this run has failed"


def unknown_words(db: sqlite3.Connection, id_: str) -> str:
    """Say that no job has an id, and why or which one may be meant."""
    invalid = invalid_line(db, id_)
    if invalid is not None:
        return f"line {invalid.line} with the id {id_!r} is no job, because it is invalid: {invalid.message}"
    alike = ids_like(db, id_)
    plain = _without_padding(id_)
    padded = [other for other in alike if _without_padding(other) == plain]
    return f"no job of this run has the id {id_!r}{nearest(id_, padded or alike)}"


def _without_padding(id_: str) -> str:
    """Return an id with each number in it as it is counted: ``take-007`` → ``take-7``."""
    return re.sub(r"0+(?=\d)", "", id_)
