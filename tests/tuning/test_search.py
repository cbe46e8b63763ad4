"""Declarations, spaces that misbehave, and what samplers propose."""

import dataclasses
import math
import subprocess
import sys

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState, create_trial
from tuning_files import BASE, declare, mse_rates, nested, rates

from qwerties.analysis.searches import cost
from qwerties.config import DEFAULT, Config, Seeds
from qwerties.study.experiment import MAX_SHARE
from qwerties.tuning import ArmContrast, TunedArm
from qwerties.tuning.declaration import FIRST_SEED, MIN_SEEDS, SAMPLERS, SearchError
from qwerties.tuning.search import differences, make_searches, propose
from qwerties.tuning.trials import train_trials

ARMS = ["bce", "bce by random", "mse", "mse by random"]


def pair(**fields):
    """Two losses, each by TPE and at random."""
    settings = {"contrasts": (ArmContrast("bce", "mse", primary=True),), "baselines": ("random",)}
    return declare(("bce", rates), ("mse", mse_rates), **{**settings, **fields})


# Declarations


@pytest.mark.parametrize(
    ("declare", "message"),
    [
        (lambda: TunedArm("", rates), "name must be text without ' by ', got ''"),
        (lambda: TunedArm("a by b", rates), "name must be text without ' by ', got 'a by b'"),
        (lambda: TunedArm("bce", 3), "space must be a function of a trial (arm bce), got 3"),
        (lambda: ArmContrast("bce", "bce"), "a contrast needs two different arms, got 'bce' twice"),
        (
            lambda: ArmContrast("bce", "mse", delta=0),
            "delta must be a number above 0 and below 1 (0.01 is one point), got 0",
        ),
        (lambda: ArmContrast("bce", "mse", primary=1), "primary must be True or False, got 1"),
    ],
)
def test_a_bad_arm_or_contrast_is_refused(declare, message):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 -- the whole message is compared
        declare()
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"title": 3}, "title must be text, got 3"),
        ({"arms": ()}, "arms must be a tuple of TunedArms, (arm,) for one, got ()"),
        (
            {"arms": TunedArm("bce", rates)},
            "arms must be a tuple of TunedArms, (arm,) for one, got TunedArm(",
        ),
        ({"arms": (TunedArm("plain", rates),)}, "every arm must have a name of its own, got 'plain' twice"),
        ({"fixed": {"plain": 3}}, "fixed must be Configs by the arms' names, got {'plain': 3}"),
        ({"trials": True}, "trials must be a whole number from 1 to 100000, got True"),
        ({"batch": 2.5}, "batch must be a whole number from 1 to 1000, got 2.5"),
        ({"seeds": 19}, "seeds must be a whole number from 20 to 10000, got 19"),
        ({"objectives": ("speed",)}, "objectives must be a tuple of population_accuracy, regret, cost, got"),
        ({"objectives": ()}, "objectives must be a tuple of population_accuracy, regret, cost, got ()"),
        ({"sampler": ["tpe"]}, "sampler must be one of tpe, random, qmc, got ('tpe',)"),
        ({"baselines": ("tpe",)}, "baselines must be a tuple of other samplers, got"),
        ({"baselines": "random"}, "baselines must be a tuple of other samplers, got"),
        ({"figures": 3}, "figures must be Figures in a tuple, got 3"),
        ({"order": 1.5}, "order must be a whole number of at most 1000000, got 1.5"),
        ({"champion": "x"}, "champion must be one of bce, mse, or None, got 'x'"),
        (
            {"contrasts": ArmContrast("bce", "mse")},
            "contrasts must be a tuple of ArmContrasts, (c,) for one, got",
        ),
        (
            {"contrasts": (ArmContrast("bce", "x"),)},
            "a contrast compares arms: one of bce, mse, plain, got 'x'",
        ),
        (
            {"contrasts": (ArmContrast("bce", "mse"), ArmContrast("mse", "bce"))},
            "contrasts must differ, got bce − mse twice",
        ),
        ({"trials": 0, "seed": -1}, "trials must be a whole number from 1 to 100000, got 0; seed must be"),
    ],
)
def test_a_bad_tuning_is_refused(fields, message):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 -- the whole message is compared
        pair(**fields)
    assert str(caught.value).startswith(message)


def test_tuning_and_confirmation_share_no_seed():
    largest = 1_000_000  # what the command line takes
    assert largest * MAX_SHARE < FIRST_SEED
    for n_seeds in (1, 50, 500, largest):
        tuning = pair(seeds=64)
        tuned = set(tuning.tuning_seeds(n_seeds).numbers.tolist())
        assert len(tuned) == (64 if n_seeds >= 500 else 20)
        experiment = tuning.experiment({"bce": BASE, **dict.fromkeys(ARMS, DEFAULT)})
        assert experiment.seeds(n_seeds).stop <= min(tuned)
    assert experiment.seeds(500) == Seeds(0, 1000)


def test_identical_winners_are_not_compared():
    experiment = pair().experiment({**dict.fromkeys(ARMS, BASE), "mse": DEFAULT})
    assert [contrast.names for contrast in experiment.contrasts] == [("bce", "mse")]
    assert experiment.configs == (BASE, DEFAULT)


def test_searches_are_named_by_all_that_decides_scores(monkeypatch):
    searches = make_searches("rates", pair(), 500)
    assert [search.confirmed_as for search in searches] == ARMS
    names = {search.name for search in searches}
    assert len(names) == 4
    assert searches[0].name.startswith("rates/bce by tpe, seeds 10000000-10000019, ")
    others = [
        make_searches("other", pair(), 500),
        make_searches("rates", pair(seeds=30), 500),
        make_searches("rates", pair(objectives=("regret",)), 500),
    ]
    monkeypatch.setattr("qwerties.tuning.search.code_digest", lambda: "other code")
    others.append(make_searches("rates", pair(), 500))
    assert not names & {search.name for searches in others for search in searches}
    assert [search.name for search in make_searches("rates", pair(trials=9), 500)] == [
        s.name for s in others[-1]
    ]


def test_costs_are_counted_by_hand():
    assert cost(Config(epochs=10), 4) == 10 * 4 * (2 + 1 + 1 + 1)
    assert cost(Config(epochs=1, hidden=(3, 2)), 1) == (2 * 3 + 3) + (3 * 2 + 2) + (2 * 1 + 1)


# Spaces


def raising(trial):
    raise KeyError("no\nsuch thing")


def exiting(trial):
    raise SystemExit(3)


def flipping(trial, flips=[0]):  # noqa: B006 -- a space with a memory, which it must not have
    flips[0] += 1
    return dataclasses.replace(rates(trial), epochs=20 + flips[0] % 2)


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (raising, "arm x: space must return a Config, got KeyError: 'no\\nsuch thing' (for {})"),
        (exiting, "arm x: space must return a Config, got SystemExit: 3 (for {})"),
        (lambda: BASE, "arm x: space must return a Config, got TypeError: "),
        (lambda trial: trial.suggest_float("y", 0, 1), "arm x: space must return a Config, got 0."),
        (lambda trial: None, "arm x: space must return a Config, got None"),
        (lambda trial: BASE, "arm x: space must suggest one value or more, got none"),
        (
            lambda trial: Config(epochs=trial.suggest_int("epochs", 0, 1)),
            "arm x: space must return a Config, got ValueError: epochs must be a whole number from 1",
        ),
        (
            lambda trial: Config(learning_rate=trial.suggest_float("rate", 2, 1)),
            "arm x: space must return a Config, got ValueError: `low <= high` must hold",
        ),
        (
            lambda trial: Config(hidden=trial.suggest_categorical("hidden", ((8,), (8, 8)))),
            "arm x: choices of hidden must be text, numbers, True, False or None, got (8,)",
        ),
        (
            lambda trial: Config(
                loss=trial.suggest_categorical("x", ("bce", "mse")[: trial.suggest_int("n", 1, 2)])
            ),
            "arm x: space must return a Config, got ValueError: CategoricalDistribution does not support dynamic",
        ),
        (flipping, "arm x: space must return the same Config for the same suggested values"),
    ],
)
@pytest.mark.filterwarnings("ignore:Choices for a categorical distribution:UserWarning")
def test_a_space_that_misbehaves_is_refused_in_one_line(space, message):
    with pytest.raises(SearchError) as caught:
        make_searches("rates", declare(("x", space), fixed={}, contrasts=()), 500)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_choices_are_refused_without_a_warning_of_optuna_besides():
    script = (
        "from optuna.trial import FixedTrial; from qwerties.tuning import TunedArm, search\n"
        "arm = TunedArm('x', lambda trial: trial.suggest_categorical('hidden', [(1,)]) and search.Config())\n"
        "try: search.config_of(arm, FixedTrial({'hidden': (1,)}))\n"
        "except search.SearchError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert done.stdout.startswith("arm x: choices of hidden must be text")
    assert done.stderr == ""


def the_search(space=nested, sampler="tpe", n_seeds=500, **fields):
    (search,) = make_searches("rates", declare(("best", space), sampler=sampler, **fields), n_seeds)
    return search


def test_a_space_is_known_by_its_draws():
    search = the_search()
    assert set(search.distributions) == {
        *("optimizer", "momentum", "depth", "width_1", "width_2", "learning_rate"),
    }
    assert {len(config.hidden) for config in search.examples} == {1, 2}
    spec = search.spec()
    assert differences(spec, the_search().spec()) == []
    assert differences(spec, the_search(trials=9).spec()) == ["trials was 6 and is 9"]
    name = "learning_rate"
    other = the_search(lambda trial: Config(learning_rate=trial.suggest_float(name, 0.1, 5, log=True))).spec()
    there = "FloatDistribution(high=10.0, log=True, low=0.1, step=None)"
    assert f"learning_rate was {there} and is {there.replace('10.0', '5.0')}" in differences(spec, other)
    assert "momentum was FloatDistribution(high=0.9, log=False, low=0.0, step=None) and is not searched" in (
        differences(spec, other)
    )


# Proposals


def score(params):
    """Score a trial of the nested space; None, diverged, above a learning rate of 3."""
    if params["learning_rate"] > 3:
        return None
    return -(math.log10(params["learning_rate"]) ** 2) + params["width_1"] / 4 + params.get("width_2", 0) / 50


def finished(proposals, score=score):
    scores = [score(proposal.params) for proposal in proposals]
    return [
        create_trial(
            state=TrialState.FAIL if value is None else TrialState.COMPLETE,
            value=value,
            params=proposal.params,
            distributions=proposal.distributions,
        )
        for proposal, value in zip(proposals, scores, strict=True)
    ]


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_proposals_are_a_function_of_the_earlier_batches(sampler):
    search = the_search(sampler=sampler, batch=20)
    first = propose(search, [])
    second = propose(search, finished(first))
    assert [proposal.number for proposal in second] == list(range(20, 40))
    assert second == propose(search, finished(first)) != first
    assert [p.params for p in second] != [p.params for p in propose(the_search(sampler=sampler, seed=4), [])]
    for proposal in second:
        params, config = proposal.params, proposal.config
        assert ("width_2" in params) == (params["depth"] == 2) == (len(config.hidden) == 2)
        assert ("momentum" in params) == (config.optimizer == "sgd")
        assert config.learning_rate == params["learning_rate"]
        assert all(
            d.low <= params[n] <= d.high for n, d in proposal.distributions.items() if n != "optimizer"
        )
    assert {len(proposal.config.hidden) for proposal in second} == {1, 2}


def test_tpe_learns_and_the_others_do_not():
    for sampler in SAMPLERS:
        search = the_search(sampler=sampler, batch=20)
        first = propose(search, [])
        upside_down = finished(first, lambda params: score(params) and -score(params))
        assert (propose(search, finished(first)) == propose(search, upside_down)) == (sampler != "tpe")


def test_sobol_points_are_spread_evenly():
    def plane(trial):
        rate = 1 + trial.suggest_float("x", 0, 1)
        return Config(
            learning_rate=rate,
            epochs=trial.suggest_int("y", 1, 4),
            loss=trial.suggest_categorical("z", LOSSES),
        )

    search, points = the_search(plane, sampler="qmc", batch=16), []
    for _ in range(4):
        points += propose(search, finished(points, lambda params: 1.0))
    assert (
        np.bincount([int(p.params["x"] * 64) for p in points]).tolist() == [1] * 64
    )  # one in each of 64 boxes
    assert set(np.bincount([p.params["y"] for p in points])[1:]) == {16}
    assert sum(p.params["z"] == "mse" for p in points) == 32


LOSSES = ("bce", "mse")


def unit(trial):
    return Config(learning_rate=1 + trial.suggest_float("x", 0, 1))


def test_tpe_leaves_a_region_that_diverges():
    """Diverged trials count as bad. Optuna ignores failed ones: 173 of these 240 trials would diverge."""

    def count(seed):
        search, trials = the_search(unit, batch=10, seed=seed), []
        for _ in range(6):
            trials += finished(
                propose(search, trials), lambda params: None if params["x"] > 0.5 else params["x"]
            )
        return sum(trial.state == TrialState.FAIL for trial in trials)

    assert sum(count(seed) for seed in range(4)) < 140


def test_batches_find_what_one_by_one_finds():
    """Within 5% of the sequential median, as a part of the whole range of values, 0 to 1."""

    def truth(params):
        return math.exp(-0.5 * ((4 * params["x"] - 2.7) / 0.7) ** 2)

    def reached(batch, seed):
        search, trials = the_search(unit, batch=batch, seed=seed), []
        noise = np.random.default_rng(seed).normal(0, 0.02, 40)
        while len(trials) < 30:
            error = noise[len(trials)]
            trials += finished(propose(search, trials), lambda params, error=error: truth(params) + error)
        return truth(max(trials[:30], key=lambda trial: trial.values[0]).params)

    one_by_one = np.median([reached(1, seed) for seed in range(5)])
    assert one_by_one > 0.98
    assert np.median([reached(10, seed) for seed in range(5)]) >= 0.95 * one_by_one


# Trials


def test_a_diverged_network_counts_as_a_guess_and_a_diverged_trial_has_no_score():
    seeds = Seeds(FIRST_SEED, FIRST_SEED + MIN_SEEDS)
    sound, diverged = train_trials([BASE, dataclasses.replace(BASE, learning_rate=9e15)], seeds)
    assert diverged.is_diverged
    assert diverged.objectives(["population_accuracy"]) is None
    assert diverged.metrics["diverged_fraction"] == 1
    assert "population_accuracy" not in diverged.metrics
    assert sound.objectives(["regret", "cost"]) == [
        sound.metrics["regret"],
        20 * 20 * (3 + 2 + 2 + 2 + 2 + 2),
    ]
    assert sound.metrics["regret"] == pytest.approx(0.977250 - sound.metrics["population_accuracy"], abs=1e-6)
    assert len(sound.losses) == 20
    assert optuna.logging.get_verbosity() == optuna.logging.WARNING
