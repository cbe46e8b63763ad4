"""The store -> what every section of the page is made of, read once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from qwerties.analysis.contrasts import ContrastResult, ExperimentResult
from qwerties.analysis.tables import SeedTable, read_curves
from qwerties.report.elements import Link
from qwerties.report.examples import choose_examples
from qwerties.report.text import slug, typeset
from qwerties.tracking.records import Tracked
from qwerties.tracking.store import Store, StoreError

LOCAL_UI = "http://127.0.0.1:5000"  # where `make ui` serves a store that has no server of its own


@dataclass(frozen=True)
class Results:
    """All that a section may show."""

    store: Store
    experiments: Sequence[ExperimentResult]  # in the report's order, from `load_results`
    changes: Sequence[Mapping[str, Any]] = ()  # since the previous report, from `verdicts_file.changes`
    reserved: Sequence[str] = ()  # ids of the page that no experiment's section may have

    @cached_property
    def anchors(self) -> dict[str, str]:
        """Id of each experiment's section, by the experiment's name."""
        taken = set(self.reserved)
        names = [result.coverage.experiment_name for result in self.experiments]
        return {name: slug(name, taken) for name in names}

    @property
    def ui(self) -> str:
        """Address of MLflow's UI, without a user's name and password."""
        parts = urlsplit(self.store.uri)
        if parts.scheme not in ("http", "https"):
            return LOCAL_UI
        return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])).rstrip("/")

    @cached_property
    def by_name(self) -> dict[str, ExperimentResult]:
        """Experiments with a plan, by their names."""
        return {
            result.coverage.experiment_name: result
            for result in self.experiments
            if result.coverage.plan is not None
        }

    @cached_property
    def contrasts(self) -> tuple[ContrastResult, ...]:
        """Every contrast of the study."""
        return tuple(contrast for result in self.experiments for contrast in result.findings)

    @cached_property
    def examples(self) -> dict[str, tuple[SeedTable, ...]]:
        """Configs whose single networks each experiment shows."""
        return choose_examples(self.experiments)

    @property
    def primary(self) -> tuple[ContrastResult, ...]:
        """The primary contrasts; all of them where none is primary."""
        return tuple(result for result in self.contrasts if result.contrast.primary) or self.contrasts

    def run_url(self, run: Tracked) -> str:
        """Return the address of a run in MLflow's UI."""
        return f"{self.ui}/#/experiments/{quote(run.experiment_id)}/runs/{quote(run.run_id)}"

    def run_links(self, runs: Sequence[Tracked], name: str) -> tuple[Link, ...]:
        """Link to runs, numbered where there are several."""
        return tuple(
            Link(f"{name} {i}" if len(runs) > 1 else name, self.run_url(run)) for i, run in enumerate(runs, 1)
        )

    def section_links(self, names: Iterable[str]) -> Markup:
        """Link to the sections of those experiments that are there, each once."""
        return Markup(", ").join(
            Markup('<a href="#{}"><bdi>{}</bdi></a>').format(
                self.anchors[name], typeset(self.by_name[name].coverage.title)
            )
            for name in dict.fromkeys(names)
            if name in self.by_name
        )

    def curves(self, table: SeedTable, name: str) -> tuple[NDArray[Any], NDArray[Any]]:
        """Read one array of ``curves.npz`` over a config's networks.

        Returns
        -------
        epochs : ndarray, (points,)
        values : ndarray, (networks, columns)

        Raises
        ------
        StoreError
            If it is missing, cannot be read, or is not two-dimensional numbers.
        """
        epochs, values = read_curves(self.store, table, name)
        numeric = all(np.issubdtype(array.dtype, np.number) for array in (epochs, values))
        shaped = epochs.ndim == 1 and values.ndim == 2 and values.shape[1] > 0
        if not numeric or not shaped or (name == "loss" and values.shape[1] != len(epochs)):
            raise StoreError(
                f"{name} in curves.npz of {table.config.label()} must be numbers of shape (networks, columns), got "
                f"shape {values.shape} at epochs of shape {epochs.shape}"
            )
        return epochs, values
