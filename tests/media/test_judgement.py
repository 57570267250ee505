"""When a body that has ended is the whole file."""

from __future__ import annotations

from dataclasses import replace

from engine.media.answer_head import Refused
from engine.media.content import BadMediaError
from engine.media.judgement import Evidence, proved
from engine.media.verify import MediaFacts

FACTS = MediaFacts("video/mp4", ".mp4", ("mp4",), end_certain=True)
OPEN = MediaFacts("audio/mpeg", ".mp3", ("mp3",), end_certain=False)
ANNOUNCED = Evidence(bytes=9, bytes_expected=None, total=9, framed=True, interrupted=None, repeated=False)
CLOSED = replace(ANNOUNCED, total=None, framed=False)
CUT = BadMediaError("cut", truncated=True)


def kind(found: MediaFacts | BadMediaError, evidence: Evidence) -> str:
    verdict = proved(found, evidence)
    return verdict.kind if isinstance(verdict, Refused) else "+".join(verdict)


def test_a_length_and_a_structure_prove_a_file() -> None:
    assert kind(FACTS, ANNOUNCED) == "length+mp4"
    assert kind(FACTS, replace(CLOSED, bytes_expected=9)) == "length+mp4"
    assert kind(OPEN, replace(CLOSED, framed=True)) == "framing+mp3"


def test_without_any_length_the_structure_decides() -> None:
    assert kind(FACTS, CLOSED) == "mp4"
    assert kind(FACTS, replace(CLOSED, interrupted="reset")) == "mp4"
    assert kind(CUT, CLOSED) == "unreachable"


def test_without_a_length_or_a_marked_end_the_same_bytes_must_come_twice() -> None:
    assert kind(OPEN, CLOSED) == "unreachable"
    assert kind(OPEN, replace(CLOSED, repeated=True)) == "repeat+mp3"
    assert kind(OPEN, replace(CLOSED, framed=True, interrupted="reset")) == "unreachable"


def test_a_cut_that_comes_twice_is_the_files_own() -> None:
    assert kind(CUT, replace(CLOSED, repeated=True)) == "bad_media"


def test_a_cut_inside_an_announced_length_is_bad_media() -> None:
    assert kind(CUT, ANNOUNCED) == "bad_media"


def test_the_providers_length_is_believed() -> None:
    assert kind(FACTS, replace(ANNOUNCED, bytes_expected=10)) == "bad_media"
    assert kind(FACTS, replace(ANNOUNCED, bytes_expected=8)) == "bad_media"
    assert kind(FACTS, replace(CLOSED, bytes_expected=10)) == "unreachable"
