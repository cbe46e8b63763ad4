"""Check a store against itself, without training: digests, metrics, tables and weights must agree.

Somebody else may have written the store: what cannot be read is reported, and never a crash.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from qwerties.config import Seeds, fingerprint
from qwerties.errors import clean, plural
from qwerties.scoring import score as scoring
from qwerties.scoring.digest import code_digest
from qwerties.study import runs as results
from qwerties.tracking.artifacts import digest, stored_digests
from qwerties.tracking.fast_sqlite import LARGEST
from qwerties.tracking.records import Tracked
from qwerties.tracking.store import StoreError
from qwerties.tracking.tags import ARTIFACTS, CODE, FINGERPRINT, STATE
from qwerties.training import data
from qwerties.training.trainer import Trained
from qwerties.verify.block import Block, Read

SAME = 1e-12  # relative: means over one table, added up in whatever order
RESCORED = 1e-6  # scores of the very same weights on any machine; 0 on the same one
WIDE_ROWS = 4  # networks of several hidden units to rescore in a run: each takes 20 ms, a narrow one 0.2 ms

# Scores that the run of a single network has as metrics, besides its losses
OF_ONE = ("train_accuracy", "phi", "population_accuracy", "gain", "bce", "brier", "epochs_to_learn")
SMOOTH = ("train_loss", "bce", "brier", "excess_loss")  # scores that follow the weights
# Scores that count points on either side of a threshold: rounding moves a network that stands on it
THRESHOLDED = ("state", "train_accuracy", "phi", "population_accuracy", "gain")


@dataclass(frozen=True)
class Difference:
    """Something in the store that is not as it should be: the run, what, and how."""

    run: Tracked
    what: str
    how: str

    def __str__(self) -> str:
        """One printable line."""
        return f"{clean(self.run.name)} ({clean(self.run.run_id, 40)}): {clean(self.what, 80)} {clean(self.how, 300)}"


def check_artifacts(run: Tracked, read: Read) -> tuple[int, list[Difference]]:
    """Compare every artifact of a run with its digest; return their number, and those that differ."""
    if (digests := stored_digests(run.tags)) is None:
        return 0, [Difference(run, f"tag {ARTIFACTS}", "cannot be read")]
    faults = {path: _fault(path, expected, read) for path, expected in digests.items()}
    return len(digests), [
        Difference(run, f"artifact {path}", fault) for path, fault in faults.items() if fault
    ]


def _fault(path: str, expected: object, read: Read) -> str:
    """Return what is wrong with an artifact; nothing if it is as it was written."""
    try:
        content = read(path)
    except (StoreError, ValueError):
        return "is lost: it cannot be read"
    if (actual := digest(content)) == expected:
        return ""
    return f"was altered or cut short: {len(content):,} bytes of digest {actual}, stored {expected}"


def check_block(block: Block, children: Iterable[Tracked], rng: np.random.Generator) -> list[Difference]:
    """Compare what a run says more than once: params, metrics, examples, scores and weights."""
    run, n = block.run, len(block.seeds)
    differences = check_metrics(run, expected_metrics(block))
    expected = fingerprint(block.config, block.seeds, code_digest())
    if run.tags.get(CODE) == code_digest() and run.tags.get(FINGERPRINT) != expected:
        differences.append(
            Difference(run, "tag qwerties.fingerprint", f"is not {expected}, that of its params")
        )
    for child in children:
        differences += check_example(block, child)
    differences += check_examples(block)
    if block.config.hidden == (1,) or n <= WIDE_ROWS:
        return differences + check_scores(block, range(n))
    rows = WIDE_ROWS if block.seeds.crossed is None else 1
    first = int(rng.integers(n - rows + 1))
    return differences + check_scores(block, range(first, first + rows))


def check_examples(block: Block) -> list[Difference]:
    """Compare the examples' weights and points in ``curves.npz`` with ``weights.npz`` and with what seeds draw."""
    config, curves = block.config, block.curves
    rows = np.searchsorted(block.seeds.numbers, curves["exemplars"])
    points = data.draw(block.seeds.data[rows], config.distance, config.samples, config.data)
    expected = {
        "exemplar_points": (curves["exemplar_points"], points.numpy(), "are not what their seeds draw")
    }
    for name, values in block.weights.items():
        last = curves[f"exemplar.{name}"][:, -1]
        expected[f"exemplar.{name}"] = (last, values[rows], "does not end as weights.npz has it")
    return [
        Difference(block.run, f"{name} of curves.npz", how)
        for name, (stored, value, how) in expected.items()
        if not agree(stored, value, RESCORED).all()
    ]


def expected_metrics(block: Block) -> dict[str, float]:
    """Return the final metrics that a run's table and curves give; NaN where undefined."""
    losses, curves = block.curves["loss"], block.curves
    trained = Trained(block.config, block.seeds, losses, curves["checkpoints"], {}, curves["gradient_rms"])
    ranked = np.sort(np.where(np.isfinite(losses[:, -1]), losses[:, -1], np.inf))
    with np.errstate(over="ignore", invalid="ignore"):
        expected = results.final_metrics(trained, block.table) | {
            "train_loss": losses[:, -1].mean(dtype=float)
        }
    expected |= {name: ranked[round(q * (len(ranked) - 1))] for name, q in results.QUANTILES.items()}
    return {name: np.nan if value is None else float(value) for name, value in expected.items()}


def check_metrics(run: Tracked, expected: Mapping[str, float]) -> list[Difference]:
    """Compare a run's final metrics, those that it has, with what they should be."""
    differences = []
    for name, value in expected.items():
        if name in run.metrics:
            stored = run.metrics[name]
            stored = float(np.copysign(np.inf, stored)) if abs(stored) >= LARGEST else stored
            if not agree(stored, value, SAME):
                how = mismatch(stored, value, "of its table", SAME)
                differences.append(Difference(run, f"metric {name}", how))
    return differences


def check_example(block: Block, child: Tracked) -> list[Difference]:
    """Compare an example's run with its network's row in the parent's table."""
    rows = np.flatnonzero(block.table["seed"].astype(str) == child.params.get("seed", ""))
    if not len(rows) or any(child.params.get(k) != v for k, v in block.run.params.items() if k != "seeds"):
        return [Difference(child, "params", f"are of no network of run {clean(block.run.run_id, 40)}")]
    row = block.table.iloc[rows[0]]
    differences = []
    if (state := child.tags.get(STATE, "")) != row["state"]:
        how = mismatch(state, row["state"], "of its parent's table")
        differences.append(Difference(child, "tag qwerties.state", how))
    expected = {name: float(row[name]) for name in OF_ONE}
    expected |= {"final_train_loss": row["train_loss"], "train_loss": block.curves["loss"][rows[0], -1]}
    return differences + check_metrics(child, expected)


# Scores of stored weights


def check_scores(block: Block, rows: range) -> list[Difference]:
    """Score the stored weights of some networks again, and compare with the table."""
    again, table, differences = rescore(block, rows), block.table.iloc[rows.start : rows.stop], []
    for name in (*THRESHOLDED, *SMOOTH):
        stored, value = table[name].to_numpy(), again[name].to_numpy()
        wrong = [
            i
            for i in np.flatnonzero(~agree(stored, value, RESCORED))
            if not (name in THRESHOLDED and _is_borderline(block, rows[i], name, stored[i]))
        ]
        if wrong:
            others = f" and {plural(len(wrong) - 1, 'other seed')}" if len(wrong) > 1 else ""
            what = f"seed {table['seed'].iloc[wrong[0]]}{others}: {name} of seeds.csv"
            how = mismatch(stored[wrong[0]], value[wrong[0]], "of its stored weights", RESCORED)
            differences.append(Difference(block.run, what, how))
    return differences


def rescore(block: Block, rows: range, noise: int | None = None) -> pd.DataFrame:
    """Score the stored weights of some networks; with ``noise`` (a seed), the weights are rounded otherwise.

    Only the columns that follow from final weights and data mean anything. Of a crossed block, ``rows`` must be one
    or all.
    """
    own = slice(rows.start, rows.stop)
    weights = {name: value[own, None] for name, value in block.weights.items()}  # (rows, 1, ...)
    if noise is not None:
        rng = np.random.default_rng(noise)
        weights = {name: round_otherwise(value, rng) for name, value in weights.items()}
    data_seeds = block.seeds.data[own]
    is_whole = len(rows) == len(block.seeds)
    seeds = block.seeds if is_whole else Seeds(int(data_seeds[0]), int(data_seeds[-1]) + 1)
    losses = np.zeros((len(rows), 1), np.float32)  # no column that is asked for depends on them
    return scoring.score(block.config, seeds, losses, np.array([block.config.epochs]), weights).table


def round_otherwise(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the float32 values, each moved by up to one unit in its last place."""
    factors = 1 + np.finfo(np.float32).eps * rng.uniform(-1, 1, values.shape)
    return (values * factors).astype(np.float32)


def _is_borderline(block: Block, row: int, name: str, stored: object) -> bool:
    """Return whether a network's weights, rounded otherwise, give the stored score: it stands on a threshold."""
    return is_among(stored, [rescore(block, range(row, row + 1), i)[name][0] for i in range(8)], RESCORED)


# Comparing


def agree(stored: Any, value: Any, tolerance: float) -> np.ndarray:
    """Return whether numbers agree within a relative (below 1: absolute) tolerance; words must be equal."""
    stored, value = np.asarray(stored), np.asarray(value)
    if value.dtype.kind not in "fiub":
        return np.asarray(stored == value)
    pair = stored.astype(float), value.astype(float)
    return np.asarray(np.isclose(*pair, rtol=tolerance, atol=tolerance, equal_nan=True))


def is_among(stored: Any, values: Sequence[Any], tolerance: float) -> bool:
    """Return whether a score lies in the range of some values; words, flags, NaN must be one of them."""
    if isinstance(stored, str | bool | np.bool_) or np.isnan(stored):
        return any(agree(stored, value, 0) for value in values)
    numbers = [float(value) for value in values if not np.isnan(value)]
    nearest = float(np.clip(stored, min(numbers), max(numbers))) if numbers else np.nan
    return bool(agree(stored, nearest, tolerance))


def mismatch(stored: object, value: object, whose: str, tolerance: float | None = None) -> str:
    """Say what is stored, and what it should be."""

    def show(x: object) -> str:
        if isinstance(x, str):
            return repr(clean(x, 40))
        if isinstance(x, bool | np.bool_):
            return str(bool(x))
        return "undefined" if np.isnan(float(x)) else f"{float(x):.10g}"  # type: ignore[arg-type]

    within = "" if tolerance is None else f" (tolerance {tolerance:.1g})"
    return f"is {show(stored)}, but {show(value)} {whose}{within}"
