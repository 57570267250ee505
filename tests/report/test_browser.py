"""The page in a real browser: it draws, plays, filters, obeys the keyboard, fits a phone, and loads nothing else."""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tests.console.conftest import QUICK, engine, provider_with, some_jobs
from tests.report.ledgers import HOSTILE, make_run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.processes,
    pytest.mark.sockets,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed to look at the page with"),
]

PLAY = """async () => {
  const video = document.querySelector("video");
  video.muted = true;
  await video.play();
  for (let turn = 0; turn < 100 && video.currentTime < 0.3; turn++) await new Promise((go) => setTimeout(go, 50));
  return video.currentTime;
}"""


@contextmanager
def page_of(path: Path, **context: Any) -> Iterator[Any]:
    """Open a file in a browser; no error may be logged, and no request may leave the file's directory."""
    from playwright.sync_api import sync_playwright  # noqa: PLC0415

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_context(**context).new_page()
        wrong: list[str] = []
        page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda request: None if request.url.startswith("file://") else wrong.append(request.url))
        page.on("dialog", lambda dialog: wrong.append(dialog.message))
        page.goto(path.absolute().as_uri())
        yield page
        browser.close()
        assert wrong == []


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of two thousand jobs without their media."""
    directory = tmp_path_factory.mktemp("browser")
    make_run(directory / "night.run", 2_000)
    # Without media on the disk the browser would rightly complain of each.
    done = engine("report", "night.run", cwd=directory)
    assert done.code == 0
    page = directory / "night.run" / "report.html"
    page.write_text(page.read_text().replace('"video/mp4"', '"model/other"'))
    return page


def test_a_video_plays_in_its_place_and_its_record_opens(tmp_path: Path) -> None:
    jobs = some_jobs(tmp_path, 3)
    with provider_with(*QUICK) as provider:
        assert engine("run", jobs, *provider.options(), cwd=tmp_path).code == 0
    assert engine("report", "jobs.run", cwd=tmp_path).code == 0
    with page_of(tmp_path / "jobs.run" / "report.html") as page:
        page.locator("#gallery").scroll_into_view_if_needed()
        page.wait_for_selector("video")
        assert page.evaluate(PLAY) >= 0.3
        page.locator("button", has_text="Record").first.click()
        assert '"request_id"' in page.locator("#record-text").inner_text()
        page.keyboard.press("Escape")
        assert not page.locator("#record").is_visible()


def test_an_object_of_a_store_is_named_and_neither_played_nor_linked(tmp_path: Path) -> None:
    make_run(tmp_path / "night.run", 1, store="s3://media/nights")
    assert engine("report", "night.run", cwd=tmp_path).code == 0
    with page_of(tmp_path / "night.run" / "report.html") as page:
        page.locator("#gallery").scroll_into_view_if_needed()
        page.wait_for_selector(".card .uri")
        assert page.locator(".card .uri").inner_text() == "s3://media/nights/clip-00000.mp4"
        assert page.locator("video").count() == 0
        assert page.locator(".card a").count() == 0
        page.locator("button", has_text="Record").first.click()
        assert page.locator("#record-media .uri").inner_text() == "s3://media/nights/clip-00000.mp4"


def test_it_is_filtered_by_words_and_by_place(large: Path) -> None:
    with page_of(large) as page:
        page.keyboard.press("/")
        page.keyboard.type("clip-00123")
        page.locator("#count", has_text="1 of 2,000").wait_for()
        assert page.locator(".card").count() == 1
        page.locator("#search").fill("")
        page.locator(".chip", has_text="failed").click()
        page.locator(".chip[aria-pressed=true]", has_text="failed").wait_for()
        assert page.locator(".card .dot.succeeded").count() == 0
        assert page.locator(".card .dot.failed").count() > 10


def test_a_part_of_a_large_batch_says_which_and_how_to_come_to_the_next(tmp_path: Path) -> None:
    make_run(tmp_path / "night.run", 300)
    assert engine("report", "night.run", "--gallery", "50", "--from-line", "101", cwd=tmp_path).code == 0
    page_path = tmp_path / "night.run" / "report.html"
    page_path.write_text(page_path.read_text().replace('"video/mp4"', '"model/other"'))
    with page_of(page_path) as page:
        words = page.locator("#page").inner_text()
        assert words == (
            "This page has lines 101 to 150 of 300 jobs. The next one: engine report night.run --from-line 151"
        )
        assert page.locator("#count").inner_text() == "50 of 50 jobs of this page"
        assert page.locator(".card").count() == 50


def test_hostile_ids_are_shown_as_what_they_are(large: Path) -> None:
    with page_of(large) as page:
        shown = page.locator(".card .id").all_text_contents()[: len(HOSTILE)]
        assert shown[0] == HOSTILE[0]
        assert shown[4] == "\\u202egnp.exe"
        assert page.locator("main script, main img").count() == 0


def test_scrolling_shows_more_and_keeps_players_few(large: Path) -> None:
    with page_of(large) as page:
        for _ in range(12):
            page.mouse.wheel(0, 6_000)
            page.wait_for_timeout(60)
        assert page.locator(".card").count() > 300
        assert page.locator("video, audio, img").count() <= 24


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_needs_no_sideways_scrolling_and_both_schemes_are_drawn(large: Path, scheme: str) -> None:
    with page_of(large, viewport={"width": 390, "height": 844}, color_scheme=scheme) as page:
        page.wait_for_selector(".card")
        assert not page.evaluate("document.documentElement.scrollWidth > innerWidth")
        before = page.evaluate("getComputedStyle(document.body).backgroundColor")
        page.locator("#theme").click()
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") != before
