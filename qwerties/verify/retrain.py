"""Check a store against the notebook's own loop: ``qwerties verify``.

Every finished run is audited without training. Then networks drawn at random, from every experiment, are trained
again by the notebook's loop, and their losses, weights, states and scores compared with what is stored.

Two trainings that add up in another order agree to rounding, unless training itself amplifies rounding, as at large
rates or in some deep networks. A network that is not within tolerance is therefore trained a few times more by the same
loop, each step's weights rounded otherwise. As far as these trainings part, the stored one may part from the loop.
From the epoch on at which they have nothing in common, nothing is held to the loop, but stored scores must still be
what the stored weights give. Such a network is reported as sensitive to rounding, not as different.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn
from tqdm import tqdm

from qwerties.config import Config, Seeds
from qwerties.errors import clean, plural
from qwerties.execution.workers import Workers, run_tasks
from qwerties.scoring import score as scoring
from qwerties.scoring import theory
from qwerties.scoring.digest import code_digest
from qwerties.scoring.score import LEARNED_GAIN, SETTLED_FALL
from qwerties.tracking.records import Tracked
from qwerties.tracking.store import Store
from qwerties.tracking.tags import ARTIFACTS, TRIAL
from qwerties.training.reference import train_reference
from qwerties.training.trainer import checkpoints
from qwerties.verify.audit import (
    Block,
    Difference,
    agree,
    artifact_reader,
    check_artifacts,
    check_block,
    check_scores,
    contrast,
    is_among,
    read_block,
    round_otherwise,
)

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
class RunSample:
    """A run whose networks can be retrained; one of ``qwerties train`` holds a single one, and has no block."""

    run: Tracked
    config: Config
    seeds: Seeds
    has_block: bool


@dataclass(frozen=True)
class SampledNetwork:
    """A network drawn for retraining; ``row`` counts the run's networks."""

    sample: RunSample
    row: int

    @property
    def seed(self) -> str:
        """Its seed, as messages name it."""
        return f"seed {self.sample.seeds.numbers[self.row]}"

    @property
    def is_of_today(self) -> bool:
        """Whether its run was made by today's code, or does not say by which."""
        return self.sample.run.tags.get("qwerties.code", code_digest()) == code_digest()


@dataclass(frozen=True)
class Retrained:
    """One network as the notebook's loop trains it.

    Losses are (epochs,), weights (checkpoints, ...), gains (checkpoints,); scores are its row of ``seeds.csv``.
    """

    losses: np.ndarray
    checkpoints: np.ndarray
    weights: dict[str, np.ndarray]
    gain: np.ndarray
    scores: dict[str, Any]

    @property
    def epochs(self) -> np.ndarray:
        """Epochs of the losses."""
        return np.arange(1, len(self.losses) + 1)

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
    """A retrained network: what differs, and how far its losses and weights are from the loop's.

    ``unpredictable_from`` is the epoch from which on the loop, rounded otherwise, gives other numbers; None if none.
    """

    network: SampledNetwork
    differences: list[Difference]
    loss: float
    weight: float
    is_sensitive: bool = False
    unpredictable_from: int | None = None


def verify(
    store: Store, networks: int, seed: int, *, workers: int = 1, say: Callable[[str], object] = print
) -> bool:
    """Check every finished run without training, retrain some networks, and report what differs.

    Parameters
    ----------
    store : Store
    networks : int
        How many to retrain; all where there are fewer.
    seed : int
        Of the draw.
    workers : int
        Processes that retrain.
    say : callable
        Takes each line of the report.

    Returns
    -------
    bool
        Whether all agrees.
    """
    runs = {
        experiment_name: [run for run in store.runs(experiment_id) if run.status == "FINISHED"]
        for experiment_name, (experiment_id, _) in store.experiments().items()
    }
    if not any(runs.values()):
        say("nothing tracked yet: make sweep")
        return False
    torch.set_num_threads(1)  # networks this small gain nothing by two, which wait for one another
    rng = np.random.default_rng(seed)
    artifacts, samples, n_different = _audit(store, runs, rng, say)
    drawn = draw(samples, networks, rng)
    experiments = len({network.sample.run.experiment_id for network in drawn})
    say(
        f"retraining {plural(len(drawn), 'network')} of {plural(experiments, 'experiment')} with the notebook's loop, "
        f"drawn with --seed {seed}"
    )
    tasks = ((network, _block_of(store, network.sample)) for network in drawn)
    results = run_tasks(check_network, tasks, Workers(max(1, min(workers, len(drawn)))))
    checks = []
    for _, check in _with_progress(results, len(drawn), " networks"):
        checks.append(check)
        for line in _lines(check):
            say(line)
    n_different += sum(len(check.differences) for check in checks)
    if older := [check for check in checks if not check.network.is_of_today]:
        wrong = sum(bool(check.differences) for check in older)
        result = f"the numbers of {wrong:,} differ" if wrong else "their numbers agree"
        say(f"{plural(len(older), 'network')} made by other code than today's: {result}")
    loss, weight = (max((getattr(c, name) for c in checks), default=0.0) for name in ("loss", "weight"))
    say(
        f"{plural(len(checks), 'network')} retrained, {plural(artifacts, 'artifact')} checked; largest difference in "
        f"losses {loss:.1e}, in weights {weight:.1e}; {f'{n_different:,} differ' if n_different else 'all agree'}"
    )
    return not n_different


def _block_of(store: Store, sample: RunSample) -> Block | None:
    return read_block(sample.run, artifact_reader(store, sample.run)) if sample.has_block else None


def _audit(
    store: Store,
    runs: Mapping[str, Sequence[Tracked]],
    rng: np.random.Generator,
    say: Callable[[str], object],
) -> tuple[int, dict[str, list[RunSample]], int]:
    """Check all runs without training; return artifacts, runs to sample, differences."""
    n_artifacts, n_different, n_unchecked = 0, 0, 0
    samples: dict[str, list[RunSample]] = {experiment_name: [] for experiment_name in runs}
    everything = [(experiment_name, run) for experiment_name, some in runs.items() for run in some]
    everything += [("", run) for run in store.maps() if run.status == "FINISHED"]
    children: dict[str | None, list[Tracked]] = {}
    for _, run in everything:
        children.setdefault(run.parent, []).append(run)
    for experiment_name, run in _with_progress(everything, len(everything), " runs"):
        read = artifact_reader(store, run)
        differences: list[Difference] = []
        if ARTIFACTS in run.tags:
            checked, differences = check_artifacts(run, read)
            n_artifacts += checked
        elif TRIAL not in run.tags:  # trials have no artifacts
            n_unchecked += 1
        try:
            if run.parent is not None or not experiment_name:
                pass  # an example is compared with its parent; a map has its artifacts alone
            elif "seeds" in run.params:
                block = read_block(run, read)
                samples[experiment_name].append(RunSample(run, block.config, block.seeds, True))
                differences += check_block(block, children.get(run.run_id, ()), rng)
            elif "seed" in run.params:
                number = int(run.params["seed"])
                config = Config.from_params(run.params)
                samples[experiment_name].append(RunSample(run, config, Seeds(number, number + 1), False))
        except ValueError as error:
            differences = differences or [Difference(run, "its record", f"cannot be read: {error}")]
        for difference in differences:
            say(f"differs: {difference}")
        n_different += len(differences)
    if n_unchecked:
        say(
            f"{plural(n_unchecked, 'run')} without digests, as older ones are: their artifacts were not checked"
        )
    return n_artifacts, samples, n_different


def draw(
    samples: Mapping[str, Sequence[RunSample]], networks: int, rng: np.random.Generator
) -> list[SampledNetwork]:
    """Draw networks, none twice: from one experiment after the other, in each from one run after the other."""

    def in_turn(sources: Sequence[Iterator[SampledNetwork]]) -> Iterator[SampledNetwork]:
        shuffled = [sources[i] for i in rng.permutation(len(sources))]
        return (network for turn in itertools.zip_longest(*shuffled) for network in turn if network)

    def of_run(sample: RunSample) -> Iterator[SampledNetwork]:
        return (SampledNetwork(sample, int(row)) for row in rng.permutation(len(sample.seeds)))

    every = in_turn([in_turn([of_run(sample) for sample in some]) for some in samples.values()])
    return list(itertools.islice(every, networks))


def _lines(check: NetworkCheck) -> Iterator[str]:
    """Report one network."""
    for difference in check.differences:
        yield f"differs: {difference}{'' if check.network.is_of_today else ' (made by other code)'}"
    if check.is_sensitive:
        run, start = check.network.sample.run, check.unpredictable_from
        how = "agrees as far as the loop agrees with itself, rounded otherwise"
        if start is not None:
            how = f"from epoch {start:,} on the loop, rounded otherwise, gives other numbers: checked up to there"
        yield f"sensitive to rounding: {clean(run.name)} ({clean(run.run_id, 40)}): {check.network.seed}: {how}"


def _with_progress(items: Iterable[Any], total: int, unit: str) -> Iterator[Any]:
    """Pass items on with a progress bar; a line every ten seconds where there is no terminal."""
    seconds = 0.1 if sys.stderr.isatty() else 10.0
    yield from tqdm(items, total=total, unit=unit, leave=False, mininterval=seconds, delay=seconds)


# One network


def check_network(network: SampledNetwork, block: Block | None) -> NetworkCheck:
    """Retrain a network and compare it with its run's block, or with its metrics where it is by itself."""
    sample = network.sample
    again = functools.partial(
        retrain,
        sample.config,
        int(sample.seeds.data[network.row]),
        int(sample.seeds.weights[network.row]),
        checkpoints(sample.config.epochs) if block is None else block.curves["checkpoints"],
    )
    loop = again()
    check = compare(network, block, loop, ())
    if check.differences:
        check = compare(network, block, loop, [again(i) for i in range(TRIALS)])
    if block is not None and sample.config.hidden != (1,):  # the audit has rescored all narrow networks
        check.differences.extend(check_scores(block, range(network.row, network.row + 1)))
    return check


def retrain(
    config: Config, data_seed: int, weight_seed: int, kept_after: np.ndarray, noise: int | None = None
) -> Retrained:
    """Train one network by the notebook's loop, and score it.

    Parameters
    ----------
    config : Config
    data_seed, weight_seed : int
    kept_after : ndarray, (checkpoints,)
        Numbers of updates after which weights are kept: 0 first, ``config.epochs`` last.
    noise : int, optional
        A seed: round the weights of every step otherwise, by up to one unit in the last place.
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
    """Return how far numbers may be from the loop's at each step, by how far trials of the loop have been so far.

    Parameters
    ----------
    loop : ndarray, (steps, ...)
    trials : sequence of ndarray, (steps, ...)
        The same of the loop, rounded otherwise.
    least : float
        Allowed anyhow.

    Returns
    -------
    ndarray, (steps,)
        Infinite from the step on at which trials have nothing in common with the loop.
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
    network: SampledNetwork, block: Block | None, loop: Retrained, trials: Sequence[Retrained]
) -> NetworkCheck:
    """Compare what is stored of a network with what the loop makes of it, given trials of the loop."""
    run = network.sample.run
    loss_tolerance = allowed_distance(loop.losses, [trial.losses for trial in trials], LOSS_TOLERANCE)
    lost = np.isinf(loss_tolerance)
    if block is None:
        last = np.array([run.metrics.get("train_loss", np.nan)])
        loss = max_difference(
            "loss at epoch {}", loop.epochs[-1:], last, loop.losses[-1:], loss_tolerance[-1:]
        )
        weights = [MaxDifference()]
        wrong = list(_wrong_metrics(run, loop, trials, float(loss_tolerance[-1])))
    else:
        row, kept = network.row, block.curves["epochs"] - 1
        loss = max_difference(
            "loss at epoch {}",
            loop.epochs[kept],
            block.curves["loss"][row],
            loop.losses[kept],
            loss_tolerance[kept],
        )
        weights = list(_weight_differences(block, row, loop, trials))
        wrong = list(_wrong_columns(block, row, loop, trials, float(loss_tolerance[-1])))
    weight = max(weights, key=lambda found: found.distance / found.tolerance)
    differences = [
        Difference(run, f"{network.seed}: {d.what}", contrast(d.stored, d.value, LOOP, d.tolerance))
        for d in (loss, weight)
        if d.distance > d.tolerance
    ]
    differences += [
        Difference(run, f"{network.seed}: {name}", contrast(stored, loop.scores[name], LOOP))
        for name, stored in wrong
    ]
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
    names = ("train_accuracy", "phi", "population_accuracy", "gain", "bce", "brier", "epochs_to_learn")
    stored: dict[str, Any] = {name: run.metrics.get(name, np.nan) for name in names}
    stored |= {"train_loss": run.metrics.get("final_train_loss", np.nan)}
    stored |= {"state": run.tags.get("qwerties.state", "")}
    for name, value in stored.items():
        values = [one.scores[name] for one in (loop, *trials)]
        if np.isfinite(tolerance) and not is_among(value, values, tolerance):
            yield name, value


def _wrong_columns(
    block: Block, row: int, loop: Retrained, trials: Sequence[Retrained], tolerance: float
) -> Iterator[tuple[str, Any]]:
    """Yield name and value of the columns that the loop does not account for.

    Only those that do not follow from final weights: the weights are held to the loop's, the others to the weights.
    """
    stored = block.table.iloc[row]
    if not any(stored["dead_at_init"] == one.scores["dead_at_init"] for one in (loop, *trials)):
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
