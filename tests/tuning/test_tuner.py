"""Tuned studies in MLflow: declared, killed and resumed, confirmed on fresh seeds, and the model that wins."""

import dataclasses
import json
import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path

import mlflow
import numpy as np
import pytest
from factories import new_store
from mlflow import MlflowClient
from qwerties.study.chunks import CONTRASTS

from qwerties.analysis.searches import WINNER, best_of, is_whole, progress_of, read_studies, trial_frame
from qwerties.config import DEFAULT, Config, Seeds
from qwerties.execution.processes import this_process
from qwerties.execution.workers import Workers
from qwerties.report.build import render
from qwerties.scoring import score as scoring
from qwerties.scoring.digest import code_digest
from qwerties.study.coverage import read_coverages
from qwerties.study.experiment import MAX_SHARE, Contrast, Experiment, plan_changes
from qwerties.study.objectives import OBJECTIVES, cost, parameters
from qwerties.study.search_space import Categorical, Float, Int, SearchError
from qwerties.study.sweep import PLAN_CHANGES, sweep
from qwerties.tracking import models as registry
from qwerties.tracking.store import Store
from qwerties.tracking.tags import STUDY, SUPERSEDED, TRIAL
from qwerties.tuning import champion, search, tuner
from qwerties.tuning import trials as outcomes
from qwerties.tuning.declaration import (
    FEWEST_SEEDS,
    FIRST_SEED,
    Pair,
    Tuned,
    Tuning,
    make_config,
    spec_changes,
)
from qwerties.tuning.trials import train_trials
from qwerties.tuning.tuner import tune

pytestmark = [
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning"),  # MLflow's own
    pytest.mark.filterwarnings("ignore:.*Any type hint is inferred as AnyType:UserWarning"),
]

BASE = Config(epochs=20, hidden=(1, 1, 1, 1, 1), activation="linear")
RATES = {"learning_rate": Float(0.01, 9e15, log=True)}  # the last quarter diverges
TRIALS = 6
FEW_POINTS = 2**11


def declare(**fields):
    """Two losses, each by TPE and at random, against the default."""
    settings = {
        "title": "Rates",
        "question": "Which?",
        "searches": {
            loss: Tuned(dataclasses.replace(BASE, loss=loss), RATES, TRIALS, baselines=("random",))
            for loss in ("bce", "mse")
        },
        "fixed": {"plain": BASE},
        "contrasts": (Pair("bce", "mse", primary=True), Pair("bce", "plain")),
        "seeds": FEWEST_SEEDS,
    }
    return Tuning(**{**settings, **fields})


def one_side(space=RATES, trials=TRIALS, **fields):
    contrasts = (Pair("best", "plain", primary=True),)
    return declare(**{"searches": {"best": Tuned(BASE, space, trials)}, "contrasts": contrasts, **fields})


def small():
    """One side, by TPE and at random."""
    return one_side(searches={"best": Tuned(BASE, RATES, TRIALS, baselines=("random",))})


def journal(folder):
    return folder / "mlruns" / "optuna.journal"


@pytest.fixture(scope="module", autouse=True)
def few_points():
    """Wider nets are scored on fewer points, which takes most of the time; here, accuracy matters little."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scoring, "SOBOL_POINTS", FEW_POINTS)
        scoring._sobol_normals.cache_clear()
        yield
    scoring._sobol_normals.cache_clear()


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    yield new_store(tmp_path)
    mlflow.set_tracking_uri(None)


def chosen(tuning, store, wanted=4, experiment_name="rates", **options):
    return tune(experiment_name, tuning, store, journal(Path.cwd()), wanted, workers=1, **options)


def confirm(experiments, store, wanted=4):
    return sweep(experiments, store, wanted, workers=Workers(), progress=lambda state: None)


def runs_of(store, experiment_name="rates"):
    return store.runs(store.experiments()[experiment_name][0])


class Metrics(dict):
    """Metrics of a run; those of a diverged one hold NaN, which here equals itself."""

    def __eq__(self, other):
        return sorted(map(repr, self.items())) == sorted(map(repr, other.items()))

    __hash__ = None


def told(store, experiment_name="rates"):
    """What must not hang on how often a tuning was interrupted: studies, trials once each, winners."""
    runs = [run for run in runs_of(store, experiment_name) if SUPERSEDED not in run.tags]
    names = {run.run_id: run.tags[STUDY] for run in runs if STUDY in run.tags and TRIAL not in run.tags}
    trials = [
        (names[run.parent], int(run.tags[TRIAL]), run.status, run.params, Metrics(run.metrics))
        for run in runs
        if TRIAL in run.tags and is_whole(run)
    ]
    winners = {run.tags[STUDY]: run.tags.get(WINNER) for run in runs if run.run_id in names}
    assert len(names) == len(winners)
    return sorted(trials, key=lambda trial: trial[:2]), winners


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """A tuning and its confirmation, never interrupted."""
    folder = tmp_path_factory.mktemp("undisturbed")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        store = new_store(folder)
        found = chosen(declare(), store)
        confirm({"rates": found.experiment}, store)
    return folder, store, found


# What is declared


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"searches": {}}, "searches must name one side or more, got none"),
        ({"seeds": 19}, "seeds must be a whole number of 20 or more per trial, got 19"),
        ({"champion": "x"}, "champion must be one of bce, mse, or None, got 'x'"),
        ({"contrasts": (Pair("bce", "x"),)}, "a contrast compares sides: one of bce, mse, plain, got 'x'"),
        ({"contrasts": (Pair("bce", "bce"),)}, "a contrast needs two different sides, got 'bce' twice"),
        ({"contrasts": (Pair("bce", "mse", delta=0),)}, "delta must be above 0, got 0"),
        ({"fixed": {"bce": BASE}}, "a side must have a name of its own, that does not say by which sampler"),
        (
            {"searches": {"bce": Tuned(BASE, RATES, 6, sampler="grid")}},
            "searches: bce: samplers must be different ones of tpe, random, qmc, got grid",
        ),
        (
            {"searches": {"bce": Tuned(BASE, RATES, 6, baselines=("tpe",))}},
            "searches: bce: samplers must be different ones of tpe, random, qmc, got tpe, tpe",
        ),
        (
            {"searches": {"bce": Tuned(BASE, {"learning_rate": Float(1, 0.1)}, 6)}},
            "searches: bce: space: learning_rate must have low below high, got low 1 and high 0.1",
        ),
        (
            {"searches": {"bce": Tuned(BASE, {"learning_rate": Float(0, 1)}, 6)}},
            "searches: bce: learning_rate must be a finite number above 0, got 0",
        ),
        (
            {"searches": {"bce": Tuned(BASE, {"rate": Float(0.1, 1)}, 6)}},
            "searches: bce: a net of depth 1 takes width_1, got rate",
        ),
        (
            {"searches": {"bce": Tuned(BASE, {"depth": Int(1, 2), "width_1": Int(1, 4)}, 6)}},
            "searches: bce: a net of depth 2 takes width_1, width_2, got width_1",
        ),
        (
            {"searches": {"bce": Tuned(BASE, RATES, 6, objectives=("speed",))}},
            "searches: bce: objectives must be of population_accuracy, regret, cost, got ('speed',)",
        ),
        (
            {"searches": {"bce": Tuned(BASE, RATES, 6), "mse": Tuned(BASE, RATES, 7)}},
            "both sides of a contrast must have the same trials, got 6 for bce and 7 for mse",
        ),
        ({"searches": {"bce": Tuned(BASE, RATES, 0)}}, "searches: bce: trials must be a whole number from 1"),
    ],
)
def test_a_bad_tuning_is_refused(fields, message):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 -- the whole message is compared
        declare(**{"contrasts": (Pair("bce", "mse"),), **fields})
    assert str(caught.value).startswith(message)


def test_tuning_and_confirmation_share_no_seed():
    most = 1_000_000  # what the command line takes
    assert most * MAX_SHARE < FIRST_SEED
    for wanted in (1, 50, 500, most):
        tuning = declare(seeds=64)
        tuned = set(tuning.tuning_seeds(wanted).numbers.tolist())
        experiment = tuning.experiment({"bce": BASE, **dict.fromkeys(tuning_sides(), DEFAULT)})
        last = experiment.seeds(wanted).stop - 1
        assert len(tuned) == (64 if wanted >= 500 else 20)
        assert last < min(tuned)
        assert str(experiment.seeds(wanted)) == tuning.confirmation(wanted)
    assert declare().experiment(dict.fromkeys(tuning_sides(), DEFAULT)).seeds(500) == Seeds(0, 1000)


def tuning_sides():
    return ["bce", "bce by random", "mse", "mse by random"]


def test_studies_are_named_by_all_that_decides_their_trials():
    first = declare().studies("rates", 500, "code")
    assert [study.side for study in first] == tuning_sides()
    assert len({study.name for study in first}) == 4
    assert first[0].name.startswith("rates/bce by tpe, seeds 10000000-10000019, ")
    other = [
        declare().studies("other", 500, "code"),
        declare().studies("rates", 500, "other"),
        declare(seeds=30).studies("rates", 500, "code"),
        declare(
            searches={"bce": Tuned(dataclasses.replace(BASE, epochs=21), RATES, TRIALS)}, contrasts=()
        ).studies("rates", 500, "code"),
    ]
    assert all(studies[0].name != first[0].name for studies in other)


def test_a_config_is_made_of_depth_and_widths():
    assert make_config(BASE, {"learning_rate": 0.5}) == dataclasses.replace(BASE, learning_rate=0.5)
    assert make_config(BASE, {"width_1": 3}).hidden == (3,)
    assert make_config(BASE, {"depth": 2, "width_1": 3, "width_2": 5, "loss": "mse"}).hidden == (3, 5)


def test_costs_are_counted_by_hand():
    assert parameters(Config()) == 2 + 1 + 1 + 1
    assert parameters(Config(hidden=(3, 2))) == (2 * 3 + 3) + (3 * 2 + 2) + (2 * 1 + 1)
    assert cost(Config(epochs=10), 4) == 10 * 4 * 5


def test_identical_winners_are_not_compared():
    experiment = declare().experiment({**dict.fromkeys(tuning_sides(), BASE), "mse": DEFAULT})
    assert [contrast.names for contrast in experiment.contrasts] == [("bce", "mse")]
    assert experiment.configs == (BASE, DEFAULT)


# Trials


def test_a_diverged_network_counts_as_a_guess_and_a_diverged_trial_has_no_score():
    seeds = Seeds(FIRST_SEED, FIRST_SEED + FEWEST_SEEDS)
    sound, lost = train_trials([BASE, dataclasses.replace(BASE, learning_rate=9e15)], seeds)
    assert lost.diverged
    assert lost.values(["population_accuracy"]) is None
    assert lost.metrics["diverged_fraction"] == 1
    assert "population_accuracy" not in lost.metrics
    assert sound.values(["regret", "cost"]) == (sound.metrics["regret"], 20 * 20 * (3 + 2 + 2 + 2 + 2 + 2))
    assert sound.metrics["regret"] == pytest.approx(0.977250 - sound.metrics["population_accuracy"], abs=1e-6)
    assert len(sound.losses) == 20


# Undisturbed


def test_every_trial_has_its_run_once_and_the_failed_are_there(undisturbed):
    _, store, found = undisturbed
    trials, winners = told(store)
    assert len(trials) == 4 * TRIALS
    assert len(winners) == 4
    failed = [trial for trial in trials if trial[2] == "FAILED"]
    assert 0 < len(failed) < len(trials)
    for name, number, status, params, metrics in trials:
        config = Config.from_params(params)
        assert config.epochs == 20
        assert ("population_accuracy" in metrics) == (status == "FINISHED")
        assert name.startswith("rates/")
        assert number < TRIALS
    assert {json.dumps(config.to_params()) for config in found.winners.values()} == set(winners.values())


def test_budgets_are_equal_as_counted_in_the_store(undisturbed):
    _, store, _ = undisturbed
    _, tags = store.experiments()["rates"]
    studies, problems = read_studies(tags, runs_of(store))
    assert problems == []
    assert {(len(s.trials), s.networks, str(s.seeds)) for s in studies} == {
        (TRIALS, TRIALS * FEWEST_SEEDS, "10000000-10000019")
    }
    assert all(s.done and s.complete + s.failed == TRIALS for s in studies)
    for study in studies:
        metrics = study.run.metrics
        assert (metrics["trials"], metrics["trials_failed"]) == (TRIALS, study.failed)
        assert metrics["best_population_accuracy"] == study.best["population_accuracy"]
        assert study.trials["population_accuracy"].max() == study.best["population_accuracy"]


def test_a_trial_keeps_its_loss_at_every_epoch_of_a_short_training(undisturbed):
    _folder, store, _ = undisturbed
    client = MlflowClient(store.uri)
    trial = next(run for run in runs_of(store) if TRIAL in run.tags and run.status == "FINISHED")
    history = client.get_metric_history(trial.run_id, "train_loss")
    assert [point.step for point in history] == list(range(1, 21))
    seeds = Seeds(FIRST_SEED, FIRST_SEED + FEWEST_SEEDS)
    (again,) = train_trials([Config.from_params(trial.params)], seeds)
    np.testing.assert_allclose([point.value for point in history], again.losses, atol=1e-6)
    assert trial.metrics["population_accuracy"] == pytest.approx(again.metrics["population_accuracy"])


def test_a_study_keeps_its_pictures(undisturbed):
    _, store, _ = undisturbed
    study = next(run for run in runs_of(store) if STUDY in run.tags and TRIAL not in run.tags)
    for name in ("history", "slice"):
        assert store.read(study, f"plots/{name}.png").startswith(b"\x89PNG")
    assert study.params["sampler"] == "tpe"
    assert study.params["storage"] == "optuna.journal"


def test_the_confirmation_is_an_ordinary_experiment(undisturbed):
    _, store, found = undisturbed
    coverage = next(coverage for coverage in read_coverages(store) if coverage.experiment_name == "rates")
    assert coverage.complete
    assert (coverage.stale, coverage.unplanned, coverage.plan_changes) == (0, 0, ())
    assert str(coverage.plan.seeds) == "0-7"
    assert {entry.config for entry in coverage.entries} == {BASE, *found.winners.values()}
    assert next(contrast.primary for contrast in coverage.contrasts)
    assert len(coverage.contrasts) <= 4


def test_once_more_nothing_is_searched_and_the_storage_not_even_opened(undisturbed, monkeypatch):
    folder, store, found = undisturbed
    monkeypatch.chdir(folder)
    for name in ("run", "check", "load"):
        monkeypatch.setattr(search, name, pytest.fail)
    before = told(store)
    assert chosen(declare(), store) == found
    assert told(store) == before


def test_the_report_tells_budgets_and_both_scores(undisturbed):
    _, store, _ = undisturbed
    page = render(store)
    assert "winner’s curse" in page
    assert f"{TRIALS} trials of {FEWEST_SEEDS} networks each" in page
    assert "none of which is a seed of the confirmation" in page
    assert page.count("6 of 6") == 4
    assert "could not be drawn" not in page


# Killed and resumed

processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload(["qwerties.tuning.tuner"])


@pytest.fixture(scope="module")
def unkilled(tmp_path_factory):
    """A small tuning, never interrupted: what it found, and what is tracked."""
    folder = tmp_path_factory.mktemp("unkilled")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        store = new_store(folder)
        return chosen(small(), store), told(store)


def _die_at(point):
    """Kill this process where the counter of a kind of call has come to a number."""
    kind, count = point
    left = [count]

    def dying(call):
        def wrapped(*arguments, **keywords):
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*arguments, **keywords)

        return wrapped

    if kind == "train":
        outcomes.train_trials = dying(outcomes.train_trials)
    elif kind == "tell":
        search._Worker.tell = dying(search._Worker.tell)
    else:
        setattr(Store, kind, dying(getattr(Store, kind)))


def _tune_and_die(folder, point):
    os.chdir(folder)
    scoring.SOBOL_POINTS = FEW_POINTS
    _die_at(point)
    chosen(small(), Store.open(folder, writer=this_process()))


@pytest.mark.parametrize(
    "points",
    [
        [("train", 2), ("tell", 3)],  # while the second batch trains; between two that are told
        [
            ("write", 2),
            ("_write_points", 1),
        ],  # a whole batch told, one trial tracked; in the middle of a run
        [("begin", 2), ("end", 1)],
    ],
    ids=["training", "tracking", "studies"],
)
@pytest.mark.slow
def test_a_tuning_that_is_killed_ends_as_if_it_had_not_been(points, unkilled, tmp_path, monkeypatch):
    new_store(tmp_path)
    for point in points:
        process = processes.Process(target=_tune_and_die, args=(tmp_path, point))
        process.start()
        process.join(60)
        assert process.exitcode == -signal.SIGKILL, point
    monkeypatch.chdir(tmp_path)
    store = Store.open(tmp_path)
    found = chosen(small(), store)
    assert (found, told(store)) == unkilled
    assert not [run for run in runs_of(store) if run.status == "RUNNING"]
    confirm({"rates": found.experiment}, store)
    assert next(
        coverage for coverage in read_coverages(store) if coverage.experiment_name == "rates"
    ).complete


def test_what_nobody_did_to_a_study_is_done_by_the_next_sweep(unkilled, store):
    left = []
    found = chosen(small(), store, later=left.append)
    assert len(left) == len([run for run in runs_of(store) if run.status == "RUNNING"]) > 0
    assert found == unkilled[0]  # the winner is known all the same
    assert (chosen(small(), store), told(store)) == unkilled
    assert not [run for run in runs_of(store) if run.status == "RUNNING"]


def test_ctrl_c_leaves_what_is_tracked_and_the_next_one_goes_on(unkilled, store, monkeypatch):
    calls = []

    def stop(configs, seeds):
        calls.append(len(configs))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return train_trials(configs, seeds)

    monkeypatch.setattr(outcomes, "train_trials", stop)
    with pytest.raises(KeyboardInterrupt):
        chosen(small(), store)
    assert calls == [4, 2, 4]
    assert len(told(store)[0]) == TRIALS
    assert (chosen(small(), store), told(store)) == unkilled


@pytest.mark.slow
def test_two_workers_find_what_one_finds(store, tmp_path, monkeypatch):
    base = dataclasses.replace(BASE, hidden=(1,))  # scored in closed form, in workers too
    rates = {"learning_rate": Float(0.01, 10, log=True)}
    tuning = declare(searches={"best": Tuned(base, rates, 4)}, contrasts=())
    found = chosen(tuning, store)
    (tmp_path / "two").mkdir()
    monkeypatch.chdir(tmp_path / "two")
    monkeypatch.setattr(tuner, "SMALL", 0)
    other = new_store(tmp_path / "two")
    assert tune("rates", tuning, other, journal(Path.cwd()), 4, workers=2) == found
    assert told(other) == told(store)


# The plan


def test_what_is_compared_is_written_down_before_the_first_trial(store, monkeypatch):
    def look(configs, seeds):
        tags = store.experiments()["rates"][1]
        pairs = json.loads(tags[CONTRASTS])
        assert [(pair["names"], pair["delta"], pair["primary"]) for pair in pairs] == [
            (["best", "plain"], 0.01, True)
        ]
        assert json.loads(tags["qwerties.tuning"])["confirmation"] == "0-7"
        raise KeyboardInterrupt

    monkeypatch.setattr(outcomes, "train_trials", look)
    with pytest.raises(KeyboardInterrupt):
        chosen(one_side(), store)


def test_sides_that_become_known_are_no_change_of_the_plan_and_a_margin_is():
    pairs = [one_side().placeholder(pair) for pair in one_side().pairs()]
    known = Contrast(
        dataclasses.replace(BASE, learning_rate=0.3), BASE, primary=True, names=("best", "plain")
    )
    tags = Experiment("t", "q", (known.a, known.b), (known,)).tags(Seeds(0, 8))
    assert plan_changes(json.dumps(pairs), tags[CONTRASTS]) == []
    wider = Experiment("t", "q", (known.a, known.b), (dataclasses.replace(known, delta=0.02),))
    assert plan_changes(json.dumps(pairs), wider.tags(Seeds(0, 8))[CONTRASTS]) == [
        "margin of best − plain changed from 0.01 to 0.02"
    ]


def test_a_margin_changed_after_data_were_seen_is_told(store):
    confirm({"rates": chosen(one_side(), store).experiment}, store)
    again = one_side(contrasts=(Pair("best", "plain", delta=0.02, primary=True),))
    confirm({"rates": chosen(again, store).experiment}, store)
    (change,) = json.loads(store.experiments()["rates"][1][PLAN_CHANGES])
    assert change["what"] == ["margin of best − plain changed from 0.01 to 0.02"]
    (coverage,) = read_coverages(store)
    assert coverage.contrasts[0].delta == 0.02
    assert coverage.contrasts[0].a != BASE


def test_a_changed_space_is_refused_before_anything_is_written(store):
    chosen(one_side(), store)
    before = store.experiments()["rates"], told(store)
    other = one_side({"learning_rate": Float(0.01, 1, log=True)})
    with pytest.raises(SearchError) as caught:
        chosen(other, store)
    assert "searches something else: learning_rate is Float(low=0.01, high=9000000000000000.0" in str(
        caught.value
    )
    assert "delete it with `optuna delete-study" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert (store.experiments()["rates"], told(store)) == before


def test_a_study_that_was_deleted_is_made_anew_and_the_change_is_told(store):
    chosen(one_side(), store)
    journal(Path.cwd()).unlink()
    other = one_side({"learning_rate": Float(0.01, 1, log=True)})
    found = chosen(other, store)
    trials, winners = told(store)
    assert len(trials) == TRIALS
    assert len(winners) == 1
    assert all(0.01 <= float(params["learning_rate"]) <= 1 for _, _, _, params, _ in trials)
    assert found.winners["best"].learning_rate <= 1
    (change,) = json.loads(store.experiments()["rates"][1][PLAN_CHANGES])
    assert change["what"][0].startswith(
        "search for best by tpe: learning_rate is Float(low=0.01, high=9000000000000000.0"
    )


def test_a_larger_budget_goes_on_and_is_told(store):
    chosen(one_side(trials=4), store)
    ids = {run.run_id for run in runs_of(store)}
    chosen(one_side(trials=8), store)
    assert ids <= {run.run_id for run in runs_of(store) if SUPERSEDED not in run.tags}
    assert [trial[1] for trial in told(store)[0]] == list(range(8))
    (change,) = json.loads(store.experiments()["rates"][1][PLAN_CHANGES])
    assert change["what"] == ["search for best by tpe: trials were 4 before and are 8 now"]


def test_a_changed_base_is_another_study_and_is_told():
    before, now = (
        json.dumps({"studies": [study.spec() for study in tuning.studies("rates", 4, "code")]})
        for tuning in (
            one_side(),
            declare(
                searches={"best": Tuned(dataclasses.replace(BASE, epochs=21), RATES, TRIALS)}, contrasts=()
            ),
        )
    )
    assert spec_changes(before, now) == ["search for best by tpe: epochs was 20 before and is 21 now"]
    assert spec_changes("", now) == spec_changes("{}", now) == spec_changes("[1]", now) == []


def test_a_study_whose_trials_all_diverge_is_told(store):
    with pytest.raises(SearchError, match="every trial of best by tpe diverged"):
        chosen(one_side({"learning_rate": Float(8e15, 9e15, log=True)}, trials=2), store)
    trials, winners = told(store)
    assert [trial[2] for trial in trials] == ["FAILED"] * 2
    assert list(winners.values()) == [None]


# Several objectives


def test_the_winner_has_the_least_regret_and_the_front_is_that_of_the_search(store):
    space = {
        "learning_rate": Float(0.1, 10, log=True),
        "optimizer": Categorical(("sgd", "adam")),
        "momentum": Float(0, 0.9, when=("optimizer", ("sgd",))),
        "width_1": Int(1, 3),
        "epochs": Int(5, 40, log=True),
    }
    tuning = declare(
        searches={"best": Tuned(BASE, space, 20, objectives=("regret", "cost"))},
        contrasts=(Pair("best", "plain"),),
    )
    found = chosen(tuning, store)
    (study,) = read_studies(store.experiments()["rates"][1], runs_of(store))[0]
    assert study.winner == found.winners["best"]
    complete = study.trials[study.trials["state"] == "complete"]
    assert study.best["regret"] == complete["regret"].min()
    held = search.load(study.name, journal(Path.cwd()))
    frame = progress_of(study.trials, study.objectives)
    assert frame.loc[frame["front"], "number"].tolist() == [trial.number for trial in held.front]
    assert {name for name in study.run.metrics if name.startswith("importance_")} <= {
        f"importance_{name}" for name in space
    }
    assert store.read(study.run, "plots/pareto.png").startswith(b"\x89PNG")
    confirm({"rates": found.experiment}, store)
    page = render(store)
    assert "Cost against regret" in page
    assert "could not be drawn" not in page


def test_the_best_is_the_earliest_of_equals_and_failed_trials_are_none():
    frame = trial_frame([])
    assert best_of(frame, ["regret"]) is None
    rows = [("failed", np.nan), ("complete", 0.3), ("complete", 0.2), ("complete", 0.2)]
    frame = frame.reindex(range(4)).assign(
        number=range(4), state=[s for s, _ in rows], regret=[r for _, r in rows], population_accuracy=0.5
    )
    assert best_of(frame, ["regret"]) == 2
    assert progress_of(frame, ["population_accuracy"])["best"].iloc[-1] == 0.5
    assert set(OBJECTIVES.values()) == {"maximize", "minimize"}


# What others wrote


@pytest.mark.parametrize(
    "tag",
    [
        "{",
        "[]",
        '{"studies": [1]}',
        '{"studies": [{"study": "x"}]}',
        '{"studies": ' + "[" * 4000 + "]" * 4000 + "}",
    ],
)
def test_a_tag_that_cannot_be_read_is_told(tag):
    assert read_studies({"qwerties.tuning": tag}, []) == ([], ["the tag qwerties.tuning cannot be read"])


def test_hostile_names_are_made_harmless(store):
    tuning = declare(
        searches={"<script>alert(1)</script>": Tuned(BASE, RATES, 4)},
        fixed={},
        contrasts=(),
        title="<b>x</b>",
    )
    confirm({"rates": chosen(tuning, store).experiment}, store)
    page = render(store)
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)" in page


# The registered model


@pytest.fixture
def confirmed(store):
    """Two configs on the same fresh seeds, one of which learns and one of which does not."""
    good, bad = (
        Config(epochs=60, learning_rate=0.3, activation="linear"),
        Config(epochs=1, learning_rate=1e-6),
    )
    experiment = Experiment("t", "q", (good, bad), share=2.0)
    confirm({"rates": experiment}, store, wanted=100)
    return store, good, bad


def contend(config, store):
    return champion.contend("rates", config, store, lambda duel: confirm(duel, store, wanted=100))


@pytest.mark.slow
def test_the_model_moves_only_by_verdict(confirmed):
    store, good, bad = confirmed
    assert registry.champion(store.uri) is None
    assert contend(bad, store).startswith(
        ("registered version 1", "rates: none of its winner's networks learned")
    )
    first = registry.champion(store.uri)
    if first is not None:  # bad starts may have learned by luck
        assert json.loads(first.tags["qwerties.config"]) == bad.to_params()
    number = "2" if first else "1"
    assert contend(good, store).startswith(f"registered version {number} of the model, seed ")
    held = registry.champion(store.uri)
    assert json.loads(held.tags["qwerties.config"]) == good.to_params()
    assert float(held.tags["qwerties.confirmation"]) > 0.9
    assert contend(good, store) is None
    assert registry.champion(store.uri) == held


@pytest.mark.slow
def test_repeated_challenges_are_counted_and_told(store):
    """A config that challenges once more, on the same seeds, is the same challenge."""
    good = Config(epochs=60, learning_rate=0.3, activation="linear")
    bad = [Config(epochs=1, learning_rate=rate) for rate in (1e-6, 2e-6)]
    confirm({"rates": Experiment("t", "q", (good, *bad), share=2.0)}, store, wanted=100)
    assert contend(good, store).startswith("registered version 1")
    for config, count in ((bad[0], 1), (bad[0], 1), (bad[1], 2), (bad[0], 1)):
        said = contend(config, store)
        assert said.startswith("the registered model stays, version 1: ")
        assert said.endswith(f"(challenge {count} of version 1)")
        assert (
            f"This is challenge {count} of version 1."
            in store.experiments()[champion.STEM][1]["qwerties.question"]
        )


@pytest.mark.slow
def test_the_registered_model_predicts_in_a_fresh_process(confirmed, tmp_path):
    store, good, _ = confirmed
    contend(good, store)
    held = registry.champion(store.uri)
    script = (
        "import mlflow, numpy as np; model = mlflow.pyfunc.load_model('models:/qwerties@champion'); "
        "p = model.predict(np.array([[0.0, 1.0], [6.0, 1.0]], np.float32)); "
        "assert p.shape == (2, 1) and p[0, 0] < 0.5 < p[1, 0], p; "
        "assert model.metadata.signature is not None"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    done = subprocess.run(
        [sys.executable, "-c", script],
        check=False,
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    run = next(run for run in runs_of(store) if run.name.startswith("model: "))
    networks = {run.run_id: run for run in runs_of(store)}
    assert Config.from_params(networks[run.parent].params) == good
    assert run.params["seed"] == held.tags["qwerties.seed"]
    assert networks[run.parent].run_id == held.tags["qwerties.confirmation_run"]
    assert held.tags["qwerties.code"] == code_digest()
