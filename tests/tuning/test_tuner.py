"""Searches in the storage and in MLflow: killed and resumed, changed by others, confirmed on fresh seeds."""

import dataclasses
import json
import shlex
import signal
import subprocess
import sys
import threading
import time
from contextlib import chdir
from pathlib import Path

import mlflow
import numpy as np
import optuna
import pytest
from factories import new_store
from mlflow import MlflowClient
from optuna.storages.journal import JournalFileBackend, JournalStorage
from processes import forking
from tuning_files import (
    BASE,
    TRIALS,
    declare,
    draw_pictures,
    journal,
    make_quick,
    mse_rates,
    nested,
    rates,
    runs_of,
    small,
    tracked,
    tune,
    tune_and_die,
)

from qwerties.analysis.searches import best_of, load_searches, progress_of, read_searches, trial_frame
from qwerties.config import Config, Seeds
from qwerties.errors import UsageError
from qwerties.execution.processes import process_words, this_process
from qwerties.execution.workers import Workers
from qwerties.plotting import search as figures
from qwerties.report.build import render
from qwerties.scoring import score as scoring
from qwerties.study.coverage import read_coverages
from qwerties.study.sweep import sweep
from qwerties.study.sweep_lock import sweep_lock
from qwerties.tracking.tags import CONTRASTS, PLAN_CHANGES, STUDY, SUPERSEDED, TRIAL
from qwerties.tuning import ArmContrast, trials, tuner
from qwerties.tuning.declaration import FIRST_SEED, MIN_SEEDS, SearchError
from qwerties.tuning.storage import default_storage, finished_trials, open_storage
from qwerties.tuning.trials import train_trials

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def quick():
    with pytest.MonkeyPatch.context() as patch:
        make_quick(patch)
        scoring._sobol_normals.cache_clear()
        yield
    scoring._sobol_normals.cache_clear()


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    yield new_store(tmp_path, writer=this_process())
    mlflow.set_tracking_uri(None)


def tune_and_confirm(tuning, store):
    """Search, then compare the winners on fresh seeds; return the winners."""
    winners = tune(tuning, store)
    experiments = {"rates": tuning.experiment(winners)}
    sweep(experiments, store, 4, workers=Workers(), progress=lambda state: None)
    return winners


def changes_of(store):
    return [change["what"] for change in json.loads(store.experiments()["rates"][1].get(PLAN_CHANGES, "[]"))]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """Two arms by two samplers and their confirmation, never interrupted."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("undisturbed"))
        patch.setattr(figures, "study_pictures", draw_pictures)
        store = new_store(Path.cwd())
        contrasts = (ArmContrast("bce", "mse", primary=True), ArmContrast("bce", "plain"))
        tuning = declare(("bce", rates), ("mse", mse_rates), contrasts=contrasts, baselines=("random",))
        return Path.cwd(), store, tuning, tune_and_confirm(tuning, store)


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """A small tuning, never interrupted: its winners, and what is tracked."""
    with chdir(tmp_path_factory.mktemp("expected")):
        store = new_store(Path.cwd())
        return tune(small(), store), tracked(store)


# Undisturbed


def test_every_trial_has_its_run_once_and_the_winner_is_the_best(undisturbed):
    _, store, _, winners = undisturbed
    runs, stored = tracked(store)
    assert len(runs) == 4 * TRIALS
    failed = [run for run in runs if run[2] == "FAILED"]
    assert 0 < len(failed) < len(runs)
    for name, number, status, params, metrics in runs:
        assert name.startswith("rates/")
        assert number < TRIALS
        assert Config.from_params(params).epochs == 20
        assert ("population_accuracy" in metrics) == (status == "FINISHED")
    (coverage,) = read_coverages(store)
    searches = load_searches(store, coverage)
    assert [search.label for search in searches] == [
        *("bce by tpe", "bce by random", "mse by tpe", "mse by random"),
    ]
    for search in searches:
        assert search.is_complete
        assert (search.n_trials, str(search.seeds), search.params) == (
            6,
            "10000000-10000019",
            ("learning_rate",),
        )
        name = search.label if search.is_baseline else search.arm
        assert search.winner == winners[name]
        assert search.winner.to_params() == stored[search.name]
        frame = search.trials
        assert frame["number"].tolist() == list(range(TRIALS))
        assert frame["params_learning_rate"].tolist() == [config.learning_rate for config in frame["config"]]
        complete = frame[frame["state"] == "complete"]
        assert search.best["population_accuracy"] == complete["population_accuracy"].max()
        assert search.n_failed == TRIALS - len(complete) == search.run.metrics["trials_failed"]
        assert store.read(search.run, "plots/history.png").startswith(b"\x89PNG")


def test_a_trial_tracks_its_losses(undisturbed):
    _, store, _, _ = undisturbed
    run = next(run for run in runs_of(store) if TRIAL in run.tags and run.status == "FINISHED")
    history = MlflowClient(store.uri).get_metric_history(run.run_id, "train_loss")
    assert [point.step for point in history] == list(range(1, 21))
    (again,) = train_trials([Config.from_params(run.params)], Seeds(FIRST_SEED, FIRST_SEED + MIN_SEEDS))
    np.testing.assert_allclose([point.value for point in history], again.losses, atol=1e-6)
    assert run.metrics["population_accuracy"] == pytest.approx(again.metrics["population_accuracy"])


def test_the_confirmation_is_an_ordinary_experiment(undisturbed):
    _, store, _, winners = undisturbed
    (coverage,) = read_coverages(store)
    assert coverage.complete
    assert (coverage.stale, coverage.unplanned, coverage.plan_changes) == (0, 0, ())
    assert str(coverage.plan.seeds) == "0-7"
    assert {entry.config for entry in coverage.entries} == {BASE, *winners.values()}
    page = render(store)
    assert f"{TRIALS} trials of {MIN_SEEDS} networks each" in page
    assert page.count("6 of 6") == 4
    assert "could not be drawn" not in page


def test_other_programs_can_read_the_storage(undisturbed):
    folder, store, _, _ = undisturbed
    storage = JournalStorage(JournalFileBackend(str(folder / "mlruns" / "optuna.journal")))
    names = optuna.get_all_study_names(storage)
    assert sorted(names) == sorted(tracked(store)[1])
    study = optuna.load_study(study_name=names[0], storage=storage)
    assert [trial.number for trial in study.trials] == list(range(TRIALS))
    assert {trial.state.name for trial in study.trials} <= {"COMPLETE", "FAIL"}
    assert study.best_value == max(trial.value for trial in study.trials if trial.value is not None)


def test_a_finished_tuning_neither_locks_nor_opens_the_storage(undisturbed, monkeypatch):
    folder, store, tuning, winners = undisturbed
    monkeypatch.chdir(folder)
    monkeypatch.setattr(tuner, "sweep_lock", pytest.fail)
    before = tracked(store)
    assert tune(tuning, store, storage="postgresql://nobody/x") == winners
    assert tracked(store) == before


def test_a_changed_title_needs_no_storage(store):
    winners = tune(declare(), store)
    assert tune(declare(title="Other"), store, storage="postgresql://nobody/x") == winners
    assert store.experiments()["rates"][1]["qwerties.title"] == "Other"


# Killed and resumed


def die_at(folder, point, count, after=False):
    process = forking.Process(target=tune_and_die, args=(folder, point, count, after))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL, (point, count, after)


KILLS = {
    "before a batch": [("train", 1), ("train", 2)],
    "within a batch": [("tell", 2), ("tell", 2, True)],
    "between Optuna and MLflow": [("tell", 4, True), ("write", 1), ("write", 3, True)],
    "within a run": [("create", 1, True), ("create", 2, True), ("create", 4, True)],
    "at both ends": [("begin", 1), ("begin", 1, True), ("end", 1), ("end", 1, True)],
}


@pytest.mark.parametrize("kills", KILLS.values(), ids=KILLS)
def test_a_killed_tuning_ends_as_one_that_was_not(kills, expected, store):
    """Each kill comes upon what the one before has left."""
    for kill in kills:
        die_at(Path.cwd(), *kill)
    winners = tune(small(), store)
    assert (winners, tracked(store)) == expected
    assert list(winners) == list(expected[0])
    assert not [run for run in runs_of(store) if run.status == "RUNNING"]


def test_what_is_left_for_later_is_done_by_the_next_sweep(expected, store):
    left = []
    winners = tune(small(), store, later=left.append)
    assert len(left) == len([run for run in runs_of(store) if run.status == "RUNNING"]) == 2
    assert winners == expected[0]  # they are known all the same
    assert (tune(small(), store), tracked(store)) == expected


def interrupted(store, at):
    """Search until a batch is to be trained, the first, second, ... one; return the sizes of the batches."""
    sizes = []

    def stop(configs, seeds):
        sizes.append(len(configs))
        if len(sizes) == at:
            raise KeyboardInterrupt
        return train_trials(configs, seeds)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trials, "train_trials", stop)
        with pytest.raises(KeyboardInterrupt):
            tune(small(), store)
    return sizes


def test_ctrl_c_keeps_the_tracked_trials(expected, store):
    assert interrupted(store, 3) == [4, 4, 2]  # a batch of each search, then the next
    assert sum(run.status in ("FINISHED", "FAILED") for run in runs_of(store)) >= TRIALS
    assert (tune(small(), store), tracked(store)) == expected


def test_two_workers_find_what_one_finds(store, monkeypatch):
    monkeypatch.setattr(tuner, "SMALL", 0)
    narrow = dataclasses.replace(BASE, hidden=(1,))  # scored in closed form, as workers have all points

    def space(trial):
        return dataclasses.replace(
            narrow, learning_rate=trial.suggest_float("learning_rate", 0.01, 10, log=True)
        )

    tuning = declare(("best", space), trials=4)
    winners = tune(tuning, store)
    runs = tracked(store)
    Path("two").mkdir()
    monkeypatch.chdir("two")
    other = new_store(Path.cwd())
    assert tuner.run_searches("rates", tuning, other, journal(), 4, workers=2) == winners
    assert tracked(other) == runs


def test_a_search_waits_for_another_sweep(expected, store):
    experiment_id, lines, ended = store.experiment("rates", {}), [], threading.Event()
    with sweep_lock(store, [experiment_id], pytest.fail):
        thread = threading.Thread(target=lambda: (tune(small(), store, log=lines.append), ended.set()))
        thread.start()
        deadline = time.monotonic() + 30
        while not lines and time.monotonic() < deadline:
            time.sleep(0.01)
        assert lines == [f"waiting for another sweep, {process_words(this_process())}, to end"]
        assert not runs_of(store)
        assert TRIAL not in store.experiments()["rates"][1]
        assert not ended.is_set()
    thread.join(60)
    assert tracked(store) == expected[1]


# What others did to the storage or the store


@pytest.mark.parametrize("storage", ["sqlite:///{}/optuna.db", "{}/deep/er/x.journal"])
def test_storages_agree(storage, expected, store, monkeypatch):
    monkeypatch.setenv("OPTUNA_STORAGE", f" {storage.format(Path.cwd())}\n")
    assert (tune(small(), store, storage=default_storage(Path.cwd())), tracked(store)) == expected
    assert not journal().exists()
    monkeypatch.delenv("OPTUNA_STORAGE")
    assert default_storage(Path.cwd()) == str(journal())


@pytest.mark.server
def test_a_database_server_may_be_the_storage(expected, store, postgres):
    uri = postgres.create("optuna")
    assert (tune(small(), store, storage=uri), tracked(store)) == expected
    with open_storage(uri) as storage:
        assert len(optuna.get_all_study_names(storage)) == 2


def test_trials_of_other_programs_do_not_count(expected, store):
    interrupted(store, 2)
    with open_storage(journal()) as storage:
        (name,) = optuna.get_all_study_names(storage)[:1]
        study = optuna.load_study(study_name=name, storage=storage)
        study.tell(study.ask(), 1e9)
        study.enqueue_trial({"learning_rate": 1.0})
        trial = study.ask()
        trial.suggest_float("learning_rate", 0.5, 2, log=True)  # and it is never told
    assert (tune(small(), store), tracked(store)) == expected
    with open_storage(journal()) as storage:
        study = optuna.load_study(study_name=name, storage=storage)
        assert sorted(finished_trials(study)) == list(range(TRIALS))
        assert len(study.trials) == TRIALS + 2


@pytest.mark.parametrize("ending", [b"", b"\n"])
def test_half_written_operations_are_removed_from_the_journal(ending, expected, store):
    interrupted(store, 2)
    with journal().open("ab") as file:
        file.write(b'{"op_code":4,"worker_id":"x","study_')  # a writer that was killed
        if ending:  # another program has continued the line
            file.write(b'{"op_code":2,"worker_id":"y","study_id":0,"user_attr":{"note":"hello"}}' + ending)
    assert (tune(small(), store), tracked(store)) == expected
    lines = journal().read_bytes().splitlines()
    assert sum(b"hello" in line for line in lines) == (1 if ending else 0)
    assert all(json.loads(line) for line in lines)


@pytest.mark.parametrize("content", ["my notes\nwithout an end", "my notes", "my notes\n"])
def test_a_file_that_is_no_journal_is_refused_and_not_changed(content, tmp_path):
    (tmp_path / "notes").write_text(content)
    with pytest.raises(SearchError, match="cannot be opened"), open_storage(tmp_path / "notes"):
        pass
    assert (tmp_path / "notes").read_text() == content


def test_a_password_of_the_storage_is_never_shown():
    with (
        pytest.raises(SearchError, match="cannot be opened") as caught,
        open_storage("postgresql://user:1@host:secret@127.0.0.1/x"),
    ):
        pass
    assert "secret" not in str(caught.value)


def test_two_stores_may_share_a_storage(expected, store, monkeypatch):
    shared = journal()
    tune(small(), store)
    Path("other").mkdir()
    monkeypatch.chdir("other")
    other = new_store(Path.cwd())
    n_trials = shared.read_bytes().count(b'"op_code":4')
    assert (tune(small(), other, storage=shared), tracked(other)) == expected
    assert shared.read_bytes().count(b'"op_code":4') == n_trials == 2 * TRIALS


@pytest.mark.parametrize("what", ["trial", "search", "picture"])
def test_what_was_deleted_from_the_store_is_mended(what, expected, store):
    tune(small(), store)
    runs = runs_of(store)
    (coverage,) = read_coverages(store)
    first = load_searches(store, coverage)[0]
    if what == "picture":
        Path(first.run.artifact_uri, "plots", "history.png").unlink()
    elif what == "search":
        store.delete_run(first.run.run_id)
    else:
        store.delete_run(
            next(r.run_id for r in runs if r.parent == first.run.run_id and r.tags[TRIAL] == "3")
        )
    assert load_searches(store, coverage)[0].is_complete == (what == "picture")
    assert tune(small(), store) == expected[0]
    assert tracked(store)[1] == expected[1][1]
    assert load_searches(store, coverage)[0].is_complete
    assert not [run for run in runs_of(store) if store.damaged(run)]


def test_a_deleted_study_is_searched_again_and_the_change_is_noted(store):
    tune(declare(), store)
    journal().unlink()

    def narrower(trial):
        return dataclasses.replace(
            BASE, learning_rate=trial.suggest_float("learning_rate", 0.01, 1, log=True)
        )

    winners = tune(declare(("best", narrower)), store)
    runs, stored = tracked(store)
    assert (len(runs), len(stored)) == (TRIALS, 1)
    assert all(0.01 <= float(params["learning_rate"]) <= 1 for _, _, _, params, _ in runs)
    assert winners["best"].learning_rate <= 1
    ((change,),) = changes_of(store)
    assert change.startswith(
        "search for best by tpe: learning_rate was FloatDistribution(high=9000000000000000.0"
    )


# The plan


def wider(trial):
    return dataclasses.replace(BASE, learning_rate=trial.suggest_float("learning_rate", 0.01, 10, log=True))


def same_source(base):
    def space(trial):
        return dataclasses.replace(
            base, learning_rate=trial.suggest_float("learning_rate", 0.01, 10, log=True)
        )

    return space


def commented(trial):  # the same trials from another text
    return dataclasses.replace(BASE, learning_rate=trial.suggest_float("learning_rate", 0.01, 10, log=True))


@pytest.mark.parametrize(
    ("before", "now", "fields", "difference"),
    [
        (
            rates,
            wider,
            {},
            "learning_rate was FloatDistribution(high=9000000000000000.0, log=True, low=0.01, ",
        ),
        (same_source(BASE), same_source(Config(epochs=21)), {}, "digest of its configs was "),
        (wider, commented, {}, "digest of its source text was "),
        (wider, wider, {"batch": 3}, "batch was 4 and is 3"),
        (wider, wider, {"seed": 3}, "seed was 0 and is 3"),
    ],
)
def test_a_changed_search_is_refused_before_anything_is_written(before, now, fields, difference, store):
    winners = tune(declare(("best", before), trials=2), store)
    stored = store.experiments()["rates"], tracked(store)
    with pytest.raises(UsageError) as caught:
        tune(declare(("best", now), trials=2, **fields), store)
    message = str(caught.value)
    assert message.startswith("experiments/rates.py: search 'rates/best by tpe, seeds 10000000-10000019, ")
    assert f" searches something else: {difference}" in message
    assert "\n" not in message
    assert (store.experiments()["rates"], tracked(store)) == stored
    assert tune(declare(("best", before), trials=2), store) == winners
    command = shlex.split(message.split("`")[1])  # what to do
    main = "import sys; from optuna.cli import main; sys.exit(main())"
    if difference.startswith("seed"):
        subprocess.run([sys.executable, "-c", main, *command[1:]], check=True, capture_output=True)
        assert tune(declare(("best", now), trials=2, **fields), store)


def test_a_larger_budget_goes_on_and_a_smaller_one_is_refused(store):
    tune(declare(trials=6), store)  # ends within a batch
    ids = {run.run_id for run in runs_of(store)}
    tune(declare(trials=9), store)
    assert ids <= {run.run_id for run in runs_of(store) if SUPERSEDED not in run.tags}
    assert changes_of(store) == [["search for best by tpe: trials was 6 and is 9"]]
    topped_up = tracked(store)
    with pytest.raises(
        UsageError, match=r"trials must be at least the 9 that search 'rates/best by tpe.*, got 6"
    ):
        tune(declare(trials=6), store)
    Path("other").mkdir()
    with chdir("other"):
        other = new_store(Path.cwd())
        tune(declare(trials=9), other)
        assert tracked(other) == topped_up


def test_studies_of_other_programs_are_refused(expected, store):
    (name,) = [name for name in expected[1][1] if "tpe" in name]
    with open_storage(journal()) as storage:
        study = optuna.create_study(study_name=name, storage=storage, direction="maximize")
        study.tell(study.ask(), 1.0)
    with pytest.raises(
        UsageError, match=r"searches something else: it was made by another program. Rename the arm"
    ):
        tune(small(), store)


def test_the_plan_is_stored_before_the_first_trial(store, monkeypatch):
    def look(configs, seeds):
        tags = store.experiments()["rates"][1]
        contrasts = json.loads(tags[CONTRASTS])
        assert [(c["names"], c["delta"], c["primary"]) for c in contrasts] == [
            (["best", "plain"], 0.01, True)
        ]
        assert json.loads(tags["qwerties.tuning"])["confirmation"] == "0-7"
        raise KeyboardInterrupt

    monkeypatch.setattr(trials, "train_trials", look)
    with pytest.raises(KeyboardInterrupt):
        tune(declare(), store)


def test_a_margin_changed_after_data_were_seen_is_noted(store):
    tune_and_confirm(declare(), store)
    assert changes_of(store) == []  # that the arms' configs are known now is no change
    contrasts = (ArmContrast("best", "plain", delta=0.02, primary=True),)
    tune_and_confirm(declare(contrasts=contrasts), store)
    assert changes_of(store) == [["margin of best − plain changed from 0.01 to 0.02"]]
    (coverage,) = read_coverages(store)
    assert coverage.contrasts[0].delta == 0.02
    assert coverage.contrasts[0].late
    assert coverage.contrasts[0].a != BASE


def test_a_search_whose_trials_all_diverge_is_named(store):
    def space(trial):
        return dataclasses.replace(
            BASE, learning_rate=trial.suggest_float("learning_rate", 8e15, 9e15, log=True)
        )

    for _ in range(2):
        with pytest.raises(UsageError, match=r"^experiments/rates.py: every trial of best by tpe diverged"):
            tune(declare(("best", space), trials=2), store)
    runs = runs_of(store)
    assert [run.status for run in runs if STUDY in run.tags] == ["FAILED"] * 3
    (coverage,) = read_coverages(store)
    (search,) = load_searches(store, coverage)
    assert (search.n_failed, search.winner, search.best) == (2, None, None)


def test_several_objectives_have_a_front_and_importances(store, monkeypatch):
    monkeypatch.setattr(figures, "study_pictures", draw_pictures)
    tuning = declare(("best", nested), trials=24, batch=8, objectives=("regret", "cost"))
    winners = tune_and_confirm(tuning, store)
    (coverage,) = read_coverages(store)
    (search,) = load_searches(store, coverage)
    assert search.winner == winners["best"]
    complete = search.trials[search.trials["state"] == "complete"]
    assert search.best["regret"] == complete["regret"].min()
    assert (complete["params_momentum"].isna() == [c.optimizer == "adam" for c in complete["config"]]).all()
    with open_storage(journal()) as storage:
        best = optuna.load_study(study_name=search.name, storage=storage).best_trials
    frame = progress_of(search.trials, search.objectives)
    assert frame.loc[frame["front"], "number"].tolist() == [trial.number for trial in best]
    assert sum(search.importances.values()) == pytest.approx(1)
    assert set(search.importances) <= set(search.params)
    assert store.read(search.run, "plots/pareto.png").startswith(b"\x89PNG")
    page = render(store)
    assert "Cost against regret" in page
    assert "could not be drawn" not in page


def test_the_best_is_the_earliest_of_equals():
    frame = trial_frame([])
    assert best_of(frame, ["regret"]) is None
    assert list(progress_of(frame, ["regret", "cost"])["front"]) == []
    scores = [("failed", np.nan), ("complete", 0.3), ("complete", 0.2), ("complete", 0.2)]
    frame = frame.reindex(range(4)).assign(
        number=range(4), state=[s for s, _ in scores], regret=[r for _, r in scores], cost=[1, 3, 2, 2]
    )
    assert best_of(frame, ["regret"])["number"] == 2
    progress = progress_of(frame, ["regret", "cost"])
    assert progress["best"].tolist()[1:] == [0.3, 0.2, 0.2]
    assert progress["front"].tolist() == [False, False, True, True]


# Bad input


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("{tmp}", "the storage {tmp} cannot be opened: "),
        ("sqlite:///{tmp}/none/x.db", "the storage sqlite:///{tmp}/none/x.db cannot be opened: "),
        ("sqlite:///:memory:", "the storage must be in a file, got sqlite:///:memory:"),
        ("sqlite:///{tmp}/text", "the storage sqlite:///{tmp}/text cannot be opened: "),
        ("{tmp}/text", "the storage {tmp}/text cannot be opened: "),
        ("redis://me:secret@host", "the storage redis://me:***@host cannot be opened: "),
        ("nobody://me:secret@host/x", "the storage nobody://me:***@host/x cannot be opened: "),
    ],
)
def test_a_storage_that_cannot_be_used_is_refused_in_one_line(target, message, tmp_path):
    (tmp_path / "text").write_text("no journal\nand no database\n")
    with pytest.raises(SearchError) as caught, open_storage(target.format(tmp=tmp_path)):
        pass
    assert str(caught.value).startswith(message.format(tmp=tmp_path))
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_space_that_raises_is_refused_in_one_line_before_anything_is_written(store):
    with pytest.raises(UsageError) as caught:
        tune(declare(("best", lambda trial: 1 / 0)), store)
    expected = (
        "experiments/rates.py: arm best: space must return a Config, got ZeroDivisionError: division by zero"
    )
    assert str(caught.value) == f"{expected} (for {{}})"
    assert store.experiments() == {}


@pytest.mark.parametrize(
    "tag",
    ["{", "[]", '{"searches": [{"name": "x"}]}', '{"searches": ' + "[" * 4000 + "]" * 4000 + "}"],
)
def test_a_plan_that_cannot_be_read_is_named(tag):
    with pytest.raises(ValueError, match=r"^the tag qwerties.tuning cannot be read$"):
        read_searches({"qwerties.tuning": tag}, [])


def test_hostile_names_are_made_harmless(store):
    tuning = declare(("<script>alert(1)</script>", rates), trials=2, contrasts=(), fixed={}, title="<b>x</b>")
    tune_and_confirm(tuning, store)
    page = render(store)
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)" in page
