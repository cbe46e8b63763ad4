"""What the words in the tables mean."""

from __future__ import annotations

import math

from qwerties.config import DEFAULT, Config
from qwerties.report.elements import Facts, Section
from qwerties.report.results import Results
from qwerties.scoring import theory
from qwerties.stats.formats import number, percent
from qwerties.study.budget import PRIMARY_SLOTS, STUDY_ALPHA, primary_alpha

TITLE, ANCHOR = "How to read the numbers", "reading"


def build(results: Results) -> Section | None:
    """Explain the words; None where nothing is tracked."""
    if not results.experiments:
        return None
    n_primary = sum(result.contrast.primary for result in results.contrasts)
    items = {
        "learned": "The network made at least 80% of the way from a coin toss to Bayes accuracy, the best that any "
        "classifier can reach on this data.",
        "slow": "It tells the classes apart, but has not come that far.",
        "constant": "It gives all its training points the same class.",
        "dead": "No hidden unit of some layer is active on any training point, so that its weights get no gradient.",
        "diverged": "Its loss is not a finite number. It counts as a guess, right half the time.",
        "population accuracy": "Accuracy on the true distribution, computed rather than sampled.",
        "training accuracy": "Accuracy on the network’s own training points. Where it is above Bayes accuracy, that is "
        f"luck: with {2 * DEFAULT.samples} points at d={DEFAULT.distance:g}, the best classifier’s own has a sampling "
        f"standard deviation of {number(sampling_sd(DEFAULT), 3)}.",
        "phi": "Correlation of predicted class and label (Matthews correlation, MCC). It is undefined where all "
        "predictions agree; those networks are counted, and rank lowest in the median.",
        "points": "A point of accuracy is 0.01. Differences are those of population accuracy on the same seeds.",
        "interval": "That of a contrast is a betting confidence sequence (Waudby-Smith & Ramdas 2024). It holds for "
        "any bounded outcome and at every number of seeds at once, so that a sweep may stop as soon as a verdict is "
        "decided. Elsewhere it is Wilson’s for a share and Student’s t for a mean, at 95%, and holds at one number of "
        "seeds alone.",
        "δ, the margin": "The smallest difference that matters. An interval beyond it decides for one arm, an interval "
        "within ±δ for equivalence.",
        "primary": f"Fixed before anything ran, one of the study’s {PRIMARY_SLOTS} slots, each with an error rate of "
        f"α = {primary_alpha(n_primary):g}: together at most {percent(STUDY_ALPHA)} for any wrong verdict, whenever "
        "one stops.",
        "exploratory": "Each with an error rate of its own, not corrected for multiplicity.",
    }
    return Section((Facts(items),))


def sampling_sd(config: Config) -> float:
    """Return the standard deviation of the best classifier's accuracy on a training set."""
    accuracy = float(theory.bayes_accuracy(config.distance, config.data))
    return math.sqrt(accuracy * (1 - accuracy) / (2 * config.samples))
