"""The rule from interval to verdict, and its sentences."""

import pytest

from qwerties.stats.verdict import VERDICTS, decide, mirrored, words

CASES = {
    (0.02, 0.05): "a_better",
    (0.0100001, 0.05): "a_better",
    (0.01, 0.05): "a_ahead",  # the margin itself is not beyond the margin
    (0.001, 0.05): "a_ahead",
    (0.0, 0.05): "open",
    (-0.02, 0.05): "open",
    (-0.005, 0.01): "open",
    (-0.005, 0.0099): "equivalent",
    (0.001, 0.005): "equivalent",
    (0.0, 0.0): "equivalent",
}


@pytest.mark.parametrize(("interval", "verdict"), CASES.items())
def test_the_rule_and_its_mirror(interval, verdict):
    low, high = interval
    assert decide(low, high, 0.01) == verdict
    assert decide(-high, -low, 0.01) == mirrored(verdict)


def test_identical_comes_first():
    assert decide(0.5, 0.6, 0.01, identical=True) == "identical"


@pytest.mark.parametrize(
    ("verdict", "options", "sentence"),
    [
        ("a_better", {}, "X beats Y by more than 0.01"),
        ("b_better", {}, "Y beats X by more than 0.01"),
        ("equivalent", {}, "X and Y are equivalent within 0.01"),
        ("equivalent", {"low": 0.001, "high": 0.002}, "X and Y are equivalent within 0.01; X slightly ahead"),
        (
            "equivalent",
            {"low": -0.002, "high": -0.001},
            "X and Y are equivalent within 0.01; Y slightly ahead",
        ),
        ("equivalent", {"low": -0.002, "high": 0.001}, "X and Y are equivalent within 0.01"),
        (
            "a_ahead",
            {"needed": 1200, "unit": "seed"},
            "X is ahead of Y; by how much relative to 0.01 is open; about 1,200 seeds would decide it",
        ),
        (
            "b_ahead",
            {},
            "Y is ahead of X; by how much relative to 0.01 is open; "
            "no number of units within reach would decide it",
        ),
        ("open", {"needed": 60}, "open; about 60 units would decide it"),
        ("identical", {"unit": "seed"}, "identical runs: X and Y agree on every seed"),
    ],
)
def test_sentences(verdict, options, sentence):
    assert words(verdict, "X", "Y", 0.01, **options) == sentence


def test_mirroring_twice_changes_nothing():
    for verdict in VERDICTS:
        assert mirrored(mirrored(verdict)) == verdict
        assert (mirrored(verdict) == verdict) is not verdict.startswith(("a_", "b_"))


def test_an_unknown_verdict_is_refused():
    with pytest.raises(ValueError, match="verdict must be one of a_better, b_better"):
        words("better", "X", "Y", 0.01)
