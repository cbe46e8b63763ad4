"""Which networks an experiment's figure of examples shows: the lowest seeds that ended in different ways.

They come with the final weights and the training points that their runs kept.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qwerties.analysis.contrasts import ExperimentResult
from qwerties.analysis.tables import UNREADABLE, SeedTable
from qwerties.config import Config
from qwerties.plotting.examples import PANEL_DPI, ExamplePanel, examples
from qwerties.plotting.network import view_network
from qwerties.plotting.style import STATES
from qwerties.report.figure_words import names
from qwerties.report.rendering import ReportFigure
from qwerties.scoring.predict import Layers
from qwerties.stats.formats import percent
from qwerties.tracking.arrays import read_arrays
from qwerties.tracking.store import Store, StoreError

MAX_ROWS = 2  # configs in one figure
SHOWN = tuple(state for state in STATES if state != "diverged")  # what diverged has nothing to show


@dataclass(frozen=True)
class Example:
    """One network as it ended: its final weights, and its training points, (2, points), the first half class 0."""

    seed: int
    state: str
    points: NDArray[Any]
    layers: Layers


def choose_examples(experiments: Sequence[ExperimentResult]) -> dict[str, tuple[SeedTable, ...]]:
    """Choose the configs whose networks each experiment shows, by its name.

    The arms of primary contrasts, or the first config of an experiment that compares nothing. No config is shown twice
    on a page.
    """
    seen: set[Config] = set()
    chosen = {}
    for experiment in experiments:
        tables = [table for table in experiment.networks.values() if "weight_seed" not in table.frame]
        contrasts = [result.contrast for result in experiment.findings]
        arms = [arm for contrast in contrasts if contrast.primary for arm in (contrast.a, contrast.b)]
        configs = arms if contrasts else [table.config for table in tables[:1]]
        rows = [table for table in tables if table.config in configs and table.config not in seen][:MAX_ROWS]
        seen |= {table.config for table in rows}
        chosen[experiment.coverage.experiment_name] = tuple(rows)
    return chosen


def examples_figure(
    store: Store, tables: Sequence[SeedTable], among: Sequence[SeedTable]
) -> ReportFigure | None:
    """Make a figure of examples of the tables' networks; None where no run kept their points.

    Configs are named by what differs `among` all of their experiment.

    Raises
    ------
    StoreError
        If what a run kept cannot be read.
    """
    rows = [(table, found) for table in tables if (found := read_examples(store, table))]
    if not rows:
        return None
    named = {table.config: name for table, name in zip(among, names(among), strict=True)}
    states = [state for state in SHOWN if any(state in found for _, found in rows)]
    panels = []
    described = []
    for table, found in rows:
        name = named[table.config]
        row = {state: _panel(table.config, found[state]) for state in states if state in found}
        panels.append((name, [row.get(state) for state in states]))
        ends = "; ".join(
            f"seed {found[state].seed:,} {state}, {panel.share} of its training points right"
            for state, panel in row.items()
        )
        described.append(f"{name}: {ends}")
    caption = (
        "How networks ended: the lowest seed of each state, and the share of its training points that it gets right. "
        "Shading is the probability of qwerties B, the line is where it is one half, a cross marks a point on the "
        "wrong side, and the dashed line is the best possible boundary"
        + (f" ({len(rows)} of {len(among)} configs)." if len(among) > len(rows) else ".")
    )
    alt = f"Decision boundaries, one row per config. {'. '.join(described)}."
    return ReportFigure(examples, {"rows": panels}, caption, alt, dpi=PANEL_DPI)


def _panel(config: Config, example: Example) -> ExamplePanel:
    """Compute what a network answers, over the plane and on its own points."""
    n_points = example.points.shape[1]
    labels = (np.arange(n_points) >= n_points // 2).astype(int)
    shown = view_network(config, example.layers, example.points, labels)
    right = percent(float((shown.predicted == labels).mean()))
    return ExamplePanel(shown, f"seed {example.seed:,} · {example.state}", right)


# What the runs kept


def read_examples(store: Store, networks: SeedTable) -> dict[str, Example]:
    """Read the lowest seed of each state whose weights and points were kept.

    Raises
    ------
    StoreError
        If what was kept cannot be read, or is not what a run writes.
    """
    states = dict(zip(networks.frame["seed"].tolist(), networks.frame["state"], strict=True))
    examples: list[Example] = []
    for run in networks.runs:
        try:
            content = store.read(run, "curves.npz")
        except StoreError:  # no curves, no examples; the figure of the losses names what is missing
            continue
        try:
            examples += _parse(networks.config, read_arrays(content), states)
        except UNREADABLE as error:
            raise StoreError(
                f"run {run.run_id} ({run.name}): the examples in curves.npz cannot be read: {error}"
            ) from error
    by_seed = sorted(examples, key=lambda example: example.seed, reverse=True)
    return {example.state: example for example in by_seed if example.state in SHOWN}


def _parse(config: Config, arrays: Mapping[str, NDArray[Any]], states: Mapping[int, str]) -> list[Example]:
    """Return every network that a run kept points of, as it ended."""
    if not {"exemplars", "exemplar_points"} <= arrays.keys():
        return []
    seeds = arrays["exemplars"]
    if seeds.ndim != 1 or not np.issubdtype(seeds.dtype, np.integer):
        raise ValueError("examples must be seeds")
    n = len(seeds)
    points = _floats("exemplar_points", arrays["exemplar_points"], (n, 2, 2 * config.samples))
    if not np.isfinite(points).all():
        raise ValueError("points must be finite")

    def final(name: str, *shape: int) -> NDArray[np.float64]:
        return _floats(name, arrays[name][:, -1], (n, *shape))

    layers = [
        (final(f"exemplar.{2 * k}.weight", out, into), final(f"exemplar.{2 * k}.bias", out))
        for k, (into, out) in enumerate(itertools.pairwise((2, *config.hidden, 1)))
    ]
    return [
        Example(seed, states.get(seed, ""), points[i], tuple((weight[i], bias[i]) for weight, bias in layers))
        for i, seed in enumerate(seeds.tolist())
    ]


def _floats(name: str, array: NDArray[Any], shape: tuple[int, ...]) -> NDArray[np.float64]:
    if array.shape != shape or not np.issubdtype(array.dtype, np.floating):
        raise ValueError(f"{name} must be numbers of shape {shape}, got {array.shape}")
    return array.astype(np.float64)
