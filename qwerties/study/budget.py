"""The study's error budget: ten slots for primary contrasts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from qwerties.errors import UsageError
from qwerties.study.plan import readable_contrasts

if TYPE_CHECKING:
    from qwerties.tracking.store import Store

# The chance of any wrong verdict among the primary contrasts, and the slots that share it (Bonferroni)
STUDY_ALPHA = 0.05
PRIMARY_SLOTS = 10

# Error rate of each exploratory contrast by itself: not corrected for multiplicity
EXPLORATORY_ALPHA = 0.05


def primary_alpha(n_primary: int) -> float:
    """Return the error rate of one primary contrast.

    A store that several checkouts share may hold more contrasts than slots. They then share the same 5%.
    """
    return STUDY_ALPHA / max(PRIMARY_SLOTS, n_primary)


def check_slots(declared: Mapping[str, Any], store: Store | None) -> None:
    """Refuse more primary contrasts than the error budget has slots.

    Parameters
    ----------
    declared : mapping of str to Experiment or Tuning
        By the names of their files.
    store : Store or None
        An experiment in the store that has no file still occupies its slots.

    Raises
    ------
    UsageError
        If there are too many; the message names the experiments and how many contrasts each has.
    """
    contrasts = {
        name: readable_contrasts(tags) for name, (_, tags) in (store.experiments() if store else {}).items()
    }
    contrasts |= {name: declaration.contrasts for name, declaration in declared.items()}
    counts = {name: sum(contrast.primary for contrast in own) for name, own in contrasts.items()}
    if (total := sum(counts.values())) > PRIMARY_SLOTS:
        where = ", ".join(f"{n} in {name}" for name, n in sorted(counts.items()) if n)
        raise UsageError(
            f"primary contrasts must be at most {PRIMARY_SLOTS} in the whole study, one for each slot of its error "
            f"budget, got {total}: {where}"
        )
