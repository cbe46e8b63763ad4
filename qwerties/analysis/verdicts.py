"""Findings -> one document, as ``verdicts.json`` holds it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from qwerties.analysis.contrasts import ContrastResult, ExperimentResult
from qwerties.stats.intervals import plain

FORMAT = 2
"""Of ``verdicts.json``; raised when a field changes its meaning."""


def make_verdicts(evidence: Sequence[ExperimentResult]) -> dict[str, Any]:
    """Put all findings into one document, fit for JSON: ``format``, and ``contrasts``, one object each."""
    return {
        "format": FORMAT,
        "contrasts": [_contrast(one, finding) for one in evidence for finding in one.findings],
    }


def _contrast(evidence: ExperimentResult, finding: ContrastResult) -> dict[str, Any]:
    contrast, found, learned = finding.contrast, finding.comparison, finding.learned
    given: dict[str, Any] = {
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
        "n": found.n if found else None,
        "estimate": found.estimate if found else None,
        "interval": [found.low, found.high] if found else None,
        "seeds_needed": found.needed if found and finding.verdict else None,
        "code": evidence.coverage.plan.code if evidence.coverage.plan else None,
        "plan_changes": list(finding.plan_changes),
        "runs_a": [run.run_id for run in finding.runs_a],
        "runs_b": [run.run_id for run in finding.runs_b],
    }
    if found is not None and learned is not None:
        given |= {
            "smallest_delta": found.equivalence_margin,
            "unpaired": len(found.unpaired_a) + len(found.unpaired_b),
            "missing": len(found.missing),
            "diverged": finding.diverged,
            "learned_a": learned.a[0].to_dict(),
            "learned_b": learned.b[0].to_dict(),
            "learned_difference": learned.difference.to_dict(),
            "difference_where_both_learned": learned.both.to_dict(),
        }
    return plain(given)
