"""What is known of a provider without asking it: how it is spoken to, how long its records live, its models.

A description is a TOML file: one of ``presets/`` or the user's own. Unknown keys are refused, as in the
configuration. Knows nothing of HTTP, and holds the name of the variable with the key, never the key.
"""

from __future__ import annotations

import re
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import msgspec
from msgspec import Meta, inspect

from engine.config.meaning import VARIABLE_NAME, api_url_problem
from engine.errors import ConfigError, nearest
from engine.job.model import Kind, MediaClass, Model, Output, Parameter
from engine.job.model_name import model_name_problem
from engine.job.shown import shown
from engine.provider.contract import (
    NOT_ASKED_ABOUT,
    AuthTable,
    CancelTable,
    CreditsTable,
    MetricsTable,
    ResultTable,
    StatusTable,
    SubmitTable,
    UploadTable,
)
from engine.provider.contract_check import check_contract
from engine.provider.reply import ERROR_PLACES
from engine.toml_tables import checked_value, field_types, read_toml, value_words

if TYPE_CHECKING:
    from collections.abc import Mapping

Seconds: TypeAlias = Annotated[float, Meta(gt=0, le=315_360_000)]
Usd: TypeAlias = Annotated[float, Meta(ge=0, le=1_000_000)]
Bound: TypeAlias = Annotated[float, Meta(ge=-(2**53), le=2**53)]


class ProviderDescription(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a provider without asking it.

    Attributes:
        name: as people call it.
        base_url: what every API address begins with; empty for the simulator, until the run that starts it knows.
        history_url: the part before /request-history; empty where there is no history to settle unknowns with.
        upload_url: where local files can be uploaded to; empty where that is not possible.
        api_key_env: the environment variable that holds the key.
        api_key_pattern: what a key looks like, as a regular expression for its whole length; empty for any.
        default_model: the model of jobs that name none; empty for no such model.
        record_life_s: how long status and result can be asked for after the submission.
        output_life_s: how long the files of a result can be downloaded.
        trusted_hosts: hosts besides that of base_url which the provider may send us to with the key; "*." in front of
            one stands for whatever is below it.
        headers: further headers of every request.
        errors: places of an explanation in a reply, all of which are shown.
        auth: how the key is shown.
        submit: how a job is submitted.
        status: how a request is asked about; left out where the reply to a submission is its result.
        result: where its result is.
        cancel: how it is cancelled.
        metrics: where a reply says what the request came to.
        credits: how the account's balance is read.
        upload: how a local file becomes something that a job can name.
        models_from: a preset whose catalogue this one begins with; empty for none.
        models: the catalogue, by name; other models can be used, but nothing is known of them.
    """

    name: str
    base_url: str
    history_url: str = ""
    upload_url: str = ""
    api_key_env: str
    api_key_pattern: str = ""
    default_model: str = ""
    record_life_s: Seconds
    output_life_s: Seconds
    trusted_hosts: tuple[str, ...] = ()
    headers: dict[str, str] = msgspec.field(default_factory=dict)
    errors: tuple[str, ...] = ERROR_PLACES
    auth: AuthTable = AuthTable()
    submit: SubmitTable
    status: StatusTable = NOT_ASKED_ABOUT
    result: ResultTable
    cancel: CancelTable = CancelTable()
    metrics: MetricsTable = MetricsTable()
    credits: CreditsTable = CreditsTable()
    upload: UploadTable = UploadTable()
    models_from: str = ""
    models: dict[str, Model] = msgspec.field(default_factory=dict)


class _ModelTable(msgspec.Struct, frozen=True, kw_only=True):
    output: Output = "video"
    price_usd: Usd | None = None
    expected_duration_s: Seconds | None = None
    parameters: dict[str, Any] = msgspec.field(default_factory=dict)


class _ParameterTable(msgspec.Struct, frozen=True, kw_only=True):
    kind: Kind = "any"
    items: Kind = "any"
    accepts: tuple[MediaClass, ...] = ()
    required: bool = False
    default: Any = None
    enum: tuple[Any, ...] = ()
    minimum: Bound | None = None
    maximum: Bound | None = None


def load_description(preset: str) -> ProviderDescription:
    """Return the description of a preset, or of the TOML file at the path ``preset``.

    The simulator speaks the contract of segmind; its addresses are empty until the run that starts it fills them
    in, so that no mistake can lead from a simulated run to the paid service.
    """
    if preset == "simulator":
        segmind = load_description("segmind")
        return msgspec.structs.replace(segmind, name="simulator", base_url="", history_url="", upload_url="")
    if preset.endswith(".toml"):
        path = Path(preset).expanduser()
        return description_of_table(read_toml(path), where=f"{path}: ")
    names = ["simulator", *(name.removesuffix(".toml") for name in _preset_files())]
    if preset not in names:
        raise ConfigError(
            f"there is no provider preset {shown(preset)}{nearest(preset, names)}",
            hint=f"the presets are {', '.join(names)}; a path that ends in .toml names a description of your own",
        )
    with resources.as_file(resources.files("engine.provider") / "presets" / f"{preset}.toml") as path:
        return description_of_table(read_toml(path), where=f"{path.name}: ")


def _preset_files() -> list[str]:
    presets = resources.files("engine.provider") / "presets"
    return sorted(entry.name for entry in presets.iterdir() if entry.name.endswith(".toml"))


def description_of_table(table: Mapping[str, Any], *, where: str) -> ProviderDescription:
    """Return the description that ``table`` holds, or raise the sentence that says what is wrong with it."""
    values = _checked_table(ProviderDescription, table, key="", where=where)
    models = values.get("models", {})
    if not isinstance(models, dict):
        raise ConfigError(f"{where}models must be a table, not {value_words(models)}")
    models = {name: _model(name, entry, where=where) for name, entry in models.items()}
    if shared := values.get("models_from"):
        if shared.endswith(".toml"):
            raise ConfigError(f"{where}models_from must name a preset, not the file {shown(shared)}")
        models = load_description(shared).models | models
    description = ProviderDescription(**{**values, "models": models})
    _check_meaning(description, where)
    check_contract(description, where)
    return description


def _checked_table(struct: type[msgspec.Struct], table: object, *, key: str, where: str) -> dict[str, Any]:
    """Return the values of ``table`` as the fields of ``struct`` hold them; ``key`` is where the table stands."""
    if not isinstance(table, dict):
        raise ConfigError(f"{where}{key} must be a table, not {value_words(table)}")
    prefix = f"{key}." if key else ""
    fields = field_types(struct)
    for name in table:
        if name not in fields:
            raise ConfigError(
                f"{where}there is no key {shown(prefix + name)}{nearest(name, fields)}",
                hint=f"the keys are {', '.join(fields)}",
            )
    if missing := [name for name in _required_fields(struct) if name not in table]:
        raise ConfigError(f"{where}{prefix}{missing[0]} is missing")
    return {name: _checked(struct, name, value, key=prefix + name, where=where) for name, value in table.items()}


def _checked(struct: type[msgspec.Struct], name: str, value: object, *, key: str, where: str) -> Any:
    """Return one value; a table of its own is checked key by key, and the catalogue of models later."""
    if name == "models":
        return value
    kind = field_types(struct)[name]
    if isinstance(kind, inspect.StructType):
        return kind.cls(**_checked_table(kind.cls, value, key=key, where=where))
    return checked_value(struct, name, value, place=f"{where}{key}")


@cache
def _required_fields(struct: type[msgspec.Struct]) -> tuple[str, ...]:
    return tuple(field.name for field in msgspec.structs.fields(struct) if field.required)


def _model(name: str, table: object, *, where: str) -> Model:
    key = f"models.{name}"
    if problem := model_name_problem(name):
        raise ConfigError(f"{where}the name of {shown(key)} {problem}")
    values = _checked_table(_ModelTable, table, key=key, where=where)
    parameters = {
        parameter: _parameter(parameter, entry, key=f"{key}.parameters.{parameter}", where=where)
        for parameter, entry in values.pop("parameters", {}).items()
    }
    return Model(name, parameters, **values)


def _parameter(name: str, table: object, *, key: str, where: str) -> Parameter:
    return Parameter(name, **_checked_table(_ParameterTable, table, key=key, where=where))


def _check_meaning(description: ProviderDescription, where: str) -> None:
    """Raise if values of the right type cannot be what their keys mean."""
    for key in ("base_url", "history_url", "upload_url"):
        url = getattr(description, key)
        if (url or key == "base_url") and (problem := api_url_problem(url)):
            raise ConfigError(f"{where}{key} {problem}")
    if not VARIABLE_NAME.match(description.api_key_env):
        raise ConfigError(f"{where}api_key_env must be the name of an environment variable, not a key")
    try:
        re.compile(description.api_key_pattern)
    except re.error as error:
        raise ConfigError(f"{where}api_key_pattern is no regular expression: {error}") from None
    if description.default_model and (problem := model_name_problem(description.default_model)):
        raise ConfigError(f"{where}default_model {problem}")
    if description.default_model and description.default_model not in description.models:
        guess = nearest(description.default_model, description.models)
        raise ConfigError(f"{where}default_model {shown(description.default_model)} is not among the models{guess}")
