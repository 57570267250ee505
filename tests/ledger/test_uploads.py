"""Where a content was uploaded to: the last place counts, for one provider alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.ledger.uploads import Upload, last_upload, note_upload
from tests.jobs import UTC

if TYPE_CHECKING:
    from engine.ledger.ledger import Ledger

DIGEST = bytes(32)


async def test_the_last_upload_of_a_content_counts(ledger: Ledger) -> None:
    for upload in (Upload("https://a.example/1", UTC), Upload("https://a.example/2", UTC + 60)):
        await ledger.change(note_upload, "", DIGEST, upload)
    assert await ledger.read(last_upload, "", DIGEST) == Upload("https://a.example/2", UTC + 60)


async def test_a_content_is_elsewhere_or_nowhere_at_another_provider(ledger: Ledger) -> None:
    await ledger.change(note_upload, "", DIGEST, Upload("https://a.example/1", UTC))
    assert await ledger.read(last_upload, "other", DIGEST) is None
