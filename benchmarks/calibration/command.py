"""Does the confidence sequence keep its promise, and what does it cost? ``python -m benchmarks.calibration``.

Draws sequences from nasty bounded distributions and from the differences of really trained networks (`pool`), and
measures the confidence sequence beside Student's t (`simulation`). Prints a table and writes every figure to
``reports/calibration.json``.

Exit status: 0 the sequence holds its error rate on every shape, 1 not, 2 wrong request, 130 stopped.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from scipy.stats import binom
from tqdm import tqdm

from benchmarks.calibration.pool import BLOCK, load_differences
from benchmarks.calibration.simulation import COUNTS, LENGTH, Measured, measure, nasty_shapes, trained_shape
from qwerties.cli.parser import Parser, count
from qwerties.cli.project import enter_root
from qwerties.errors import FailedError, UsageError
from qwerties.execution.workers import Workers, cores, run_tasks

OUTPUT = Path("reports", "calibration.json")
MAX = 1_000_000  # of every option
CHANCE = 1e-4  # probability that a rate of exactly alpha looks too high


def breaks_promise(result: Measured) -> bool:
    """Return whether the true mean was outside more often than alpha and chance allow."""
    outside = round(result.outside * result.sequences)
    return outside > binom.ppf(1 - CHANCE, result.sequences, result.alpha)


def table(results: Sequence[Measured]) -> str:
    """Return the rates and the price of every shape as text."""
    alpha, t_at = results[0].alpha, (50, 500, 2000)
    lines = [
        f"True mean outside the interval, % of {results[0].sequences:,} sequences of {LENGTH:,} (promised: at most "
        f"{100 * alpha:g})",
        f"{'':40} {'sequence,':>10} {'t, one look at':>23} {'t, looking':>11}",
        f"{'':40} {'ever':>10} " + "".join(f"{n:>8,}" for n in t_at) + f"{'every 50':>11}",
    ]
    for result in results:
        t = "".join(f"{100 * result.t_outside[n]:8.1f}" for n in t_at)
        broken = "  BROKEN" if breaks_promise(result) else ""
        lines.append(
            f"{result.shape:40} {100 * result.outside:10.2f} {t}{100 * result.t_ever_outside:11.1f}{broken}"
        )
    lines += ["", "Decided, % of sequences: by the sequence / by one look at t (right or wrong)"]
    lines.append(f"{'':40} {'true mean':>10}" + "".join(f"{n:>12,}" for n in COUNTS))
    for result in results:
        shares = [f"{100 * result.decided[n]:.0f} / {100 * result.t_decided[n]:.0f}" for n in COUNTS]
        lines.append(f"{result.shape:40} {result.mean:+10.5f}" + "".join(f"{share:>12}" for share in shares))
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print and write; return the exit status."""
    parser = Parser(prog="calibration", description="Error rate and price of the verdicts' intervals.")
    parser.option("--pool", count(MAX, 0), "N", f"seeds trained, a multiple of {BLOCK}; 0: none", 20_000)
    parser.option("--sequences", count(MAX, 100), "N", "per shape", 5000)
    parser.option("--jobs", count(MAX), "N", "processes (default: one per core)")
    try:
        arguments = parser.parse_args(argv)
        if arguments.pool % BLOCK:
            raise UsageError(f"--pool must be a multiple of {BLOCK}, got {arguments.pool}")
        return _run(enter_root(), arguments.pool, arguments.sequences, arguments.jobs or cores())
    except (UsageError, FailedError) as error:
        print(f"calibration: error: {error}", file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1
    except KeyboardInterrupt:
        print("\ncalibration: stopped; what is trained stays, the same command goes on", file=sys.stderr)
        return 130


def _run(root: Path, size: int, sequences: int, workers: int, alpha: float = 0.05) -> int:
    started = time.perf_counter()
    pool = load_differences(size, cache=root / ".cache" / "calibration", workers=workers) if size else {}
    trained = time.perf_counter()
    shapes = nasty_shapes() + [trained_shape(name, values) for name, values in pool.items()]
    tasks = [(shape, sequences, alpha, seed) for seed, shape in enumerate(shapes)]
    done = run_tasks(measure, tasks, Workers(workers))
    results = dict(tqdm(done, total=len(tasks), desc="measuring", unit="shape", disable=None))
    ordered: list[Measured] = [results[k] for k in range(len(shapes))]
    print(table(ordered))
    print(
        f"\nThe last {len(pool)} shapes are drawn from {size:,} trained seeds ({trained - started:.0f} s to train or "
        f"read, {time.perf_counter() - trained:.0f} s to measure). Every figure: {OUTPUT}"
    )
    path = root / OUTPUT
    path.parent.mkdir(exist_ok=True)
    figures = {"pool": size, "results": [asdict(result) for result in ordered]}
    path.write_text(json.dumps(figures, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return 1 if any(map(breaks_promise, ordered)) else 0
