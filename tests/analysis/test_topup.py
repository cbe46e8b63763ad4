"""Open contrasts get more seeds, in blocks that depend on the plan and the data alone, and nothing else does."""

import numpy as np
import pandas as pd
import pytest

from qwerties.analysis import topup
from qwerties.analysis.contrasts import ExperimentResult, compare_contrasts
from qwerties.analysis.tables import SeedTable
from qwerties.config import DEFAULT, Config, Seeds, fingerprint
from qwerties.study.coverage import Coverage, PlannedConfig
from qwerties.study.plan import Declaration, Plan, PlannedContrast

OTHER = Config(loss="mse")


def networks(config, scores):
    columns = {"seed": np.arange(len(scores)), "state": "learned", "population_accuracy": scores}
    return SeedTable(config, (), (), pd.DataFrame({**columns, "gain": (scores - 0.5) / 0.47725}))


def evidence(difference, *, sd=0.02, seeds=500, base=None, primary=True, complete=True, late=""):
    """One contrast with these paired differences, on the first ``seeds`` of an endless sequence."""
    noise = sd * np.random.default_rng(0).standard_normal(10_000)
    plan_seeds = Seeds(0, base or seeds)
    configs = (DEFAULT, OTHER)
    plan = Plan(plan_seeds, "code", {fingerprint(c, plan_seeds, "code"): c.label() for c in configs})
    entries = tuple(PlannedConfig(config.label(), config, (), "done") for config in configs)
    contrast = PlannedContrast(*configs, 0.01, primary, late=late)
    declared = Declaration("Losses", "", 1, (), (contrast,), plan, (), ())
    coverage = Coverage(**vars(declared), experiment_name="loss", entries=entries)
    arms = {
        0: networks(DEFAULT, np.clip(0.5 + difference + noise[:seeds], 0, 1)),
        1: networks(OTHER, np.full(seeds, 0.5)),
    }
    return ExperimentResult(coverage, arms, (), (), compare_contrasts(coverage, arms, complete=complete))


def step(given, *, cap=4000, settle="primary"):
    return topup.next_step([given], settle, cap)


def target(given, **options):
    """Seeds that both arms need; None where they need no more."""
    more = step(given, **options).more
    assert not more or more == {"loss": dict.fromkeys((DEFAULT, OTHER), more["loss"][DEFAULT])}
    return more["loss"][DEFAULT] if more else None


def test_a_decided_contrast_needs_nothing():
    given = evidence(0.05)
    assert given.findings[0].verdict == "a_better"
    assert step(given) == topup.Step({}, (), (), 1)


def test_an_open_contrast_gets_one_more_block():
    given = evidence(0.003, sd=0.1)
    assert given.findings[0].verdict == "open"
    found = step(given)
    assert found.more == {"loss": {DEFAULT: 1000, OTHER: 1000}}
    assert found.words == "open contrasts: 1, 1,000 seeds"


def test_an_arm_ahead_by_an_open_amount_is_open_too():
    given = evidence(0.015, sd=0.03, seeds=1000)
    assert given.findings[0].verdict == "a_ahead"
    assert target(given) == 1500


@pytest.mark.parametrize(("seeds", "cap", "expected"), [(500, 700, 700), (700, 700, None), (3, 3, None)])
def test_the_cap_ends_it(seeds, cap, expected):
    given = evidence(0.003, sd=0.1, seeds=seeds)
    assert target(given, cap=cap) == expected
    found = step(given, cap=cap)
    assert (len(found.open), len(found.capped)) == ((1, 0) if expected else (0, 1))


@pytest.mark.parametrize(
    ("base", "expected"), [(50, 500), (499, 500), (500, 1000), (1000, 1500), (1100, 1500)]
)
def test_stages_are_the_base_and_multiples_of_a_block(base, expected):
    assert target(evidence(0.003, sd=0.1, seeds=base)) == expected


def test_the_seeds_do_not_depend_on_where_a_sweep_was_stopped():
    """With any number of seeds tracked so far, the next stage is the same up to where the contrast is decided."""
    ends = [(n, target(evidence(0.003, sd=0.1, seeds=n, base=500))) for n in range(500, 4000, 125)]
    decided = min(n for n, stage in ends if stage is None)
    assert 1000 < decided <= 3500
    assert decided % 500 == 0
    for n, stage in ends:
        assert stage == (n // 500 * 500 + 500 if n < decided else None), n


def test_a_contrast_decided_between_two_stages_still_ends_at_a_stage():
    counts = [
        n for n in range(500, 2000, 25) if evidence(0.0, sd=0.06, seeds=n, base=500).findings[0].decided
    ]
    first = counts[0]
    assert first % 500
    assert target(evidence(0.0, sd=0.06, seeds=first, base=500)) == first // 500 * 500 + 500


def test_an_incomplete_design_is_left_alone():
    assert step(evidence(0.003, complete=False)) == topup.Step({}, (), (), 0)


@pytest.mark.parametrize("late", ["", "was declared late"])
def test_only_primary_contrasts_get_more_unless_all_are_to_be_settled(late):
    given = evidence(0.003, sd=0.1, primary=False, late=late)
    assert given.findings[0].alpha == 0.05
    assert step(given) == topup.Step({}, (), (), 0)
    assert target(given, settle="all") == 1000
