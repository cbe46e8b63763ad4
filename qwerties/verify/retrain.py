"""The store held against the notebook's own loop: ``qwerties verify``.

Every finished run is checked for what can be told without training (:mod:`qwerties.audit`). Then networks drawn at
random, from every experiment, are trained once more by :mod:`qwerties.reference`, and their losses, weights, states
and scores compared with what is stored.

Two trainings that add up in another order agree to rounding, unless the training itself amplifies rounding, as that
of some deep networks does. A network that is not within tolerance is therefore trained a few times more by the same
loop, each step's weights rounded otherwise: as far as these trainings part from one another, the stored one may part
from them, and is told to be sensitive to rounding instead of different.
"""

from __future__ import annotations

import functools
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

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
    RESCORED,
    SMOOTH,
    THRESHOLDED,
    Block,
    Difference,
    apart,
    check_artifacts,
    check_block,
    distances,
    is_among,
    read_block,
    rescore,
    rounded,
    told,
)
from qwerties.verify.fetch import reader, readers

LOSS_TOLERANCE, WEIGHT_TOLERANCE = 1e-5, 1e-4
"""What the trainer promises, of values above 1 relative to them; networks of one hidden unit keep within 1e-6."""

GAIN_TOLERANCE = 5e-3
"""At the checkpoints; a wide network is scored there on so few points that one of them makes 1e-3."""

MARGIN = 10.0
"""A network may part from the loop this many times as far as the loop parts from itself, rounded otherwise."""

TRIALS = 3
"""Trainings of the loop, rounded otherwise, for a network that is not within tolerance."""

LOOP = "by the notebook's loop"
SECONDS_BETWEEN_LINES = 10.0

T = TypeVar("T")


@dataclass(frozen=True)
class Holding:
    """A run whose networks can be retrained; one of ``qwerties train`` holds a single one."""

    run: Tracked
    config: Config
    seeds: Seeds
    has_block: bool


@dataclass(frozen=True)
class Drawn:
    """A network drawn for retraining; ``row`` counts the run's networks."""

    holding: Holding
    row: int


@dataclass(frozen=True)
class Retrained:
    """One network as the notebook's loop trains it.

    Attributes
    ----------
    losses : ndarray, (epochs,), float32
    checkpoints : ndarray, (checkpoints,)
    weights : dict of ndarray, (checkpoints, ...), float32
    gain : ndarray, (checkpoints,)
    scores : dict
        Its row of ``seeds.csv``; what is undefined is NaN.
    """

    losses: np.ndarray
    checkpoints: np.ndarray
    weights: dict[str, np.ndarray]
    gain: np.ndarray
    scores: dict[str, Any]


@dataclass(frozen=True)
class Allowed:
    """How far a network may be from the loop's."""

    loss: float = LOSS_TOLERANCE
    weight: float = WEIGHT_TOLERANCE
    gain: float = GAIN_TOLERANCE


@dataclass(frozen=True)
class Outcome:
    """What became of one network: what differs, and how far its losses and weights are from the loop's."""

    drawn: Drawn
    differences: list[Difference] = field(default_factory=list)
    loss: float = 0.0
    weight: float = 0.0
    allowed: Allowed = Allowed()


def verify(
    store: Store, networks: int, seed: int, *, workers: int = 1, say: Callable[[str], object] = print
) -> bool:
    """Check every finished run without training, retrain some networks, and tell what differs.

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
        Takes each line of what is told.

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
    artifacts, holdings, differ = _audit(store, runs, rng, say)
    of_maps, damaged = _check_maps(store, say)
    artifacts, differ = artifacts + of_maps, differ + damaged
    drawn = draw(holdings, networks, rng)
    experiments = len({one.holding.run.experiment_id for one in drawn})
    say(
        f"retraining {plural(len(drawn), 'network')} of {plural(experiments, 'experiment')} with the notebook's loop, "
        f"drawn with --seed {seed}"
    )
    tasks = ((one, _block_of(store, one.holding)) for one in drawn)
    outcomes = []
    done = run_tasks(verify_network, tasks, Workers(max(1, min(workers, len(drawn)))))
    for _, outcome in _shown(done, len(drawn), "networks"):
        outcomes.append(outcome)
        for line in _lines(outcome):
            say(line)
    differ += sum(len(outcome.differences) for outcome in outcomes)
    _tell_other_code(outcomes, say)
    loss, weight = (max((getattr(o, name) for o in outcomes), default=0.0) for name in ("loss", "weight"))
    say(
        f"{plural(len(outcomes), 'network')} retrained, {plural(artifacts, 'artifact')} checked; largest difference in "
        f"losses {loss:.1e}, in weights {weight:.1e}; {f'{differ:,} differ' if differ else 'all agree'}"
    )
    return not differ


def _check_maps(store: Store, say: Callable[[str], object]) -> tuple[int, int]:
    """Check the artifacts of maps: how many there were, and how many differ."""
    count, differ = 0, 0
    runs = [run for run in store.maps() if run.status == "FINISHED"]
    for run, read in zip(runs, readers(store, runs), strict=True):
        checked, found = check_artifacts(run, read)
        for difference in found:
            say(f"differs: {difference}")
        count, differ = count + checked, differ + len(found)
    return count, differ


def _block_of(store: Store, holding: Holding) -> Block | None:
    return read_block(holding.run, reader(store, holding.run)) if holding.has_block else None


def _audit(
    store: Store,
    runs: Mapping[str, Sequence[Tracked]],
    rng: np.random.Generator,
    say: Callable[[str], object],
) -> tuple[int, dict[str, list[Holding]], int]:
    """Check all runs without training: how many artifacts there were, what can be retrained, how many differ."""
    artifacts, differ, unchecked = 0, 0, 0
    holdings: dict[str, list[Holding]] = {experiment_name: [] for experiment_name in runs}
    everything = [(experiment_name, run) for experiment_name, some in runs.items() for run in some]
    children: dict[str, list[Tracked]] = {}
    for _, run in everything:
        if run.parent is not None:
            children.setdefault(run.parent, []).append(run)
    reads = readers(store, (run for _, run in everything))
    for (experiment_name, run), read in _shown(zip(everything, reads, strict=True), len(everything), "runs"):
        found: list[Difference] = []
        if ARTIFACTS in run.tags:
            count, found = check_artifacts(run, read)
            artifacts += count
        elif TRIAL not in run.tags:  # trials have no artifacts
            unchecked += 1
        if run.parent is None and {"seed", "seeds"} & set(run.params):
            try:
                if "seeds" in run.params:
                    block = read_block(run, read)
                    holdings[experiment_name].append(Holding(run, block.config, block.seeds, True))
                    found += check_block(block, children.get(run.run_id, ()), rng)
                else:
                    number = int(run.params["seed"])
                    config = Config.from_params(run.params)
                    holdings[experiment_name].append(Holding(run, config, Seeds(number, number + 1), False))
            except ValueError as error:
                found = found or [Difference(run, "its record", f"cannot be read: {error}")]
        for difference in found:
            say(f"differs: {difference}")
        differ += len(found)
    if unchecked:
        say(
            f"{plural(unchecked, 'run')} without digests, as older ones are: their artifacts were not checked"
        )
    return artifacts, holdings, differ


def draw(holdings: Mapping[str, Sequence[Holding]], networks: int, rng: np.random.Generator) -> list[Drawn]:
    """Draw networks, none twice: from one experiment after the other, in each from one run after the other."""

    def of_run(holding: Holding) -> Iterator[Drawn]:
        return (Drawn(holding, int(row)) for row in rng.permutation(len(holding.seeds)))

    def in_turn(sources: Sequence[Iterator[Drawn]]) -> Iterator[Drawn]:
        left = [sources[i] for i in rng.permutation(len(sources))]
        while left:
            for source in list(left):
                one = next(source, None)
                if one is None:
                    left.remove(source)
                else:
                    yield one

    every = in_turn([in_turn([of_run(holding) for holding in some]) for some in holdings.values()])
    return [one for one, _ in zip(every, range(networks), strict=False)]


def _lines(outcome: Outcome) -> Iterator[str]:
    """What is to be told of one network."""
    for difference in outcome.differences:
        code = "" if _is_of_today(outcome.drawn) else " (made by other code)"
        yield f"differs: {difference}{code}"
    if outcome.allowed != Allowed():
        run = outcome.drawn.holding.run
        yield (
            f"sensitive to rounding: {clean(run.name)} ({clean(run.run_id, 40)}): {_seed(outcome.drawn)}: off by "
            f"{outcome.loss:.1e} in loss, {outcome.weight:.1e} in weights; the loop itself, rounded otherwise, by "
            f"{outcome.allowed.loss / MARGIN:.1e} and {outcome.allowed.weight / MARGIN:.1e}"
        )


def _tell_other_code(outcomes: Sequence[Outcome], say: Callable[[str], object]) -> None:
    older = [outcome for outcome in outcomes if not _is_of_today(outcome.drawn)]
    if older:
        bad = sum(bool(outcome.differences) for outcome in older)
        verdict = f"the numbers of {bad:,} differ" if bad else "their numbers agree"
        say(f"{plural(len(older), 'network')} made by other code than today's: {verdict}")


def _is_of_today(drawn: Drawn) -> bool:
    """Whether a run was made by today's code, or does not say by which."""
    return drawn.holding.run.tags.get("qwerties.code", code_digest()) == code_digest()


def _seed(drawn: Drawn) -> str:
    return f"seed {drawn.holding.seeds.numbers[drawn.row]}"


def _shown(items: Iterable[T], total: int, what: str) -> Iterator[T]:
    """Pass items on and show how far it is: a bar on a terminal, now and then a plain line elsewhere."""
    started = said = time.monotonic()
    with tqdm(
        total=total, unit=f" {what}", dynamic_ncols=True, leave=False, disable=not sys.stderr.isatty()
    ) as bar:
        for done, item in enumerate(items, 1):
            yield item
            bar.update()
            now = time.monotonic()
            if bar.disable and now - said > SECONDS_BETWEEN_LINES:
                said, rate = now, done / (now - started)
                print(
                    f"{100 * done // total:3d}%  {done:,}/{total:,} {what}, {rate:.1f}/s, "
                    f"about {(total - done) / rate:.0f} s left",
                    file=sys.stderr,
                    flush=True,
                )


# One network


def verify_network(drawn: Drawn, block: Block | None) -> Outcome:
    """Retrain a network and compare it with its run's block, or with its metrics where it is by itself."""
    holding = drawn.holding
    again = functools.partial(
        retrain,
        holding.config,
        int(holding.seeds.data[drawn.row]),
        int(holding.seeds.weights[drawn.row]),
        checkpoints(holding.config.epochs) if block is None else block.curves["checkpoints"],
    )
    found = again()
    outcome = compare(drawn, block, found, [], Allowed())
    if not outcome.differences:
        return outcome
    trials = [again(noise) for noise in range(TRIALS)]
    return compare(drawn, block, found, trials, allowance(found, trials))


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
    stops, rng = set(kept_after.tolist()), np.random.default_rng(noise)
    kept: list[dict[str, np.ndarray]] = []

    def watch(updates: int, model: nn.Sequential) -> None:
        if noise is not None:
            with torch.no_grad():
                for value in model.parameters():
                    value.copy_(torch.from_numpy(rounded(value.numpy(), rng)))
        if updates in stops:
            kept.append({name: value.numpy().copy() for name, value in model.state_dict().items()})

    losses = train_reference(config, data_seed, weight_seed, watch).losses.numpy()
    weights = {name: np.stack([w[name] for w in kept]) for name in kept[0]}
    scores = scoring.score(
        config,
        Seeds(data_seed, data_seed + 1),
        losses[None],
        kept_after,
        {name: value[None] for name, value in weights.items()},
    )
    return Retrained(
        losses,
        kept_after,
        weights,
        (scores.population_accuracy[0] - 0.5)
        / max(theory.bayes_accuracy(config.distance, config.data) - 0.5, 1e-12),
        {str(name): np.nan if pd.isna(value) else value for name, value in scores.table.iloc[0].items()},
    )


def allowance(found: Retrained, trials: Sequence[Retrained]) -> Allowed:
    """How far a network may be from the loop, by how far the loop is from itself, rounded otherwise."""

    def widest(of: Callable[[Retrained], np.ndarray]) -> float:
        return MARGIN * max(float(distances(of(trial), of(found)).max()) for trial in trials)

    def all_weights(one: Retrained) -> np.ndarray:
        return np.concatenate([value.ravel() for value in one.weights.values()])

    return Allowed(
        max(LOSS_TOLERANCE, widest(lambda one: one.losses)),
        max(WEIGHT_TOLERANCE, widest(all_weights)),
        max(GAIN_TOLERANCE, widest(lambda one: one.gain)),
    )


@dataclass(frozen=True)
class Farthest:
    """Where two arrays are farthest apart, relative to the second above 1, and what both are there."""

    what: str
    stored: float
    value: float
    apart: float


def compare(
    drawn: Drawn, block: Block | None, found: Retrained, trials: Sequence[Retrained], allowed: Allowed
) -> Outcome:
    """Compare what is stored of a network with what the loop makes of it."""
    run = drawn.holding.run
    given: Mapping[Any, Any] | None = None
    if block is None:
        stored = _scores_of_run(run)
        last = np.array([run.metrics.get("train_loss", np.nan)])
        loss = _farthest([("loss at the last epoch", last, found.losses[-1:])])
        weight = Farthest("", 0.0, 0.0, 0.0)
    else:
        stored = {str(name): value for name, value in block.table.iloc[drawn.row].items()}
        loss, weight = _farthest_loss(block, drawn.row, found), _farthest_weight(block, drawn.row, found)
        if weight.apart <= allowed.weight:
            given = rescore(block, range(drawn.row, drawn.row + 1)).iloc[0].to_dict()
    differences = [
        Difference(run, f"{_seed(drawn)}: {far.what}", told(far.stored, far.value, LOOP, most))
        for far, most in ((loss, allowed.loss), (weight, allowed.weight))
        if far.apart > most
    ]
    differences += [
        Difference(run, f"{_seed(drawn)}: {name}", told(stored[name], found.scores[name], LOOP, most))
        for name, most in _differing_scores(stored, found, trials, given, allowed)
    ]
    return Outcome(drawn, differences, loss.apart, weight.apart, allowed)


def _scores_of_run(run: Tracked) -> dict[str, Any]:
    """Scores that a network by itself has as metrics, under the names of ``seeds.csv``; NaN where there is none."""
    names = ("train_accuracy", "phi", "population_accuracy", "gain", "bce", "brier", "epochs_to_learn")
    scores = {name: run.metrics.get(name, np.nan) for name in names}
    state = run.tags.get("qwerties.state", "")
    return {**scores, "train_loss": run.metrics.get("final_train_loss", np.nan), "state": state}


def _farthest(arrays: Iterable[tuple[str, np.ndarray, np.ndarray]]) -> Farthest:
    """Of (what, stored, value); a place in ``what`` is filled with the place in the array."""
    found = []
    for what, stored, value in arrays:
        apart = distances(stored, value)
        place = np.unravel_index(apart.argmax(), apart.shape)
        index = ", ".join(map(str, place))
        found.append(
            Farthest(what.format(index), float(stored[place]), float(value[place]), float(apart[place]))
        )
    return max(found, key=lambda far: far.apart)


def _farthest_loss(block: Block, row: int, found: Retrained) -> Farthest:
    epochs, stored = block.curves["epochs"], block.curves["loss"][row]
    value = found.losses[epochs - 1]
    place = int(distances(stored, value).argmax())
    return _farthest(
        [(f"loss at epoch {epochs[place]}", stored[place : place + 1], value[place : place + 1])]
    )


def _farthest_weight(block: Block, row: int, found: Retrained) -> Farthest:
    """Of the final weights, and of those at every checkpoint where the network is an exemplar."""
    arrays = [(f"weight {name}[{{}}]", block.weights[name][row], w[-1]) for name, w in found.weights.items()]
    for kept in np.flatnonzero(block.curves["exemplars"] == block.seeds.numbers[row]):
        arrays += [
            (f"weight {name}[{{}}] after {epoch} epochs", block.curves[f"exemplar.{name}"][kept, i], w[i])
            for name, w in found.weights.items()
            for i, epoch in enumerate(found.checkpoints)
        ]
    return _farthest(arrays)


def _differing_scores(
    stored: Mapping[str, Any],
    found: Retrained,
    trials: Sequence[Retrained],
    given: Mapping[Any, Any] | None,
    allowed: Allowed,
) -> Iterator[tuple[str, float | None]]:
    """Names of the scores that differ, with their tolerance if it is one of the score itself.

    A score that counts points on either side of a threshold may be another one if the network stands on it: if the
    stored weights, within tolerance of the loop's, give it (``given``), or the loop does when rounded otherwise.
    """

    def stands_on_it(name: str) -> bool:
        values = [one.scores[name] for one in (found, *trials)]
        return is_among(stored[name], values, LOSS_TOLERANCE) or (
            given is not None and apart(stored[name], given[name]) <= RESCORED
        )

    for name in SMOOTH:
        if name in stored and apart(stored[name], found.scores[name]) > allowed.loss:
            yield name, allowed.loss
    for name in THRESHOLDED:
        if apart(stored[name], found.scores[name]) > LOSS_TOLERANCE and not stands_on_it(name):
            yield name, None
    name = "dead_at_init"
    if name in stored and not is_among(stored[name], [one.scores[name] for one in (found, *trials)], 0):
        yield name, None
    if not _can_learn_at(stored["epochs_to_learn"], found, allowed.gain):
        yield "epochs_to_learn", None
    if stored.get("settled", found.scores["settled"]) != found.scores["settled"]:
        died_or_not = (
            "dead" in (stored["state"], found.scores["state"]) and stored["state"] != found.scores["state"]
        )
        if not died_or_not and not _is_hardly_settled(found.losses, allowed.loss):
            yield "settled", None


def _can_learn_at(epoch: float, found: Retrained, tolerance: float) -> bool:
    """Whether the gains, each within tolerance, first reach the bar at this checkpoint (never, if undefined)."""
    clearly = found.gain >= LEARNED_GAIN + tolerance
    if np.isnan(epoch):
        return not clearly.any()
    barely = (found.gain >= LEARNED_GAIN - tolerance)[found.checkpoints == epoch].any()
    return bool(barely) and not clearly[found.checkpoints < epoch].any()


def _is_hardly_settled(losses: np.ndarray, tolerance: float) -> bool:
    """Whether the fall over the last tenth of the epochs is what it takes to be settled, within tolerance."""
    earlier, last = (float(losses[-i]) for i in (1 + min(len(losses) - 1, max(1, len(losses) // 10)), 1))
    return abs(earlier - last - SETTLED_FALL * earlier) <= 2 * tolerance * max(1.0, abs(earlier))
