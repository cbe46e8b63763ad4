"""The error budget: ten slots, and contrasts that were declared too late for one."""

import dataclasses
import json

import pytest
from qwerties.study.chunks import contrasts_of

from qwerties.config import DEFAULT, Config, Seeds
from qwerties.study.budget import check_slots, primary_alpha
from qwerties.study.coverage import make_coverage
from qwerties.study.experiment import Contrast, Experiment
from qwerties.study.plan import mark_late
from qwerties.tracking.records import Tracked

OTHER, THIRD = Config(loss="mse"), Config(activation="tanh")
PRIMARY = Contrast(DEFAULT, OTHER, primary=True)


def tags(*contrasts):
    return Experiment("t", "q", (DEFAULT, OTHER, THIRD), contrasts).tags(Seeds(0, 4))


def run(config, status="FINISHED", parent=None):
    return Tracked(config.label(), "1", config.label(), status, parent, config.to_params(), {}, {}, "")


BOTH = (run(DEFAULT), run(OTHER))


def late(new, before, runs=BOTH):
    """Which contrasts of the new plan are late."""
    marked = mark_late(contrasts_of(new), before, lambda: runs)
    return ["late" in contrast for contrast in marked]


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        ({}, True),  # runs without a plan
        (tags(), True),
        (tags(Contrast(DEFAULT, OTHER)), True),
        (tags(dataclasses.replace(PRIMARY, delta=0.02)), True),
        (tags(Contrast(OTHER, DEFAULT, primary=True)), True),
        (tags(PRIMARY), False),
        (tags(PRIMARY, Contrast(DEFAULT, THIRD)), False),
        ({"qwerties.contrasts": "{"}, True),
        ({"qwerties.contrasts": json.dumps([1, {"a": 3}])}, True),
    ],
)
def test_a_primary_contrast_declared_after_runs_of_both_arms_is_late(before, expected):
    assert late(tags(PRIMARY), before) == [expected]


@pytest.mark.parametrize(
    "runs",
    [
        (),
        BOTH[:1],
        (run(DEFAULT), run(THIRD)),
        (run(DEFAULT), run(OTHER, "FAILED")),
        (run(DEFAULT), run(OTHER, parent="x")),
    ],
)
def test_a_contrast_whose_difference_nobody_has_seen_is_not_late(runs):
    assert late(tags(PRIMARY), tags(), runs) == [False]


def test_an_exploratory_contrast_is_never_late():
    assert late(tags(Contrast(DEFAULT, OTHER)), {}) == [False]


def test_late_stays_late_and_the_plan_says_why():
    first = mark_late(contrasts_of(tags(PRIMARY)), tags(Contrast(DEFAULT, OTHER)), lambda: BOTH)
    stored = {**tags(PRIMARY), "qwerties.contrasts": json.dumps(first)}
    again = mark_late(contrasts_of(tags(PRIMARY)), stored, lambda: pytest.fail("nothing is new"))
    assert again == first
    (contrast,) = make_coverage("loss", "1", stored, []).contrasts
    assert not contrast.primary
    assert contrast.late.startswith("was declared primary on 20")
    assert contrast.late.endswith(", when runs of both arms existed")
    (margin,) = mark_late(
        contrasts_of(tags(PRIMARY)), tags(dataclasses.replace(PRIMARY, delta=0.02)), lambda: BOTH
    )
    assert margin["late"].startswith("got this margin on 20")


def test_tuned_arms_are_known_by_their_names():
    """Before a search the bases stand in for the arms; that they become known is no new contrast."""
    tuned = Contrast(Config(learning_rate=0.3), OTHER, primary=True, names=("best", "plain"))
    placeholder = [{**contrasts_of(tags(PRIMARY))[0], "names": ["best", "plain"]}]
    known = Experiment("t", "q", (tuned.a, OTHER), (tuned,)).tags(Seeds(0, 4))
    runs = [run(tuned.a), run(OTHER)]
    assert late(known, {"qwerties.contrasts": json.dumps(placeholder)}, runs) == [False]
    exploratory = Experiment("t", "q", (tuned.a, OTHER), (dataclasses.replace(tuned, primary=False),))
    marked = mark_late(placeholder, exploratory.tags(Seeds(0, 4)), lambda: runs)
    assert "late" in marked[0]


def test_ten_slots_for_the_whole_study():
    stored = {"old": tags(PRIMARY), "loss": tags(PRIMARY, Contrast(DEFAULT, THIRD, primary=True))}
    check_slots({"loss": 9}, stored)  # what the file declares counts, not what it declared before
    with pytest.raises(ValueError, match=r"at most 10 in the whole study.* got 11: 10 in loss, 1 in old"):
        check_slots({"loss": 10}, stored)
    marked = mark_late(contrasts_of(tags(PRIMARY)), {}, lambda: BOTH)
    check_slots({"loss": 10}, {"old": {"qwerties.contrasts": json.dumps(marked)}})  # late: no slot


def test_more_contrasts_than_slots_share_the_error():
    assert primary_alpha(0) == primary_alpha(10) == 0.005
    assert primary_alpha(20) == 0.0025
