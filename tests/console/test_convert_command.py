"""Tables and arrays as inputs, converted and run directly, as a person gives them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.console.conftest import engine

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.processes, pytest.mark.sockets]

ROWS = "image_url,audio_url,name,row\n" + "".join(
    f"https://example.com/{row}.png,https://example.com/{row}.wav,Ann {row},{row}\n" for row in range(3)
)
DIRECT = ROWS.replace("name,row", "prompt,metadata.row")
ARRAY = [
    {"params": {"image_url": f"https://example.com/{row}.png", "audio_url": "https://example.com/a.wav"}}
    for row in range(3)
]
OFFLINE = ("--set", "provider.preset=simulator", "--set", "simulator.work.duration_median_s=0.1")
QUICK = (*OFFLINE, *("--set", "polling.expected_duration_s=0.1", "--set", "limits.submits_per_minute=6000", "--quiet"))


def test_a_table_is_converted_with_a_mapping_and_a_template(tmp_path: Path) -> None:
    (tmp_path / "people.csv").write_text(ROWS)
    words = ("--template", 'prompt="Hello {name}"', "--template", "id=clip-{row}", "-o", "jobs.jsonl")
    done = engine("convert", "people.csv", *words, cwd=tmp_path)
    assert done.code == 0, done.err
    assert "wrote jobs.jsonl with 3 lines" in done.err
    first = json.loads((tmp_path / "jobs.jsonl").read_text().splitlines()[0])
    assert first == {
        "id": "clip-0",
        "params": {
            "image_url": "https://example.com/0.png",
            "audio_url": "https://example.com/0.wav",
            "prompt": "Hello Ann 0",
        },
    }


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("people.csv", DIRECT),
        ("people.tsv", DIRECT.replace(",", "\t")),
        ("umlaut.csv", "\ufeff" + DIRECT.replace(",", ";")),
        ("jobs.json", json.dumps(ARRAY)),
    ],
)
def test_tables_and_arrays_run_directly_and_resume(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content)
    for _ in range(2):  # the second run finds the same input, and does nothing
        done = engine("run", name, *QUICK, cwd=tmp_path)
        assert done.code == 0, done.err
    output = (tmp_path / name).with_suffix(".run") / "results.jsonl"
    lines = [json.loads(line) for line in output.read_text().splitlines()]
    assert [line["status"] for line in lines] == ["succeeded"] * 3
    if name != "jobs.json":
        assert sorted(line["line"] for line in lines) == [2, 3, 4]  # as a spreadsheet counts
        assert sorted(line["metadata"]["row"] for line in lines) == ["0", "1", "2"]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.csv", "", "is empty: it has not even a header"),
        ("a.csv", "image_url\nhttps://example.com/a.png\n", "has no column 'audio_url', which the model kling-v1-pro"),
        ("a.csv", "image_url,audio_url\na,b\na,b,c\n", "row 3: it has 3 cells, the header has 2 columns"),
        ("a.csv", 'image_url,audio_url\n"a,b\n', "is no table"),
        ("a.json", "[{]", "is no JSON"),
    ],
)
def test_a_bad_table_is_one_clear_error_before_anything_is_paid(
    tmp_path: Path, name: str, content: str, words: str
) -> None:
    (tmp_path / name).write_text(content)
    for command, options in (("run", QUICK), ("plan", OFFLINE)):
        done = engine(command, name, *options, cwd=tmp_path)
        assert (done.code, done.out) == (2, "")
        assert words in done.err
        assert "hint:" in done.err
    assert not (tmp_path / "a.run").exists()


def test_what_is_no_utf8_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes("image_url,audio_url\nä,b\n".encode("latin-1"))
    assert "not UTF-8" in engine("run", "a.csv", *QUICK, cwd=tmp_path).err
