"""The store -> hyperparameter searches: what was planned, which trials are tracked, which config won."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from qwerties.config import Config, Seeds
from qwerties.study.plan import UNREADABLE_JSON, is_whole_trial, runs_of_search
from qwerties.tracking.tags import SUGGESTED, TRIAL, TUNING

if TYPE_CHECKING:  # workers import this module, and need neither the store nor MLflow
    from qwerties.study.coverage import Coverage
    from qwerties.tracking.records import Tracked
    from qwerties.tracking.store import Store

# Direction of each objective. Population accuracy is the mean over the seeds, regret is Bayes accuracy minus it, and
# cost is network-epochs times parameters.
OBJECTIVES: dict[str, Literal["maximize", "minimize"]] = {
    "population_accuracy": "maximize",
    "regret": "minimize",
    "cost": "minimize",
}

SCORES = (  # metrics of a trial that are read
    *("population_accuracy", "population_accuracy_se", "population_accuracy_p10", "population_accuracy_p90"),
    *("regret", "cost", "learned_fraction", "diverged_fraction"),
)

IMPORTANCE = "importance_"  # prefix of metrics of a search's run

LEAST_REGRET = 1e-4  # smaller regrets are below the error of the score; log axes show this one instead


def cost(config: Config, n_networks: int) -> float:
    """Return network-epochs times parameters of ``n_networks`` networks."""
    return float(config.epochs * n_networks * config.weights)


@dataclass(frozen=True)
class TrackedSearch:
    """One planned search, and its tracked part."""

    name: str  # of the Optuna study
    arm: str
    sampler: str
    is_baseline: bool  # whether the sampler is a baseline, so that the winner is not the arm's own
    objectives: tuple[str, ...]  # of `OBJECTIVES`; the first one decides the winner
    seeds: Seeds  # of every trial
    n_trials: int  # the budget
    run: Tracked | None  # the search's MLflow run; None where the search was not started
    trials: pd.DataFrame  # one row per tracked trial, as `trial_frame` returns it
    params: tuple[str, ...]  # names of the searched parameters
    importances: dict[str, float]  # share of each parameter in what sets the best trials apart; may be empty

    @property
    def label(self) -> str:
        """Arm and sampler, in words."""
        return f"{self.arm} by {self.sampler}"

    @property
    def is_complete(self) -> bool:
        """Whether every trial of the budget is tracked."""
        return len(self.trials) == self.n_trials

    @property
    def n_failed(self) -> int:
        """Number of trials that diverged."""
        return int((self.trials["state"] == "failed").sum())

    @cached_property
    def best(self) -> dict[str, Any] | None:
        """Row of the best trial; None where no trial has a score."""
        return best_of(self.trials, self.objectives)

    @property
    def winner(self) -> Config | None:
        """Config of the best trial; None until the budget is spent, or where every trial diverged."""
        return self.best["config"] if self.best is not None and self.is_complete else None


def load_searches(store: Store, coverage: Coverage) -> list[TrackedSearch]:
    """Read the planned searches of one experiment, in the plan's order; none where nothing is tuned.

    Raises
    ------
    ValueError
        If the plan of the searches cannot be read; the message is one line.
    """
    tags = store.experiments().get(coverage.experiment_name, ("", {}))[1]
    return read_searches(tags, store.runs(coverage.experiment_id))


def read_searches(tags: Mapping[str, str], runs: Sequence[Tracked]) -> list[TrackedSearch]:
    """Read the planned searches from an experiment's tags and runs, as `load_searches` does."""
    if TUNING not in tags:
        return []
    try:
        return [read_search(spec, runs) for spec in json.loads(tags[TUNING])["searches"]]
    except UNREADABLE_JSON:
        raise ValueError(f"the tag {TUNING} cannot be read") from None


def read_search(spec: Mapping[str, Any], runs: Sequence[Tracked]) -> TrackedSearch:
    """Join one search's plan, as `tuning.Search.spec` writes it, with its runs."""
    name, objectives = str(spec["name"]), tuple(map(str, spec["objectives"]))
    if not objectives or not set(objectives) <= set(OBJECTIVES):
        raise ValueError("objectives")
    run, children = runs_of_search(name, runs)
    own = [child for child in children if run is not None and child.parent == run.run_id]
    params = tuple(map(str, spec["space"]))
    metrics = run.metrics if run is not None else {}
    return TrackedSearch(
        name=name,
        arm=str(spec["arm"]),
        sampler=str(spec["sampler"]),
        is_baseline=bool(spec["is_baseline"]),
        objectives=objectives,
        seeds=Seeds.parse(str(spec["seeds"])),
        n_trials=int(spec["trials"]),
        run=run,
        trials=trial_frame(own, params),
        params=params,
        importances={p: metrics[IMPORTANCE + p] for p in params if 0 <= metrics.get(IMPORTANCE + p, -1) <= 1},
    )


def trial_frame(children: Sequence[Tracked], params: Sequence[str] = ()) -> pd.DataFrame:
    """Make a table of a search's trials, sorted by number.

    Returns
    -------
    DataFrame
        ``number``; ``state``, "complete" or "failed" (diverged); ``config``; ``params_*``, the suggested values, None
        where a trial lacks the parameter; the metrics of `SCORES`, NaN where undefined. Runs that were not written to
        their end or cannot be read are left out.
    """
    columns = ["number", "state", "config", *(f"params_{name}" for name in params), *SCORES]
    rows: dict[int, list[object]] = {}
    for child in children:
        if not is_whole_trial(child):
            continue
        try:
            number, config = int(child.tags[TRIAL]), Config.from_params(child.params)
            suggested = dict(json.loads(child.tags.get(SUGGESTED, "{}")))
        except UNREADABLE_JSON:
            continue
        state = "complete" if child.status == "FINISHED" else "failed"
        values = (suggested.get(name) for name in params)
        scalars = (value if isinstance(value, str | bool | int | float) else None for value in values)
        metrics = (child.metrics.get(name, np.nan) for name in SCORES)
        rows.setdefault(number, [number, state, config, *scalars, *metrics])
    frame = pd.DataFrame([rows[number] for number in sorted(rows)], columns=columns, dtype=object)
    return frame.astype({"number": int, **dict.fromkeys(SCORES, float)})


def losses_of(frame: pd.DataFrame, objectives: Sequence[str]) -> np.ndarray:
    """Return each trial's objectives, signed so that less is better, (trials, objectives); NaN where it diverged."""
    signs = [-1.0 if OBJECTIVES[name] == "maximize" else 1.0 for name in objectives]
    values = frame[list(objectives)].to_numpy(float) * signs
    return np.where((frame["state"] == "complete").to_numpy()[:, None], values, np.nan)


def best_of(frame: pd.DataFrame, objectives: Sequence[str]) -> dict[str, Any] | None:
    """Return the row of the trial that is best in the first objective, the earliest of equals."""
    first = losses_of(frame, objectives)[:, 0]
    if not np.isfinite(first).any():
        return None
    return {str(name): value for name, value in frame.iloc[int(np.nanargmin(first))].items()}


def progress_of(frame: pd.DataFrame, objectives: Sequence[str]) -> pd.DataFrame:
    """Add ``y``, the first objective, ``best``, its best value so far, and ``front`` where there are several."""
    losses = losses_of(frame, objectives)
    sign = -1.0 if OBJECTIVES[objectives[0]] == "maximize" else 1.0
    added = frame.assign(y=sign * losses[:, 0], best=sign * np.fmin.accumulate(losses[:, 0]))
    if len(objectives) > 1:
        added["front"] = [
            bool(np.isfinite(row).all() and not ((losses <= row).all(1) & (losses < row).any(1)).any())
            for row in losses
        ]
    if "regret" in objectives:
        added["regret"] = added["regret"].clip(lower=LEAST_REGRET)
    return added
