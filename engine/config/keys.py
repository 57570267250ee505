"""What the documentation says of every key: its values, its default, its meaning."""

from __future__ import annotations

from typing import NamedTuple

from engine.config.run_config import RunConfig
from engine.settings import sections_of
from engine.toml_tables import field_sentences, field_types, type_words


class KeyDescription(NamedTuple):
    """What the documentation says of one key."""

    key: str
    allowed: str
    default: object
    sentence: str


def describe_keys() -> list[KeyDescription]:
    """Return every key with the words for its values, its default and its meaning, in order; sections come first."""
    described = []
    for section, struct in sections_of(RunConfig).items():
        if struct is None:
            sentence = field_sentences(RunConfig).get(section, "")
            described.append(KeyDescription(section, "a table", {}, sentence))
            continue
        sentences, defaults = field_sentences(struct), struct()
        described += [
            KeyDescription(f"{section}.{name}", type_words(kind), getattr(defaults, name), sentences.get(name, ""))
            for name, kind in field_types(struct).items()
        ]
    return described
