"""What is missing -> batches of networks: a worker trains one batch of the trainer at a time.

Workers import this module, which therefore loads neither the store nor, until a batch is trained, torch.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from qwerties.config import Config, Seeds
from qwerties.tracking.records import Record
from qwerties.training.batches import BLOCK, MAX_LOSSES, batches

if TYPE_CHECKING:
    from qwerties.study.coverage import Coverage
    from qwerties.study.experiment import Experiment

# Of one run, besides MAX_LOSSES: seeds, and points (seeds times points of a sample), of which scores take 10 bytes at
# each checkpoint, so that a worker stays well below 1 GB
MAX_SEEDS, MAX_POINTS = 1000, 2**20

# Networks of a batch by device. Fewer leave a GPU idle between two calls; with more, there are too few batches for
# what its workers do besides.
MAX_NETWORKS = {"cpu": BLOCK, "cuda": 2**12}


@dataclass(frozen=True)
class MissingRun:
    """A run to be made: a config on a block of seeds, for one experiment."""

    experiment_name: str
    config: Config
    seeds: Seeds


@dataclass(frozen=True)
class Batch:
    """Configs that are trained together on one block of seeds."""

    configs: tuple[Config, ...]
    seeds: Seeds

    @property
    def networks(self) -> int:
        """Networks to be trained; configs that differ in epochs alone count once."""
        return len({config.without_epochs for config in self.configs}) * len(self.seeds)

    @property
    def cost(self) -> float:
        """Rough work, for the order of batches and the time left: epochs of the smallest network."""
        widths = (2, *self.configs[0].hidden, 1)
        products = sum(a * b for a, b in itertools.pairwise(widths)) + 20 * sum(widths[1:])
        return self.networks * max(config.epochs for config in self.configs) * products / 43

    @property
    def label(self) -> str:
        """The batch in words, for messages."""
        others = f" and {len(self.configs) - 1} more" if len(self.configs) > 1 else ""
        return f"{self.configs[0].label()}{others} on seeds {self.seeds}"


def missing_runs(
    experiment: Experiment, coverage: Coverage, n_seeds: int, more: Mapping[Config, int] | None = None
) -> list[MissingRun]:
    """Return the runs that an experiment still needs.

    Parameters
    ----------
    experiment : Experiment
    coverage : Coverage
        Of the plan that the experiment has now.
    n_seeds : int
        Seeds per config that a sweep asks for.
    more : mapping of Config to int, optional
        Configs that need at least so many seeds.
    """
    planned = experiment.seeds(n_seeds)
    return [
        MissingRun(coverage.experiment_name, config, part)
        for config, entry in zip(experiment.configs, coverage.entries, strict=True)
        for block in entry.missing(planned, (more or {}).get(config, 0))
        for part in _split(config, block)
    ]


def _split(config: Config, seeds: Seeds) -> list[Seeds]:
    """Split a block of seeds into runs that a worker's memory has room for."""
    if seeds.crossed is not None:
        return [seeds]
    size = max(1, min(MAX_SEEDS, MAX_LOSSES // config.epochs, MAX_POINTS // (2 * config.samples)))
    return [Seeds(first, min(first + size, seeds.stop)) for first in range(seeds.start, seeds.stop, size)]


def make_batches(missing: Iterable[MissingRun], device: str = "cpu") -> list[Batch]:
    """Group missing runs into batches of the trainer, the costliest first; what two experiments share is done once."""
    configs: dict[Seeds, dict[Config, None]] = {}
    for run in missing:
        configs.setdefault(run.seeds, {})[run.config] = None
    grouped = [
        Batch(batch, seeds)
        for seeds, group in configs.items()
        for batch in batches(group, len(seeds), MAX_NETWORKS[device])
    ]
    return sorted(grouped, key=lambda batch: -batch.cost)


def train_batch(batch: Batch, device: str = "cpu", sharers: int = 1) -> list[Record]:
    """Train a batch and make a record of each config's run; ``sharers`` workers share the device."""
    from qwerties.study import runs  # and torch

    return runs.train_records(batch.configs, batch.seeds, device=device, sharers=sharers)
