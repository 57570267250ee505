"""Which parameters of a job name local files, and the same parameters with something else in their place.

A declared parameter may do so if it is a URL, or an array of them; where nothing is declared, only what is spelled
``file:…`` can be meant, so that a text that begins with a dot stays a text. Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from engine.job.local_file import SCHEME, is_local_file
from engine.job.model import Parameter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from engine.job.model import Model

_UNDECLARED = Parameter("")


class Reference(NamedTuple):
    """One place of a job's parameters that names a local file.

    Attributes:
        parameter: what the model declares of it.
        key: the parameter's name in the job.
        item: the place in its array; None if the parameter is the name itself.
        value: the name as it stands there.
    """

    parameter: Parameter
    key: str
    item: int | None
    value: str

    @property
    def place(self) -> str:
        """Where it stands, for people: ``params.image_url``, ``params.images[2]``."""
        return f"params.{self.key}" + ("" if self.item is None else f"[{self.item}]")


def may_hold_references(params: bytes) -> bool:
    """Say quickly that the JSON of stored parameters names no local file; True means that it must be looked at."""
    return b'"file:' in params


def references(params: Mapping[str, Any], model: Model | None) -> Iterator[Reference]:
    """Yield every place of ``params`` that names a local file."""
    declared = model.parameters if model is not None else {}
    for key, value in params.items():
        parameter = declared.get(key, _UNDECLARED)
        if parameter.kind in {"uri", "any"} and _names_file(value, parameter.kind):
            yield Reference(parameter, key, None, value)
        elif isinstance(value, list) and parameter.kind in {"array", "any"}:
            for item, part in enumerate(value):
                if _names_file(part, parameter.items):
                    yield Reference(parameter, key, item, part)


def _names_file(value: object, kind: str) -> bool:
    if kind == "uri":
        return is_local_file(value)
    return kind == "any" and isinstance(value, str) and value.startswith(SCHEME) and is_local_file(value)


def replaced(params: Mapping[str, Any], model: Model | None, instead: Callable[[Reference], str]) -> dict[str, Any]:
    """Return the parameters with every local file replaced by what ``instead`` returns for it."""
    result = dict(params)
    for reference in references(params, model):
        if reference.item is None:
            result[reference.key] = instead(reference)
        else:
            result[reference.key] = list(result[reference.key])
            result[reference.key][reference.item] = instead(reference)
    return result
