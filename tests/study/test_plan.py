"""Plans in the store: they come back whole, what cannot be read is named, and what a new plan changes is noted."""

import dataclasses
import json
from types import MappingProxyType, SimpleNamespace

import pytest
from factories import make_folder, new_store, tracked_run

from qwerties.config import DEFAULT, Config, Seeds, fingerprint
from qwerties.errors import UsageError
from qwerties.scoring.digest import code_digest
from qwerties.study.budget import check_slots, primary_alpha
from qwerties.study.coverage import read_coverages
from qwerties.study.experiment import Contrast, Experiment, Figure, grid
from qwerties.study.plan import (
    MAX_TAG,
    FigureSpec,
    arms_by_name,
    plan_tags,
    planned_contrasts,
    read_declaration,
    readable_contrasts,
)
from qwerties.study.plan_changes import revise
from qwerties.tracking.tags import CONTRASTS, PLAN, PLAN_CHANGES

SEEDS = Seeds(0, 4)
MANY = grid(Config(epochs=20), learning_rate=[0.001 * i for i in range(1, 2001)])
OTHER, THIRD = Config(loss="mse"), Config(activation="tanh")
PRIMARY, WIDER = Contrast(DEFAULT, OTHER, primary=True), Contrast(DEFAULT, OTHER, 0.02, primary=True)


def tags_of(experiment, before=MappingProxyType({}), runs=()):
    """All tags of an experiment, with the tags and the runs that it had before."""
    return revise(plan_tags(experiment, SEEDS), planned_contrasts(experiment), before, runs)


def declared(*contrasts, configs=(DEFAULT, OTHER, THIRD), **earlier):
    return tags_of(Experiment("t", "q", configs, contrasts), **earlier)


def test_the_whole_plan_comes_back():
    contrast = Contrast(DEFAULT, OTHER, delta=0.02, primary=True, names=("best", "plain"))
    experiment = Experiment(
        "A title", "A question?", (DEFAULT, OTHER), (contrast,), (Figure("lines", "epochs", "gain"),)
    )
    tags = tags_of(dataclasses.replace(experiment, order=7))
    assert all(isinstance(value, str) for value in tags.values())
    assert tags["mlflow.note.content"] == "A question?"
    found = read_declaration("x", tags)
    assert (found.title, found.question, found.order, found.problems) == ("A title", "A question?", 7, ())
    assert (found.plan.seeds, found.plan.code) == (SEEDS, code_digest())
    labels = {fingerprint(c, SEEDS, code_digest()): c.label() for c in (DEFAULT, OTHER)}
    assert found.plan.configs == labels
    assert found.figures == (FigureSpec("lines", "epochs", "gain"),)
    assert found.contrasts == tuple(planned_contrasts(experiment))


def test_2000_configs_come_back_in_order_and_a_shorter_plan_forgets_the_rest(tmp_path, monkeypatch):
    folder = make_folder(tmp_path / "study")
    monkeypatch.chdir(folder)
    store = new_store(folder)
    for count in (2000, 300, 2):
        contrasts = [Contrast(MANY[0], config) for config in MANY[1 : min(count, 101)]]
        store.experiment("many", tags_of(Experiment("Many", "?", MANY[:count], contrasts)))
        (coverage,) = read_coverages(store)
        assert coverage.problems == ()
        assert [entry.name for entry in coverage.entries] == [config.label() for config in MANY[:count]]
        assert [(c.a, c.b) for c in coverage.contrasts] == [(c.a, c.b) for c in contrasts]
    assert f"{PLAN}.9" in store.experiments()["many"][1], "left behind, and not counted"


@pytest.mark.parametrize("count", [1, 2, 50, 60, 70, 500])
def test_no_tag_is_too_long(count):
    tags = declared(*[Contrast(MANY[0], other) for other in MANY[1:count]], configs=MANY[:count])
    assert max(map(len, tags.values())) <= MAX_TAG
    assert len(read_declaration("x", tags).plan.configs) == count


BAD = (
    *("", "{", "[]", "null", "3", '"x"', "[" * 100_000),
    *('{"seeds": "all"}', '[{"kind": 1}, 2]', "[[]]", '{"chunks": 3}'),
)


@pytest.mark.parametrize("text", BAD)
@pytest.mark.parametrize("tag", ["plan", "figures", "contrasts", "order", "plan_changes"])
def test_a_tag_that_cannot_be_read_is_named(tag, text):
    found = read_declaration("x", {**declared(), f"qwerties.{tag}": text})
    is_fine = text == {"plan": None, "order": "3"}.get(tag, "[]")
    assert list(found.problems) == ([] if is_fine else [f"the tag qwerties.{tag} cannot be read"])


@pytest.fixture(scope="module")
def chunked():
    """Tags whose plan is cut into three."""
    tags = declared(configs=MANY[:160])
    assert json.loads(tags[PLAN])["chunks"] == sum(name.startswith(f"{PLAN}.") for name in tags) == 3
    return tags


@pytest.mark.parametrize("text", [None, *BAD, "x" * MAX_TAG])
def test_a_chunk_that_belongs_to_no_plan_is_named(text, chunked):
    bad = {name: value for name, value in chunked.items() if name != f"{PLAN}.2"}
    bad |= {} if text is None else {f"{PLAN}.2": text}
    found = read_declaration("x", bad)
    assert (found.plan, found.problems) == (None, (f"the tag {PLAN} cannot be read",))


@pytest.mark.parametrize("count", [0, -1, 10**9, 2.0, "2", None, True, [], 1e400])
def test_a_number_of_chunks_that_is_none_is_named(count, chunked):
    first = json.dumps({**json.loads(chunked[PLAN]), "chunks": count})
    assert read_declaration("x", {**chunked, PLAN: first}).problems == (f"the tag {PLAN} cannot be read",)


# What a new plan changes


BOTH = (tracked_run(DEFAULT, SEEDS), tracked_run(OTHER, SEEDS))


def revised(before, *contrasts, runs=BOTH, configs=(DEFAULT, OTHER, THIRD)):
    """Return the stored contrasts of a new plan, and what it changes."""
    tags = declared(*contrasts, configs=configs, before=before, runs=runs)
    changes = [change for entry in json.loads(tags.get(PLAN_CHANGES, "[]")) for change in entry["what"]]
    return read_declaration("x", tags).contrasts, changes


def is_late(before, *contrasts, **options):
    (contrast, *_), _ = revised(before, *contrasts, **options)
    assert contrast.primary == (not contrast.late)
    return bool(contrast.late)


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        ({}, True),  # runs without a plan
        (declared(), True),
        (declared(Contrast(DEFAULT, OTHER)), True),
        (declared(WIDER), True),
        (declared(Contrast(OTHER, DEFAULT, primary=True)), True),
        (declared(PRIMARY), False),
        (declared(PRIMARY, Contrast(DEFAULT, THIRD)), False),
        ({CONTRASTS: "{"}, True),
        ({CONTRASTS: json.dumps([1, {"a": 3}])}, True),
    ],
)
def test_a_primary_contrast_declared_after_runs_of_both_arms_is_late(before, expected):
    assert is_late(before, PRIMARY) == expected


@pytest.mark.parametrize(
    "runs",
    [
        (),
        BOTH[:1],
        (BOTH[0], tracked_run(THIRD, SEEDS)),
        (BOTH[0], tracked_run(OTHER, SEEDS, parent="x")),
        (BOTH[0], tracked_run(OTHER, SEEDS, status="RUNNING")),
    ],
)
def test_a_contrast_whose_difference_nobody_has_seen_is_not_late(runs):
    assert not is_late(declared(), PRIMARY, runs=runs)


def test_an_exploratory_contrast_is_never_late():
    (contrast,), changes = revised({}, Contrast(DEFAULT, OTHER))
    assert (contrast.primary, contrast.late, changes) == (False, "", [])


def test_late_stays_late_and_the_plan_says_why():
    stored = declared(PRIMARY, before=declared(Contrast(DEFAULT, OTHER)), runs=BOTH)
    again = declared(PRIMARY, before=stored, runs=BOTH)
    assert again == {name: value for name, value in stored.items() if name != PLAN_CHANGES}
    for tags in (stored, again):
        (contrast,) = read_declaration("x", tags).contrasts
        assert not contrast.primary
        assert contrast.late.startswith("was declared primary on 20")
        assert contrast.late.endswith(", when runs of both arms existed")
    (change,) = read_declaration("x", stored).plan_changes
    assert change.endswith("with 2 runs tracked: primary contrast added: bce − mse, margin 0.01")
    (margin,), _ = revised(declared(WIDER), PRIMARY)
    assert margin.late.startswith("got this margin on 20")


def test_tuned_arms_are_known_by_their_names():
    """Before a search examples stand in for the arms; that they become known is no new contrast."""
    tuned = Contrast(Config(learning_rate=0.3), OTHER, primary=True, names=("best", "plain"))
    placeholder = dataclasses.replace(tuned, a=DEFAULT)
    new = {"runs": [tracked_run(tuned.a, SEEDS), BOTH[1]], "configs": (tuned.a, OTHER)}
    assert not is_late(declared(placeholder), tuned, **new)
    assert arms_by_name(readable_contrasts(declared(placeholder))) == {"best": DEFAULT, "plain": OTHER}
    exploratory = dataclasses.replace(tuned, primary=False)
    assert is_late(declared(exploratory, configs=(tuned.a, OTHER)), tuned, **new)


@pytest.mark.parametrize(
    ("before", "now", "changes"),
    [
        ([PRIMARY], [PRIMARY], []),
        ([], [Contrast(DEFAULT, OTHER)], []),
        ([Contrast(DEFAULT, OTHER)], [], []),
        ([], [PRIMARY], ["primary contrast added: bce − mse, margin 0.01"]),
        ([PRIMARY], [], ["primary contrast removed: bce − mse"]),
        ([PRIMARY], [Contrast(DEFAULT, OTHER)], ["made exploratory: bce − mse"]),
        ([PRIMARY], [WIDER], ["margin of bce − mse changed from 0.01 to 0.02"]),
    ],
)
def test_changes_of_margins_and_of_primary_contrasts_are_said_in_words(before, now, changes):
    assert revised(declared(*before), *now)[1] == changes
    assert revised(declared(*before), *now, runs=[])[1] == []


def test_the_history_keeps_the_first_change_and_the_latest_and_fits_a_tag():
    before = declared(PRIMARY)
    for i in range(2, 200):
        before |= declared(dataclasses.replace(PRIMARY, delta=i / 1000), before=before, runs=BOTH)
    first, *_, last = read_declaration("x", before).plan_changes
    assert first.endswith("from 0.01 to 0.002")
    assert last.endswith("from 0.198 to 0.199")
    assert len(before[PLAN_CHANGES]) <= MAX_TAG


# The error budget


def test_ten_slots_for_the_whole_study():
    def check(n_primary, **tags):
        loss = Experiment(
            "t", "q", MANY, tuple(Contrast(MANY[0], c, primary=True) for c in MANY[1 : n_primary + 1])
        )
        stored = {name: ("id", its_tags) for name, its_tags in tags.items()}
        check_slots({"loss": loss}, SimpleNamespace(experiments=lambda: stored))

    old, before = declared(PRIMARY), declared(PRIMARY, Contrast(DEFAULT, THIRD, primary=True))
    check(9, old=old, loss=before)  # what the file declares counts, not what it declared before
    with pytest.raises(UsageError, match=r"at most 10 in the whole study.* got 11: 10 in loss, 1 in old"):
        check(10, old=old, loss=before)
    check(10, old=declared(PRIMARY, runs=BOTH))  # late: no slot


def test_more_contrasts_than_slots_share_the_error():
    assert primary_alpha(0) == primary_alpha(10) == 0.005
    assert primary_alpha(20) == 0.0025
