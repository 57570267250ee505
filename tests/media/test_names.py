"""Names of media files."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.media.names import is_safe_name, media_name, safe_extension, slug, stem_of

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*-[0-9a-f]{12}")


def test_a_plain_id_stays_readable() -> None:
    assert re.fullmatch(r"clip-001-[0-9a-f]{12}", media_name("clip-001", "r1", 0))


@given(st.text(), st.none() | st.text(), st.integers(0, 9))
def test_a_name_is_safe_whatever_the_id_is(job_id: str, request_id: str | None, index: int) -> None:
    name = media_name(job_id, request_id, index)
    assert NAME.fullmatch(name)
    assert is_safe_name(name)
    assert len(name) <= 73
    assert ".." not in name.split("/")


@given(st.tuples(st.text(), st.text(), st.integers(0, 99)), st.tuples(st.text(), st.text(), st.integers(0, 99)))
def test_two_outputs_never_share_a_name(one: tuple[str, str, int], other: tuple[str, str, int]) -> None:
    assert (media_name(*one) == media_name(*other)) == (one == other)


def test_the_same_output_has_the_same_name_in_every_run() -> None:
    assert media_name("a/b", "r", 1) == media_name("a/b", "r", 1) == "a-b-f50dc90765a3"


@given(st.text(), st.integers(1, 1_000), st.sampled_from([".mp4", ".bin"]))
def test_a_file_tells_the_stem_it_was_named_from(job_id: str, number: int, extension: str) -> None:
    stem = media_name(job_id, "r", 0)
    assert stem_of(f"{stem}{extension}") == stem
    assert stem_of(f"{stem}-{number}{extension}") == stem


@pytest.mark.parametrize("stem", ["face.png-7bf1d2c3e4a5", "take-2-123456789012", "take-2.5-000000000000"])
def test_a_stem_keeps_its_dots_and_its_digits(stem: str) -> None:
    assert stem_of(f"{stem}.mp4") == stem


@pytest.mark.parametrize("device", ["con", "NUL", "com1.mp4", "Aux.x.y", "lpt9"])
def test_names_reserved_by_windows_are_harmless(device: str) -> None:
    assert slug(device).startswith("_")


@pytest.mark.parametrize(
    "text", ["../../etc/passwd", "-rf", ".hidden", "a\x00b", "a\nb", "\u202egpj.exe", "x" * 300, "", "…"]
)
def test_a_slug_is_neither_a_path_nor_hidden_nor_an_option(text: str) -> None:
    assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,59}", slug(text))


@pytest.mark.parametrize(("found", "extension"), [("video/mp4", ".mp4"), ("image/jpeg", ".jpg"), ("x/../y", ".bin")])
def test_the_extension_follows_from_what_was_found(found: str, extension: str) -> None:
    assert safe_extension(found) == extension


@pytest.mark.parametrize("name", ["", "a/b", "..", ".a", "a\n", "-a", "x" * 129])
def test_an_unsafe_name_is_told(name: str) -> None:
    assert not is_safe_name(name)
