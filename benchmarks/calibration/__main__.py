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
from pathlib import Path
from typing import Any

import pandas as pd
from scipy.stats import binom
from tqdm import tqdm

from benchmarks.calibration.pool import BLOCK, load_differences
from benchmarks.calibration.simulation import measure, nasty_shapes, trained_shape
from qwerties.cli.parser import Parser, count
from qwerties.cli.project import enter_root
from qwerties.errors import FailedError, UsageError
from qwerties.execution.workers import Workers, cores, run_tasks

OUTPUT = Path("reports", "calibration.json")
MAX = 1_000_000  # of every option
ALPHA = 0.05
CHANCE = 1e-4  # probability that a rate of exactly alpha looks too high


def breaks_promise(result: dict[str, Any]) -> bool:
    """Return whether the true mean was outside more often than alpha and chance allow."""
    outside = round(result["outside"] * result["sequences"])
    return outside > binom.ppf(1 - CHANCE, result["sequences"], result["alpha"])


def table(results: Sequence[dict[str, Any]]) -> str:
    """Return the rates and the price of every shape as text, in percent of the sequences."""
    frame = pd.DataFrame(results).set_index("shape")
    percents = frame.drop(columns=["mean", "sequences", "alpha"]).mul(100).round(1)
    rates = percents.filter(like="outside").assign(mean=frame["mean"].round(5))
    rates["BROKEN"] = ["yes" if breaks_promise(result) else "" for result in results]
    return f"{rates.to_string()}\n\n{percents.filter(like='decided').to_string()}"


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


def _run(root: Path, size: int, sequences: int, workers: int) -> int:
    started = time.perf_counter()
    pool = load_differences(size, cache=root / ".cache" / "calibration", workers=workers) if size else {}
    trained = time.perf_counter()
    shapes = nasty_shapes() + [trained_shape(name, values) for name, values in pool.items()]
    tasks = [(shape, sequences, ALPHA, seed) for seed, shape in enumerate(shapes)]
    done = run_tasks(measure, tasks, Workers(workers))
    by_number = dict(tqdm(done, total=len(tasks), desc="measuring", unit="shape", disable=None))
    results = [by_number[k] for k in range(len(shapes))]
    print(table(results))
    print(
        f"\nThe last {len(pool)} shapes are drawn from {size:,} trained seeds ({trained - started:.0f} s to train or "
        f"read, {time.perf_counter() - trained:.0f} s to measure). Every figure: {OUTPUT}"
    )
    path = root / OUTPUT
    path.parent.mkdir(exist_ok=True)
    text = json.dumps({"pool": size, "results": results}, indent=1, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")
    return 1 if any(map(breaks_promise, results)) else 0


if __name__ == "__main__":
    sys.exit(main())
