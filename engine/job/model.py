"""What a model takes and gives, and what is wrong with a job's parameters before anything is paid.

A model that declares no parameters takes anything. Problems make a job line invalid, warnings do not. Pure
values: knows nothing of where the declarations come from, and fetches no URL.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from engine.errors import nearest
from engine.job.json_types import json_type
from engine.job.local_file import is_local_file
from engine.job.model_name import provider_of
from engine.job.shown import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

Kind: TypeAlias = Literal["string", "uri", "integer", "number", "boolean", "array", "object", "any"]
Output: TypeAlias = Literal["video", "image", "audio", "text"]
MediaClass: TypeAlias = Literal["image", "audio", "video"]

URI_BYTES_MAX = 8 * 1024
MISSPELT_TOLD_MAX = 3

# White space and control characters of Unicode, spelled out: as a plain set they cost half of what \s costs.
_BLANKS = r"\x00-\x20\x7f-\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
_URI = re.compile(
    r"(?i:https?)://"
    rf"(?:\[[0-9A-Fa-f:.]+\]|[^{_BLANKS}/?#@:\\\[\]]+)(?::[0-9]{{1,5}})?"
    rf"(?:[/?#][^{_BLANKS}]*)?\Z"
)
_UNSAFE = re.compile(f"[{_BLANKS}]")


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter that a model declares.

    Attributes:
        name: its key in the params of a job.
        kind: which values it takes.
        items: which values an array holds; uri makes local files of them too.
        accepts: which kinds of media a local file for it may be; empty for any.
        required: whether a job without it is invalid.
        default: what the provider uses when it is absent; for people, never sent by us.
        enum: the only values allowed; empty for no such list.
        minimum: the least number allowed.
        maximum: the greatest number allowed.
    """

    name: str
    kind: Kind = "any"
    items: Kind = "any"
    accepts: tuple[MediaClass, ...] = ()
    required: bool = False
    default: Any = None
    enum: tuple[Any, ...] = ()
    minimum: float | None = None
    maximum: float | None = None

    def problem(self, value: object) -> str:
        """Say what is wrong with ``value``, as the end of a sentence that begins with the key, or return ''."""
        words, check = _KINDS[self.kind]
        if problem := check(value) or self._items_problem(value):
            return f"must be {words}, but {problem}"
        if not value and self.required and value in ("", [], {}):
            return "is empty"
        if self.enum and not _is_one_of(value, self.enum):
            guess = nearest(value, [str(word) for word in self.enum]) if isinstance(value, str) else ""
            return f"must be one of {', '.join(map(shown, self.enum))}, not {shown(value)}{guess}"
        return "" if self.minimum is None and self.maximum is None else self._range_problem(value)

    def _items_problem(self, value: object) -> str:
        if not isinstance(value, list) or self.items == "any":
            return ""
        words, check = _KINDS[self.items]
        found = next(((number, problem) for number, item in enumerate(value) if (problem := check(item))), None)
        return f"item {found[0]}, which must be {words}, {found[1]}" if found else ""

    def _range_problem(self, value: object) -> str:
        if not isinstance(value, int | float) or isinstance(value, bool):
            return ""
        if self.minimum is not None and value < self.minimum:
            return f"must be at least {self.minimum:g}, not {shown(value)}"
        if self.maximum is not None and value > self.maximum:
            return f"must be at most {self.maximum:g}, not {shown(value)}"
        return ""


@dataclass(frozen=True, slots=True)
class Model:
    """One model of a provider.

    Attributes:
        name: the last part of the URL that its jobs are submitted to.
        parameters: what it declares, by name; empty means that nothing is known and anything goes.
        expected_duration_s: the published average of a job's time.
        price_usd: the published average of a job's price.
        output: what it generates.
    """

    name: str
    parameters: dict[str, Parameter] = field(default_factory=dict)
    expected_duration_s: float | None = None
    price_usd: float | None = None
    output: Output = "video"

    def problems(self, params: Mapping[str, Any]) -> list[str]:
        """Return a sentence for each reason why the provider would refuse ``params``."""
        problems = []
        for name, parameter in self.parameters.items():
            if name not in params:
                if parameter.required:
                    problems.append(f"params.{name} is missing")
            elif problem := parameter.problem(params[name]):
                problems.append(f"params.{name} {problem}")
        return problems

    def warnings(self, params: Mapping[str, Any], beside: Collection[str] = ()) -> list[str]:
        """Return a sentence for each parameter that the model does not declare; it is sent all the same.

        Args:
            params: of a job.
            beside: words that are no parameters and may have been meant.
        """
        if params.keys() <= self.parameters.keys() or not self.parameters:
            return []
        return [
            f"model {self.name} declares no parameter {shown(name)}{nearest(name, (*self.parameters, *beside))}"
            for name in params
            if name not in self.parameters
        ]

    def misspelt(self, params: Mapping[str, Any], beside: Collection[str] = ()) -> list[str]:
        """Return those warnings that know what was meant: they may explain what is missing."""
        return [text for text in self.warnings(params, beside) if text.endswith("?")][:MISSPELT_TOLD_MAX]


def unknown_model_warning(name: str, catalogue: Mapping[str, Model]) -> str:
    """Return the sentence for a model that the catalogue does not hold; anything goes with it."""
    known = [other for other in catalogue if provider_of(other) == provider_of(name)]
    return f"model {name} is not in the catalogue, its parameters are not checked{nearest(name, known)}"


def uri_problem(value: object) -> str:
    """Say what is wrong with ``value`` as the address of an input, or return an empty string."""
    if not isinstance(value, str):
        return f"is {json_type(value)}"
    if _URI.match(value) and len(value) <= URI_BYTES_MAX and (value.isascii() or len(value.encode()) <= URI_BYTES_MAX):
        return ""
    return "" if is_local_file(value) else _uri_explanation(value)


def _uri_explanation(value: str) -> str:
    if not value:
        return "is empty"
    if len(value.encode(errors="replace")) > URI_BYTES_MAX:
        return f"is longer than {URI_BYTES_MAX:,} bytes"
    if _UNSAFE.search(value):
        return f"has white space or a control character in it: {shown(value)}"
    scheme, separator, rest = value.partition("://")
    if not separator or scheme.lower() not in {"http", "https"}:
        return f"is {shown(value)}" + (
            "" if ":" in value else f" (a file beside the input is written {shown('./' + value)})"
        )
    if "@" in re.split(r"[/?#]", rest, maxsplit=1)[0]:
        return "has a user name or password in it"
    return f"has no valid host: {shown(value)}"


def _is_one_of(value: object, allowed: tuple[Any, ...]) -> bool:
    """Compare as JSON does, where true is not 1."""
    return any(value == other and isinstance(value, bool) == isinstance(other, bool) for other in allowed)


def _of_type(*types: type) -> Callable[[object], str]:
    # By identity of the type, because a bool is an int to isinstance.
    return lambda value: "" if type(value) in types else f"is {json_type(value)}"


def _integer_problem(value: object) -> str:
    # JSON does not tell 5 from 5.0, and many writers spell every number as a float.
    if type(value) is int or (type(value) is float and value.is_integer()):
        return ""
    return f"is {shown(value)}" if isinstance(value, float) else f"is {json_type(value)}"


_KINDS: dict[str, tuple[str, Callable[[object], str]]] = {
    "string": ("a string", _of_type(str)),
    "uri": ("an http or https URL, or a local file (./face.png, file:…)", uri_problem),
    "integer": ("a whole number", _integer_problem),
    "number": ("a number", _of_type(int, float)),
    "boolean": ("true or false", _of_type(bool)),
    "array": ("an array", _of_type(list)),
    "object": ("an object", _of_type(dict)),
    "any": ("any value", lambda _value: ""),
}
"""The words for each kind of parameter, and the function that says what is wrong with a value."""
