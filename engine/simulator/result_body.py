"""The part of a result that differs from model to model: where the output stands.

One shape per form seen at the provider. ``documented`` is the one in its documentation. Knows nothing of
when a result may be asked for.
"""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING

import orjson

if TYPE_CHECKING:
    from engine.simulator.job import Job
    from engine.simulator.world import World


def output_fields(world: World, job: Job) -> dict[str, object]:
    """Return the fields of the result body that carry the outputs."""
    urls = world.file_urls(job)
    one_or_all = urls[0] if len(urls) == 1 else urls
    match world.shape_of(job):
        case "documented":
            return {"output": one_or_all, "video": described(world, urls[0])}
        case "output_url":
            return {"output": one_or_all}
        case "video_url":
            return {"output": None, "video": described(world, urls[0])}
        case "output_object_url":
            return {"output": {"url": urls[0]}}
        case "output_object_video_url":
            return {"output": {"video_url": urls[0], "duration": 2.0}}
        case "output_object_media_url":
            return {"output": {"media_url": urls}}
        case "output_list":
            return {"output": urls}
        case "output_list_objects":
            return {"output": [{"url": url} for url in urls]}
        case "images":
            return {"output": None, "images": [described(world, url) for url in urls]}
        case "image":
            return {"output": None, "image": described(world, urls[0])}
        case "audio":
            return {"output": None, "audio": described(world, urls[0])}
        case "text":
            return {"output": orjson.dumps({"text": f"An answer to request {job.request_id}."}).decode()}
        case "base64":
            return {"output": b64encode(_clip_start(world, urls[0])).decode()}
        case "none":
            return {"output": None}


def described(world: World, url: str) -> dict[str, object]:
    """Return a file as most replies describe one."""
    name = url.rpartition("/")[2]
    clip = world.clip(name)
    return {"url": url, "content_type": clip.content_type, "file_name": name, "file_size": str(clip.size_bytes)}


def _clip_start(world: World, url: str) -> bytes:
    return world.clip(url.rpartition("/")[2]).content
