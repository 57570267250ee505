"""Outputs that are not what was written, each kind by itself."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from engine.audit.findings import Kind

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.audit.conftest import Audited

Lines = list[bytes]


def without_one(lines: Lines) -> Lines:
    return [*lines[:2], *lines[3:]]


def one_twice(lines: Lines) -> Lines:
    return [*lines, lines[2]]


def one_edited(lines: Lines) -> Lines:
    return [*lines[:2], lines[2].replace(b"succeeded", b"failed"), *lines[3:]]


def one_torn(lines: Lines) -> Lines:
    return [*lines[:2], lines[2][:40] + b"\n", *lines[3:]]


def one_of_another_run(lines: Lines) -> Lines:
    return [*lines[:2], json.dumps({**json.loads(lines[2]), "seq": 77}).encode() + b"\n", *lines[3:]]


def two_swapped(lines: Lines) -> Lines:
    return [lines[1], lines[0], *lines[2:]]


@pytest.mark.parametrize(
    ("edit", "kinds"),
    [
        (without_one, {Kind.LINE_MISSING}),
        (one_edited, {Kind.LINE_ALTERED}),
        (one_torn, {Kind.LINE_TORN, Kind.LINE_MISSING}),
        (one_of_another_run, {Kind.LINE_FOREIGN, Kind.LINE_MISSING}),
        (lambda _: [], {Kind.LINE_MISSING}),
        (lambda lines: lines[:-1], {Kind.LINE_MISSING}),
        (lambda lines: [b"[1]\n", b'{"seq": "0"}\n', b"\xff\n", *lines[3:]], {Kind.LINE_TORN, Kind.LINE_MISSING}),
    ],
)
def test_a_line_that_is_missing_altered_torn_or_foreign_is_named(
    audited: Audited, root: Path, edit: Callable[[Lines], Lines], kinds: set[Kind]
) -> None:
    output = root / "results.jsonl"
    output.write_bytes(b"".join(edit(output.read_bytes().splitlines(keepends=True))))
    assert {finding.kind for finding in audited().findings} == kinds


def test_a_line_that_is_there_twice_within_what_was_written_is_named(audited: Audited, root: Path) -> None:
    output = root / "results.jsonl"
    lines = output.read_bytes().splitlines(keepends=True)
    output.write_bytes(b"".join([*lines[:3], lines[1], *lines[3:]]))
    assert Kind.LINE_DOUBLED in {finding.kind for finding in audited().findings}


def test_lines_in_another_order_are_each_still_theirs(audited: Audited, root: Path) -> None:
    output = root / "results.jsonl"
    output.write_bytes(b"".join(two_swapped(output.read_bytes().splitlines(keepends=True))))
    assert audited().findings == ()


def test_what_a_killed_process_left_behind_the_mark_is_cut_off_by_the_next_and_no_finding(
    audited: Audited, root: Path
) -> None:
    with (root / "results.jsonl").open("ab") as output:
        output.write(b'{"id":"torn')
    assert audited().findings == ()


def test_an_output_that_is_gone_is_named(audited: Audited, root: Path) -> None:
    (root / "results.jsonl").unlink()
    (finding,) = audited().findings
    assert finding.kind is Kind.OUTPUT_MISSING
