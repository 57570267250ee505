"""What is recorded of the files of a result: where they are, or the very files where they came inside it.

Pure. A file that came inside is a ``data:`` URI: it stands among the URLs of the record until it is stored, nowhere
else, and only its head stays. Knows nothing of how a file is fetched.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from engine.job.model_name import provider_of
from engine.media import data_uri
from engine.media.downloader import DownloadTask
from engine.media.names import media_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engine.job.flight import Flight
    from engine.provider.verdict import Result


def recorded(result: Result) -> tuple[Any, dict[str, Any]]:
    """Return the body of a result, without files that came inside it, and the record of its files."""
    media = {"urls": list(result.urls), "bytes_expected": result.bytes_expected, "content_type": result.content_type}
    output = result.output
    return data_uri.without_contents(output, frozenset(result.urls)) if came_inside(media) else output, media


def came_inside(media: dict[str, Any]) -> bool:
    """Whether a file of the result came inside it; such a record may be long, and is not kept in memory."""
    return any(map(data_uri.is_data_uri, media["urls"]))


def spent(media: dict[str, Any]) -> dict[str, Any] | None:
    """Return what stays of a record once its files are stored; None if all of it."""
    return data_uri.without_contents(media, frozenset(media["urls"])) if came_inside(media) else None


def moved(media: dict[str, Any], urls: Sequence[str]) -> dict[str, Any]:
    """Return the record of files that are somewhere else now."""
    # What was said of a file that came inside was said of what came, which was no whole file.
    forgotten = {"bytes_expected": None, "content_type": None} if came_inside(media) else {}
    return {**media, "urls": list(urls), **forgotten}


def download_tasks(flight: Flight, media: dict[str, Any]) -> list[DownloadTask]:
    """Return what is to be downloaded, in order."""
    urls: list[str] = media["urls"]
    only = len(urls) == 1
    return [
        DownloadTask(
            url=url,
            name=media_name(flight.id, flight.request_id, position),
            bytes_expected=media["bytes_expected"] if only else None,
            content_type=media["content_type"] if only else None,
            provider=provider_of(flight.model),
        )
        for position, url in enumerate(urls)
    ]
