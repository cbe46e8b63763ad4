"""Results of contrasts -> one document, as ``verdicts.json`` holds it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from qwerties.analysis.contrasts import ContrastResult, ExperimentResult
from qwerties.stats.intervals import plain

FORMAT = 2  # of verdicts.json; raised when a field changes its meaning


def make_verdicts(results: Sequence[ExperimentResult]) -> dict[str, Any]:
    """Put all findings into one document, fit for JSON: ``format``, and ``contrasts``, one object each."""
    return {
        "format": FORMAT,
        "contrasts": [_contrast(result, finding) for result in results for finding in result.findings],
    }


def _contrast(result: ExperimentResult, finding: ContrastResult) -> dict[str, Any]:
    contrast, comparison, learned = finding.contrast, finding.comparison, finding.learned
    fields: dict[str, Any] = {
        "experiment": finding.experiment_name,
        "a": contrast.a.to_params(),
        "b": contrast.b.to_params(),
        "a_minus_b": finding.sides,
        "where": finding.where,
        "primary": contrast.primary,
        "late": contrast.late,
        "delta": contrast.delta,
        "alpha": finding.alpha,
        "verdict": finding.verdict or "withheld",
        "words": finding.words,
        "n": comparison.n if comparison else None,
        "estimate": comparison.estimate if comparison else None,
        "interval": list(comparison.interval) if comparison else None,
        "seeds_needed": comparison.needed if comparison and finding.verdict else None,
        "code": result.coverage.plan.code if result.coverage.plan else None,
        "plan_changes": list(finding.plan_changes),
        "runs_a": [run.run_id for run in finding.runs_a],
        "runs_b": [run.run_id for run in finding.runs_b],
    }
    if comparison is not None and learned is not None:
        fields |= {
            "smallest_delta": comparison.equivalence_margin,
            "unpaired": len(comparison.unpaired_a) + len(comparison.unpaired_b),
            "missing": len(comparison.missing),
            "diverged": finding.diverged,
            "learned_a": learned.a[0].to_dict(),
            "learned_b": learned.b[0].to_dict(),
            "learned_difference": learned.difference.to_dict(),
            "difference_where_both_learned": learned.both.to_dict(),
        }
    return plain(fields)
