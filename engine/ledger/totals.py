"""Running totals of a ledger: what a batch of a million jobs has come to, without reading a million rows.

SQLite's own triggers keep them, inside the very transaction that changes a row, so that no way of changing it can
forget them. Money is counted in whole nano-dollars: a sum of a million fractions would drift. ``engine verify`` holds
them against the rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

from engine.job.records import Status

if TYPE_CHECKING:
    import sqlite3

NANO = 1_000_000_000

_COUNTED = {
    **{status: f"SELECT count(*) FROM job WHERE status = '{status}'" for status in get_args(Status)},  # noqa: S608 (our own words)
    "submissions": "SELECT count(request_id) FROM attempt",
    "spent_nano_usd": f"SELECT coalesce(sum(CAST(round(cost_usd * {NANO}) AS INTEGER)), 0) FROM attempt",  # noqa: S608 (our own words)
    "media_bytes": "SELECT coalesce(sum(bytes), 0) FROM file",
}
"""Each total, and how it is counted from the rows."""


def _add(name: str, amount: str) -> str:
    return f"UPDATE total SET value = value + ({amount}) WHERE name = {name};"  # noqa: S608 (our own words)


def _nano(row: str) -> str:
    return f"ifnull(CAST(round({row}.cost_usd * {NANO}) AS INTEGER), 0)"


_ATTEMPT = _add("'submissions'", "{new_id} - {old_id}") + _add("'spent_nano_usd'", "{new_usd} - {old_usd}")
_NEW = {"new_id": "(NEW.request_id IS NOT NULL)", "new_usd": _nano("NEW")}
_OLD = {"old_id": "(OLD.request_id IS NOT NULL)", "old_usd": _nano("OLD")}
_NO_NEW, _NO_OLD = {"new_id": "0", "new_usd": "0"}, {"old_id": "0", "old_usd": "0"}
_HIGHEST = """
    INSERT INTO price (model, highest_usd) SELECT model, NEW.cost_usd FROM input WHERE job = NEW.job
    ON CONFLICT (model) DO UPDATE SET highest_usd = max(highest_usd, excluded.highest_usd);
"""

TABLES = f"""
CREATE TABLE total (
    name  TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO total VALUES {", ".join(f"('{name}', 0)" for name in _COUNTED)};

CREATE TABLE price (
    model       TEXT PRIMARY KEY,
    highest_usd REAL NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TRIGGER job_born AFTER INSERT ON job WHEN NEW.status IS NOT NULL BEGIN {_add("NEW.status", "1")} END;
CREATE TRIGGER job_decided AFTER UPDATE OF status ON job WHEN OLD.status IS NOT NEW.status BEGIN
    {_add("OLD.status", "-1")}
    {_add("NEW.status", "1")}
END;
CREATE TRIGGER attempt_made AFTER INSERT ON attempt WHEN NEW.request_id IS NOT NULL OR NEW.cost_usd IS NOT NULL BEGIN
    {_ATTEMPT.format(**_NEW, **_NO_OLD)}
END;
CREATE TRIGGER attempt_changed AFTER UPDATE OF request_id, cost_usd ON attempt
WHEN NEW.request_id IS NOT OLD.request_id OR NEW.cost_usd IS NOT OLD.cost_usd BEGIN
    {_ATTEMPT.format(**_NEW, **_OLD)}
END;
CREATE TRIGGER attempt_gone AFTER DELETE ON attempt BEGIN {_ATTEMPT.format(**_NO_NEW, **_OLD)} END;
CREATE TRIGGER attempt_priced_first AFTER INSERT ON attempt WHEN NEW.cost_usd IS NOT NULL BEGIN {_HIGHEST} END;
CREATE TRIGGER attempt_priced AFTER UPDATE OF cost_usd ON attempt
WHEN NEW.cost_usd IS NOT NULL AND NEW.cost_usd IS NOT OLD.cost_usd BEGIN {_HIGHEST} END;
CREATE TRIGGER file_stored AFTER INSERT ON file BEGIN {_add("'media_bytes'", "NEW.bytes")} END;
CREATE TRIGGER file_gone AFTER DELETE ON file BEGIN {_add("'media_bytes'", "-OLD.bytes")} END;
"""  # noqa: S608 (our own words)
"""What a new ledger has of them."""


def totals(db: sqlite3.Connection) -> dict[str, int]:
    """Return every total by its name."""
    return dict(db.execute("SELECT name, value FROM total").fetchall())


def highest_usd(db: sqlite3.Connection) -> dict[str, float]:
    """Return the most that a job of each model was ever charged, in US dollars."""
    return dict(db.execute("SELECT model, highest_usd FROM price").fetchall())


def count_again(db: sqlite3.Connection) -> dict[str, int]:
    """Return what every total should be: counts the rows, which takes seconds for a million jobs."""
    return {name: db.execute(query).fetchone()[0] for name, query in _COUNTED.items()}


def correct(db: sqlite3.Connection) -> None:
    """Set every total to what the rows say."""
    db.executemany("UPDATE total SET value = ? WHERE name = ?", [(n, name) for name, n in count_again(db).items()])
