"""Local files of a job line on its way into the ledger: each is looked at, and its name made independent of places."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from engine.input_files.inspection import InputFileError
from engine.input_files.references import references, replaced
from engine.job.local_file import local_path
from engine.job.model_name import provider_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from engine.input_files.inspection import Inspector
    from engine.input_files.references import Reference
    from engine.job.model import Model


class FileIntake:
    """Takes in the local files that job lines name.

    Args:
        directory: where relative names start.
        catalogue: the models whose parameters are known, by name.
        inspectors: who looks at files, by the name of the provider; None if it takes none, so that each is a mistake.
        titles: how each provider is called to people.
    """

    def __init__(
        self,
        directory: Path,
        catalogue: Mapping[str, Model],
        *,
        inspectors: Mapping[str, Inspector | None],
        titles: Mapping[str, str],
    ) -> None:
        self._directory = directory
        self._catalogue = catalogue
        self._inspectors = inspectors
        self._titles = titles

    def take(self, params: dict[str, Any], model_name: str) -> tuple[dict[str, Any], list[str]]:
        """Return the parameters with every local file named in full, and a sentence for each that cannot be used.

        Blocks.
        """
        model = self._catalogue.get(model_name)
        found = list(references(params, model))
        if not found:
            return params, []
        problems = [problem for reference in found if (problem := self._problem(reference, provider_of(model_name)))]
        if problems:
            return params, problems
        return replaced(params, model, lambda reference: self._path(reference).as_uri()), []

    def _path(self, reference: Reference) -> Path:
        return local_path(reference.value, self._directory)

    def _problem(self, reference: Reference, provider: str) -> str:
        inspector = self._inspectors[provider]
        if inspector is None:
            title = self._titles[provider]
            return (
                f"{reference.place} names a local file, and {title} takes only URLs: put it where {title} can fetch it"
            )
        try:
            path = self._path(reference)
        except ValueError as error:
            return f"{reference.place} {error}"
        try:
            inspector.facts(path, reference.parameter.accepts)
        except InputFileError as error:
            return f"{reference.place}: the file {path} {error}"
        return ""
