"""Train one network again by the notebook's loop, and compare it with what the store holds of it.

Two trainings that add up in another order agree to rounding, unless training itself amplifies rounding, as at large
rates or in some deep networks. A network that is not within tolerance is therefore trained a few times more by the same
loop, each step's weights rounded otherwise. As far as these trainings part, the stored one may part from the loop.
From the epoch on at which they have nothing in common, nothing is held to the loop, but stored scores must still be
what the stored weights give. Such a network is sensitive to rounding, not different.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from qwerties.config import Config, Seeds
from qwerties.scoring import score as scoring
from qwerties.scoring import theory
from qwerties.scoring.digest import code_digest
from qwerties.scoring.score import LEARNED_GAIN, SETTLED_FALL
from qwerties.tracking.records import Tracked
from qwerties.tracking.tags import CODE, STATE
from qwerties.training.reference import train_reference
from qwerties.training.trainer import checkpoints
from qwerties.verify.audit import OF_ONE, Difference, agree, check_scores, is_among, mismatch, round_otherwise
from qwerties.verify.block import Block

# What the trainer promises, of values above 1 relative to them; networks of one hidden unit keep within 1e-6
LOSS_TOLERANCE, WEIGHT_TOLERANCE = 1e-5, 1e-4
GAIN_TOLERANCE = 5e-3  # at the checkpoints; there one of the few points that score a wide network makes 1e-3

TRIALS = 5  # loops, rounded otherwise, for a network that is not within tolerance
# The stored network may part from the loop this many times as far as these do: 12 times was the most in 108 networks
# at rates from 3 to 10, whose trials were then held to UNPREDICTABLE
MARGIN = 30.0
UNPREDICTABLE = 1e-3  # trials that are this far apart have nothing in common soon after

LOOP = "by the notebook's loop"


@dataclass(frozen=True)
class Sample:
    """A network to be retrained, the ``row``-th of its run."""

    run: Tracked
    config: Config
    seeds: Seeds
    row: int = 0

    @property
    def seed(self) -> str:
        """Its seed, as messages name it."""
        return f"seed {self.seeds.numbers[self.row]}"

    @property
    def is_of_today(self) -> bool:
        """Whether its run was made by today's code, or does not say by which."""
        return self.run.tags.get(CODE, code_digest()) == code_digest()


@dataclass(frozen=True)
class Retrained:
    """One network as the notebook's loop trains it."""

    losses: np.ndarray  # (epochs,)
    checkpoints: np.ndarray  # (checkpoints,)
    weights: dict[str, np.ndarray]  # (checkpoints, ...)
    gain: np.ndarray  # (checkpoints,)
    scores: dict[str, Any]  # its row of ``seeds.csv``

    @property
    def flat_weights(self) -> np.ndarray:
        """All weights, (checkpoints, weights)."""
        return np.concatenate([value.reshape(len(value), -1) for value in self.weights.values()], axis=1)


@dataclass(frozen=True)
class MaxDifference:
    """The largest difference between stored and retrained numbers: where, and both values."""

    what: str = ""
    stored: float = 0.0
    value: float = 0.0
    distance: float = 0.0
    tolerance: float = np.inf


@dataclass(frozen=True)
class NetworkCheck:
    """A retrained network, and how it differs from what is stored."""

    network: Sample
    differences: list[Difference]
    loss: float  # how far its losses are from the loop's, at most
    weight: float  # likewise its weights
    is_sensitive: bool  # whether it agrees only as far as the loop, rounded otherwise, agrees with itself
    unpredictable_from: int | None  # epoch from which on the loop, rounded otherwise, gives other numbers


def check_network(network: Sample, block: Block | None) -> NetworkCheck:
    """Retrain a network and compare it with its run's block; one of ``qwerties train`` has only metrics."""
    again = functools.partial(
        retrain,
        network.config,
        int(network.seeds.data[network.row]),
        int(network.seeds.weights[network.row]),
        checkpoints(network.config.epochs) if block is None else block.curves["checkpoints"],
    )
    loop = again()
    check = compare(network, block, loop, ())
    if check.differences:
        check = compare(network, block, loop, [again(i) for i in range(TRIALS)])
    if block is not None and network.config.hidden != (1,):  # the audit has rescored all narrow networks
        check.differences.extend(check_scores(block, range(network.row, network.row + 1)))
    return check


def retrain(
    config: Config, data_seed: int, weight_seed: int, kept_after: np.ndarray, noise: int | None = None
) -> Retrained:
    """Train one network by the notebook's loop, and score it.

    Weights are kept after as many updates as ``kept_after``, (checkpoints,), says: 0 first, ``config.epochs`` last.
    With ``noise``, a seed, the weights of every step are rounded otherwise, by up to one unit in the last place.
    """
    stops, done = set(kept_after.tolist()), 0
    snapshots: dict[int, dict[str, np.ndarray]] = {}

    def watcher() -> Callable[[int, nn.Sequential], None]:
        rng = np.random.default_rng(noise)

        def watch(updates: int, model: nn.Sequential) -> None:
            nonlocal done
            done = updates
            if noise is not None:
                with torch.no_grad():
                    for value in model.parameters():
                        value.copy_(torch.from_numpy(round_otherwise(value.numpy(), rng)))
            if updates in stops:
                snapshots[updates] = {name: w.numpy().copy() for name, w in model.state_dict().items()}

        return watch

    losses = np.full(config.epochs, np.nan, np.float32)
    with np.errstate(over="ignore", invalid="ignore"):  # a network may diverge
        try:
            losses[:] = train_reference(config, data_seed, weight_seed, watcher()).losses
        except RuntimeError:  # the notebook's BCELoss refuses what is not finite: the network has diverged
            if done:
                shorter = dataclasses.replace(config, epochs=done)
                losses[:done] = train_reference(shorter, data_seed, weight_seed, watcher()).losses
        diverged = {name: np.full_like(value, np.nan) for name, value in snapshots[0].items()}
        weights = {
            name: np.stack([snapshots.get(i, diverged)[name] for i in kept_after]) for name in diverged
        }
        scores = scoring.score(
            config,
            Seeds(data_seed, data_seed + 1),
            losses[None],
            kept_after,
            {name: value[None] for name, value in weights.items()},
        )
    bayes_margin = max(theory.bayes_accuracy(config.distance, config.data) - 0.5, 1e-12)
    row = {str(name): np.nan if pd.isna(value) else value for name, value in scores.table.iloc[0].items()}
    return Retrained(losses, kept_after, weights, (scores.population_accuracy[0] - 0.5) / bayes_margin, row)


def allowed_distance(loop: np.ndarray, trials: Sequence[np.ndarray], least: float) -> np.ndarray:
    """Return how far numbers may be from the loop's, (steps, ...), at each step: at least ``least``, (steps,).

    It follows from how far trials, the same of the loop rounded otherwise, have been so far, and is infinite from the
    step on at which they have nothing in common with the loop.
    """
    each = [distances(trial, loop).reshape(len(loop), -1).max(1) for trial in trials]
    spread = np.maximum.accumulate(np.max([np.zeros(len(loop)), *each], axis=0))
    return np.where(spread > UNPREDICTABLE, np.inf, np.maximum(least, MARGIN * spread))


def distances(stored: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Return how far two arrays are apart, relative to the second above 1; infinite where only one is finite."""
    with np.errstate(over="ignore", invalid="ignore"):
        distance = np.abs(stored.astype(float) - value) / np.maximum(1, np.abs(value))
    return np.where(agree(stored, value, 0), 0.0, np.where(np.isnan(distance), np.inf, distance))


def compare(
    network: Sample, block: Block | None, loop: Retrained, trials: Sequence[Retrained]
) -> NetworkCheck:
    """Compare what is stored of a network with what the loop makes of it, given trials of the loop."""
    run = network.run
    loss_tolerance = allowed_distance(loop.losses, [trial.losses for trial in trials], LOSS_TOLERANCE)
    if block is None:
        epochs = np.array([network.config.epochs])
        losses = np.array([run.metrics.get("train_loss", np.nan)])
        weight = MaxDifference()
        wrong = _wrong_metrics(run, loop, trials, float(loss_tolerance[-1]))
    else:
        epochs, losses = block.curves["epochs"], block.curves["loss"][network.row]
        weights = _weight_differences(block, network.row, loop, trials)
        weight = max(weights, key=lambda found: found.distance / found.tolerance)
        wrong = _wrong_columns(block, network.row, loop, trials, float(loss_tolerance[-1]))
    loss = max_difference(
        "loss at epoch {}", epochs, losses, loop.losses[epochs - 1], loss_tolerance[epochs - 1]
    )
    differences = [
        Difference(run, f"{network.seed}: {d.what}", mismatch(d.stored, d.value, LOOP, d.tolerance))
        for d in (loss, weight)
        if d.distance > d.tolerance
    ]
    differences += [
        Difference(run, f"{network.seed}: {name}", mismatch(stored, loop.scores[name], LOOP))
        for name, stored in wrong
    ]
    lost = np.isinf(loss_tolerance)
    start = int(lost.argmax()) + 1 if lost.any() else None
    return NetworkCheck(
        network, differences, loss.distance, weight.distance, bool(trials and not differences), start
    )


def max_difference(
    what: str, steps: np.ndarray, stored: np.ndarray, value: np.ndarray, tolerance: np.ndarray
) -> MaxDifference:
    """Return the largest difference, in units of its tolerance, of two arrays (steps, ...) held to one by step."""
    distance = distances(stored, value).reshape(len(steps), -1)
    distance[np.isinf(tolerance)] = 0
    step, i = np.unravel_index((distance / tolerance[:, None]).argmax(), distance.shape)
    was, should_be, off = (
        float(array.reshape(len(steps), -1)[step, i]) for array in (stored, value, distance)
    )
    return MaxDifference(what.format(steps[step]), was, should_be, off, float(tolerance[step]))


def _weight_differences(
    block: Block, row: int, loop: Retrained, trials: Sequence[Retrained]
) -> Iterator[MaxDifference]:
    """Compare the final weights, and those at every checkpoint where the network is an example."""
    tolerance = allowed_distance(loop.flat_weights, [t.flat_weights for t in trials], WEIGHT_TOLERANCE)
    examples = np.flatnonzero(block.curves["exemplars"] == block.seeds.numbers[row])
    for name, value in loop.weights.items():
        final = block.weights[name][row][None]
        yield max_difference(
            f"weight {name} after {{}} epochs", loop.checkpoints[-1:], final, value[-1:], tolerance[-1:]
        )
        for example in examples:
            stored = block.curves[f"exemplar.{name}"][example]
            yield max_difference(
                f"weight {name} after {{}} epochs", loop.checkpoints, stored, value, tolerance
            )


def _wrong_metrics(
    run: Tracked, loop: Retrained, trials: Sequence[Retrained], tolerance: float
) -> Iterator[tuple[str, Any]]:
    """Yield name and value of the scores of a network by itself that are not the loop's, also rounded otherwise."""
    stored: dict[str, Any] = {name: run.metrics.get(name, np.nan) for name in OF_ONE}
    stored |= {"train_loss": run.metrics.get("final_train_loss", np.nan)}
    stored |= {"state": run.tags.get(STATE, "")}
    for name, value in stored.items():
        values = [training.scores[name] for training in (loop, *trials)]
        if np.isfinite(tolerance) and not is_among(value, values, tolerance):
            yield name, value


def _wrong_columns(
    block: Block, row: int, loop: Retrained, trials: Sequence[Retrained], tolerance: float
) -> Iterator[tuple[str, Any]]:
    """Yield name and value of the columns that the loop does not account for.

    Only those that do not follow from final weights: the weights are held to the loop's, the others to the weights.
    """
    stored = block.table.iloc[row]
    if not any(stored["dead_at_init"] == training.scores["dead_at_init"] for training in (loop, *trials)):
        yield "dead_at_init", stored["dead_at_init"]
    gain_tolerance = allowed_distance(loop.gain, [trial.gain for trial in trials], GAIN_TOLERANCE)
    if not can_learn_at(stored["epochs_to_learn"], loop.checkpoints, loop.gain, gain_tolerance):
        yield "epochs_to_learn", stored["epochs_to_learn"]
    if stored["settled"] != loop.scores["settled"]:
        states = {stored["state"], loop.scores["state"]}  # the dead never settle
        if not (len(states) > 1 and "dead" in states) and not is_hardly_settled(loop.losses, tolerance):
            yield "settled", stored["settled"]


def can_learn_at(epoch: float, steps: np.ndarray, gain: np.ndarray, tolerance: np.ndarray | float) -> bool:
    """Return whether gains, each within tolerance, can first reach the bar at an epoch (NaN: never)."""
    clearly, possibly = gain >= LEARNED_GAIN + tolerance, gain >= LEARNED_GAIN - tolerance
    if np.isnan(epoch):
        return not clearly.any()
    return bool(possibly[steps == epoch].any()) and not clearly[steps < epoch].any()


def is_hardly_settled(losses: np.ndarray, tolerance: float) -> bool:
    """Return whether the fall over the last tenth of the epochs is that of a settled loss, within tolerance."""
    earlier, last = (float(losses[-i]) for i in (1 + min(len(losses) - 1, max(1, len(losses) // 10)), 1))
    return abs(earlier - last - SETTLED_FALL * earlier) <= 2 * tolerance * max(1.0, abs(earlier))
