"""Move files that are wrong, or nobody's, out of the way: into ``set-aside/`` beside them. Deletes nothing.

Objects of a store are moved by ``object_audit``.
"""

from __future__ import annotations

import os
from itertools import count
from typing import TYPE_CHECKING

from engine.audit.file_audit import SET_ASIDE
from engine.audit.findings import Kind
from engine.disk.durable import make_directory, publish, sync_directory
from engine.store_url import is_store_url

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from engine.audit.findings import Finding

MOVED = frozenset({Kind.FILE_TRUNCATED, Kind.FILE_ALTERED, Kind.FILE_ORPHANED})


def set_aside(findings: Iterable[Finding], root: Path) -> list[Path]:
    """Move what the findings are about; return where each went.

    A file of the same name that was set aside before stays; the new one is numbered.

    Raises:
        OSError: the disk refuses.
    """
    subjects = [finding.subject for finding in findings if finding.kind in MOVED]
    paths = [root / subject for subject in subjects if not is_store_url(subject)]
    return [_moved(path) for path in paths if os.path.lexists(path)]


def _moved(path: Path) -> Path:
    make_directory(path.parent / SET_ASIDE)
    for number in count(1):
        name = path.name if number == 1 else f"{path.stem}-{number}{path.suffix}"
        target = path.parent / SET_ASIDE / name
        try:
            publish(path, target)
        except FileExistsError:
            continue
        sync_directory(path.parent)
        return target
    raise AssertionError("numbers do not end")
