"""Turn one line of the input into a job, or into the reason why it is none.

Three shapes are accepted: ``{"params": {…}}`` and ``{"body": {…}}``, each with an id, a model and metadata beside
it, and the bare params. Nothing raises: whatever the bytes are, the answer is a value. Knows nothing of files,
of other lines (so not of repeats) or of the ledger.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

from engine.errors import nearest
from engine.job.job import ID_CHARS_MAX, Job, derived_id
from engine.job.json_types import json_type
from engine.job.model import Model, unknown_model_warning
from engine.job.model_name import bare_model, job_model_problem, model_name_problem
from engine.job.shown import shown
from engine.job.strict_json import NotStrictJsonError, check_depth, strict_json

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

_WHITE_SPACE = b" \t\r\n"
_BOM = b"\xef\xbb\xbf"
_FOREIGN = {
    b"\x1f\x8b": "it is gzip-compressed; unpack it first",
    b"\x28\xb5\x2f\xfd": "it is zstd-compressed; unpack it first",
    b"BZh": "it is bzip2-compressed; unpack it first",
    b"\xfd7zXZ\x00": "it is xz-compressed; unpack it first",
    b"PK\x03\x04": "it is a zip archive; unpack it first",
    b"\xff\xfe": "it is UTF-16 or UTF-32; convert it to UTF-8 first",
    b"\xfe\xff": "it is UTF-16 or UTF-32; convert it to UTF-8 first",
    b"\x00\x00\xfe\xff": "it is UTF-16 or UTF-32; convert it to UTF-8 first",
}
_UTF_16_NUL_SHARE = 0.4

_OUR_WORDS = ("id", "model", "metadata", "params", "body")
_BESIDE_PARAMS = frozenset({"id", "custom_id", "params", "model", "metadata"})
_BESIDE_BODY = frozenset({"id", "custom_id", "body", "model", "metadata", "method", "url"})
"""``method`` and ``url`` belong to the batch format of OpenAI; the provider's own address is used instead."""

_ABSENT = object()


@dataclass(frozen=True, slots=True)
class JobLine:
    """A valid line.

    Attributes:
        job: what it asks for; without an id of its own it is the first occurrence of its content.
        warnings: sentences about what is allowed but probably not meant.
    """

    job: Job
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LineError:
    """An invalid line.

    Attributes:
        kind: ``bad_line`` (no strict JSON, or none of the three shapes) or ``bad_params`` (the model would refuse it).
        message: a sentence that names what is wrong.
        id: the id that the line gives itself, as far as it can be read.
        model: the model it is for, as far as it can be read.
        metadata: what its result line carries back, as far as it can be read.
    """

    kind: Literal["bad_line", "bad_params"]
    message: str
    id: str | None = None
    model: str | None = None
    metadata: Any = None


ParsedLine: TypeAlias = JobLine | LineError


class _BadLineError(ValueError):
    """The line has none of the three shapes; the message says why."""


class _Parts(NamedTuple):
    """A line taken apart: what it says of id, model, params and metadata.

    Attributes:
        beside: our words that a key of the params may be a misspelling of; none where the params stand apart.
    """

    id: str | None
    model: str
    params: dict[str, Any]
    metadata: Any
    beside: tuple[str, ...] = ()


def parse_job_line(
    text: bytes,
    *,
    catalogue: Mapping[str, Model],
    default_model: str | None,
    providers: Collection[str] = (),
    first: bool = False,
) -> ParsedLine | None:
    """Return the job of one line, or what is wrong with the line, or None for a blank one.

    Args:
        text: the line without its newline.
        catalogue: the models whose parameters are known, by name.
        default_model: the model of a line that names none.
        providers: the names of the run's further providers, which a model may have before it.
        first: whether it is the first line of the input, where a byte order mark may stand.
    """
    if first:
        text = text.removeprefix(_BOM)
    text = text.strip(_WHITE_SPACE)
    if not text:
        return None
    try:
        value = strict_json(text)
    except NotStrictJsonError as error:
        return LineError(
            "bad_line", f"the line cannot be read: {_foreign_words(text) or error}", id=_id_of_broken_line(text)
        )
    if not isinstance(value, dict):
        return LineError("bad_line", f"the line must be a JSON object, not {json_type(value)}")
    try:
        parts = _parts(value, catalogue, default_model)
        _check_model(parts.model, providers)
    except _BadLineError as error:
        return LineError("bad_line", str(error), _id_of(value), _model_of(value), value.get("metadata"))
    return _judged(parts, catalogue)


def _judged(parts: _Parts, catalogue: Mapping[str, Model]) -> ParsedLine:
    """Hold the params against what the model declares."""
    model = catalogue.get(parts.model)
    if model is None:
        warnings = [unknown_model_warning(parts.model, catalogue), *_wrapper_warnings(parts)]
    elif problems := model.problems(parts.params):
        message = "; ".join(problems + model.misspelt(parts.params, parts.beside))
        return LineError("bad_params", message, parts.id, parts.model, parts.metadata)
    else:
        warnings = model.warnings(parts.params, parts.beside) if model.parameters else _wrapper_warnings(parts)
    job_id = derived_id(parts.model, parts.params, 1) if parts.id is None else parts.id
    job = Job(job_id, parts.model, parts.params, parts.metadata, id_given=parts.id is not None)
    return JobLine(job, tuple(warnings))


def _wrapper_warnings(parts: _Parts) -> list[str]:
    """Return a sentence for each object that is sent as a parameter and called much like what holds the params."""
    guesses = {
        name: nearest(name, parts.beside)
        for name, value in parts.params.items()
        if parts.beside and type(value) is dict
    }
    return [f"the key {shown(name)} is sent as a parameter{guess}" for name, guess in guesses.items() if guess]


def _foreign_words(text: bytes) -> str:
    """Name what is no JSON text at all for what it is; an empty string if nothing is known of it."""
    for magic, words in _FOREIGN.items():
        if text.startswith(magic):
            return words
    if text.startswith(_BOM):
        return "a byte order mark stands before it, as where two files were joined"
    nul_bytes = text.count(0)
    if nul_bytes == len(text):
        return "it is nothing but NUL bytes, as the tail of a file after a power cut"
    if nul_bytes >= _UTF_16_NUL_SHARE * len(text):
        return _FOREIGN[b"\xff\xfe"]
    return f"a NUL byte stands in column {text.index(0) + 1}" if nul_bytes else ""


def _parts(line: dict[str, Any], catalogue: Mapping[str, Model], default_model: str | None) -> _Parts:
    """Tell the three shapes apart; the words ``params`` and ``body`` decide."""
    if "params" in line:
        if "body" in line:
            raise _BadLineError("the line has both 'params' and 'body', and only one can be sent")
        return _wrapped_parts(line, "params", _BESIDE_PARAMS, default_model)
    if "body" in line:
        return _wrapped_parts(line, "body", _BESIDE_BODY, default_model)
    return _bare_parts(line, catalogue, default_model)


def _wrapped_parts(line: dict[str, Any], wrapper: str, known: frozenset[str], default_model: str | None) -> _Parts:
    if not line.keys() <= known:
        unknown = next(key for key in line if key not in known)
        raise _BadLineError(f"unknown key {shown(unknown)} beside '{wrapper}'{nearest(unknown, sorted(known))}")
    params = line[wrapper]
    if not isinstance(params, dict):
        raise _BadLineError(f"'{wrapper}' must be an object, not {json_type(params)}")
    return _Parts(
        _wrapped_id(line), _model_name(line.get("model", _ABSENT), default_model), params, line.get("metadata")
    )


def _wrapped_id(line: dict[str, Any]) -> str | None:
    if "custom_id" not in line:
        return _checked_id("id", line.get("id", _ABSENT))
    if "id" in line:
        raise _BadLineError("the line has both 'id' and 'custom_id', and a job has one id")
    return _checked_id("custom_id", line["custom_id"])


def _bare_parts(line: dict[str, Any], catalogue: Mapping[str, Model], default_model: str | None) -> _Parts:
    """Take our three keys out of a bare object, unless the model has a parameter of that name."""
    if "model" in line and not _declares(catalogue, default_model, "model"):
        name = _model_name(line["model"], default_model)
        ours = {"model"}
    else:
        name = _model_name(_ABSENT, default_model)
        ours = set()
    ours |= {key for key in ("id", "metadata") if key in line and not _declares(catalogue, name, key)}
    if not ours:
        return _Parts(None, name, line, None, _OUR_WORDS)
    params = {key: value for key, value in line.items() if key not in ours}
    job_id = _checked_id("id", line["id"]) if "id" in ours else None
    return _Parts(job_id, name, params, line["metadata"] if "metadata" in ours else None, _OUR_WORDS)


def _check_model(model: str, providers: Collection[str]) -> None:
    if problem := job_model_problem(model, providers):
        raise _BadLineError(f"'model' {problem}")


def _declares(catalogue: Mapping[str, Model], model: str | None, parameter: str) -> bool:
    declared = catalogue.get(model) if model is not None else None
    return declared is not None and parameter in declared.parameters


def _model_name(value: object, default_model: str | None) -> str:
    if value is _ABSENT:
        if default_model is None:
            raise _BadLineError("'model' is missing, and the configuration names none (provider.model)")
        return default_model
    if not isinstance(value, str):
        raise _BadLineError(f"'model' must be a string, not {json_type(value)}")
    return value


def _checked_id(key: str, value: object) -> str | None:
    if value is _ABSENT:
        return None
    if type(value) is int:
        return str(value)
    if not isinstance(value, str):
        raise _BadLineError(
            f"'{key}' must be a string or a whole number, not {json_type(value)}; leave it out for none"
        )
    if not value:
        raise _BadLineError(f"'{key}' is empty; leave it out for none")
    if len(value) > ID_CHARS_MAX:
        raise _BadLineError(f"'{key}' is longer than {ID_CHARS_MAX} characters")
    return value


def _id_of(line: dict[str, Any]) -> str | None:
    """Return the id of a line that is invalid for another reason, if it has a valid one."""
    for key in ("id", "custom_id"):
        try:
            if job_id := _checked_id(key, line.get(key, _ABSENT)):
                return job_id
        except _BadLineError:
            continue
    return None


def _model_of(line: dict[str, Any]) -> str | None:
    model = line.get("model")
    return model if isinstance(model, str) and not model_name_problem(bare_model(model)) else None


def _id_of_broken_line(text: bytes) -> str | None:
    """Return the id of a line that a lenient reader can still read, such as one with NaN or a duplicate key."""
    try:
        check_depth(text)
        line = json.loads(text.decode())
        job_id = _id_of(line) if isinstance(line, dict) else None
        # What made the line invalid may stand in the id itself: encoding it finds halves of surrogate pairs.
        return None if job_id is None or b"\0" in job_id.encode() else job_id
    except (ValueError, RecursionError):
        return None
