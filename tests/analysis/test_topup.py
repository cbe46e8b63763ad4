"""What is open gets more seeds, up to the planned look that may settle it, and nothing else does."""

import dataclasses
import math

import numpy as np
import pandas as pd

from qwerties.analysis import topup as settle
from qwerties.analysis.contrasts import Evidence, find
from qwerties.config import DEFAULT, Config, Seeds, fingerprint
from qwerties.study.coverage import Entry, Ledger, Networks, Plan, PlannedContrast

OTHER = Config(loss="mse")


def networks(config, scores):
    frame = pd.DataFrame(
        {
            "seed": np.arange(len(scores)),
            "state": "learned",
            "population_accuracy": scores,
            "gain": (scores - 0.5) / 0.47725,
        }
    )
    return Networks(config, (), (), frame)


def evidence(difference, *, sd=0.02, seeds=600, primary=True, complete=True):
    """One contrast whose paired differences have this mean and standard deviation, exactly."""
    noise = np.random.default_rng(0).standard_normal(seeds)
    cut = 50 if seeds < 500 else 500  # what the look sees
    noise = (noise - noise[:cut].mean()) / noise[:cut].std(ddof=1)
    plan_seeds = Seeds(0, seeds)
    configs = (DEFAULT, OTHER)
    plan = Plan(plan_seeds, "code", {fingerprint(c, plan_seeds, "code"): c.label() for c in configs})
    entries = tuple(Entry(config.label(), config, (), "done") for config in configs)
    ledger = Ledger(
        stem="loss",
        experiment_id="1",
        title="Losses",
        question="",
        order=1,
        figures=(),
        contrasts=(PlannedContrast(*configs, 0.01, primary),),
        plan=plan,
        entries=entries,
        stale=0,
        unplanned=0,
        loose=(),
        plan_changes=(),
        problems=(),
    )
    both = {0: networks(DEFAULT, 0.9 + difference + sd * noise), 1: networks(OTHER, np.full(seeds, 0.9))}
    return Evidence(ledger, both, (), (), find(ledger, both, complete=complete))


def step(monkeypatch, given, most=None):
    monkeypatch.setattr(settle, "gather", lambda store, stems: [given])
    return settle.next_step(None, ["loss"], most)


def test_a_settled_contrast_needs_nothing(monkeypatch):
    given = evidence(0.05)
    assert given.findings[0].verdict.kind == "better"
    assert step(monkeypatch, given) == settle.Step({}, ())


def test_an_open_contrast_goes_to_the_next_look_that_may_settle_it(monkeypatch):
    given = evidence(0.003)
    finding = given.findings[0]
    assert finding.verdict.kind == "inconclusive"
    assert 500 < finding.verdict.seeds_needed <= 1000
    found = step(monkeypatch, given)
    assert found.more == {"loss": {DEFAULT: 1000, OTHER: 1000}}
    assert found.lines == ("loss: bce − mse is open after 500 seeds: training up to 1,000",)


def test_a_look_that_would_not_do_is_passed_over(monkeypatch):
    given = evidence(0.006, sd=0.02)  # 4 thousandths from the margin: some 1,600 seeds
    assert 1000 < given.findings[0].verdict.seeds_needed <= 2000
    assert step(monkeypatch, given).more == {"loss": {DEFAULT: 2000, OTHER: 2000}}


def test_a_better_side_whose_lead_is_not_settled_is_open_too(monkeypatch):
    given = evidence(0.014, sd=0.02)
    assert given.findings[0].verdict.kind == "better_unsettled"
    [(_, wanted)] = step(monkeypatch, given).more.items()
    assert set(wanted) == {DEFAULT, OTHER}


def test_what_is_out_of_reach_is_said_and_not_trained(monkeypatch):
    found = step(monkeypatch, evidence(0.0099, sd=0.05))
    assert found.more == {}
    assert found.lines == (
        "loss: bce − mse stays open: it would take more seeds than the planned looks have",
    )


def test_no_more_seeds_than_allowed(monkeypatch):
    given = evidence(0.003)
    assert step(monkeypatch, given, most=999) == settle.Step(
        {}, ("loss: bce − mse stays open: it would take more than 999 seeds",)
    )
    assert step(monkeypatch, given, most=1000).more


def test_too_few_seeds_go_to_the_first_look(monkeypatch):
    assert step(monkeypatch, evidence(0.05, seeds=20)).more == {"loss": {DEFAULT: 50, OTHER: 50}}


def test_an_incomplete_design_is_left_alone(monkeypatch):
    assert step(monkeypatch, evidence(0.003, complete=False)) == settle.Step({}, ())


def test_an_exploratory_contrast_has_looks_of_its_own_family(monkeypatch):
    given = evidence(0.003, primary=False)
    [finding] = given.findings
    assert finding.family_size == 1
    assert finding.comparison.level == finding.look.level == 0.975  # half of the error is spent at 500 seeds
    assert evidence(0.003).findings[0].comparison.level == 1 - 0.025 / 6


def test_seeds_beyond_a_look_do_not_change_it():
    """A verdict between two looks is that of the earlier one, number for number."""
    at, beyond = evidence(0.004, seeds=500), evidence(0.004, seeds=700)
    first, second = at.findings[0].comparison, beyond.findings[0].comparison
    assert second.n == 500
    assert beyond.findings[0].waiting == 200
    a = dataclasses.replace(beyond.networks[0], frame=beyond.networks[0].frame[:500])
    alone = find(at.ledger, {0: a, 1: at.networks[1]}, complete=True)[0].comparison
    assert alone == second
    assert math.isclose(first.level, second.level)
