"""The store -> studies: what was planned, which trials are tracked, what was chosen."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from qwerties.config import Config, Seeds
from qwerties.study.objectives import OBJECTIVES
from qwerties.study.search_space import Search, SearchError
from qwerties.tracking.records import Tracked
from qwerties.tracking.tags import FAILURE, STUDY, SUPERSEDED, TRIAL, TUNING

WINNER = "qwerties.winner"
"""Tag of a study's run: params of the config it chose, as JSON."""

SCORES = (
    *("population_accuracy", "population_accuracy_se", "population_accuracy_p10", "population_accuracy_p90"),
    *("regret", "cost", "learned_fraction", "diverged_fraction"),
)
"""Metrics of a trial that are read."""

LEAST_REGRET = 1e-4
"""Shown on a log axis in place of less, which is below the error of the score."""

UNREADABLE = (ValueError, TypeError, KeyError, AttributeError, RecursionError, SearchError)


@dataclass(frozen=True)
class TrackedStudy:
    """One planned study, and what of it is tracked.

    Attributes
    ----------
    name, label, side : str
        In the storage; what is searched and how, in words; the side whose config it chooses.
    own : bool
        Whether its winner is the side, not that of a baseline.
    search : Search
    seeds : Seeds
        Of every trial.
    base : Config
    objectives : tuple of str
    run : Tracked or None
        None where it is not begun.
    trials : DataFrame
        From `trial_frame`.
    winner : Config or None
        None until the budget is spent.
    """

    name: str
    label: str
    side: str
    own: bool
    search: Search
    seeds: Seeds
    base: Config
    objectives: tuple[str, ...]
    run: Tracked | None
    trials: pd.DataFrame
    winner: Config | None

    @property
    def complete(self) -> int:
        """Trials that have a score."""
        return int((self.trials["state"] == "complete").sum())

    @property
    def failed(self) -> int:
        """Trials that diverged."""
        return int((self.trials["state"] == "failed").sum())

    @property
    def done(self) -> bool:
        """Whether every trial of the budget is tracked, and a winner chosen."""
        return self.winner is not None and len(self.trials) == self.search.trials

    @property
    def networks(self) -> int:
        """SeedTable trained."""
        return len(self.trials) * len(self.seeds)

    @property
    def best(self) -> dict[str, Any] | None:
        """The row of the best trial."""
        number = best_of(self.trials, self.objectives)
        return None if number is None else row_of(self.trials, number)


def is_whole(child: Tracked) -> bool:
    """Whether a trial's run was written to its end; one that diverged is FAILED without a reason."""
    return child.status == "FINISHED" or (child.status == "FAILED" and FAILURE not in child.tags)


def trial_frame(children: Sequence[Tracked]) -> pd.DataFrame:
    """Make a row per trial of a study, in the order of their numbers.

    Returns
    -------
    DataFrame
        ``number``; ``state``, "complete" or "failed"; ``config``; the metrics of `SCORES`, missing where it has none.
        What was not written to its end, or cannot be read, is left out.
    """
    rows: dict[int, dict[str, object]] = {}
    for child in children:
        if not is_whole(child) or SUPERSEDED in child.tags:
            continue
        try:
            number, config = int(child.tags[TRIAL]), Config.from_params(child.params)
        except (ValueError, KeyError):
            continue
        metrics = {name: child.metrics.get(name, np.nan) for name in SCORES}
        state = "complete" if child.status == "FINISHED" else "failed"
        rows.setdefault(number, {"number": number, "state": state, "config": config, **metrics})
    ordered = [rows[number] for number in sorted(rows)]
    frame = pd.DataFrame(ordered, columns=["number", "state", "config", *SCORES])
    return frame.astype({"number": int, **dict.fromkeys(SCORES, float)})


def row_of(frame: pd.DataFrame, number: int) -> dict[str, Any]:
    """Return one trial's row."""
    return {str(key): value for key, value in frame[frame["number"] == number].iloc[0].items()}


def losses_of(frame: pd.DataFrame, objectives: Sequence[str]) -> np.ndarray:
    """Objectives of each trial, signed so that less is better, (trials, objectives); NaN where it has none."""
    signs = [-1.0 if OBJECTIVES[name] == "maximize" else 1.0 for name in objectives]
    values = frame[list(objectives)].to_numpy(float) * signs
    return np.where((frame["state"] == "complete").to_numpy()[:, None], values, np.nan)


def best_of(frame: pd.DataFrame, objectives: Sequence[str]) -> int | None:
    """Number of the trial that is best in the first objective, the earliest of equals; None where none has one."""
    first = losses_of(frame, objectives)[:, 0] if len(frame) else np.empty(0)
    return None if not np.isfinite(first).any() else int(frame["number"].iloc[int(np.nanargmin(first))])


def progress_of(frame: pd.DataFrame, objectives: Sequence[str]) -> pd.DataFrame:
    """Add ``y``, the first objective, ``best``, the best of it so far, and ``front`` where there are several."""
    losses = losses_of(frame, objectives)
    sign = -1.0 if OBJECTIVES[objectives[0]] == "maximize" else 1.0
    added = frame.assign(
        y=sign * losses[:, 0], best=sign * np.fmin.accumulate(losses[:, 0]) if len(frame) else np.nan
    )
    if len(objectives) > 1:
        added["front"] = [
            bool(np.isfinite(own).all() and not ((losses <= own).all(1) & (losses < own).any(1)).any())
            for own in losses
        ]
    if "regret" in objectives:
        added["regret"] = added["regret"].clip(lower=LEAST_REGRET)
    return added


def read_studies(tags: Mapping[str, str], runs: Sequence[Tracked]) -> tuple[list[TrackedStudy], list[str]]:
    """Read the planned studies of one experiment.

    Parameters
    ----------
    tags : mapping
        Of the experiment.
    runs : sequence of Tracked
        All of the experiment's.

    Returns
    -------
    list of TrackedStudy
        In the plan's order; empty where nothing is tuned.
    list of str
        What cannot be read.
    """
    if TUNING not in tags:
        return [], []
    try:
        return [_read(spec, runs) for spec in json.loads(tags[TUNING])["studies"]], []
    except UNREADABLE:
        return [], [f"the tag {TUNING} cannot be read"]


def _read(spec: Mapping[str, object], runs: Sequence[Tracked]) -> TrackedStudy:
    name = str(spec["study"])
    own = [
        run
        for run in runs
        if run.tags.get(STUDY) == name and TRIAL not in run.tags and SUPERSEDED not in run.tags
    ]
    run = own[-1] if own else None
    children = [child for child in runs if run is not None and child.parent == run.run_id]
    winner = None
    if run is not None and run.status == "FINISHED" and WINNER in run.tags:
        winner = Config.from_params(json.loads(run.tags[WINNER]))
    objectives = tuple(map(str, spec["objectives"]))  # type: ignore[call-overload]
    if not objectives or not set(objectives) <= set(OBJECTIVES):
        raise ValueError("objectives")
    return TrackedStudy(
        name=name,
        label=str(spec["label"]),
        side=str(spec["side"]),
        own=bool(spec["own"]),
        search=Search.from_dict(spec["search"]),  # type: ignore[arg-type]
        seeds=Seeds.parse(str(spec["seeds"])),
        base=Config.from_params(spec["base"]),  # type: ignore[arg-type]
        objectives=objectives,
        run=run,
        trials=trial_frame(children),
        winner=winner,
    )
