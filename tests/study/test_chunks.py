"""Long plans: they come back whole from a real store, a shorter one forgets the rest, and a bad part is told."""

import json

import pytest
from factories import make_folder, new_store
from qwerties.study.chunks import CONTRASTS, MOST, contrasts_text

from qwerties.config import Config, Seeds
from qwerties.study.coverage import make_coverage, read_coverages
from qwerties.study.experiment import Contrast, Experiment, grid

PLAN = "qwerties.plan"
SEEDS = Seeds(0, 4)
MANY = grid(Config(epochs=20), learning_rate=[0.001 * i for i in range(1, 2001)])


def experiment(configs, contrasts=()):
    return Experiment("Many", "How many?", configs, contrasts)


@pytest.fixture
def store(tmp_path, monkeypatch):
    folder = make_folder(tmp_path / "study")
    monkeypatch.chdir(folder)
    return new_store(folder)


def test_2000_configs_come_back_in_order_and_a_shorter_plan_forgets_the_rest(store):
    store.experiment("many", experiment(MANY).tags(SEEDS))
    (coverage,) = read_coverages(store)
    assert coverage.problems == ()
    assert [entry.name for entry in coverage.entries] == [config.label() for config in MANY]
    assert [coverage.plan.key(config) for config in MANY] == list(coverage.plan.configs)

    store.experiment("many", experiment(MANY[:300]).tags(SEEDS))
    (coverage,) = read_coverages(store)
    assert coverage.problems == ()
    assert [entry.name for entry in coverage.entries] == [config.label() for config in MANY[:300]]

    store.experiment("many", experiment(MANY[:2]).tags(SEEDS))
    (coverage,) = read_coverages(store)
    assert coverage.problems == ()
    assert len(coverage.entries) == 2
    assert f"{PLAN}.9" in store.experiments()["many"][1], "left behind, and not counted"


def test_many_contrasts_come_back(store):
    contrasts = tuple(Contrast(MANY[0], other, delta=0.02) for other in MANY[1:101])
    tags = experiment(MANY[:101], contrasts).tags(SEEDS)
    store.experiment("many", tags)
    (coverage,) = read_coverages(store)
    assert coverage.problems == ()
    assert [(found.a, found.b) for found in coverage.contrasts] == [(c.a, c.b) for c in contrasts]
    assert len(json.loads(contrasts_text(store.experiments()["many"][1]))) == 100


@pytest.mark.parametrize("count", [1, 2, 50, 60, 70, 500])
def test_no_part_is_longer_than_a_tag(count):
    contrasts = [Contrast(MANY[0], other) for other in MANY[1:count]]
    tags = experiment(MANY[:count], contrasts).tags(SEEDS)
    assert max(map(len, tags.values())) <= MOST
    assert len(make_coverage("x", "1", tags, []).entries) == count


def test_what_fits_one_tag_stands_as_it_did():
    tags = experiment(MANY[:2], (Contrast(*MANY[:2]),)).tags(SEEDS)
    assert set(json.loads(tags[PLAN])) == {"seeds", "code", "configs"}
    assert len(json.loads(tags[CONTRASTS])) == 1
    assert not [name for name in tags if name.endswith(".2")]


BAD = ["", "{", "[]", "null", "3", '"x"', "[" * 100_000, '{"parts": 3}']


@pytest.mark.parametrize("text", [None, *BAD, '{"parts": 3, "seeds": "0-3", "code": "x", "configs": {}}'])
def test_a_part_that_is_none_is_told(text):
    tags = experiment(MANY[:160]).tags(SEEDS)
    parts = [name for name in tags if name.startswith(PLAN)]
    assert json.loads(tags[PLAN])["parts"] == len(parts) == 3
    bad = {name: value for name, value in tags.items() if name != f"{PLAN}.2"}
    bad |= {} if text is None else {f"{PLAN}.2": text}
    coverage = make_coverage("x", "1", bad, [])
    assert coverage.problems == (f"the tag {PLAN}.2 cannot be read",)
    assert coverage.plan is None
    assert not coverage.complete


@pytest.mark.parametrize("told", [0, -1, 10**9, 2.0, "2", None, True, [], 1e400])
def test_a_number_of_parts_that_is_none_is_told(told):
    tags = experiment(MANY[:160]).tags(SEEDS)
    first = json.dumps({**json.loads(tags[PLAN]), "parts": told})
    coverage = make_coverage("x", "1", {**tags, PLAN: first}, [])
    assert len(coverage.problems) == 1
    assert coverage.problems[0].startswith(f"the tag {PLAN}")
    assert coverage.plan is None


def test_parts_of_two_plans_are_not_joined():
    mixed = experiment(MANY[:160]).tags(SEEDS) | {
        f"{PLAN}.3": experiment(MANY[:160]).tags(Seeds(0, 5))[f"{PLAN}.3"]
    }
    assert make_coverage("x", "1", mixed, []).problems == (f"the tag {PLAN}.3 cannot be read",)


@pytest.mark.parametrize("text", BAD)
def test_a_part_of_contrasts_that_is_none_is_told(text):
    tags = experiment(MANY[:20], tuple(Contrast(MANY[0], other) for other in MANY[1:20])).tags(SEEDS)
    assert f"{CONTRASTS}.2" in tags
    bad = {**tags, f"{CONTRASTS}.2": text}
    coverage = make_coverage("x", "1", bad, [])
    assert coverage.contrasts == ()
    assert coverage.problems == (f"the tag {CONTRASTS}.2 cannot be read",)
    assert contrasts_text(bad) == bad[CONTRASTS]
