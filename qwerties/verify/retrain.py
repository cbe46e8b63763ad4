"""Check a store against the notebook's own loop: ``qwerties verify``.

Every finished run is audited without training. Then networks drawn at random, from every experiment, are trained
again by the notebook's loop (`network`), and their losses, weights, states and scores compared with what is stored.
"""

from __future__ import annotations

import dataclasses
import itertools
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from qwerties.config import Config, Seeds
from qwerties.errors import clean, nothing_tracked, plural
from qwerties.execution.workers import Workers, run_tasks
from qwerties.tracking.records import Tracked
from qwerties.tracking.store import Store
from qwerties.tracking.tags import ARTIFACTS, SUPERSEDED, TRIAL
from qwerties.verify.audit import Difference, check_artifacts, check_block
from qwerties.verify.block import Block, artifact_reader, read_block
from qwerties.verify.network import NetworkCheck, Sample, check_network


def verify(store: Store, networks: int, seed: int, *, workers: int, echo: Callable[[str], object]) -> bool:
    """Check every finished run that counts without training, retrain some networks, and return whether all agrees.

    ``networks`` are drawn by ``seed``; all are retrained where there are fewer. ``echo`` takes each line of the report.
    """
    runs = {
        experiment_name: _current(store.runs(experiment_id))
        for experiment_name, (experiment_id, _) in store.experiments().items()
    }
    if not any(runs.values()):
        echo(nothing_tracked())
        return False
    torch.set_num_threads(1)  # networks this small gain nothing by two, which wait for one another
    rng = np.random.default_rng(seed)
    artifacts, samples, n_different = _audit(store, runs, rng, echo)
    drawn = draw(samples, networks, rng)
    experiments = len({network.run.experiment_id for network in drawn})
    echo(
        f"retraining {plural(len(drawn), 'network')} of {plural(experiments, 'experiment')} with the notebook's loop, "
        f"drawn with --seed {seed}"
    )
    tasks = ((network, _block_of(store, network.run)) for network in drawn)
    results = run_tasks(check_network, tasks, Workers(max(1, min(workers, len(drawn)))))
    checks = []
    for _, check in _with_progress(results, len(drawn), "network"):
        checks.append(check)
        for line in _lines(check):
            echo(line)
    n_different += sum(len(check.differences) for check in checks)
    if older := [check for check in checks if not check.network.is_of_today]:
        wrong = sum(bool(check.differences) for check in older)
        result = f"the numbers of {wrong:,} differ" if wrong else "their numbers agree"
        echo(f"{plural(len(older), 'network')} made by other code than today's: {result}")
    loss, weight = (max((getattr(c, name) for c in checks), default=0.0) for name in ("loss", "weight"))
    echo(
        f"{plural(len(checks), 'network')} retrained, {plural(artifacts, 'artifact')} checked; largest difference in "
        f"losses {loss:.1e}, in weights {weight:.1e}; {f'{n_different:,} differ' if n_different else 'all agree'}"
    )
    return not n_different


def _current(runs: Sequence[Tracked]) -> list[Tracked]:
    """Leave out runs that are not finished, and those that a later one superseded, with their examples."""
    superseded = {run.run_id for run in runs if SUPERSEDED in run.tags}
    return [
        run
        for run in runs
        if run.status == "FINISHED" and not superseded.intersection((run.run_id, run.parent))
    ]


def _block_of(store: Store, run: Tracked) -> Block | None:
    """Read a run's block; None for a single network, which has only metrics."""
    return read_block(run, artifact_reader(store, run)) if "seeds" in run.params else None


def _audit(
    store: Store,
    runs: Mapping[str, Sequence[Tracked]],
    rng: np.random.Generator,
    echo: Callable[[str], object],
) -> tuple[int, dict[str, list[Sample]], int]:
    """Check all runs without training; return artifacts, runs to sample, differences."""
    n_artifacts, n_different, n_unchecked = 0, 0, 0
    samples: dict[str, list[Sample]] = {experiment_name: [] for experiment_name in runs}
    everything = [(experiment_name, run) for experiment_name, some in runs.items() for run in some]
    everything += [("", run) for run in _current(store.maps())]
    children: dict[str | None, list[Tracked]] = {}
    for _, run in everything:
        children.setdefault(run.parent, []).append(run)
    for experiment_name, run in _with_progress(everything, len(everything), "run"):
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
                samples[experiment_name].append(Sample(run, block.config, block.seeds))
                differences += check_block(block, children.get(run.run_id, ()), rng)
            elif "seed" in run.params:
                number = int(run.params["seed"])
                config = Config.from_params(run.params)
                samples[experiment_name].append(Sample(run, config, Seeds(number, number + 1)))
        except ValueError as error:
            differences = differences or [Difference(run, "its record", f"cannot be read: {error}")]
        for difference in differences:
            echo(f"differs: {difference}")
        n_different += len(differences)
    if n_unchecked:
        echo(
            f"{plural(n_unchecked, 'run')} without digests, as older ones are: their artifacts were not checked"
        )
    return n_artifacts, samples, n_different


def draw(samples: Mapping[str, Sequence[Sample]], networks: int, rng: np.random.Generator) -> list[Sample]:
    """Draw networks, none twice: from one experiment after the other, in each from one run after the other."""

    def in_turn(sources: Sequence[Iterator[Sample]]) -> Iterator[Sample]:
        shuffled = [sources[i] for i in rng.permutation(len(sources))]
        return (network for turn in itertools.zip_longest(*shuffled) for network in turn if network)

    def of_run(sample: Sample) -> Iterator[Sample]:
        return (dataclasses.replace(sample, row=int(row)) for row in rng.permutation(len(sample.seeds)))

    every = in_turn([in_turn([of_run(sample) for sample in some]) for some in samples.values()])
    return list(itertools.islice(every, networks))


def _lines(check: NetworkCheck) -> Iterator[str]:
    """Report one network."""
    for difference in check.differences:
        yield f"differs: {difference}{'' if check.network.is_of_today else ' (made by other code)'}"
    if check.is_sensitive:
        run, start = check.network.run, check.unpredictable_from
        how = "agrees as far as the loop agrees with itself, rounded otherwise"
        if start is not None:
            how = f"from epoch {start:,} on the loop, rounded otherwise, gives other numbers: checked up to there"
        yield f"sensitive to rounding: {clean(run.name)} ({clean(run.run_id, 40)}): {check.network.seed}: {how}"


def _with_progress(items: Iterable[Any], total: int, unit: str) -> Iterator[Any]:
    """Pass items on with a progress bar; a line every ten seconds where there is no terminal."""
    seconds = 0.1 if sys.stderr.isatty() else 10.0
    yield from tqdm(items, total=total, unit=unit, leave=False, mininterval=seconds, delay=seconds)
