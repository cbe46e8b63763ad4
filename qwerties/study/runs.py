"""Trained networks -> records: what one config on one block of seeds leaves in the store."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import io
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd

from qwerties.config import Config, Seeds
from qwerties.execution import devices
from qwerties.plotting import network as plots
from qwerties.plotting.style import style
from qwerties.scoring import score as scoring
from qwerties.scoring import theory
from qwerties.scoring.predict import Layers, answer
from qwerties.scoring.score import STATES, Scores
from qwerties.tracking.records import Dataset, Record, Series, curve_epochs
from qwerties.training import data
from qwerties.training.trainer import Trained, train

QUANTILES = {"train_loss_p10": 0.1, "train_loss_p50": 0.5, "train_loss_p90": 0.9}
MEANS = ("train_accuracy", "population_accuracy", "gain", "bce", "brier")
EXEMPLAR_STATES = ("learned", "slow", "constant", "dead")


def train_records(
    configs: Sequence[Config],
    seeds: Seeds,
    *,
    device: str = "cpu",
    sharers: int = 1,
    progress: Callable[[int], None] = lambda network_epochs: None,
) -> list[Record]:
    """Train configs on a block of seeds and make each one's record: the work of one worker.

    Training may be done by another device (cpu, cuda), which ``sharers`` workers have together; scores and pictures are
    made by the CPU.
    """
    largest = max(configs, key=devices.bytes_of)
    with devices.resident(device, largest, sharers):
        done = train(configs, seeds, device=device, progress=progress)
    tags = {devices.TAG: devices.name(device)}
    records = []
    with style():
        while done:  # one by one, so that what is scored makes room for what is made of it
            records.append(_with_tags(make_record(done.pop(0)), tags))
    return records


def _with_tags(record: Record, tags: Mapping[str, str]) -> Record:
    """The record with these tags, and its exemplars with them."""
    children = [_with_tags(child, tags) for child in record.children]
    return dataclasses.replace(record, tags={**record.tags, **tags}, children=children)


def make_record(trained: Trained) -> Record:
    """Score a trained config and make its run: metrics, artifacts, and exemplars as child runs."""
    config, seeds = trained.config, trained.seeds
    scores = scoring.score(config, seeds, trained.losses, trained.checkpoints, trained.weights)
    table = scores.table
    exemplars = {state: i for state in EXEMPLAR_STATES if (i := _first(table["state"] == state)) is not None}
    return Record(
        name=config.label(),
        params={**config.to_params(), "seeds": str(seeds)},
        metrics=final_metrics(trained, table),
        series=_series(trained, scores),
        files={
            "seeds.csv": table.to_csv(index=False, lineterminator="\n").encode(),
            "curves.npz": _npz(_curves(trained, sorted(exemplars.values()))),
            "weights.npz": _npz(trained.final),
            **_run_pictures(trained, table),
        },
        dataset=_dataset(config, seeds),
        children=[network_record(trained, scores, i) for i in exemplars.values()],
    )


def _first(mask: pd.Series) -> int | None:
    return int(mask.argmax()) if mask.any() else None


def final_metrics(trained: Trained, table: pd.DataFrame) -> dict[str, float | None]:
    """Final scores of a run over its seeds; what is undefined for some seed is None, and counted."""
    phi, to_learn = table["phi"], table["epochs_to_learn"]
    has_optimum = trained.config.loss == "bce" and trained.config.data == "clusters"
    ratio = _gradient_ratio(trained.gradient_rms)
    return {
        "final_train_loss": _number(table["train_loss"].mean(skipna=False)),
        **{name: _number(table[name].mean(skipna=False)) for name in MEANS},
        **{f"{state}_fraction": float((table["state"] == state).mean()) for state in STATES},
        "dead_at_init_fraction": float(table["dead_at_init"].mean()),
        "settled_fraction": float(table["settled"].mean()),
        "phi": _number(phi.mean(skipna=False)),
        "phi_undefined": float(phi.isna().sum()),
        "epochs_to_learn": _number(to_learn.astype(float).fillna(np.inf).median()),  # where half ever learned
        "ever_learned_fraction": float(to_learn.notna().mean()),
        "excess_loss": _number(table["excess_loss"].mean()),
        "separable": float((table["excess_loss"].isna() & table["train_loss"].notna()).sum())
        if has_optimum
        else None,
        "gradient_ratio": _number(np.nanmedian(ratio)) if np.isfinite(ratio).any() else None,
    }


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _gradient_ratio(gradient_rms: np.ndarray) -> np.ndarray:
    """RMS gradient of the first layer over that of the last, (networks,); NaN where the last layer has none."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = gradient_rms[:, 0] / gradient_rms[:, -1]
    return np.where(np.isfinite(ratio), ratio, np.nan)


def _series(trained: Trained, scores: Scores) -> dict[str, Series]:
    """Metrics over epochs: the mean loss at every epoch, the rest at log-spaced ones.

    A diverged network makes the mean undefined from there on; for the quantiles it counts as the largest.
    """
    epochs = np.arange(1, trained.config.epochs + 1)
    kept, ranked = curve_epochs(trained.config.epochs), _ranked(trained)
    with np.errstate(over="ignore", invalid="ignore"):
        series = {"train_loss": Series(epochs, trained.losses.mean(0, dtype=np.float64))}
    for name, q in QUANTILES.items():
        series[name] = Series(kept, _quantile(ranked, q).astype(np.float64))
    gain = (scores.population_accuracy - 0.5) / max(
        theory.bayes_accuracy(trained.config.distance, trained.config.data) - 0.5, 1e-12
    )
    progress = {
        "train_accuracy": scores.train_accuracy,
        "population_accuracy": scores.population_accuracy,
        "learned_fraction": gain >= scoring.LEARNED_GAIN,
        "dead_fraction": scores.dead,
    }
    return series | {name: Series(scores.checkpoints, values.mean(0)) for name, values in progress.items()}


def _ranked(trained: Trained) -> np.ndarray:
    """Losses at `curve_epochs`, each epoch's sorted, (networks, epochs); those not finite come last, as infinite."""
    losses = trained.losses[:, curve_epochs(trained.config.epochs) - 1]
    return np.sort(np.where(np.isfinite(losses), losses, np.inf), axis=0)


def _quantile(ranked: np.ndarray, q: float) -> np.ndarray:
    return ranked[round(q * (len(ranked) - 1))]


def _curves(trained: Trained, exemplars: list[int]) -> dict[str, np.ndarray]:
    config = trained.config
    points = data.draw(
        [trained.seeds.data[i] for i in exemplars], config.distance, config.samples, config.data
    )
    kept = curve_epochs(trained.config.epochs)
    return {
        "epochs": kept,
        "loss": trained.losses[:, kept - 1],
        "gradient_rms": trained.gradient_rms,
        "checkpoints": trained.checkpoints,
        "exemplars": trained.seeds.numbers[exemplars],
        "exemplar_points": points.numpy(),
        **{f"exemplar.{name}": value[exemplars] for name, value in trained.weights.items()},
    }


def _npz(arrays: Mapping[str, np.ndarray]) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def _dataset(config: Config, seeds: Seeds) -> Dataset:
    arrangement = "" if config.data == "clusters" else f"{config.data} "
    name = f"qwerties {arrangement}d={config.distance:g}"
    drawn = f"{arrangement}{seeds} {config.distance} {config.samples}"
    return Dataset(
        name=name,
        digest=hashlib.sha256(drawn.encode()).hexdigest()[:12],
        profile={
            "points": 2 * config.samples,
            "data": config.data,
            "distance": config.distance,
            "seeds": str(seeds),
        },
    )


# Exemplars and pictures


def network_record(trained: Trained, scores: Scores, i: int) -> Record:
    """One network by itself, with its whole loss curve; ``i`` counts the block's networks."""
    config, row = trained.config, scores.table.iloc[i]
    names = (
        "train_loss",
        "train_accuracy",
        "phi",
        "population_accuracy",
        "gain",
        "bce",
        "brier",
        "epochs_to_learn",
    )
    progress = {"train_accuracy": scores.train_accuracy, "population_accuracy": scores.population_accuracy}
    title = f"seed {row['seed']} · {row['state']} · {config.label()}"
    return Record(
        name=title,
        params={**config.to_params(), "seed": str(row["seed"])},
        metrics={
            f"final_{name}" if name == "train_loss" else name: None
            if pd.isna(row[name])
            else float(row[name])
            for name in names
            if name not in progress
        },
        tags={"qwerties.state": row["state"]},
        series={
            "train_loss": Series(np.arange(1, config.epochs + 1), trained.losses[i].astype(np.float64)),
            **{
                name: Series(scores.checkpoints, values[i].astype(np.float64))
                for name, values in progress.items()
            },
        },
        files={
            "plots/decision_boundary.png": _decision_boundary(trained, i, title),
            "plots/loss_curve.png": _loss_curve(
                config,
                pd.DataFrame({"train_loss": trained.losses[i]}, index=np.arange(1, config.epochs + 1)),
                title,
                row["train_loss"] - row["excess_loss"],
            ),
        },
    )


def notebook_pictures(trained: Trained, i: int) -> dict[str, bytes]:
    """The notebook's two scatter plots of one network: its data, and what it gets wrong."""
    config, (x, y) = trained.config, _points(trained, i)
    extent = plots.view(config.distance, config.data)
    predicted = answer(config.activation, _layers(trained, i), x) > 0
    wrong = int((predicted != y).sum())
    return {
        "plots/data.png": plots.data_picture(extent, x, y, title=f"seed {trained.seeds.numbers[i]}"),
        "plots/misclassified.png": plots.data_picture(
            extent, x, y, predicted, title=f"{wrong} of {len(y)} misclassified"
        ),
    }


def _run_pictures(trained: Trained, table: pd.DataFrame) -> dict[str, bytes]:
    config = trained.config
    state = table["state"].mode().iloc[0]
    typical = int((table["state"] == state).argmax())
    ranked = _ranked(trained)
    columns = {name.removeprefix("train_loss_"): _quantile(ranked, q) for name, q in QUANTILES.items()}
    with np.errstate(over="ignore", invalid="ignore"):
        columns["train_loss"] = ranked.mean(0, dtype=np.float64)
    curve = pd.DataFrame(columns, index=curve_epochs(config.epochs))
    count = int((table["state"] == state).sum())
    return {
        "plots/decision_boundary.png": _decision_boundary(
            trained,
            typical,
            f"{config.label()} · seed {table['seed'][typical]}, {state} like {count} of {len(table)}",
        ),
        "plots/loss_curve.png": _loss_curve(config, curve, f"{config.label()} · {len(table)} seeds"),
        "plots/accuracy_distribution.png": plots.accuracy_picture(
            table,
            theory.reference_accuracies(config.distance, config.data),
            title=f"{config.label()} · {len(table)} seeds",
        ),
    }


def _loss_curve(config: Config, curve: pd.DataFrame, title: str, optimum: float | None = None) -> bytes:
    floor = theory.bce_floor if config.loss == "bce" else theory.brier_floor
    levels = {
        "Bayes floor": floor(config.distance, config.data),
        "dead plateau": theory.DEAD_PLATEAU[config.loss],
    }
    return plots.loss_picture(curve, levels, optimum, title=title)


def _decision_boundary(trained: Trained, i: int, title: str) -> bytes:
    config, (x, y), layers = trained.config, _points(trained, i), _layers(trained, i)
    extent = plots.view(config.distance, config.data)
    plane = plots.grid_points(extent)
    return plots.boundary_picture(
        extent,
        answer(config.activation, layers, plane).reshape(plots.GRID_SHAPE),
        x,
        y,
        answer(config.activation, layers, x) > 0,
        best=_best_log_odds(config.distance, config.data),
        title=title,
    )


@functools.cache
def _best_log_odds(distance: float, data: str) -> np.ndarray:
    plane = plots.grid_points(plots.view(distance, data))
    return theory.log_odds(plane, distance, data).reshape(plots.GRID_SHAPE)


def _points(trained: Trained, i: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the training points of one network, (2, points), and their labels."""
    config = trained.config
    x = data.draw([trained.seeds.data[i]], config.distance, config.samples, config.data)[0]
    return x.numpy(), data.labels(config.samples).numpy()


def _layers(trained: Trained, i: int) -> Layers:
    """Return the final weights of one network."""
    values = [value[i] for value in trained.final.values()]
    return tuple(zip(values[::2], values[1::2], strict=True))
