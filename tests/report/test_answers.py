"""The answers: planted data flip every sentence, numbers are recomputed plainly, and what is missing is named."""

import importlib.util
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from pages import experiment_result, seed_scores

from qwerties.config import DEFAULT
from qwerties.report.answers import (
    MISSING,
    QUESTIONS,
    RATED,
    XOR,
    answers,
    contrast_sentence,
    points_of,
    to_markdown,
    to_text,
)
from qwerties.report.results import Results
from qwerties.report.sections import answers as section
from qwerties.stats.confidence import confidence_sequence

EXPERIMENTS = Path(__file__).parents[2] / "experiments"
CLAIMS = [(key, claim) for key, (_, claims, _) in QUESTIONS.items() for claim in claims]
NAMES = [f"{key}-{claim.experiment_name}-{claim.b.label([DEFAULT, XOR])}" for key, claim in CLAIMS]


def study(claim, score_a, score_b, **options):
    """The experiment of a claim, in which its arms have these scores."""
    a = claim.a or replace(DEFAULT, learning_rate=0.5)
    a = replace(a, **dict.fromkeys(claim.free, 0.3))
    return experiment_result(
        claim.experiment_name, {a: score_a, claim.b: score_b}, [(a, claim.b, True)], **options
    )


def told(key, *experiments):
    return next(answer for answer in answers(experiments) if answer.key == key)


def sentence(key, claim, *scores, **options):
    """What the answer says of a claim."""
    found = [
        s
        for s in told(key, study(claim, *scores, **options)).sentences
        if s.experiment_name == claim.experiment_name
    ]
    [one] = [s for s in found if s.code not in (MISSING, "measured")]
    return one


@pytest.mark.parametrize("begins", [True, False])
def test_what_is_open_is_emphasised_wherever_it_stands(begins):
    claim = next(claim for _, claim in CLAIMS if begins != bool(claim.where))
    few = seed_scores(0.9, n=3), seed_scores(0.9, n=3, seed=1)
    html = "".join(str(block.html) for block in section.build(Results(None, [study(claim, *few)])).blocks)
    assert f"<strong>{'It' if begins else 'it'} is open</strong>" in html


# Planted data


@pytest.mark.parametrize(("key", "claim"), CLAIMS, ids=NAMES)
def test_planted_data_flip_every_sentence(key, claim):
    good, poor = seed_scores(0.97), seed_scores(0.80, seed=1)
    gain, loss = sentence(key, claim, good, poor), sentence(key, claim, poor, good)
    same = sentence(key, claim, seed_scores(0.97, n=2000), seed_scores(0.97, n=2000, seed=2))
    few = sentence(key, claim, seed_scores(0.9, n=5), seed_scores(0.9, n=5, seed=3))
    assert [one.code for one in (gain, loss, same, few)] == ["a_better", "b_better", "equivalent", "open"]
    a, b = re.escape(claim.arm_a), re.escape(claim.arm_b)
    assert re.search(rf"{a} gains 17 points of accuracy over {b} \(\d+ to \d+\)\.$", gain.text, re.I)
    assert re.search(rf"{a} costs 17 points of accuracy against {b} \(\d+ to \d+\)\.$", loss.text, re.I)
    assert re.search(rf"{a} and {b} are equivalent within 1 point of accuracy", same.text, re.I)
    assert re.search(rf"it is open whether {a} or {b} does better: .* would decide it\.$", few.text, re.I)


def test_an_answer_says_where_its_contrast_is_not_primary():
    key, claim = CLAIMS[0]
    given = {claim.a: seed_scores(0.97), claim.b: seed_scores(0.80, seed=1)}
    result = experiment_result(claim.experiment_name, given, [(claim.a, claim.b, False)])
    texts = [s.text for s in told(key, result).sentences if s.code == "a_better"]
    assert [re.search(r"\(\d+ to \d+\), an exploratory contrast\.$", text) is not None for text in texts] == [
        True
    ]
    assert "exploratory" not in sentence(key, claim, *given.values()).text


def test_a_lead_of_unknown_size_says_what_is_open():
    key, claim = CLAIMS[0]
    one = sentence(key, claim, seed_scores(0.815, n=1000), seed_scores(0.80, n=1000, seed=1))
    assert one.code == "a_ahead"
    assert re.search(
        r"ReLU is ahead of no activation by 1\.5 points of accuracy \(0\.\d to 2\.\d\); whether by more than 1 point "
        r"is open, and about [\d,]+ seeds would decide it\.$",
        one.text,
    )


def test_numbers_are_those_of_the_differences():
    key, claim = CLAIMS[0]
    a, b = seed_scores(0.80, spread=0.02), seed_scores(0.97, seed=1)
    d = (a["population_accuracy"] - b["population_accuracy"]).to_numpy()
    (low,), (high,) = confidence_sequence(d, alpha=0.005)
    ends = f"({-100 * high:.0f} to {-100 * low:.0f})."
    expected = f"costs {-100 * d.mean():.0f} points of accuracy against no activation {ends}"
    assert sentence(key, claim, a, b).text.endswith(expected)


def test_identical_and_withheld_arms_are_told():
    key, claim = CLAIMS[0]
    good = seed_scores(0.97)
    assert sentence(key, claim, good, good).text.endswith(
        "ReLU and no activation are identical on each of 200 seeds."
    )
    withheld = sentence(key, claim, good, seed_scores(0.8), complete=False)
    assert withheld.code == "withheld"
    assert "is withheld: make sweep ONLY=activation trains what is missing." in withheld.text
    assert not re.search(r"\b(gains|costs|equivalent|ahead)\b", withheld.text)


# What is measured, and what is missing


def test_shares_are_counted():
    frame = seed_scores(0.9, n=100)
    frame["state"] = ["learned"] * 55 + ["slow"] * 30 + ["dead"] * 15
    text = told("spread", experiment_result("notebook", {DEFAULT: frame})).text
    assert text.startswith("On 100 seeds, 55% of the notebook’s networks learned; 30% are slow, 15% dead.")
    text = told("relu", experiment_result("activation", {DEFAULT: frame})).text
    assert "15% of 100 networks are dead." in text
    long = replace(DEFAULT, epochs=4000)
    text = told("longer", experiment_result("epochs", {DEFAULT: frame, long: seed_scores(0.9, n=100)})).text
    assert (
        "55% of the networks have learned after 2,000 epochs and 100% after 4,000; 15% and 0% are dead."
        in text
    )


def test_what_is_missing_is_named_by_the_command_that_trains_it():
    found = answers([])
    assert len(found) == 4
    for answer in found:
        names = {claim.experiment_name for key, claim in CLAIMS if key == answer.key}
        assert {s.experiment_name for s in answer.sentences} == names
        assert all(f"make sweep ONLY={name} trains experiments/{name}.py." in answer.text for name in names)
        assert not re.search(r"\b(gains|costs|equivalent|ahead)\b", answer.text)


def test_an_experiment_without_the_contrast_says_so():
    text = told("loss", experiment_result("loss", {DEFAULT: seed_scores(0.9)})).text
    assert "The experiment loss does not compare BCE with MSE." in text


def load(name):
    spec = importlib.util.spec_from_file_location(name, EXPERIMENTS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.experiment


@pytest.mark.parametrize(("key", "claim"), CLAIMS, ids=NAMES)
def test_every_claim_is_a_contrast_of_the_study(key, claim):
    experiment = load(claim.experiment_name)
    if claim.a is None or claim.free:  # its configs are searched
        return
    assert [(claim.a, claim.b)] == [
        (c.a, c.b) for c in experiment.contrasts if (c.a, c.b) == (claim.a, claim.b)
    ]


def test_a_searched_arm_matches_whatever_was_chosen():
    [claim] = [claim for _, claim in CLAIMS if claim.free]
    [result] = study(claim, seed_scores(0.97), seed_scores(0.8)).findings
    assert claim.matches(result)
    assert RATED.learning_rate == 0.15  # as the sentence says


# As text


@pytest.mark.parametrize(
    ("difference", "text"), [(0.01, "1 point"), (0.005, "0.5 points"), (0.02, "2 points")]
)
def test_points(difference, text):
    assert points_of(difference) == text


def test_a_sentence_begins_with_where():
    [result] = study(CLAIMS[0][1], seed_scores(0.97), seed_scores(0.8)).findings
    assert contrast_sentence(result, "tanh", "ReLU", "at width 2, ").startswith(
        "At width 2, tanh gains 17 points"
    )


def test_a_symbol_stays_small():
    [result] = study(CLAIMS[0][1], seed_scores(0.97), seed_scores(0.8)).findings
    assert contrast_sentence(result, "tanh", "ReLU", "d=2: ").startswith("d=2: tanh gains 17 points")


@pytest.mark.parametrize(
    ("name", "verbs"),
    [
        ("8 hidden units", ("gain", "cost", "are", "do")),
        ("4000 epochs", ("gain", "cost", "are", "do")),
        ("1 hidden unit", ("gains", "costs", "is", "does")),
        ("ReLU", ("gains", "costs", "is", "does")),
    ],
)
def test_a_verb_agrees_with_its_arm(name, verbs):
    def told(a, b, n=200):
        [result] = study(CLAIMS[0][1], seed_scores(a, n=n), seed_scores(b, n=n, seed=1)).findings
        return contrast_sentence(result, name, name)

    gain, cost, be, do = verbs
    assert told(0.97, 0.8).startswith(f"{name} {gain} 17 points")
    assert told(0.8, 0.97).startswith(f"{name} {cost} 17 points")
    assert told(0.815, 0.8, n=1000).startswith(f"{name} {be} ahead of {name}")
    assert f"or {name} {do} better:" in told(0.9, 0.9, n=5)


def test_the_same_sentences_serve_terminal_and_documentation():
    claim = CLAIMS[0][1]
    found = answers([study(claim, seed_scores(0.97), seed_scores(0.8))])
    text, markdown = to_text(found, 80), to_markdown(found)
    for answer in found:
        assert answer.text in " ".join(text.split())
        assert f"## {answer.question}\n\n{answer.text}\n\n{answer.note}\n" in markdown
    assert max(map(len, text.splitlines())) <= 80


def test_answers_load_nothing_heavy():
    heavy = ("torch", "mlflow", "optuna", "matplotlib", "seaborn", "jinja2")
    code = f"import sys, qwerties.report.answers; print(sorted({{*sys.modules}} & {{*{heavy!r}}}))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout == "[]\n"
