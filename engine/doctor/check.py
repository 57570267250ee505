"""What one check found, as a value, and what all of them come to. Pure, but for the bound in time."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from engine.errors import EngineError, ExitCode
from engine.refusals import refusal_hint

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

DOCTOR_VERSION = 1
CHECK_S_MAX = 20.0
Level: TypeAlias = Literal["ok", "warning", "problem"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that was looked at.

    Attributes:
        check: its name, a constant.
        level: ``ok``; ``warning``: a run would work, but not as well as it could; ``problem``: it would not.
        message: what was found.
        hint: what to do about it; empty if nothing is to be done.
        code: how a problem ends the command.
    """

    check: str
    level: Level
    message: str
    hint: str = ""
    code: ExitCode = ExitCode.SOME_FAILED


@dataclass(frozen=True, slots=True, kw_only=True)
class Examination:
    """What all checks found.

    Attributes:
        checks: each of them, in a fixed order.
        history_shape: keys and types of what the request history answered, without any value; None if it did not.
    """

    checks: tuple[Check, ...]
    history_shape: object

    def count(self, level: Level) -> int:
        """Return how many checks came out so."""
        return sum(check.level == level for check in self.checks)

    @property
    def exit_code(self) -> ExitCode:
        """How the command ends: the configuration before the key, the key before all else; warnings are no reason."""
        codes = {check.code for check in self.checks if check.level == "problem"}
        return next((code for code in (ExitCode.USAGE, ExitCode.ACCOUNT) if code in codes), min(codes, default=OK))


OK = ExitCode.SUCCEEDED


def as_record(found: Examination) -> dict[str, Any]:
    """Return the examination as JSON types; FORMATS.md describes each key."""
    return {
        "version": DOCTOR_VERSION,
        "exit_code": int(found.exit_code),
        "problems": found.count("problem"),
        "warnings": found.count("warning"),
        "checks": [
            {"check": check.check, "level": check.level, "message": check.message, "hint": check.hint}
            for check in found.checks
        ],
        "history_shape": found.history_shape,
    }


def ok(name: str, message: str) -> Check:
    """Return a check that found nothing to do."""
    return Check(check=name, level="ok", message=message)


def warning(name: str, message: str, hint: str) -> Check:
    """Return a check that found something a run can live with."""
    return Check(check=name, level="warning", message=message, hint=hint)


def problem(name: str, message: str, hint: str, code: ExitCode = ExitCode.SOME_FAILED) -> Check:
    """Return a check that found what a run would fail for."""
    return Check(check=name, level="problem", message=message, hint=hint, code=code)


async def bounded(
    names: Sequence[str], examine: Awaitable[list[Check]], *, within_s: float | None = None
) -> list[Check]:
    """Return what ``examine`` found; if it breaks or takes too long, a problem under each of its names."""
    limit_s = CHECK_S_MAX if within_s is None else within_s
    try:
        return await asyncio.wait_for(examine, limit_s)
    except TimeoutError:
        message, hint = (
            f"there was no answer within {limit_s:.0f} s",
            "a disk or a server hangs: look whether it answers to others (df, ping)",
        )
    except EngineError as error:
        message, hint = str(error), error.hint
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        message, hint = f"{where}{error.strerror or type(error).__name__}", f"{refusal_hint(error)}, then ask again"
    return [problem(name, message, hint) for name in names]
