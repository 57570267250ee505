"""Segmind v1 alone: a submission blocks and answers the media, or JSON; nothing can be asked about afterwards."""

from __future__ import annotations

from engine.simulator.dialects.segmind import Segmind


class SegmindSync(Segmind):
    """See ``Dialect``; what ``sync_routes`` answers is in no dialect's words."""

    name = "segmind-sync"
    submit_path = "/v1/{model}"
    submits_below: tuple[str, ...] = ("/v1/",)
    status_path = ""
    result_path = ""
