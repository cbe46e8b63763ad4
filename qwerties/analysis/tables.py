"""The store -> per-seed tables: ``seeds.csv`` and ``curves.npz`` of each config, its runs joined, no seed twice."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from qwerties.config import Config
from qwerties.scoring.states import STATES
from qwerties.study.coverage import PlannedConfig
from qwerties.tracking.arrays import read_arrays
from qwerties.tracking.records import Tracked
from qwerties.tracking.store import Store, StoreError

# A seeds.csv without one of them is of no use
SCORES = ("train_accuracy", "phi", "population_accuracy", "gain")

# Raised on files that hold no arrays, or others than they should
UNREADABLE = (ValueError, TypeError, KeyError, IndexError)


@dataclass(frozen=True)
class SeedTable:
    """Every network of one config."""

    config: Config
    runs: tuple[Tracked, ...]  # those that could be read
    rows: tuple[NDArray[np.intp], ...]  # for each run, which rows of its tables are used
    frame: pd.DataFrame  # ``seeds.csv`` of all of them, in the runs' order


def read_seed_table(store: Store, entry: PlannedConfig) -> tuple[SeedTable | None, list[str]]:
    """Read a config's per-seed scores, None where no run could be read; and say what could not be read."""
    runs, rows, frames, problems = [], [], [], []
    seen = np.empty(0, int)
    for run in entry.runs:
        try:
            frame = parse_scores(store.read(run, "seeds.csv"))
        except StoreError as error:
            problems.append(str(error))
            continue
        except ValueError as error:
            problems.append(f"run {run.run_id} ({run.name}): seeds.csv cannot be read: {error}")
            continue
        used = np.flatnonzero(~frame["seed"].isin(seen) & ~frame["seed"].duplicated())
        seen = np.union1d(seen, frame["seed"].to_numpy())
        runs.append(run)
        rows.append(used)
        frames.append(frame.iloc[used])
    if entry.config is None or not frames:
        return None, problems
    joined = pd.concat(frames, ignore_index=True) if len(frames) > 1 else frames[0].reset_index(drop=True)
    return SeedTable(entry.config, tuple(runs), tuple(rows), joined), problems


def parse_scores(content: bytes) -> pd.DataFrame:
    """Read a ``seeds.csv``.

    Raises
    ------
    ValueError
        If it is no table of scores.
    """
    frame = pd.read_csv(io.BytesIO(content), low_memory=False)
    if absent := sorted({"seed", "state", *SCORES} - set(frame.columns)):
        raise ValueError(f"it lacks the columns {', '.join(absent)}")
    if not pd.api.types.is_integer_dtype(frame["seed"]):
        raise ValueError("its seeds must be whole numbers")
    if not set(frame["state"]) <= set(STATES):
        raise ValueError(f"its states must be among {', '.join(STATES)}")
    return frame.astype(dict.fromkeys(SCORES, float))


def read_curves(store: Store, table: SeedTable, name: str) -> tuple[NDArray[Any], NDArray[Any]]:
    """Read one array of ``curves.npz`` over all of a config's networks.

    Returns
    -------
    epochs : ndarray, (points,)
        Where losses were kept.
    array : ndarray, (networks, ...)
        Row by row as `table.frame`.

    Raises
    ------
    StoreError
        If it is missing or cannot be read.
    """
    epochs: NDArray[Any] = np.empty(0)
    parts: list[NDArray[Any]] = []
    for run, rows in zip(table.runs, table.rows, strict=True):
        content = store.read(run, "curves.npz")
        try:
            arrays = read_arrays(content, ("epochs", name))
            epochs = arrays["epochs"]
            parts.append(arrays[name][rows])
        except UNREADABLE as error:
            raise StoreError(f"run {run.run_id} ({run.name}): curves.npz cannot be read") from error
    try:
        return epochs, np.concatenate(parts)
    except ValueError as error:
        raise StoreError(f"the runs of {table.config.label()} hold curves of different shapes") from error
