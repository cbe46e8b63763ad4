"""The study's error budget: ten slots for primary contrasts."""

from __future__ import annotations

from collections.abc import Mapping

from qwerties.study.plan import readable_contrasts

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


def check_slots(declared: Mapping[str, int], stored: Mapping[str, Mapping[str, str]]) -> None:
    """Refuse more primary contrasts than the error budget has slots.

    Parameters
    ----------
    declared : mapping of str to int
        Primary contrasts of each experiment file.
    stored : mapping of str to mapping
        Tags of each experiment in the store. An experiment without a file still occupies its slots.

    Raises
    ------
    ValueError
        If there are too many; the message names the experiments and how many contrasts each has.
    """
    counts = {name: sum(c.primary for c in readable_contrasts(tags)) for name, tags in stored.items()}
    counts |= declared
    if (total := sum(counts.values())) > PRIMARY_SLOTS:
        where = ", ".join(f"{n} in {name}" for name, n in sorted(counts.items()) if n)
        raise ValueError(
            f"primary contrasts must be at most {PRIMARY_SLOTS} in the whole study, one for each slot of its error "
            f"budget, got {total}: {where}"
        )
