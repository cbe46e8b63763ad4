"""Do the verdicts keep their promises? Measured on really trained networks: ``python -m benchmarks.calibration``.

Trains a pool of networks once (`pool`), draws families of six contrasts from it whose true means are known
(`trials`), and counts the families in which the project's own rules say something wrong (`simulation`). Prints a
table, and writes every figure to ``reports/calibration.json``.

Exit status: 0 every promise is kept, 1 some are not and are named, 2 the request was wrong, 130 stopped.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from benchmarks.calibration.pool import Pool, load_pool, show
from benchmarks.calibration.simulation import DELTA, FAMILY, RESAMPLES, Counts, simulate
from benchmarks.calibration.trials import MORE, Ask, Trial, trials
from qwerties.cli.project import enter_root
from qwerties.errors import FailedError, UsageError
from qwerties.execution.workers import Workers, cores, run_tasks
from qwerties.stats.intervals import wilson

POOL = 20_000
FAMILIES = 1000
"""Seeds of the pool and families of a trial, unless asked otherwise."""

FEWEST_POOL, FEWEST_FAMILIES, MOST = 10_000, 1000, 1_000_000

OUTPUT = Path("reports", "calibration.json")

CERTAINTY = 0.99
"""Level of the Wilson interval of every rate here: many are compared with their promise at once."""


@dataclass(frozen=True)
class Rate:
    """How often a statement was wrong, against what was promised."""

    error: str
    of: str
    population: str
    rule: str
    n: tuple[int, ...]
    levels: tuple[float, ...]
    families: int
    wrong: int
    most: float | None
    binding: bool
    contrast: str | None = None
    each: dict[str, int] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        """Share of families."""
        return self.wrong / self.families

    @property
    def bounds(self) -> tuple[float, float]:
        """Wilson's interval of it."""
        return wilson(self.wrong, self.families, CERTAINTY)

    @property
    def outcome(self) -> str:
        """``held``, ``BROKEN`` (or ``short`` where nothing was promised), or ``unsettled``: no further than chance."""
        if self.most is None:
            return ""
        if self.rate <= self.most:
            return "held"
        if self.bounds[0] <= self.most:
            return "unsettled"
        return "BROKEN" if self.binding else "short"

    def to_dict(self) -> dict[str, Any]:
        """Every figure, fit for JSON."""
        return {**asdict(self), "rate": self.rate, "wilson": self.bounds, "outcome": self.outcome}


def run_trial(trial: Trial, families: int, seed: int) -> list[Rate]:
    """Draw and judge the families of one trial."""
    families *= trial.times
    counts = simulate(trial.population, trial.looks, families, seed=seed, resamples=trial.resamples)
    return [_rate(trial, ask, counts) for ask in trial.asks]


def _rate(trial: Trial, ask: Ask, counts: Counts) -> Rate:
    worst = int(counts.missed.argmax())
    names = trial.population.contrasts or tuple(str(k + 1) for k in range(FAMILY))
    wrong = int(counts.missed[worst]) if ask.of == "worst" else counts.any[ask.error]
    return Rate(
        ask.error,
        ask.of,
        trial.population.name,
        trial.rule + (f", {trial.resamples} resamples" if trial.resamples != RESAMPLES else ""),
        tuple(look.seeds for look in trial.looks),
        tuple(look.level for look in trial.looks),
        counts.families,
        wrong,
        ask.most,
        ask.binding,
        names[worst] if ask.of == "worst" else None,
        dict(zip(names, map(int, counts.missed), strict=True)) if ask.error == "missed" else {},
    )


def calibrate(pool: Pool, families: int, *, workers: int = 1, seed: int = 0) -> list[Rate]:
    """Run all trials on a pool; the same pool, families and seed give the same rates, whatever the workers."""
    planned = trials(pool)
    tasks = [(trial, families, seed) for trial in planned]
    sizes = [families * trial.times * len(trial.looks) for trial in planned]
    found = dict(show(run_tasks(run_trial, tasks, Workers(workers)), sizes, "families"))
    return [rate for i in range(len(planned)) for rate in found[i]]


# What is told of it

HEADINGS = {
    "lead": "says that one side leads, where none does: families of six with any such verdict",
    "equal": "says equivalent, where the true difference is delta: families of six with any such verdict",
    "missed": "intervals without the true mean",
}


def table(rates: Sequence[Rate]) -> str:
    """Lay the rates out, a line each."""
    lines = []
    for error, heading in HEADINGS.items():
        lines += ["", heading[0].upper() + heading[1:]]
        for rate in rates:
            if rate.error == error:
                lines.append(_line(rate))
    return "\n".join(lines[1:])


def _line(rate: Rate) -> str:
    lo, hi = (100 * bound for bound in rate.bounds)
    what = rate.rule if rate.error != "missed" else f"{rate.rule}, {_which(rate)}"
    most = f"<= {100 * rate.most:g}%" if rate.most is not None else ""
    return (
        f"  {rate.population:<50}  {what:<46}  {' '.join(map(str, rate.n)):>18}  "
        f"{100 * rate.rate:5.1f}% [{lo:4.1f}, {hi:4.1f}]  {most:>6}  {rate.outcome}"
    )


def _which(rate: Rate) -> str:
    if rate.of == "any":
        return "any of six"
    return f"95%, worst: {rate.contrast}"


def _say(rate: Rate) -> str:
    return (
        f"{rate.error} ({rate.rule}; {' '.join(map(str, rate.n))} seeds; {rate.population}): "
        f"{100 * rate.rate:.1f}%, promised at most {100 * (rate.most or 0):g}%"
    )


# The command


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(message)


def _count(name: str, least: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not (text.isascii() and text.isdigit() and least <= int(text) <= MOST):
            raise argparse.ArgumentTypeError(
                f"{name} must be a whole number from {least} to {MOST}, got {text!r}"
            )
        return int(text)

    return parse


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, tell and write; returns the exit status."""
    parser = _Parser(
        prog="calibration", description="Whether the verdicts keep their promises, by simulation."
    )
    parser.add_argument(
        "--pool", type=_count("pool", FEWEST_POOL), default=POOL, metavar="N", help="seeds trained once"
    )
    parser.add_argument(
        "--families",
        type=_count("families", FEWEST_FAMILIES),
        default=FAMILIES,
        metavar="N",
        help="of a trial",
    )
    parser.add_argument(
        "--jobs", type=_count("jobs", 1), metavar="N", help="processes (default: one per core)"
    )
    try:
        arguments = parser.parse_args(argv)
        return _run(enter_root(), arguments.pool, arguments.families, arguments.jobs or cores())
    except UsageError as error:
        print(f"calibration: error: {error}", file=sys.stderr)
        return 2
    except FailedError as error:
        print(f"calibration: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ncalibration: stopped; what is trained stays, the same command goes on", file=sys.stderr)
        return 130


def _run(root: Path, size: int, families: int, workers: int) -> int:
    started = time.perf_counter()
    pool = load_pool(size, cache=root / ".cache" / "calibration", workers=workers)
    trained = time.perf_counter()
    rates = calibrate(pool, families, workers=workers)
    broken = [rate for rate in rates if rate.outcome == "BROKEN"]
    print(table(rates))
    print(
        f"\nA pool of {size:,} seeds ({trained - started:.0f} s); {families:,} families of {FAMILY} a line, {MORE} "
        f"times as many where no bootstrap is made ({time.perf_counter() - trained:.0f} s); Wilson intervals at "
        f"{CERTAINTY:.0%}. Every figure: {OUTPUT}"
    )
    for rate in broken:
        print(f"broken: {_say(rate)}")
    figures = {
        "pool": size,
        "families": families,
        "delta": DELTA,
        "rates": [rate.to_dict() for rate in rates],
    }
    part = (root / OUTPUT).with_suffix(".part")
    part.write_text(json.dumps(figures, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    part.replace(root / OUTPUT)
    return 1 if broken else 0
