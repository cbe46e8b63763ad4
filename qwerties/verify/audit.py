"""The store held against itself, without training: digests, metrics, tables and weights that must agree.

What is read here was written by somebody else: what cannot be read is told, and never a crash.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from qwerties.analysis.tables import UNREADABLE, parse_scores
from qwerties.config import Config, Seeds, fingerprint
from qwerties.errors import clean, plural, reason_of
from qwerties.scoring import score as scoring
from qwerties.scoring.digest import code_digest
from qwerties.study import runs as results
from qwerties.tracking.arrays import read_arrays
from qwerties.tracking.artifacts import digest
from qwerties.tracking.fast_sqlite import LARGEST
from qwerties.tracking.records import Tracked
from qwerties.tracking.store import StoreError
from qwerties.tracking.tags import ARTIFACTS
from qwerties.training import data
from qwerties.training.trainer import Trained
from qwerties.verify.fetch import Read, is_inside

SAME = 1e-12
"""Relative: of means over one table, added up in whatever order."""

RESCORED = 1e-6
"""Scores from the very same weights, on whatever machine; measured: 0 on the same one."""

WIDE_ROWS = 4
"""Networks of several hidden units that are rescored in each run: one takes 20 ms, one of one unit 0.2 ms."""

SMOOTH = ("train_loss", "bce", "brier", "excess_loss")
"""Scores that follow the weights; tolerance as for losses."""

THRESHOLDED = ("state", "train_accuracy", "phi", "population_accuracy", "gain")
"""Scores that count points on either side of a threshold: a network may stand on it."""

FLAGS = ("dead_at_init", "settled")
BROKEN = (*UNREADABLE, KeyError, IndexError, AttributeError, RuntimeError, MemoryError)
"""What files raise that are not what they should be."""


@dataclass(frozen=True)
class Difference:
    """Something in the store that is not as it should be: of which run, what, and how."""

    run: Tracked
    what: str
    how: str

    def __str__(self) -> str:
        """One printable line."""
        return f"{clean(self.run.name)} ({clean(self.run.run_id, 40)}): {clean(self.what, 80)} {clean(self.how, 300)}"


@dataclass(frozen=True)
class Block:
    """A run of one config on a block of seeds, as the store holds it.

    Attributes
    ----------
    table : DataFrame
        ``seeds.csv``.
    curves, weights : dict of ndarray
        ``curves.npz`` and ``weights.npz``; networks lead.
    """

    run: Tracked
    config: Config
    seeds: Seeds
    table: pd.DataFrame
    curves: dict[str, np.ndarray]
    weights: dict[str, np.ndarray]


# Every run: artifacts against digests


def check_artifacts(run: Tracked, read: Read) -> tuple[int, list[Difference]]:
    """Compare every artifact of a run with its digest; returns how many, and those that differ."""
    try:
        digests = dict(json.loads(run.tags[ARTIFACTS]))
    except (ValueError, TypeError, RecursionError):
        return 0, [Difference(run, f"tag {ARTIFACTS}", "cannot be read")]
    found = []
    for path, expected in digests.items():
        what = f"artifact {path}"
        if not is_inside(path):
            found.append(Difference(run, what, "lies outside the run"))
            continue
        try:
            content = read(path)
        except (StoreError, ValueError):
            found.append(Difference(run, what, "is lost: it cannot be read"))
            continue
        if digest(content) != expected:
            how = f"was altered or cut short: {len(content):,} bytes of digest {digest(content)}, stored {expected}"
            found.append(Difference(run, what, how))
    return len(digests), found


# Every run: tables against weights, metrics and exemplars against tables


def read_block(run: Tracked, read: Read) -> Block:
    """Read a run's config, seeds, scores, curves and weights.

    Raises
    ------
    ValueError
        If they cannot be read, or do not belong together.
    """
    config, seeds = Config.from_params(run.params), Seeds.parse(run.params["seeds"])
    name = "seeds.csv"
    try:
        table = _read_table(read(name), seeds)
        name = "curves.npz"
        curves = read_arrays(read(name))
        _check_curves(curves, config, seeds)
        name = "weights.npz"
        weights = read_arrays(read(name))
        _check_shapes(weights, {key: (len(seeds), *shape) for key, shape in _weight_shapes(config).items()})
    except StoreError:
        raise ValueError(f"{name} cannot be read") from None
    except BROKEN as error:
        raise ValueError(f"{name} cannot be read: {reason_of(error)}") from None
    return Block(run, config, seeds, table, curves, weights)


def _read_table(content: bytes, seeds: Seeds) -> pd.DataFrame:
    table = parse_scores(content)
    if len(table) != len(seeds) or table["seed"].tolist() != seeds.numbers.tolist():
        raise ValueError(f"its seeds are not {seeds}")
    if seeds.crossed is not None and not (
        table["data_seed"].tolist() == seeds.data.tolist()
        and table["weight_seed"].tolist() == seeds.weights.tolist()
    ):
        raise ValueError(f"its pairs of seeds are not {seeds}")
    for name in (*SMOOTH, "epochs_to_learn"):
        table[name] = table[name].astype(float)
    for name in FLAGS:
        if table[name].dtype != bool:
            raise ValueError(f"{name} must be True or False")
    return table


def _weight_shapes(config: Config) -> dict[str, tuple[int, ...]]:
    """Shape of every weight and bias of one network, by its name."""
    shapes: dict[str, tuple[int, ...]] = {}
    for layer, (fan_in, fan_out) in enumerate(itertools.pairwise((2, *config.hidden, 1))):
        shapes[f"{2 * layer}.weight"], shapes[f"{2 * layer}.bias"] = (fan_out, fan_in), (fan_out,)
    return shapes


def _check_shapes(arrays: Mapping[str, np.ndarray], shapes: Mapping[str, tuple[int, ...]]) -> None:
    for name, shape in shapes.items():
        if arrays[name].shape != shape or arrays[name].dtype.kind != "f":
            raise ValueError(f"{name} must be numbers of shape {shape}, got {arrays[name].shape}")


def _check_curves(curves: Mapping[str, np.ndarray], config: Config, seeds: Seeds) -> None:
    for name, first in (("epochs", 1), ("checkpoints", 0)):
        steps = curves[name]
        rises = steps.ndim == 1 and steps.dtype.kind == "i" and (np.diff(steps) > 0).all()
        if not (rises and len(steps) and steps[0] == first and steps[-1] == config.epochs):
            raise ValueError(f"its {name} must rise from {first} to {config.epochs}")
    exemplars = curves["exemplars"]
    if exemplars.ndim != 1 or not np.isin(exemplars, seeds.numbers).all():
        raise ValueError(f"its exemplars must be among the seeds {seeds}")
    kept = (len(exemplars), len(curves["checkpoints"]))
    _check_shapes(
        curves,
        {
            "loss": (len(seeds), len(curves["epochs"])),
            "gradient_rms": (len(seeds), len(config.hidden) + 1),
            **{f"exemplar.{name}": (*kept, *shape) for name, shape in _weight_shapes(config).items()},
        },
    )


def check_block(block: Block, children: Iterable[Tracked], rng: np.random.Generator) -> list[Difference]:
    """Compare what a run says more than once: params, metrics, exemplars, scores and weights."""
    run = block.run
    found = check_metrics(run, expected_metrics(block))
    if run.tags.get("qwerties.code") == code_digest():
        expected = fingerprint(block.config, block.seeds, code_digest())
        if (stored := run.tags.get("qwerties.fingerprint", "")) != expected:
            found.append(Difference(run, "tag qwerties.fingerprint", told(stored, expected, "of its params")))
    for child in children:
        found += check_exemplar(block, child)
    rows = np.searchsorted(block.seeds.numbers, block.curves["exemplars"])
    for name, values in block.weights.items():
        if not np.array_equal(block.curves[f"exemplar.{name}"][:, -1], values[rows], equal_nan=True):
            found.append(
                Difference(run, f"exemplar.{name} of curves.npz", "does not end as weights.npz has it")
            )
    if "exemplar_points" in block.curves:
        points = data.draw(
            block.seeds.data[rows], block.config.distance, block.config.samples, block.config.data
        ).numpy()
        kept = block.curves["exemplar_points"]
        if kept.shape != points.shape or (distances(kept, points) > RESCORED).any():
            found.append(Difference(run, "exemplar_points of curves.npz", "are not what their seeds draw"))
    return found + check_scores(block, _rescored_rows(block, rng))


def _rescored_rows(block: Block, rng: np.random.Generator) -> range:
    """Rows to rescore: all where that is cheap, else a stretch of them."""
    n = len(block.seeds)
    if block.config.hidden == (1,) or n <= WIDE_ROWS:
        return range(n)
    stretch = WIDE_ROWS if block.seeds.crossed is None else 1
    first = int(rng.integers(n - stretch + 1))
    return range(first, first + stretch)


def expected_metrics(block: Block) -> dict[str, float]:
    """Final metrics that a run's table and curves give; NaN where undefined."""
    table, losses = block.table, block.curves["loss"]
    trained = Trained(
        block.config, block.seeds, losses, block.curves["checkpoints"], {}, block.curves["gradient_rms"]
    )
    ranked = np.sort(np.where(np.isfinite(losses[:, -1]), losses[:, -1], np.inf))
    with np.errstate(over="ignore", invalid="ignore"):
        last = {"train_loss": losses[:, -1].mean(dtype=np.float64)}
    last |= {name: ranked[round(q * (len(ranked) - 1))] for name, q in results.QUANTILES.items()}
    last |= {
        "learned_fraction": (table["gain"] >= scoring.LEARNED_GAIN).mean(),
        "dead_fraction": (table["state"] == "dead").mean(),
    }
    final = results.final_metrics(trained, table) | last
    return {name: np.nan if value is None else float(value) for name, value in final.items()}


def check_metrics(run: Tracked, expected: Mapping[str, float]) -> list[Difference]:
    """Compare a run's final metrics, those that it has, with what they should be."""
    found = []
    for name, value in expected.items():
        if name in run.metrics:
            stored = run.metrics[name]
            stored = float(np.copysign(np.inf, stored)) if abs(stored) >= LARGEST else stored
            if apart(stored, value) > SAME:
                found.append(Difference(run, f"metric {name}", told(stored, value, "of its table", SAME)))
    return found


def check_exemplar(block: Block, child: Tracked) -> list[Difference]:
    """Compare an exemplar's run with its network's row in the parent's table."""
    rows = np.flatnonzero(block.table["seed"].astype(str) == child.params.get("seed", ""))
    if not len(rows) or any(child.params.get(k) != v for k, v in block.run.params.items() if k != "seeds"):
        return [Difference(child, "params", f"are of no network of run {clean(block.run.run_id, 40)}")]
    row = block.table.iloc[rows[0]]
    found = []
    if (state := child.tags.get("qwerties.state", "")) != row["state"]:
        found.append(
            Difference(child, "tag qwerties.state", told(state, row["state"], "of its parent's table"))
        )
    names = ("train_accuracy", "phi", "population_accuracy", "gain", "bce", "brier", "epochs_to_learn")
    expected = {name: float(row[name]) for name in names}
    expected |= {"final_train_loss": row["train_loss"], "train_loss": block.curves["loss"][rows[0], -1]}
    return found + check_metrics(child, expected)


def check_scores(block: Block, rows: range) -> list[Difference]:
    """Score the stored weights of some networks once more, and compare with the table."""
    again, table, found = rescore(block, rows), block.table.iloc[rows.start : rows.stop], []
    for name in (*THRESHOLDED, *SMOOTH):
        stored, value = (
            frame[name].to_numpy(object if name == "state" else float) for frame in (table, again)
        )
        is_off = stored != value if name == "state" else distances(stored, value) > RESCORED
        bad = [
            i
            for i in np.flatnonzero(is_off)
            if not (name in THRESHOLDED and _is_borderline(block, rows[i], name, stored[i]))
        ]
        if bad:
            seed = f"seed {table['seed'].iloc[bad[0]]}"
            more = f" and {plural(len(bad) - 1, 'other seed')}" if len(bad) > 1 else ""
            how = told(stored[bad[0]], value[bad[0]], "of its stored weights", RESCORED)
            found.append(Difference(block.run, f"{seed}{more}: {name} of seeds.csv", how))
    return found


def rescore(block: Block, rows: range, noise: int | None = None) -> pd.DataFrame:
    """Scores of the stored weights of some networks; with ``noise`` (a seed), of weights rounded otherwise.

    Only the columns that follow from final weights and data mean anything. Of a crossed block, ``rows`` must be one
    or all.
    """
    weights = {
        name: value[rows.start : rows.stop, None] for name, value in block.weights.items()
    }  # (rows, 1, ...)
    if noise is not None:
        rng = np.random.default_rng(noise)
        weights = {name: rounded(value, rng) for name, value in weights.items()}
    data_seeds = block.seeds.data[rows.start : rows.stop]
    whole = len(rows) == len(block.seeds)
    seeds = block.seeds if whole else Seeds(int(data_seeds[0]), int(data_seeds[-1]) + 1)
    losses = np.zeros((len(rows), 1), np.float32)  # no column that is asked for depends on them
    return scoring.score(block.config, seeds, losses, np.array([block.config.epochs]), weights).table


def rounded(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The float32 values, each moved by up to one unit in its last place."""
    factors = 1 + np.finfo(np.float32).eps * rng.uniform(-1, 1, values.shape)
    return (values * factors).astype(np.float32)


def _is_borderline(block: Block, row: int, name: str, stored: object) -> bool:
    """Whether a network's weights, rounded otherwise, give the stored score: it stands on a threshold."""
    return is_among(stored, [rescore(block, range(row, row + 1), i)[name][0] for i in range(8)], RESCORED)


def is_among(stored: Any, values: Sequence[Any], tolerance: float) -> bool:
    """Whether a score lies within some values' range; words, flags and what is undefined must be one of them."""
    if isinstance(stored, str | bool | np.bool_) or np.isnan(stored):
        return any(apart(stored, value) == 0 for value in values)
    numbers = [float(value) for value in values if not np.isnan(value)]
    return bool(numbers) and min(numbers) - tolerance <= stored <= max(numbers) + tolerance


def apart(stored: Any, value: Any) -> float:
    """How far two numbers, or words, are apart, relative to the second above 1; 0 where both are undefined."""
    if isinstance(value, str | bool | np.bool_):
        return 0.0 if stored == value else np.inf
    return float(distances(np.asarray(stored, float), np.asarray(value, float)))


def distances(stored: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Distances of two arrays of one shape, relative to the second above 1; infinite where one alone is finite."""
    with np.errstate(over="ignore", invalid="ignore"):
        apart = np.abs(stored.astype(float) - value) / np.maximum(1, np.abs(value))
    same = (stored == value) | (np.isnan(stored) & np.isnan(value))
    return np.where(same, 0.0, np.where(np.isnan(apart), np.inf, apart))


def told(stored: object, value: object, whose: str, tolerance: float | None = None) -> str:
    """Say that what is stored is one thing, and what it should be another."""

    def show(x: object) -> str:
        if isinstance(x, str):
            return repr(clean(x, 40))
        if isinstance(x, bool | np.bool_):
            return str(bool(x))
        return "undefined" if np.isnan(float(x)) else f"{float(x):.10g}"  # type: ignore[arg-type]

    within = "" if tolerance is None else f" (tolerance {tolerance:.1g})"
    return f"is {show(stored)}, but {show(value)} {whose}{within}"
