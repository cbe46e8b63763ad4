"""Search: proposals, studies that are killed and resumed, several processes, bad input, batches against one by one."""

import contextlib
import dataclasses
import json
import math
import multiprocessing
import os
import pickle
import shlex
import signal
import subprocess
import sys
import threading
import time
import types
from pathlib import Path

import numpy as np
import optuna
import pytest
from optuna.storages.journal import JournalFileBackend
from qwerties.study.search_space import SAMPLERS, Categorical, Float, Found, Int, Search, SearchError, Trial
from qwerties.tuning.locks import has_ended, public_target

from qwerties.tuning import search as searching
from qwerties.tuning.search import default_storage, importances, load, names, open_storage, propose, run

SPACE = {
    "learning_rate": Float(1e-4, 10, log=True),
    "depth": Int(1, 2),
    "width": Int(1, 16, log=True),
    "second": Int(1, 16, log=True, when=("depth", (2,))),
    "activation": Categorical(("relu", "tanh")),
}
SEARCH = Search(SPACE, trials=18, batch=4, seed=3)

processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload(["qwerties.tuning.search"])


def score(params):
    """A score of a trial; None above a learning rate of 3."""
    if params["learning_rate"] > 3:
        return None
    return (
        -(math.log10(params["learning_rate"]) ** 2)
        + math.sqrt(params["width"]) / 4
        + params.get("second", 0) / 50
    )


def score_all(batch):
    return [score(params) for params in batch]


def same(found):
    """What must not hang on how often a study was interrupted, or on who evaluated what."""
    return [(t.number, t.batch, t.params, t.state, t.values) for t in found.trials]


@pytest.fixture(params=["journal", "sqlite"])
def storage(request, tmp_path):
    return str(tmp_path / "study.journal") if request.param == "journal" else f"sqlite:///{tmp_path}/study.db"


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    return run(SEARCH, "one", tmp_path_factory.mktemp("undisturbed") / "study.journal", score_all)


# Proposals


def evaluated(proposals, first=0, batch=4):
    return [
        Trial(n, n // batch, p, "failed" if score(p) is None else "complete", score(p) and (score(p),))
        for n, p in enumerate(proposals, first)
    ]


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_proposals_are_of_the_space_and_the_same_each_time(sampler):
    search = dataclasses.replace(SEARCH, sampler=sampler, trials=50, batch=25)
    earlier = evaluated(propose(search, 0, []), batch=25)
    second = propose(search, 1, earlier)
    assert second == propose(search, 1, earlier) != [trial.params for trial in earlier]
    assert second != propose(dataclasses.replace(search, seed=4), 1, earlier)
    for params in second:
        assert list(params) == [name for name in SPACE if name != "second" or params["depth"] == 2]
        assert all(SPACE[name].offers(value) for name, value in params.items())
    assert {type(value) for value in second[0].values()} == {float, int, str}
    assert {params["depth"] for params in second} == {1, 2}


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_the_first_proposals_do_not_hang_on_how_many_follow(sampler):
    search = dataclasses.replace(SEARCH, sampler=sampler, trials=40, batch=20)
    earlier = evaluated(propose(search, 0, []), batch=20)

    def first_of(batch, count):
        wider = dataclasses.replace(search, trials=80) if batch else search
        return propose(wider, batch, earlier)[:count]

    assert first_of(1, 3) == propose(search, 1, earlier)[:3]


def test_tpe_learns_and_the_others_do_not():
    earlier = evaluated(propose(dataclasses.replace(SEARCH, batch=20), 0, []), batch=20)
    upside_down = [dataclasses.replace(t, values=t.values and (-t.values[0],)) for t in earlier]
    for sampler in SAMPLERS:
        search = dataclasses.replace(SEARCH, sampler=sampler, batch=20, trials=40)
        assert (propose(search, 1, earlier) == propose(search, 1, upside_down)) == (sampler != "tpe")


def test_sobol_points_are_spread_evenly():
    search = Search({"x": Float(0, 1), "y": Int(1, 4)}, trials=64, batch=8, sampler="qmc")
    points = [params for batch in range(8) for params in propose(search, batch, [])]
    assert np.bincount([int(p["x"] * 64) for p in points]).tolist() == [1] * 64  # one in each of 64 boxes
    assert set(np.bincount([p["y"] for p in points])[1:]) == {16}


def test_a_region_that_diverges_is_left():
    """Trials that diverged count as bad, where Optuna would overlook failed ones."""
    search = Search({"x": Float(0, 1)}, trials=60, batch=10)

    def count(seed, forget):
        trials, failed = [], 0
        for batch in range(6):
            for params in propose(dataclasses.replace(search, seed=seed), batch, trials):
                bad = params["x"] > 0.5  # and the best values are just below
                failed += bad
                if not (bad and forget):
                    values = None if bad else (params["x"],)
                    trials.append(Trial(len(trials), batch, params, "failed" if bad else "complete", values))
        return failed

    assert sum(count(seed, False) for seed in range(4)) < 0.8 * sum(count(seed, True) for seed in range(4))


# One process


def test_a_batch_is_evaluated_at_once_and_told(storage):
    calls, told = [], []

    def evaluate(batch):
        calls.append(len(batch))
        return score_all(batch)

    found = run(SEARCH, "one", storage, evaluate, told.append)
    assert calls == [4, 4, 4, 4, 2]
    assert [trial for trials in told for trial in trials] == list(found.trials)
    assert [trial.number for trial in found.trials] == list(range(18))
    assert all(trial.values == (score(trial.params),) for trial in found.complete)
    assert all(trial.params["learning_rate"] > 3 and trial.values is None for trial in found.failed)
    assert found.failed
    assert found.done
    assert len(found.complete) + len(found.failed) == 18
    assert load("one", storage) == found == pickle.loads(pickle.dumps(found))
    assert names(storage) == ["one"]
    held = optuna.load_study(study_name="one", storage=open_storage(storage).backend).trials
    assert [t.state.name for t in held] == [
        {"complete": "COMPLETE", "failed": "FAIL"}[t.state] for t in found.trials
    ]
    assert [t.params for t in held] == [t.params for t in found.trials]


def test_storages_agree(undisturbed, tmp_path):
    assert same(run(SEARCH, "one", f"sqlite:///{tmp_path}/study.db", score_all)) == same(undisturbed)


def test_a_finished_study_evaluates_nothing(storage):
    found = run(SEARCH, "one", storage, score_all)
    assert run(SEARCH, "one", storage, pytest.fail) == found


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_study_that_is_topped_up_equals_one_with_the_larger_budget(sampler, tmp_path):
    storage = tmp_path / "study.journal"
    larger = dataclasses.replace(SEARCH, sampler=sampler)
    run(dataclasses.replace(larger, trials=10), "one", storage, score_all)  # ends within a batch
    at_once = run(larger, "one", tmp_path / "other.journal", score_all)
    assert same(run(larger, "one", storage, score_all)) == same(at_once)
    assert load("one", storage).search == larger


def test_few_writes_per_trial(tmp_path):
    path = tmp_path / "study.journal"
    run(SEARCH, "one", path, score_all)
    assert (
        len(path.read_text().splitlines()) == 2 * 18 + 4
    )  # create and tell; the study, its search, on and off


def test_several_objectives_are_searched_by_tpe(tmp_path):
    def evaluate(batch):
        return np.array([[p["x"] ** 2 + p["y"], (p["x"] - 1) ** 2 + p["y"]] for p in batch])

    space = {"x": Float(-2, 2), "y": Float(0, 1)}
    search = Search(space, 40, batch=8, directions=("minimize", "minimize"))
    found = run(search, "two", tmp_path / "study.journal", evaluate)
    assert len(found.complete) == 40
    last, first = (np.mean([t.params["y"] for t in ts]) for ts in (found.trials[-16:], found.trials[:16]))
    assert last < first
    with pytest.raises(SearchError, match="study two has 2 objectives"):
        _ = found.best
    assert importances(found, 1)


def test_numbers_that_are_not_finite_say_that_a_trial_diverged(tmp_path):
    storage = tmp_path / "study.journal"
    answers = iter([1.0, math.nan, math.inf, -math.inf, None, np.float64(2), [3.0], (math.nan,)])
    found = run(Search({"x": Float(0, 1)}, 8), "one", storage, lambda batch: [next(answers) for _ in batch])
    assert [trial.values for trial in found.trials] == [(1.0,), None, None, None, None, (2.0,), (3.0,), None]


# Interruptions


def killed_at(path, write, moment):
    """Search, and die at the given append to the journal: before it, within its line, or after it."""
    append, done = JournalFileBackend.append_logs, 0

    def appending(self, logs):
        nonlocal done
        done += 1
        if done == write and moment == "within":
            with Path(path).open("ab") as file:
                file.write(json.dumps(logs[0]).encode()[:20])
        if not (done == write and moment != "after"):
            append(self, logs)
        if done == write:
            os.kill(os.getpid(), signal.SIGKILL)

    JournalFileBackend.append_logs = appending
    run(SEARCH, "one", path, score_all)


def start(target, *arguments):
    process = processes.Process(target=target, args=arguments, daemon=True)
    process.start()
    return process


def ends_killed(process):
    process.join(60)
    return process.exitcode == -signal.SIGKILL


WRITES = (1, 2, 3, 4, 7, 8, 10, 12, 33, 39, 40)
"""The study, its search, signing on; a trial proposed, the last of its batch; the first told, the last; and so on."""


@pytest.mark.parametrize("moment", ["before", "within", "after"])
@pytest.mark.slow
def test_a_study_killed_at_any_write_ends_as_one_that_was_not(moment, tmp_path, undisturbed):
    killed = [(write, start(killed_at, tmp_path / f"{write}.journal", write, moment)) for write in WRITES]
    for write, process in killed:
        assert ends_killed(process), (write, process.exitcode)
        found = run(SEARCH, "one", tmp_path / f"{write}.journal", score_all)
        assert same(found) == same(undisturbed), write
        assert found.best == dataclasses.replace(
            undisturbed.best, started=found.best.started, finished=found.best.finished
        )


def test_a_study_killed_again_and_again_ends_as_one_that_was_not(tmp_path, undisturbed):
    path = tmp_path / "study.journal"
    for _ in range(5):
        assert ends_killed(start(killed_at, path, 8, "after"))
    assert 2 < len(load("one", path).complete) < 18
    assert same(run(SEARCH, "one", path, score_all)) == same(undisturbed)


def killed_in_training(storage, batch):
    calls = 0

    def evaluate(trials):
        nonlocal calls
        calls += 1
        if calls > batch:
            os.kill(os.getpid(), signal.SIGKILL)
        return score_all(trials)

    run(SEARCH, "one", storage, evaluate)


@pytest.mark.parametrize("batch", [0, 3])
def test_a_study_killed_in_training_ends_as_one_that_was_not(batch, storage, undisturbed):
    assert ends_killed(start(killed_in_training, storage, batch))
    running = [trial for trial in load("one", storage).trials if trial.state == "running"]
    assert [trial.number for trial in running] == list(range(18))[4 * batch : 4 * batch + 4]
    began = time.monotonic()
    assert same(run(SEARCH, "one", storage, score_all)) == same(undisturbed)
    assert time.monotonic() - began < 20  # it does not wait until the dead process is silent for long enough


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_where_evaluate_raises_its_trials_are_left_to_the_next_one(error, storage, undisturbed):
    def evaluate(batch):
        raise error("no")

    with pytest.raises(error, match="no"):
        run(SEARCH, "one", storage, evaluate)
    assert ends_well(start(finish_alone, storage))  # another process, although this one lives
    assert same(load("one", storage)) == same(undisturbed)


def finish_alone(storage):
    run(SEARCH, "one", storage, score_all)


def ends_well(process):
    process.join(60)
    return process.exitcode == 0


# Several processes


def work(storage, log, ready=None, die_at=None):
    calls = 0

    def evaluate(batch):
        nonlocal calls
        calls += 1
        if calls == die_at:
            os.kill(os.getpid(), signal.SIGKILL)
        with Path(log).open("a") as file:
            file.writelines(f"{os.getpid()} {json.dumps(params)}\n" for params in batch)
        time.sleep(0.15)  # longer than the other one waits between two looks
        return score_all(batch)

    if ready is not None:
        ready.wait(60)
    run(SEARCH, "one", storage, evaluate)


def evaluations(log):
    lines = [line.partition(" ") for line in Path(log).read_text().splitlines()]
    return [pid for pid, _, _ in lines], [json.loads(params) for _, _, params in lines]


def by_text(params):
    return sorted(map(json.dumps, params))


def test_two_processes_share_a_study(storage, tmp_path, undisturbed):
    log, ready = tmp_path / "log", processes.Barrier(2)
    both = [start(work, storage, log, ready) for _ in range(2)]
    assert all(map(ends_well, both))
    pids, params = evaluations(log)
    assert by_text(params) == by_text(trial.params for trial in undisturbed.trials)  # none twice, none lost
    assert len(set(pids)) == 2
    assert same(load("one", storage)) == same(undisturbed)


def test_a_process_takes_over_from_one_that_is_killed(storage, tmp_path, undisturbed):
    log, ready = tmp_path / "log", processes.Barrier(2)
    dies, lives = start(work, storage, log, ready, 2), start(work, storage, log, ready)
    assert ends_killed(dies)
    assert ends_well(lives)
    _, params = evaluations(log)
    assert by_text(params) == by_text(trial.params for trial in undisturbed.trials)
    assert same(load("one", storage)) == same(undisturbed)


def workers(path, *signatures):
    opened = open_storage(path)
    study = searching._open_study(SEARCH, "one", opened)
    return [searching._Worker(opened, study, SEARCH, signature) for signature in signatures]


def test_another_host_counts_as_gone_when_it_is_silent(tmp_path, monkeypatch):
    now = 0.0
    monkeypatch.setattr(searching, "time", types.SimpleNamespace(monotonic=lambda: now))
    elsewhere, here = workers(tmp_path / "study.journal", "elsewhere:1:a", f"here:{os.getpid()}:b")
    proposals = propose(SEARCH, 0, [])
    assert elsewhere.take(range(4), proposals) == [0, 1, 2, 3]
    for beat in range(5):
        elsewhere.mark(0, searching.BEAT, beat)
        assert here.take(range(4), proposals) == []
        now += searching.SECONDS_WITHOUT_BEAT
        assert here.take(range(4), proposals) == []
    now += 1
    assert here.take(range(4), proposals) == [0, 1, 2, 3]
    assert elsewhere.take(range(4), proposals) == []


def test_a_process_says_that_it_is_alive_while_it_trains(storage, monkeypatch):
    monkeypatch.setattr(searching, "SECONDS_PER_BEAT", 0.01)
    said = []

    def evaluate(batch):
        with contextlib.closing(open_storage(storage)) as opened:
            study = optuna.load_study(study_name="one", storage=opened.backend)
            until = time.monotonic() + 30
            while len(set(said)) < 3 and time.monotonic() < until:
                said.append(study.get_trials()[0].user_attrs.get(searching.BEAT))
        return score_all(batch)

    run(dataclasses.replace(SEARCH, trials=4), "one", storage, evaluate)
    assert len(set(said)) == 3


def test_one_who_was_thought_gone_may_tell_late(tmp_path):
    late, other = workers(tmp_path / "study.journal", "elsewhere:1:a", f"here:{os.getpid()}:b")
    late.take(range(4), propose(SEARCH, 0, []))
    other.tell(1, (1.0,))
    late.tell(1, (1.0,))
    late.tell(0, None)
    other.tell(0, None)
    assert [trial.values for trial in late.trials()][:2] == [None, (1.0,)]


def test_a_batch_is_shared_among_those_who_signed_on(tmp_path):
    path = tmp_path / "study.journal"
    first, second, third = workers(path, "a:1:a", "b:1:b", "c:1:c")
    proposals = propose(SEARCH, 0, [])
    with first.signed_on(), second.signed_on():
        assert first.take(range(4), proposals) == [0, 1]
        assert second.take(range(4), proposals) == [2, 3]
        assert second.take(range(4), proposals) == first.take(range(4), proposals) == []
    assert third.take(range(4, 8), proposals) == [4, 5, 6, 7]


def test_signatures_of_this_host_are_looked_up(tmp_path):
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    until = time.monotonic() + 30
    while not has_ended(child.pid) and time.monotonic() < until:  # ended, and not waited for: a zombie
        time.sleep(0.01)
    assert has_ended(child.pid)
    child.wait()
    assert has_ended(child.pid)
    assert not has_ended(os.getpid())
    (worker,) = workers(tmp_path / "study.journal", "x:1:x")
    host, pid, _ = searching._Worker(worker.storage, worker.study, SEARCH).signature.split(":")
    with worker.signed_on():
        assert worker.is_gone("")
        assert not worker.is_gone("elsewhere:1:a")
        assert worker.is_gone(f"{host}:{child.pid}:a")
        assert not worker.is_gone(f"{host}:{os.getppid()}:a")
        assert worker.is_gone(
            f"{host}:{pid}:a"
        )  # an earlier process of the same id, as in a restarted container


# What was found


def found_of(values, directions=("maximize",)):
    trials = [
        Trial(n, n // 2, {"x": n / 10}, "failed" if v is None else "complete", v and tuple(v))
        for n, v in enumerate(values)
    ]
    return Found("s", Search({"x": Float(0, 1)}, len(values), directions=directions), tuple(trials))


def test_best_and_history_by_hand():
    found = found_of([[1.0], None, [3.0], [2.0], [3.0]])
    assert found.best.number == 2
    assert found.history == ((0, 1.0), (2, 3.0), (3, 3.0), (4, 3.0))
    assert found_of([[1.0], None, [3.0]], ("minimize",)).best.number == 0
    assert found_of([[2.0], [3.0], [1.0]], ("minimize",)).history == ((0, 2.0), (1, 2.0), (2, 1.0))
    assert found_of([None]).best is None
    assert found_of([None]).history == ()
    assert [trial.number for trial in found.failed] == [1]
    assert found.done


def test_front_by_hand():
    values = [[1.0, 5.0], [2.0, 5.0], [2.0, 6.0], None, [3.0, 9.0], [0.0, 1.0], [2.0, 5.0]]
    found = found_of(values, ("maximize", "minimize"))
    assert [trial.number for trial in found.front] == [1, 4, 5, 6]
    assert found_of([None], ("maximize", "minimize")).front == ()


def test_frame_by_hand():
    frame = found_of([[1.0, 5.0], None], ("maximize", "minimize")).frame()
    assert list(frame) == ["number", "batch", "state", "x", "value_0", "value_1"]
    assert frame.iloc[0].tolist() == [0, 0, "complete", 0.0, 1.0, 5.0]
    assert frame.loc[1, ["value_0", "value_1"]].isna().all()
    assert list(found_of([None]).frame()["value_0"].isna()) == [True]


def test_importances_name_what_matters():
    search = Search({"x": Float(0, 1), "y": Float(0, 1), "z": Float(0, 1)}, 60, batch=60, sampler="random")
    points = propose(search, 0, [])
    trials = tuple(Trial(n, 0, p, "complete", (p["y"],)) for n, p in enumerate(points))
    shares = importances(Found("s", search, trials))
    assert next(iter(shares)) == "y"
    assert shares["y"] > 0.6
    assert sum(shares.values()) == pytest.approx(1)
    assert importances(Found("s", search, trials[:19])) == {}


# Bad input


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"sampler": "grid"}, "sampler must be one of tpe, random, qmc, got 'grid'"),
        ({"trials": 0}, "trials must be a whole number from 1 to 1000000, got 0"),
        ({"batch": 2.5}, "batch must be a whole number from 1 to 100000, got 2.5"),
        ({"batch": True}, "batch must be a whole number from 1 to 100000, got True"),
        ({"seed": -1}, "seed must be a whole number from 0 to 2**32 - 1, got -1"),
        ({"directions": ()}, "directions must be one or more of maximize, minimize, got ()"),
        ({"directions": ("up",)}, "directions must be one or more of maximize, minimize, got ('up',)"),
        ({"space": {}}, "space must name one parameter or more, got {}"),
        ({"space": {"x": 3}}, "space: x must be a Float, an Int or a Categorical, got 3"),
        ({"space": {"x": Float(1, 0.1)}}, "space: x must have low below high, got low 1 and high 0.1"),
        ({"space": {"x": Float(1, 1)}}, "space: x must have low below high, got low 1 and high 1"),
        ({"space": {"x": Int(2, 1)}}, "space: x must have low below high, got low 2 and high 1"),
        ({"space": {"x": Float(0, 1, log=True)}}, "space: x must have low above 0 where log is set, got 0"),
        (
            {"space": {"x": Int(0, 9, log=True)}},
            "space: x must have low of 1 or more where log is set, got 0",
        ),
        (
            {"space": {"x": Float(0, math.inf)}},
            "space: x must have finite numbers of at most 2**53 as low and high, got 0 and inf",
        ),
        (
            {"space": {"x": Int(0, 1.5)}},
            "space: x must have whole numbers of at most 2**53 as low and high, got 0 and 1.5",
        ),
        (
            {"space": {"x": Categorical(("a",))}},
            "space: x must have two or more different choices, got ('a',)",
        ),
        (
            {"space": {"x": Categorical((1, 1.0))}},
            "space: x must have two or more different choices, got (1, 1.0)",
        ),
        (
            {"space": {"x": Categorical(((8,), (8, 8)))}},
            "space: x must have choices that are text, finite numbers, True, False or None, got (8,)",
        ),
        ({"space": {"x": Categorical("ab")}}, "space: x must have its choices in a tuple, got 'ab'"),
        (
            {"space": {"x": Int(1, 2, when=("y", (1,))), "y": Int(1, 2)}},
            "space: x must hang on a parameter that is drawn before it, got when=('y', (1,))",
        ),
        (
            {"space": {"y": Int(1, 2), "x": Int(1, 2, when=("y", (3,)))}},
            "space: x must hang on values that y can take, got when=('y', (3,))",
        ),
        (
            {"trials": 0, "sampler": "x"},
            "trials must be a whole number from 1 to 1000000, got 0; sampler must be one of tpe, random, qmc, got 'x'",
        ),
    ],
)
def test_a_bad_search_is_refused(fields, message):
    with pytest.raises(SearchError) as caught:
        Search(**{"space": {"x": Float(0, 1)}, "trials": 10} | fields)
    assert str(caught.value) == message


def test_a_search_survives_the_storage():
    search = Search(
        {"a": Categorical((None, True, "x", 2.5)), "b": Float(0, 1, when=("a", (None, "x")))},
        7,
        directions=("minimize", "maximize"),
    )
    assert Search.from_dict(json.loads(json.dumps(search.to_dict()))) == search


def test_a_study_that_searches_something_else_is_refused(storage):
    run(dataclasses.replace(SEARCH, trials=4), "a b", storage, score_all)
    space = {**SPACE, "width": Int(1, 8, log=True), "momentum": Float(0, 1)}
    del space["activation"]
    other = dataclasses.replace(SEARCH, seed=4, space=space)
    with pytest.raises(SearchError) as caught:
        run(other, "a b", storage, pytest.fail)
    assert str(caught.value) == (
        f"study 'a b' in {storage} searches something else: seed is 3 there and 4 here; "
        "width is Int(low=1, high=16, log=True, when=None) there and Int(low=1, high=8, log=True, when=None) here; "
        "activation is Categorical(choices=('relu', 'tanh'), when=None) there and not searched here; "
        "momentum is not searched there and Float(low=0, high=1, log=False, when=None) here. "
        "Give the study another name, or delete it with "
        f"`optuna delete-study --study-name 'a b' --storage {storage}`"
    )
    command = shlex.split(str(caught.value).split("`")[1])
    main = "import sys; from optuna.cli import main; sys.exit(main())"
    subprocess.run([sys.executable, "-c", main, *command[1:]], check=True, capture_output=True)
    assert len(run(other, "a b", storage, score_all).trials) == 18


def test_the_order_of_the_space_counts(tmp_path):
    path = tmp_path / "study.journal"
    run(Search({"x": Int(0, 9), "y": Int(0, 9)}, 1), "s", path, lambda batch: [1.0])
    with pytest.raises(SearchError, match="the order is x, y there and y, x here"):
        run(Search({"y": Int(0, 9), "x": Int(0, 9)}, 1), "s", path, pytest.fail)


def test_a_smaller_budget_is_refused(tmp_path):
    path = tmp_path / "study.journal"
    run(SEARCH, "s", path, score_all)
    with pytest.raises(
        SearchError, match="trials must be at least the 18 that study 's' is planned with, got 17"
    ):
        run(dataclasses.replace(SEARCH, trials=17), "s", path, pytest.fail)


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
def test_studies_and_trials_of_others_are_refused(direction, tmp_path):
    path = tmp_path / "study.journal"
    study = optuna.create_study(study_name="s", direction=direction, storage=open_storage(path).backend)
    if direction == "maximize":
        study.ask()
    with pytest.raises(SearchError, match="was not made by this search"):
        run(SEARCH, "s", path, pytest.fail)
    with pytest.raises(SearchError, match="was not made by qwerties"):
        load("s", path)
    assert names(path) == []
    run(dataclasses.replace(SEARCH, trials=4), "t", path, score_all)
    optuna.load_study(study_name="t", storage=open_storage(path).backend).ask()
    with pytest.raises(SearchError, match="study 't' must hold its own trials alone, got one of others: 4"):
        load("t", path)


def test_a_study_that_is_not_there_is_named(tmp_path):
    with pytest.raises(SearchError, match=r"study must be one of the storage .*, got 'nobody'"):
        load("nobody", tmp_path / "study.journal")


@pytest.mark.parametrize("name", ["", None, 3])
def test_a_study_needs_a_name(name, tmp_path):
    with pytest.raises(SearchError, match="name must be some text, got"):
        run(SEARCH, name, tmp_path / "study.journal", pytest.fail)


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ([1.0], "evaluate must return one answer for each of 2 trials, got 1"),
        ([1.0, (1.0, 2.0)], r"evaluate must return 1 values per trial, got \(1.0, 2.0\)"),
    ],
)
def test_wrong_answers_are_refused(answers, message, tmp_path):
    search = Search({"x": Float(0, 1)}, 2)
    with pytest.raises(SearchError, match=message):
        run(search, "s", tmp_path / "study.journal", lambda batch: answers)
    assert load("s", tmp_path / "study.journal").complete == ()
    assert run(search, "s", tmp_path / "study.journal", lambda batch: [1.0, 2.0]).done


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("{tmp}/none/x.journal", "the storage's folder must exist, got {tmp}/none"),
        ("{tmp}", "the storage must be a file, got the folder {tmp}"),
        ("sqlite:///{tmp}/none/x.db", "the storage's folder must exist, got {tmp}/none"),
        ("sqlite://", "the storage must be in a file, got sqlite://"),
        ("sqlite:///:memory:", "the storage must be in a file, got sqlite:///:memory:"),
        ("sqlite:///{tmp}/text", "the storage sqlite:///{tmp}/text cannot be opened: "),
        ("{tmp}/text", "the storage {tmp}/text cannot be opened: "),
        ("redis://me:secret@host", "the storage redis://me:***@host cannot be opened: "),
        ("nobody://me:secret@host/x", "the storage nobody://me:***@host/x cannot be opened: "),
        ("://me:secret@host/x", "the storage ://***@host/x cannot be opened: "),
    ],
)
def test_a_storage_that_does_not_do_is_refused_in_one_line(target, message, tmp_path):
    (tmp_path / "text").write_text("no journal\nand no database\n")
    with pytest.raises(SearchError) as caught:
        open_storage(target.format(tmp=tmp_path))
    assert str(caught.value).startswith(message.format(tmp=tmp_path))
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert public_target(str(tmp_path / "text")) == str(tmp_path / "text")


def test_the_storage_is_named_by_the_environment(monkeypatch, tmp_path):
    monkeypatch.delenv("OPTUNA_STORAGE", raising=False)
    assert default_storage(tmp_path) == str(tmp_path / "mlruns" / "optuna.journal")
    monkeypatch.setenv("OPTUNA_STORAGE", "postgresql://host/x")
    assert default_storage(tmp_path) == "postgresql://host/x"


def test_threads_of_one_process_share_a_study(tmp_path, undisturbed):
    path, seen = tmp_path / "study.journal", []

    def evaluate(batch):
        seen.extend(batch)
        time.sleep(0.05)
        return score_all(batch)

    threads = [threading.Thread(target=run, args=(SEARCH, "one", path, evaluate)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert by_text(seen) == by_text(trial.params for trial in undisturbed.trials)
    assert same(load("one", path)) == same(undisturbed)


# Batches against one by one


def reached(batch, trials, seed):
    """True value at the trial that looked best, by batches of the given size, of a noisy function with a cliff."""
    search = Search({"learning_rate": Float(1e-4, 10, log=True)}, trials, batch=batch, seed=seed)
    noise = np.random.default_rng(seed).normal(0, 0.02, trials + batch)

    def truth(params):
        return math.exp(-0.5 * ((math.log10(params["learning_rate"]) + 0.3) / 0.7) ** 2)

    done = []
    for number in range(-(-trials // batch)):
        for params in propose(search, number, done):
            values = None if params["learning_rate"] > 3 else (truth(params) + noise[len(done)],)
            done.append(Trial(len(done), number, params, "complete" if values else "failed", values))
    return truth(Found("s", search, tuple(done[:trials])).best.params)


def test_batches_find_what_one_by_one_finds():
    """Within 5% of the sequential median, as a part of the whole range of values, 0 to 1."""
    repeats = range(12)
    one_by_one = np.median([reached(1, 30, seed) for seed in repeats])
    for batch in (5, 10):
        assert np.median([reached(batch, 30, seed) for seed in repeats]) >= 0.95 * one_by_one
    assert one_by_one > 0.98
