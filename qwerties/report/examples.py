"""Which networks an experiment's figure of exemplars shows: the lowest seeds that ended in different ways.

They come with the final weights and the training points that their runs kept.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qwerties.analysis.contrasts import ContrastResult
from qwerties.config import Config
from qwerties.plotting.examples import DOTS, SHOWN, Exemplar, describe, draw_exemplars, size_of
from qwerties.report.figures import ReportFigure, planned_picture
from qwerties.study.coverage import UNREADABLE, SeedTable, config_names
from qwerties.tracking.arrays import read_arrays
from qwerties.tracking.records import Tracked
from qwerties.tracking.store import Store, StoreError

MOST = 4
"""Configs in one figure."""


def examples_figure(
    store: Store, drawn: Sequence[SeedTable], findings: Sequence[ContrastResult]
) -> ReportFigure | None:
    """Make an experiment's figure of exemplars; None where no run kept their points.

    Raises
    ------
    StoreError
        If what a run kept cannot be read.
    """
    rows: list[tuple[SeedTable, dict[str, Exemplar]]] = []
    for one in _by_interest(drawn, findings):
        found = read_exemplars(store, one)
        if found:
            rows.append((one, found))
        if len(rows) == MOST:
            break
    if not rows:
        return None
    names = dict(zip([one.config for one in drawn], config_names([one.config for one in drawn]), strict=True))
    panels = [(one.config, found, names[one.config]) for one, found in rows]
    left = len(drawn) - len(rows)
    caption = (
        "How networks ended: the lowest seed of each state, and the share of its training points that it gets right. "
        "Shading is the probability of qwerties B, the line is where it is one half, a ring marks a point on the wrong "
        "side (where they are few), and the dashed line is the best possible boundary"
        + (f" ({len(rows)} of {len(drawn)} configs)." if left else ".")
    )
    return planned_picture(
        draw_exemplars, panels, size=size_of(panels), caption=caption, alt=describe(panels), dots=DOTS
    )


def _by_interest(drawn: Sequence[SeedTable], findings: Sequence[ContrastResult]) -> list[SeedTable]:
    """Order configs: those that are compared first."""
    compared = [side for finding in findings for side in (finding.contrast.a, finding.contrast.b)]
    by_config = {one.config: one for one in drawn if "weight_seed" not in one.frame}
    return [by_config[config] for config in dict.fromkeys([*compared, *by_config]) if config in by_config]


# What the runs kept


def read_exemplars(store: Store, networks: SeedTable) -> dict[str, Exemplar]:
    """Read the lowest seed of each state whose weights and points were kept.

    Raises
    ------
    StoreError
        If what was kept cannot be read, or is not what a run writes.
    """
    states = dict(zip(networks.frame["seed"].tolist(), networks.frame["state"], strict=True))
    found: dict[str, Exemplar] = {}
    for run in networks.runs:
        for one in _read(store, run, networks.config, states):
            if one.state not in found or one.seed < found[one.state].seed:
                found[one.state] = one
    return found


def _read(store: Store, run: Tracked, config: Config, states: Mapping[int, str]) -> list[Exemplar]:
    try:
        content = store.read(run, "curves.npz")
    except StoreError:  # no curves, no exemplars; the figure of the losses tells where they were wanted
        return []
    try:
        arrays = read_arrays(content)
        if not {"exemplars", "exemplar_points"} <= arrays.keys():
            return []
        return _make(config, arrays, states)
    except (*UNREADABLE, KeyError, IndexError) as error:
        raise StoreError(
            f"run {run.run_id} ({run.name}): the exemplars in curves.npz cannot be read: {error}"
        ) from error


def _make(config: Config, arrays: Mapping[str, NDArray[Any]], states: Mapping[int, str]) -> list[Exemplar]:
    seeds = arrays["exemplars"]
    if seeds.ndim != 1 or not np.issubdtype(seeds.dtype, np.integer):
        raise ValueError("exemplars must be seeds")
    points = _floats(arrays, "exemplar_points", (len(seeds), 2, 2 * config.samples))
    if not np.isfinite(points).all():
        raise ValueError("points must be finite")
    wanted: dict[str, int] = {}  # place of each state's lowest seed
    for i in np.argsort(seeds, kind="stable").tolist():
        if states.get(int(seeds[i])) in SHOWN:
            wanted.setdefault(states[int(seeds[i])], i)
    sizes = (2, *config.hidden, 1)
    last = []
    for k, (into, out) in enumerate(itertools.pairwise(sizes)):
        pair = [
            _floats(arrays, f"exemplar.{2 * k}.{name}", (len(seeds), -1, *shape))[:, -1]
            for name, shape in (("weight", (out, into)), ("bias", (out,)))
        ]
        last.append(pair)
    return [
        Exemplar(int(seeds[i]), state, points[i], tuple((weight[i], bias[i]) for weight, bias in last))
        for state, i in wanted.items()
    ]


def _floats(arrays: Mapping[str, NDArray[Any]], name: str, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """One array, of this shape (−1: any length but none) and of numbers."""
    found = arrays[name]
    fits = found.ndim == len(shape) and all(
        n > 0 if want == -1 else n == want for n, want in zip(found.shape, shape, strict=True)
    )
    if not fits or not np.issubdtype(found.dtype, np.floating):
        raise ValueError(f"{name} must be numbers of shape {shape}, got {found.shape}")
    return found.astype(np.float64)
