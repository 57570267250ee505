"""The one interface whose work may leave the process: a URL becomes a verified file on disk.

Whatever is behind it is idempotent and carries no money: asked twice, it stores the same file under the same name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from engine.job.records import StoredFile
    from engine.media.downloader import DownloadTask


class Fetcher(Protocol):
    """Downloads, verifies and publishes files."""

    async def fetch(self, task: DownloadTask) -> StoredFile:
        """Download, verify and publish one file.

        Raises:
            DownloadError: this file cannot be had now.
            StorageError: the disk fails.
        """
        ...
