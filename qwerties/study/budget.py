"""The study's error budget: ten slots for primary contrasts, and which contrasts were declared too late for one."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from qwerties.config import Config
from qwerties.study.chunks import PartError, contrasts_of
from qwerties.tracking.records import Tracked

# The chance of any wrong verdict among the primary contrasts, and the slots that share it (Bonferroni).
STUDY_ALPHA = 0.05
PRIMARY_SLOTS = 10

# Of each exploratory contrast by itself: not corrected for multiplicity.
EXPLORATORY_ALPHA = 0.05


def primary_alpha(n_primary: int) -> float:
    """Return the error rate of one primary contrast.

    A store that several checkouts share may hold more contrasts than slots. They then share the same 5%.
    """
    return STUDY_ALPHA / max(PRIMARY_SLOTS, n_primary)


def check_slots(declared: Mapping[str, int], stored: Mapping[str, Mapping[str, str]]) -> None:
    """Refuse more primary contrasts than the error budget has slots.

    Parameters
    ----------
    declared : mapping of str to int
        Primary contrasts of each experiment file.
    stored : mapping of str to mapping
        Tags of each experiment in the store. An experiment without a file still occupies its slots.

    Raises
    ------
    ValueError
        If there are too many; the message names the experiments and how many contrasts each has.
    """
    counts = {
        name: sum(contrast.get("primary") is True and not contrast.get("late") for contrast in _read(tags))
        for name, tags in stored.items()
    }
    counts |= declared
    if (total := sum(counts.values())) > PRIMARY_SLOTS:
        where = ", ".join(f"{n} in {name}" for name, n in sorted(counts.items()) if n)
        raise ValueError(
            f"primary contrasts must be at most {PRIMARY_SLOTS} in the whole study, one for each slot of its error "
            f"budget, got {total}: {where}"
        )


def mark_late(
    contrasts: Sequence[Mapping[str, Any]],
    before: Mapping[str, str],
    runs: Callable[[], Sequence[Tracked]],
) -> list[dict[str, Any]]:
    """Mark the primary contrasts that were declared, or got another margin, after runs of both arms existed.

    Parameters
    ----------
    contrasts : sequence of mapping
        The new plan, as an experiment's tag holds it.
    before : mapping
        Tags of the experiment with the stored plan; empty for a new experiment.
    runs : callable
        Returns the experiment's tracked runs. It is called only where a contrast is new or changed.

    Returns
    -------
    list of dict
        The contrasts. A late one has the key ``late``: why it counts as exploratory, in words.
    """
    old = {_arms(contrast): contrast for contrast in _read(before)}
    by_name = {
        name: contrast.get(arm)
        for contrast in old.values()
        for arm, name in zip(("a", "b"), contrast.get("names") or (), strict=False)
    }
    marked = []
    for contrast in contrasts:
        new = {key: value for key, value in contrast.items() if key != "late"}
        previous = old.get(_arms(new))
        same = (
            previous is not None
            and previous.get("primary") is True
            and (previous.get("delta") == new["delta"])
        )
        if new["primary"] and same and previous is not None and previous.get("late"):
            new["late"] = str(previous["late"])
        elif new["primary"] and not same:
            names = new.get("names") or (None, None)
            params = [by_name.get(name) or new[arm] for arm, name in zip(("a", "b"), names, strict=True)]
            if _have_runs(params, runs()):
                what = "got this margin" if previous and previous.get("primary") else "was declared primary"
                new["late"] = f"{what} on {datetime.date.today().isoformat()}, when runs of both arms existed"
        marked.append(new)
    return marked


def _read(tags: Mapping[str, str]) -> list[Mapping[str, Any]]:
    try:
        return [contrast for contrast in contrasts_of(tags) if isinstance(contrast, dict)]
    except PartError:
        return []


def _arms(contrast: Mapping[str, Any]) -> str:
    """Identify a contrast by its arms: their names where the configs are still to be tuned."""
    arms = contrast.get("names") or [contrast.get("a"), contrast.get("b")]
    return json.dumps(list(arms), sort_keys=True)


def _have_runs(arms: Sequence[Mapping[str, str]], runs: Sequence[Tracked]) -> bool:
    finished = set()
    for run in runs:
        if run.status == "FINISHED" and run.parent is None:
            try:
                finished.add(Config.from_params(run.params))
            except ValueError:
                continue  # not a run of a config
    try:
        return all(Config.from_params(dict(params)) in finished for params in arms)
    except (ValueError, TypeError):
        return False  # the stored plan was overwritten by somebody else
