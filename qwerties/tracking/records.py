"""What one tracked run consists of: plain data, made by workers, written by the one process that tracks, and read."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np


def curve_epochs(epochs: int) -> np.ndarray:
    """Up to 200 epochs, evenly spaced on a log scale, from 1 to the last.

    At these every seed's loss is kept, and the mean loss of a tuning's trial: a metric takes 260 bytes a point in
    SQLite, and there are hundreds of trials.
    """
    return np.unique(np.geomspace(1, epochs, 200).round().astype(int))


@dataclass(frozen=True)
class Series:
    """A metric over epochs: steps (points,) and values (points,), NaN and infinities allowed."""

    steps: np.ndarray
    values: np.ndarray


@dataclass(frozen=True)
class Dataset:
    """What a run was trained on, for the dataset column of the MLflow UI."""

    name: str
    digest: str
    """At most 36 characters."""
    profile: dict[str, object]


@dataclass(frozen=True)
class Model:
    """A trained model to log with a run.

    Attributes
    ----------
    module : torch.nn.Module
        (batch, 2) -> (batch, 1).
    example, predicted : ndarray, float32
        Inputs such as it expects, (batch, 2), and what it makes of them, (batch, 1).
    """

    module: Any
    example: np.ndarray
    predicted: np.ndarray


@dataclass(frozen=True)
class Record:
    """One run, ready to be tracked.

    Attributes
    ----------
    name : str
        In words that a person reads.
    params, tags : dict of str
    metrics : dict of float
        Final values; None where undefined: not written. A series of the same name has its own last value.
    series : dict of Series
        Metrics over epochs.
    files : dict of bytes
        Artifacts by their path inside the run.
    model : Model
        To be logged beside the files, loadable by ``mlflow.pyfunc``.
    children : list of Record
        Runs shown below this one.
    status : {"FINISHED", "FAILED"}
        Of the run once all of it is written; failed is a trial that diverged.
    """

    name: str
    params: dict[str, str]
    metrics: dict[str, float | None]
    tags: dict[str, str] = field(default_factory=dict)
    series: dict[str, Series] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    dataset: Dataset | None = None
    model: Model | None = None
    children: list[Record] = field(default_factory=list)
    status: str = "FINISHED"


@dataclass(frozen=True)
class Tracked:
    """One run as the store holds it."""

    run_id: str
    experiment_id: str
    name: str
    status: str
    parent: str | None
    params: dict[str, str]
    metrics: dict[str, float]
    tags: dict[str, str]
    artifact_uri: str
    start_time: float = 0.0
    """Seconds since 1970."""
