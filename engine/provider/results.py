"""Read a result out of a reply: its files, what it cost, how long it took, by the places of a description.

Pure. Whether a reply is a result is decided by whoever asks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from engine.provider.json_path import value_at
from engine.provider.reply import media_urls, number
from engine.provider.verdict import Metrics, Result

if TYPE_CHECKING:
    from engine.provider.description import ProviderDescription
    from engine.provider.reply import Reply


def result_of(reply: Reply, body: Any, provider: ProviderDescription) -> Result:
    """Return the result that the JSON ``body`` of a reply is."""
    rules = provider.result
    size = next((found for place in rules.size if (found := number(value_at(body, place)))), None)
    kinds = (value_at(body, place) for place in rules.content_type)
    return Result(
        body,
        media_urls(body, rules.outputs),
        int(size) if size else None,
        next((kind for kind in kinds if isinstance(kind, str)), None),
        metrics_of(reply, body, provider),
    )


def metrics_of(reply: Reply, body: Any, provider: ProviderDescription) -> Metrics:
    """Return what a reply with the JSON ``body`` says of its request's cost and times; a header may say it too."""
    places = provider.metrics
    return Metrics(**{name: number(reply.value_at(getattr(places, name), body)) for name in places.__struct_fields__})
