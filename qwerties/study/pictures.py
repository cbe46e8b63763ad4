"""Trained networks -> the pictures of their run."""

from __future__ import annotations

import numpy as np
import pandas as pd

from qwerties.config import Config
from qwerties.plotting import network as plots
from qwerties.scoring import theory
from qwerties.training import data
from qwerties.training.trainer import Trained


def notebook_pictures(trained: Trained, i: int) -> dict[str, bytes]:
    """Draw the notebook's two scatter plots of one network: its data, and the points that it misclassifies."""
    shown = _view(trained, i)
    misclassified = f"{(shown.predicted != shown.y).sum()} of {len(shown.y)} misclassified"
    return {
        "plots/data.png": plots.data_picture(shown, f"seed {trained.seeds.numbers[i]}"),
        "plots/misclassified.png": plots.data_picture(shown, misclassified, crossed=True),
    }


def run_pictures(trained: Trained, table: pd.DataFrame, curve: pd.DataFrame) -> dict[str, bytes]:
    """Draw a run: a typical network's decision boundary, the loss curve, the accuracies by state.

    Parameters
    ----------
    trained : Trained
    table : DataFrame
        ``seeds.csv``.
    curve : DataFrame
        By epoch: the mean ``train_loss`` over the seeds, and its quantiles ``p10``, ``p50``, ``p90``.
    """
    config = trained.config
    state = table["state"].mode().iloc[0]
    is_typical = table["state"] == state
    i = int(is_typical.argmax())
    typical = f"{config.label()} · seed {table['seed'][i]}, {state} like {is_typical.sum()} of {len(table)}"
    title = f"{config.label()} · {len(table)} seeds"
    references = theory.reference_accuracies(config.distance, config.data)
    return {
        "plots/decision_boundary.png": plots.boundary_picture(_view(trained, i), typical),
        "plots/loss_curve.png": _loss_curve(config, curve, title),
        "plots/accuracy_distribution.png": plots.accuracy_picture(table, references, title=title),
    }


def network_pictures(trained: Trained, i: int, title: str, optimum: float) -> dict[str, bytes]:
    """Draw one network: its decision boundary, and its loss curve with the sample's ``optimum``."""
    epochs = np.arange(1, trained.config.epochs + 1)
    curve = pd.DataFrame({"train_loss": trained.losses[i]}, index=epochs)
    return {
        "plots/decision_boundary.png": plots.boundary_picture(_view(trained, i), title),
        "plots/loss_curve.png": _loss_curve(trained.config, curve, title, optimum),
    }


def _loss_curve(config: Config, curve: pd.DataFrame, title: str, optimum: float = np.nan) -> bytes:
    levels = {}
    if config.loss in theory.DEAD_PLATEAU:  # of another loss, no level is known
        floor = theory.bce_floor if config.loss == "bce" else theory.brier_floor
        levels["Bayes floor"] = floor(config.distance, config.data)
        levels["dead plateau"] = theory.DEAD_PLATEAU[config.loss]
    return plots.loss_picture(curve, levels, optimum, title=title)


def _view(trained: Trained, i: int) -> plots.NetworkView:
    """Return what one network answers by its final weights."""
    config = trained.config
    x = data.draw([trained.seeds.data[i]], config.distance, config.samples, config.data)[0]  # (2, points)
    values = [value[i] for value in trained.final.values()]
    layers = tuple(zip(values[::2], values[1::2], strict=True))
    return plots.view_network(config, layers, x.numpy(), data.labels(config.samples).numpy())
