"""A question with its grid of configs and its contrasts; and what of it is not tracked yet."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from qwerties.config import DEFAULT, FIELDS, Config, Seeds, fingerprint
from qwerties.scoring.digest import code_digest
from qwerties.study.chunks import PARTS, contrasts_tags, in_parts
from qwerties.tracking.records import Tracked
from qwerties.tracking.tags import NOTE, SUPERSEDED

EMPTY: Mapping[Any, Any] = MappingProxyType({})

MAX_SHARE = 4.0

MAX_SEEDS, MAX_LOSSES, MAX_POINTS = 1000, 2**24, 2**20
"""Of one run: seeds, losses (seeds times epochs) and points (seeds times two clusters). Scores of its checkpoints take
10 bytes a point and checkpoint, a loss takes 8: so that a worker stays well below 1 GB."""

FIGURES = (
    *("scores", "lines", "distribution", "outcomes", "losses", "gradients", "variance"),
    *("relu_minus_linear", "retraining"),
)


@dataclass(frozen=True)
class Contrast:
    """Two configs to be compared on the same seeds; ``delta`` is the margin in population accuracy that matters.

    ``names`` are those of the sides where the plan was made before the configs were known, as for a tuned one.
    """

    a: Config
    b: Config
    delta: float = 0.01
    primary: bool = False
    names: tuple[str, str] | None = None

    def __post_init__(self) -> None:
        if not (isinstance(self.a, Config) and isinstance(self.b, Config)):
            raise ValueError(f"a contrast needs two Configs, got {self.a!r} and {self.b!r}")
        if not isinstance(self.delta, int | float) or not 0 < self.delta < math.inf:
            raise ValueError(f"delta must be a finite number above 0, got {self.delta!r}")
        if self.a == self.b:
            raise ValueError(f"a contrast needs two different configs, got {self.a.label()} twice")


@dataclass(frozen=True)
class Figure:
    """The figure that answers an experiment's question.

    Attributes
    ----------
    kind : str
        ``scores``: scores per config as dots with intervals. ``lines``: a score against a numeric field, a panel for
        each arrangement of the data. ``distribution``: the whole distribution of a score over seeds, against a field.
        ``outcomes``: shares of states per config. ``losses``: mean loss curves. ``gradients``: first-layer over
        last-layer gradient by depth. ``variance``: components of variance. ``relu_minus_linear``: the paired
        difference of a score between the two activations, against a numeric field. ``retraining``: the best of k
        networks by training loss.
    x : str, optional
        Of ``lines``, ``distribution`` and ``relu_minus_linear``: the field; everything else in which configs differ
        makes a line each.
    score : str
        Of ``scores`` and ``lines``: a column of ``seeds.csv``, ``learned``, or ``regret`` (Bayes accuracy minus
        population accuracy). Of ``distribution`` and ``relu_minus_linear``: an accuracy or ``gain``.
    """

    kind: str = "scores"
    x: str | None = None
    score: str = "population_accuracy"

    def __post_init__(self) -> None:
        if self.kind not in FIGURES:
            raise ValueError(f"figure kind must be one of {', '.join(FIGURES)}, got {self.kind!r}")
        if self.x is not None and self.x not in FIELDS:
            raise ValueError(f"x must be one of {', '.join(FIELDS)}, got {self.x!r}")


@dataclass(frozen=True)
class Experiment:
    """A question, the configs that answer it, and what is to be compared; one file in ``experiments/`` declares one.

    Attributes
    ----------
    title : str
        A few words, the heading of its section.
    question : str
        What is asked and how it is answered, in Markdown; shown in MLflow and in the report.
    configs : tuple of Config
    contrasts : tuple of Contrast
        Fixed before anything runs.
    figures : tuple of Figure
    share : float
        Where networks are costly: train only this part of the seeds that a sweep asks for. More than 1, up to 4, where
        that many are not enough.
    crossed : (int, int), optional
        Number of data seeds and of weight seeds, every one with every other, in place of a block of seeds.
    order : int
        Place of its section in the report.
    """

    title: str
    question: str
    configs: tuple[Config, ...]
    contrasts: tuple[Contrast, ...] = ()
    figures: tuple[Figure, ...] = (Figure(),)
    share: float = 1.0
    crossed: tuple[int, int] | None = None
    order: int = 100

    def __post_init__(self) -> None:
        problems = [
            f"{name} must be {rule}, got {getattr(self, name)!r}"
            for name, rule, holds in (
                ("title", "text", isinstance(self.title, str)),
                ("question", "text", isinstance(self.question, str)),
                ("configs", "Configs", _all_are(Config, self.configs)),
                ("contrasts", "Contrasts", _all_are(Contrast, self.contrasts)),
                ("figures", "Figures", _all_are(Figure, self.figures)),
                ("share", "a number", isinstance(self.share, int | float)),
                ("crossed", "None or two whole numbers above 0", _is_layout(self.crossed)),
                ("order", "a whole number", isinstance(self.order, int)),
            )
            if not holds
        ]
        if problems:
            raise ValueError("; ".join(problems))
        object.__setattr__(self, "configs", tuple(self.configs))
        if not self.configs:
            raise ValueError("configs must hold one config or more, got none")
        if len(set(self.configs)) < len(self.configs):
            twice = next(config for config in self.configs if self.configs.count(config) > 1)
            raise ValueError(f"configs must differ, got {twice.label()} twice")
        if not 0 < self.share <= MAX_SHARE:
            raise ValueError(f"share must be above 0 and at most {MAX_SHARE:g}, got {self.share!r}")
        for contrast in self.contrasts:
            for config in (contrast.a, contrast.b):
                if config not in self.configs:
                    raise ValueError(f"a contrast compares configs of the experiment, got {config.label()}")
        if self.crossed is not None and self.contrasts:
            raise ValueError(
                f"contrasts need independent seeds: crossed ones must have none, got {len(self.contrasts)}"
            )
        pairs = [frozenset((contrast.a, contrast.b)) for contrast in self.contrasts]
        again = [c for c, pair in zip(self.contrasts, pairs, strict=True) if pairs.count(pair) > 1]
        if again:
            raise ValueError(f"contrasts must differ, got {_named(again[-1].a, again[-1].b)} twice")

    def seeds(self, wanted: int) -> Seeds:
        """Seeds to train when a sweep asks for ``wanted`` of them."""
        if self.crossed is not None:
            data_seeds, weight_seeds = (min(n, wanted) for n in self.crossed)
            return Seeds(0, data_seeds, crossed=weight_seeds)
        return Seeds(0, max(1, round(self.share * wanted)))

    def tags(self, seeds: Seeds) -> dict[str, str]:
        """Tags of the MLflow experiment: all that the report needs to know of the plan."""
        return {
            NOTE: self.question,
            "qwerties.title": self.title,
            "qwerties.question": self.question,
            "qwerties.order": str(self.order),
            "qwerties.figures": json.dumps([dataclasses.asdict(figure) for figure in self.figures]),
            **in_parts(
                "qwerties.plan",
                [(fingerprint(c, seeds, code_digest()), c.label()) for c in self.configs],
                lambda configs, parts: {
                    "seeds": str(seeds),
                    "code": code_digest(),
                    **({PARTS: parts} if parts > 1 else {}),
                    "configs": dict(configs),
                },
            ),
            **contrasts_tags(
                [
                    {
                        "a": c.a.to_params(),
                        "b": c.b.to_params(),
                        "delta": c.delta,
                        "primary": c.primary,
                        **({"names": c.names} if c.names else {}),
                    }
                    for c in self.contrasts
                ]
            ),
        }

    def main(self) -> None:
        """Run this experiment alone: ``python experiments/NAME.py`` takes the options of ``qwerties sweep``."""
        import runpy
        import sys

        import __main__

        sys.argv = ["qwerties", "sweep", Path(__main__.__file__).stem, *sys.argv[1:]]
        runpy.run_module("qwerties", run_name="__main__", alter_sys=True)


def _all_are(kind: type, values: object) -> bool:
    return isinstance(values, tuple | list) and all(isinstance(value, kind) for value in values)


def _is_layout(crossed: object) -> bool:
    return crossed is None or (
        isinstance(crossed, tuple | list)
        and len(crossed) == 2
        and all(isinstance(count, int) and count > 0 for count in crossed)
    )


def grid(base: Config = DEFAULT, **axes: Iterable[Any]) -> tuple[Config, ...]:
    """Return every combination of the given fields' values, the last field varying fastest.

    Examples
    --------
    >>> [(config.loss, config.epochs) for config in grid(loss=("bce", "mse"), epochs=(100, 200))]
    [('bce', 100), ('bce', 200), ('mse', 100), ('mse', 200)]
    """
    return tuple(
        dataclasses.replace(base, **dict(zip(axes, values, strict=True)))
        for values in itertools.product(*axes.values())
    )


def plan_changes(before: str, now: str) -> list[str]:
    """Tell what new ``qwerties.contrasts`` tags change that must not change unseen once there are data.

    Margins, and which contrasts are primary, decide verdicts; a further exploratory contrast does not.

    Parameters
    ----------
    before, now : str
        What is stored, and what is to be, as `parts.contrasts_text` joins it.

    Returns
    -------
    list of str
        In words; empty where nothing of the kind changed.
    """
    old, new = (_by_sides(text) for text in (before, now))
    said = []
    for sides, (name, delta, primary) in new.items():
        _, old_delta, was_primary = old.get(sides, (name, delta, False))
        if primary and not was_primary:
            said.append(f"primary contrast added: {name}, margin {delta:g}")
        elif was_primary and not primary:
            said.append(f"made exploratory: {name}")
        if delta != old_delta:
            said.append(f"margin of {name} changed from {old_delta:g} to {delta:g}")
    removed = [name for sides, (name, _, primary) in old.items() if primary and sides not in new]
    return said + [f"primary contrast removed: {name}" for name in removed]


def _by_sides(tag: str) -> dict[tuple[Any, Any], tuple[str, float, bool]]:
    """Contrasts of a tag by their sides (or these' names), each with its name, margin, and whether it is primary."""
    found: dict[tuple[Any, Any], tuple[str, float, bool]] = {}
    try:
        for contrast in json.loads(tag):
            rest = float(contrast["delta"]), contrast["primary"] is True
            if "names" in contrast:
                one, other = map(str, contrast["names"])
                found[one, other] = (f"{one} − {other}", *rest)
                continue
            a, b = (Config.from_params(contrast[side]) for side in ("a", "b"))
            found[a, b] = (_named(a, b), *rest)
    except (ValueError, TypeError, KeyError):
        return found  # somebody else's tag, or none
    return found


def _named(a: Config, b: Config) -> str:
    return " − ".join(side.label([a, b]).replace(" · ", ", ") for side in (a, b))


# What is left to do


@dataclass(frozen=True)
class Job:
    """One run to be made: a config on a block of seeds, for one experiment."""

    experiment_name: str
    config: Config
    seeds: Seeds


@dataclass(frozen=True)
class Shard:
    """Configs of one structure on one block of seeds, trained together by one worker."""

    configs: tuple[Config, ...]
    seeds: Seeds

    @property
    def networks(self) -> int:
        """Networks to be trained; configs that differ in epochs alone count once."""
        return len({config.without_epochs for config in self.configs}) * len(self.seeds)

    @property
    def network_epochs(self) -> int:
        """Epochs to be trained, over all networks."""
        longest = {c.without_epochs: c.epochs for c in sorted(self.configs, key=lambda c: c.epochs)}
        return sum(longest.values()) * len(self.seeds)

    @property
    def cost(self) -> float:
        """Rough work, for the order of shards and the time left: network-epochs of the smallest network."""
        widths = (2, *self.configs[0].hidden, 1)
        products = sum(a * b for a, b in itertools.pairwise(widths)) + 20 * sum(widths[1:])
        return self.network_epochs * products / 43


def is_complete(run: Tracked) -> bool:
    """Whether a run counts: finished, of a config, by the code of today, and not made anew."""
    return (
        run.status == "FINISHED"
        and run.parent is None
        and run.tags.get("qwerties.code") == code_digest()
        and SUPERSEDED not in run.tags
    )


def replaced(runs: Iterable[Tracked], config: Config, seeds: Seeds) -> list[Tracked]:
    """Finished runs that one of this config on these seeds, made today, takes the place of."""
    found = []
    for run in runs:
        if run.status != "FINISHED" or run.parent is not None or SUPERSEDED in run.tags:
            continue
        try:
            same = Config.from_params(run.params) == config
            overlap = not set(Seeds.parse(run.params.get("seeds", "")).numbers).isdisjoint(seeds.numbers)
        except ValueError:
            continue  # somebody else's run
        if same and overlap:
            found.append(run)
    return found


def missing_jobs(
    experiment_name: str,
    experiment: Experiment,
    wanted: int,
    runs: Iterable[Tracked],
    more: Mapping[Config, int] = EMPTY,
) -> list[Job]:
    """Runs that an experiment plans and that are not among the tracked ones, seed by seed.

    More seeds than a worker's memory has room for, with their losses at every epoch, make several runs.
    ``more`` names configs that need at least so many seeds, whatever the others have.
    """
    seeds = experiment.seeds(wanted)
    covered: dict[Config, set[int]] = {}
    whole: set[tuple[Config, str]] = set()
    for run in runs:
        if is_complete(run):
            try:
                config, block = Config.from_params(run.params), Seeds.parse(run.params.get("seeds", ""))
            except ValueError:
                continue  # somebody else's run: not one of the plan
            whole.add((config, str(block)))
            if block.crossed is None:
                covered.setdefault(config, set()).update(range(block.start, block.stop))
    jobs = []
    for config in experiment.configs:
        if seeds.crossed is not None:
            jobs += [] if (config, str(seeds)) in whole else [Job(experiment_name, config, seeds)]
            continue
        stop = max(seeds.stop, more.get(config, 0))
        left = [s for s in range(seeds.start, stop) if s not in covered.get(config, set())]
        for _, group in itertools.groupby(enumerate(left), key=lambda pair: pair[1] - pair[0]):
            stretch = [seed for _, seed in group]
            room = min(MAX_SEEDS, MAX_LOSSES // config.epochs, MAX_POINTS // (2 * config.samples))
            most = max(1, room)
            for first in range(stretch[0], stretch[-1] + 1, most):
                jobs.append(Job(experiment_name, config, Seeds(first, min(first + most, stretch[-1] + 1))))
    return jobs


def are_several(configs: Iterable[Config]) -> bool:
    """Whether configs make more than one shard, as far as can be told without torch: then there is work for several."""
    return len({(config.batch_key, config.epochs) for config in configs}) > 1


def make_shards(jobs: Iterable[Job], most: int | None = None) -> list[Shard]:
    """Group the configs of all jobs into pieces of work, largest first; what two experiments share is done once.

    A shard consists of whole batches, as `trainer.train` makes them again: one, or as many as have ``most`` networks
    and no more than `MAX_LOSSES` losses. So a network's company, and with it every bit of its numbers, does not depend
    on the size of shards.
    """
    groups: dict[tuple, dict[Config, list[Config]]] = {}
    for job in jobs:
        configs = groups.setdefault((job.config.batch_key, job.seeds), {}).setdefault(
            job.config.without_epochs, []
        )
        if job.config not in configs:
            configs.append(job.config)
    if not groups:
        return []
    from qwerties.training.trainer import BLOCK  # and torch, which takes a second

    def longest(configs: list[Config]) -> int:
        return max(config.epochs for config in configs)

    shards = []
    for (_, seeds), by_trajectory in groups.items():
        together = max(1, BLOCK // len(seeds))
        for epochs, alike in itertools.groupby(sorted(by_trajectory.values(), key=longest), key=longest):
            members = list(alike)
            room = min(most or 0, MAX_LOSSES // epochs)
            size = together * max(1, room // (together * len(seeds)))
            for first in range(0, len(members), size):
                chunk = tuple(itertools.chain.from_iterable(members[first : first + size]))
                shards.append(Shard(chunk, seeds))
    return sorted(shards, key=lambda shard: -shard.cost)
