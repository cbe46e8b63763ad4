"""The harness itself: that it draws what it says, judges by the project's rule, and notices a broken one."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from benchmarks.calibration import command as calibration
from benchmarks.calibration import pool, simulation, trials
from benchmarks.calibration.command import Rate, calibrate, main, run_trial
from benchmarks.calibration.pool import CONFIGS, Pool, blocks, load_pool
from benchmarks.calibration.simulation import (
    DELTA,
    FAMILY,
    HEADROOM,
    Pairs,
    blend,
    judge,
    mixture,
    real_pairs,
    simulate,
    swapped,
    two_blocks,
)
from benchmarks.calibration.trials import LEVEL, Ask, Trial, one_look
from qwerties.config import DEFAULT, Seeds
from qwerties.scoring.score import score
from qwerties.stats.intervals import mean_interval
from qwerties.stats.legacy import compare, decide
from qwerties.training.trainer import train

SEEDS = 10_000


def synthetic_pool(size=SEEDS):
    """Make a pool in which ReLU networks die at random, and all others learn with some jitter."""
    rng = np.random.default_rng(0)
    dead = rng.random(size) < 0.2
    rows, learned = [], []
    for config in CONFIGS:
        stays = dead & (config.activation == "relu") & (rng.random(size) < 0.9)
        rows.append(np.where(stays, 0.5, 0.97 + 0.002 * rng.standard_normal(size)))
        learned.append(~stays)
    return Pool(CONFIGS, np.stack(rows), np.stack(learned))


@pytest.fixture(scope="module")
def sample():
    return synthetic_pool()


@pytest.fixture(scope="module")
def pairs(sample):
    return Pairs.of(sample)


def rate_of(population, n=500, *, error="lead", families=300, level=LEVEL, most=0.05):
    (found,) = run_trial(Trial(population, one_look(n, level), (Ask(error, "any", most),)), families, 0)
    return found


def null(sample):
    return two_blocks("null", [sample.of(DEFAULT)] * FAMILY)


# Draws


def test_two_blocks_share_no_seed():
    scores = 2.0 ** np.arange(20)  # every difference tells its two seeds
    population = two_blocks("powers", [scores] * FAMILY)
    differences = population.draw(np.random.default_rng(1), 10)
    for row in differences:
        used = {seed for d in row for seed in np.argwhere(np.subtract.outer(scores, scores) == d)[0]}
        assert used == set(range(20))


def test_swaps_keep_sizes_and_share_the_seeds():
    sizes = np.arange(1.0, 101) * np.ones((FAMILY, 1))
    drawn = swapped(sizes).draw(np.random.default_rng(2), 100)
    assert (np.sort(np.abs(drawn), axis=1) == sizes).all()
    assert (np.abs(drawn) == np.abs(drawn[0])).all()
    assert 0.4 < (drawn > 0).mean() < 0.6
    assert (drawn[0] != drawn[1]).any()


@pytest.mark.parametrize("replacing", [True, False])
def test_real_pairs_share_seeds_and_repeat_them_only_with_replacement(replacing):
    every = np.arange(60.0) + 100 * np.arange(FAMILY)[:, None]
    population = real_pairs(every, replace=replacing)
    drawn = population.draw(np.random.default_rng(3), 60)
    assert (drawn - drawn[0] == 100 * np.arange(FAMILY)[:, None]).all()
    assert (len(set(drawn[0])) < 60) is replacing
    assert population.truth == pytest.approx(every.mean(1))


def test_mixtures_have_their_shares_and_their_mean():
    parts = blend(np.array([0.0, 0.002]), np.array([0.4, 0.5]), DELTA)
    assert [part.share for part in parts] == pytest.approx([1 - 0.009 / 0.449, 0.009 / 0.449])
    population = mixture("mixed", [parts] * FAMILY)
    assert population.truth == pytest.approx([DELTA] * FAMILY)
    drawn = population.draw(np.random.default_rng(4), 200_000)
    assert set(np.unique(drawn)) == {0, 0.002, 0.4, 0.5}
    assert (drawn > 0.3).mean() == pytest.approx(0.009 / 0.449, rel=0.02)
    assert (drawn == 0.4).mean() == pytest.approx((drawn == 0.5).mean(), rel=0.04)


@pytest.mark.parametrize("mean", [-0.1, 0.6])
def test_a_mean_outside_both_parts_is_refused(mean):
    with pytest.raises(ValueError, match=r"no mixture of pairs of means 0 and 0\.5 has the mean"):
        blend(np.zeros(3), np.full(3, 0.5), mean)


def test_margin_populations_are_at_the_margin_and_nulls_at_zero(sample, pairs):
    for trial in trials.trials(sample):
        errors = {ask.error for ask in trial.asks}
        if errors == {"equal"}:
            assert trial.population.truth == pytest.approx([DELTA] * FAMILY, abs=1e-12), trial.population.name
        if errors == {"lead"}:
            assert trial.population.truth == pytest.approx([0] * FAMILY, abs=1e-12), trial.population.name


def test_a_pool_without_flips_is_refused(sample):
    with pytest.raises(ValueError, match="a pool of 10000 seeds has no pair of some kind"):
        Pairs.of(replace(sample, learned=np.ones_like(sample.learned)))


# The rule


@pytest.fixture
def by_t(monkeypatch):
    """Student's interval alone: what the rule was before it allowed for flips that are too rare to be seen."""
    monkeypatch.setattr(
        simulation, "difference_interval", lambda values, level, *, headroom: mean_interval(values, level)
    )


def test_the_rule_is_that_of_compare():
    rng = np.random.default_rng(5)
    kinds = set()
    for k in range(60):
        a = np.where(rng.random(500) < 0.01 * (k % 6), 0.5 + HEADROOM, 0.5) + 0.001 * rng.standard_normal(500)
        sides = [
            pd.DataFrame(
                {"seed": np.arange(500), "population_accuracy": score, "gain": 0.9, "state": "learned"}
            )
            for score in (a, np.full(500, 0.5))
        ]
        rules = {"delta": DELTA, "headroom": HEADROOM, "family_size": FAMILY}
        verdict = compare(*sides, **rules, level=LEVEL, resamples=999).verdict
        wrong = judge((a - 0.5)[None], np.array([DELTA]), LEVEL, resamples=999)  # both of these are errors
        assert bool(wrong.equal[0]) is (verdict.kind == "equivalent")
        assert bool(wrong.lead[0]) is (verdict.kind == "better")
        kinds.add(verdict.kind)
    assert kinds >= {"better", "better_unsettled", "equivalent"}


@pytest.mark.parametrize(
    ("shift", "truth", "expected"),
    [
        (0.02, 0.0, "lead"),  # a lead of more than delta where there is none
        (-0.02, 0.0, "lead"),
        (0.005, 0.0, "lead"),  # equivalent, but detectable
        (-0.005, 0.02, "equal lead"),
        (0.02, 0.01, "lead"),  # more than delta where it is delta
        (0.005, 0.01, "equal"),
        (0.005, -0.01, "equal lead"),
        (0.005, 0.02, "equal"),
        (0.02, 0.03, ""),  # the interval is wrong, the verdict is not
        (0.0, 0.0, ""),
    ],
)
@pytest.mark.usefixtures("by_t")
def test_errors_countable_by_hand(shift, truth, expected):
    d = shift + 1e-4 * np.tile([-1.0, 1.0], 200)
    wrong = judge(d[None], np.array([truth]), LEVEL)
    found = {kind for kind in ("lead", "equal") if getattr(wrong, kind)[0]}
    assert bool(wrong.missed[0]) is (shift != truth)
    assert found == set(expected.split())


def test_what_is_not_suspect_holds_no_error(sample, monkeypatch):
    population = null(sample)
    screened = simulate(population, one_look(100, 0.95), 100)
    monkeypatch.setattr(simulation, "SUSPECT", 0.0)
    plain = simulate(population, one_look(100, 0.95), 100)
    assert screened.any == plain.any
    assert (screened.missed == plain.missed).all()


# What it notices


def test_the_rule_as_it_is_passes_and_intervals_of_80_percent_fail(sample, monkeypatch):
    assert rate_of(null(sample)).outcome in ("held", "unsettled")
    monkeypatch.setattr(
        simulation, "difference_interval", lambda values, level, *, headroom: mean_interval(values, 0.8)
    )
    broken = rate_of(null(sample))
    assert broken.outcome == "BROKEN"
    assert broken.rate > 0.5


def test_steady_leads_that_rare_flips_undo_fail_by_t_alone(pairs, request):
    undone = trials._undone(pairs)
    assert rate_of(undone, 50, families=300).rate == 0
    request.getfixturevalue("by_t")
    assert rate_of(undone, 50, families=300).rate > 0.05


def test_equivalence_by_t_alone_fails_on_rare_flips(pairs, monkeypatch, request):
    rare = mixture("rare flips", [blend(np.zeros(1), pairs.flips, DELTA)] * FAMILY)
    assert rate_of(rare, 262, error="equal", families=150).outcome == "held"
    request.getfixturevalue("by_t")

    def unchecked(difference, *, check=None, **rules):
        return decide(difference, **rules)

    monkeypatch.setattr(simulation, "decide", unchecked)
    assert rate_of(rare, 262, error="equal", families=150).outcome == "BROKEN"


def test_equivalence_without_the_flip_guard_fails_on_few_seeds(pairs, monkeypatch, request):
    rare = mixture("rare flips", [blend(np.zeros(1), pairs.flips, DELTA)] * FAMILY)
    assert rate_of(rare, 100, error="equal").wrong == 0
    request.getfixturevalue("by_t")

    def unguarded(difference, **rules):
        return decide(replace(difference, n=10**6), **rules)

    monkeypatch.setattr(simulation, "decide", unguarded)
    assert rate_of(rare, 100, error="equal").outcome == "BROKEN"


@pytest.mark.usefixtures("by_t")
def test_intervals_that_miss_are_counted_per_contrast():
    rng = np.random.default_rng(6)
    normal = rng.normal(0.02, 0.1, (FAMILY, 5000))
    counts = simulate(real_pairs(normal, replace=True), one_look(100, 0.95), 400)
    assert counts.missed / 400 == pytest.approx([0.05] * FAMILY, abs=0.04)
    assert max(counts.missed) <= counts.any["missed"] <= sum(counts.missed)


def test_later_looks_can_only_add_errors(sample):
    population = null(sample)
    looks = tuple(one_look(n, 0.9)[0] for n in (100, 200, 400))
    first, last = (simulate(population, looks[k:], 200).any["lead"] for k in (0, 2))
    assert first > last


# All of it


def test_everything_runs_is_deterministic_and_is_fit_for_json(sample):
    found = calibrate(sample, 2)
    assert found == calibrate(sample, 2)
    assert [rate.error for rate in found].count("equal") > 30
    assert calibrate(sample, 2, seed=1) != found
    read = json.loads(json.dumps([rate.to_dict() for rate in found], allow_nan=False))
    assert {entry["outcome"] for entry in read} <= {"held", "unsettled", "BROKEN", "short", ""}
    text = calibration.table(found)
    assert all(population in text for population in {rate.population for rate in found})


@pytest.mark.parametrize(
    ("wrong", "most", "binding", "outcome"),
    [
        (50, 0.05, True, "held"),
        (55, 0.05, True, "unsettled"),
        (90, 0.05, True, "BROKEN"),
        (90, 0.05, False, "short"),
        (90, None, True, ""),
    ],
)
def test_outcomes(wrong, most, binding, outcome):
    rate = Rate("lead", "any", "null", "one look", (500,), (LEVEL,), 1000, wrong, most, binding)
    assert rate.outcome == outcome


# The pool

SHORT = replace(DEFAULT, epochs=3, samples=10)
TINY = (SHORT, replace(SHORT, epochs=5), replace(SHORT, activation="linear"))


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(pool, "SEEDS_TOGETHER", 4)


def load(size, cache, code="today"):
    return load_pool(size, configs=TINY, cache=cache, workers=1, code=code)


@pytest.mark.usefixtures("small_blocks")
def test_blocks_cover_the_seeds_once_and_begin_far_from_any_study():
    covered = [seed for block in blocks(10) for seed in block.data]
    assert covered == list(range(2_000_000, 2_000_010))
    assert blocks(10)[:2] == blocks(100)[:2]


@pytest.mark.usefixtures("small_blocks")
def test_a_pool_scores_as_the_study_does(tmp_path):
    seeds = Seeds(pool.FIRST_SEED, pool.FIRST_SEED + 6)
    found = load(6, tmp_path)
    for config, of_one in zip(TINY, train(TINY, seeds), strict=True):
        table = score(config, seeds, of_one.losses, of_one.checkpoints, of_one.weights).table
        assert found.of(config) == pytest.approx(table["population_accuracy"].to_numpy(float), abs=1e-12)
        assert (found.has_learned(config) == (table["state"] == "learned")).all()


@pytest.mark.usefixtures("small_blocks")
def test_a_pool_that_was_stopped_goes_on(tmp_path, monkeypatch):
    whole = load(10, tmp_path / "whole")
    trained = []
    real = pool.train_block

    def stops_at_the_third(configs, seeds):
        trained.append(seeds)
        if len(trained) == 3:
            raise KeyboardInterrupt
        return real(configs, seeds)

    monkeypatch.setattr(pool, "train_block", stops_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        load(10, tmp_path)
    again = load(10, tmp_path)
    assert trained == [*blocks(10), blocks(10)[2]]
    assert (again.score == whole.score).all()
    load(10, tmp_path)
    assert len(trained) == 4  # nothing left to do
    load(12, tmp_path)
    assert trained[4:] == [blocks(12)[2]]  # a larger one takes over whole blocks
    load(10, tmp_path, code="tomorrow")
    assert trained[5:] == blocks(10)  # other code, other networks


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("rubbish", [b"", b"PK\x03\x04 cut short", b"rubbish"])
def test_a_block_that_cannot_be_read_is_trained_again(tmp_path, rubbish):
    before = load(4, tmp_path)
    (file,) = tmp_path.glob("*/*.npz")
    file.write_bytes(rubbish)
    assert (load(4, tmp_path).score == before.score).all()
    assert [path.suffix for path in file.parent.iterdir()] == [".npz"]


# The command


@pytest.fixture
def at_root(tmp_path, monkeypatch, sample):
    (tmp_path / "reports").mkdir()
    monkeypatch.setattr(calibration, "enter_root", lambda: tmp_path)
    monkeypatch.setattr(calibration, "load_pool", lambda *args, **options: sample)
    return tmp_path


@pytest.mark.parametrize(("wrong", "status"), [(10, 0), (900, 1)])
def test_status_tells_whether_promises_are_kept(at_root, monkeypatch, capsys, wrong, status):
    rate = Rate("equal", "any", "rare flips", "one look", (500,), (LEVEL,), 2000, wrong, 0.05, True)
    monkeypatch.setattr(calibration, "calibrate", lambda *args, **options: [rate])
    assert main([]) == status
    told = capsys.readouterr().out
    assert ("broken: equal (one look; 500 seeds; rare flips): 45.0%" in told) is bool(status)
    figures = json.loads((at_root / "reports" / "calibration.json").read_text(encoding="utf-8"))
    assert figures["rates"][0]["wrong"] == wrong
    assert [path.name for path in (at_root / "reports").iterdir()] == ["calibration.json"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--pool", "9999"], "pool must be a whole number from 10000 to 1000000, got '9999'"),
        (["--families", "999"], "families must be a whole number from 1000 to 1000000, got '999'"),
        (["--families", "many"], "families must be a whole number from 1000 to 1000000, got 'many'"),
        (["--jobs", "0"], "jobs must be a whole number from 1 to 1000000, got '0'"),
        (["--pol", "x"], "unrecognized arguments: --pol x"),
    ],
)
def test_bad_requests_are_refused_in_one_line(arguments, message, capsys):
    assert main(arguments) == 2
    told = capsys.readouterr().err
    assert message in told
    assert told.count("\n") == 1


def test_a_stop_is_told_in_a_line(at_root, monkeypatch, capsys):
    def stop(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(calibration, "load_pool", stop)
    assert main([]) == 130
    assert "stopped" in capsys.readouterr().err
