"""``qwerties verify``: a sound store passes, and each thing that is altered in one is told by its name."""

import collections
import contextlib
import io
import json
import unicodedata

import numpy as np
import pandas as pd
import pytest
import torch
from factories import new_store
from projects import copy_project, sql

from qwerties.cli import main as cli
from qwerties.config import Config, Seeds
from qwerties.execution.workers import Workers
from qwerties.scoring import score as scoring
from qwerties.study.experiment import Experiment
from qwerties.study.runs import network_record
from qwerties.study.sweep import sweep
from qwerties.tracking.artifacts import digest
from qwerties.tracking.store import Store
from qwerties.tracking.tags import ARTIFACTS, TRIAL
from qwerties.tracking.uri import default_uri
from qwerties.training import trainer as training
from qwerties.verify import audit, network
from qwerties.verify import retrain as verify
from qwerties.verify.audit import check_scores, is_among
from qwerties.verify.block import artifact_reader, read_block

pytestmark = pytest.mark.slow

FAST = Config(epochs=60, learning_rate=0.5)
WIDE = Config(epochs=20, hidden=(3, 2), activation="tanh", optimizer="adam")
SINGLE = Config(epochs=40, loss="mse", learning_rate=0.3)
EXPERIMENTS = {
    "crossed": Experiment(title="Crossed", question="?", configs=(Config(epochs=30),), crossed=(2, 3)),
    "fast": Experiment(title="Fast", question="?", configs=(FAST,)),
    "wide": Experiment(title="Wide", question="?", configs=(WIDE,)),
}
ALL = 1000
SEEDS = 6


def build(folder, experiments=EXPERIMENTS, seeds=SEEDS):
    """Sweep into a store of its own."""
    folder.mkdir()
    with contextlib.chdir(folder):
        store = new_store(folder)
        sweep(experiments, store, seeds, workers=Workers(), progress=lambda _: None)
    return store


def add_single(folder):
    """Track one network by itself, as ``qwerties train`` does but for the model."""
    with contextlib.chdir(folder):
        store = Store(default_uri(folder))
        seeds = Seeds(7, 8)
        trained = training.train([SINGLE], seeds, compiled=False)[0]
        scores = scoring.score(SINGLE, seeds, trained.losses, trained.checkpoints, trained.weights)
        store.write(store.experiment("train", {}), network_record(trained, scores, 0))


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """A store that nothing writes to: three experiments and a single network."""
    folder = tmp_path_factory.mktemp("verify") / "sound"
    build(folder)
    add_single(folder)
    return folder


@pytest.fixture
def copy(sound, tmp_path):
    """A copy of it, artifacts and all, to be altered."""
    return copy_project(sound, tmp_path / "copy")


def change(folder, statement, *values):
    """Alter the database behind MLflow's back; something must have been altered."""
    assert sql(folder, f"{statement} RETURNING 1", *values)


def told(folder, networks=1, seed=0, workers=1):
    """Verify; returns whether all agrees, and the lines."""
    lines = []
    store = Store(default_uri(folder))
    return verify.verify(store, networks, seed, workers=workers, echo=lines.append), lines


def differing(folder, networks=1):
    """The lines that tell differences, after making sure that they are counted and make it fail."""
    agrees, lines = told(folder, networks)
    found = [line for line in lines if line.startswith("differs: ")]
    assert not agrees
    assert found
    assert lines[-1].endswith(f"; {len(found)} differ")
    return found


def run_of(folder, experiment_name, child=False):
    store = Store(default_uri(folder))
    runs = store.runs(store.experiments()[experiment_name][0])
    return next(run for run in runs if (run.parent is not None) == child)


def read_stored(folder):
    run = run_of(folder, "fast")
    return read_block(run, artifact_reader(Store(default_uri(folder)), run))


def rewrite(folder, experiment_name, path, alter, *, covered=True):
    """Alter an artifact; ``covered`` writes the digest that it has then, as one would who covers the tracks."""
    run = run_of(folder, experiment_name)
    file = folder / "mlruns" / run.experiment_id / run.run_id / "artifacts" / path
    before = file.read_bytes()
    after = alter(before)
    assert after != before
    file.write_bytes(after)
    if covered:
        tag = json.dumps({**json.loads(run.tags[ARTIFACTS]), path: digest(after)})
        change(folder, "UPDATE tags SET value = ? WHERE run_uuid = ? AND key = ?", tag, run.run_id, ARTIFACTS)
    return run


def cell(column, row, of):
    """Alter one cell of a ``seeds.csv``: what stands there becomes ``of`` it."""

    def alter(content):
        table = pd.read_csv(io.BytesIO(content), dtype=str, keep_default_na=False)
        table.loc[row, column] = of(table.loc[row, column])
        return table.to_csv(index=False, lineterminator="\n").encode()

    return alter


def entry(name, place, of, dtype=None):
    """Alter one number of an archive of arrays, or the type of an array."""

    def alter(content):
        with np.load(io.BytesIO(content)) as arrays:
            values = {key: arrays[key].copy() for key in arrays.files}
        values[name][place] = of(values[name][place])
        values[name] = values[name].astype(dtype or values[name].dtype)
        buffer = io.BytesIO()
        np.savez(buffer, **values)
        return buffer.getvalue()

    return alter


def last_digits(text):
    return repr(float(text) + 1e-8)


# A sound store


def test_a_sound_store_agrees(sound):
    agrees, lines = told(sound, ALL)
    assert agrees
    assert lines[0] == "retraining 19 networks of 4 experiments with the notebook's loop, drawn with --seed 0"
    assert len(lines) == 2
    start, _, rest = lines[1].partition("; ")
    store = Store(default_uri(sound))
    runs = [run for experiment_id, _ in store.experiments().values() for run in store.runs(experiment_id)]
    artifacts = sum(len(json.loads(run.tags[ARTIFACTS])) for run in runs)
    assert artifacts > 3 * 6
    assert start == f"19 networks retrained, {artifacts} artifacts checked"
    loss, weights = (float(word.strip(";,")) for word in rest.split() if "e-" in word)
    assert 0 < loss < 2e-6
    assert 0 < weights < 2e-6
    assert rest.endswith("; all agree")


def test_worker_processes_find_the_same(sound):
    assert told(sound, 2, workers=2)[1] == told(sound, 2)[1]


def test_an_empty_store(tmp_path):
    new_store(tmp_path)
    assert told(tmp_path) == (False, ["nothing tracked yet: make sweep"])


# One thing altered, and its digest with it


@pytest.mark.parametrize(
    ("column", "of"),
    [
        ("train_loss", last_digits),
        ("gain", last_digits),
        ("state", lambda state: "slow" if state == "learned" else "learned"),
        ("settled", lambda flag: str(flag != "True")),
    ],
)
def test_one_altered_cell_is_found_without_retraining_it(copy, column, of):
    rewrite(copy, "fast", "seeds.csv", cell(column, 1, of))
    (*_, metric) = [line for line in differing(copy) if ": metric " in line or "exemplar" in line]
    assert "of its table" in metric


@pytest.mark.parametrize("column", ["phi", "train_loss"])
def test_so_it_is_from_its_weights_where_the_metrics_were_altered_too(copy, column):
    block = read_stored(copy)
    row = int(block.table[column].first_valid_index())
    rewrite(copy, "fast", "seeds.csv", cell(column, row, lambda text: repr(float(text) + 1e-4)))
    assert any(
        f"seed {row}: {column} of seeds.csv is " in line and "of its stored weights" in line
        for line in differing(copy)
    )


def test_an_altered_time_to_learn_is_found_by_retraining(copy):
    for experiment_name in ("fast", "wide"):
        rewrite(copy, experiment_name, "seeds.csv", cell("epochs_to_learn", 0, lambda text: "7"))
    rewrite(copy, "crossed", "seeds.csv", cell("epochs_to_learn", 0, lambda text: "" if text else "30"))
    assert sum("seed 0: epochs_to_learn is " in line for line in differing(copy, ALL)) == 3


LOOP = " by the notebook's loop (tolerance 0.0001)"
ARRAYS = {  # experiment, archive, array, place, what is added, networks to retrain, and what is said of it
    "a loss": (
        *("fast", "curves.npz", "loss", (3, 20), 1e-4, ALL),
        *(": seed 3: loss at epoch 21 is ", " by the notebook's loop (tolerance 1e-05)"),
    ),
    "a weight, crossed": (
        *("crossed", "weights.npz", "0.weight", (2, 0, 1), 1e-3, ALL),
        *(": seed 2: weight 0.weight after ", LOOP),
    ),
    "a weight, wide": (
        *("wide", "weights.npz", "0.weight", (2, 0, 1), 1e-3, ALL),
        *(": seed 2: weight 0.weight after ", LOOP),
    ),
    "a weight that no longer gives its scores": (
        *("fast", "weights.npz", "2.bias", (4, 0), 1e-2, 1),
        *(": seed 4: train_loss of seeds.csv is ", "of its stored weights (tolerance 1e-06)"),
    ),
    "a weight on the way of an example": (
        *("fast", "curves.npz", "exemplar.0.bias", (0, 2, 0), 1e-3, ALL),
        *("weight 0.bias after 2 epochs is ", LOOP),
    ),
    "the last weight of an example": (
        *("fast", "curves.npz", "exemplar.0.bias", (0, -1, 0), 1e-3, 1),
        *(": exemplar.0.bias of curves.npz ", "does not end as weights.npz has it"),
    ),
    "points of an example": (
        *("fast", "curves.npz", "exemplar_points", (0, 0, 0), 1e-3, 1),
        *(": exemplar_points of curves.npz ", "are not what their seeds draw"),
    ),
}


@pytest.mark.parametrize("what", ARRAYS)
def test_one_altered_number_of_an_array(copy, what):
    experiment_name, path, name, place, added, networks, start, end = ARRAYS[what]
    rewrite(copy, experiment_name, path, entry(name, place, lambda value: value + added))
    (found,) = [line for line in differing(copy, networks) if start in line]
    assert found.endswith(end)


@pytest.mark.parametrize(
    ("child", "name"), [(False, "train_loss"), (False, "bce"), (True, "bce"), (True, "final_train_loss")]
)
def test_an_altered_metric(copy, name, child):
    run = run_of(copy, "fast", child)
    statement = "UPDATE latest_metrics SET value = value + 1e-9 WHERE run_uuid = ? AND key = ?"
    change(copy, statement, run.run_id, name)
    (found,) = differing(copy)
    assert run.run_id in found
    assert f": metric {name} is " in found


def test_an_altered_param_and_an_altered_exemplar(copy):
    run, child = run_of(copy, "fast"), run_of(copy, "fast", child=True)
    statement = "UPDATE params SET value = ? WHERE run_uuid = ? AND key = ?"
    change(copy, statement, "5", child.run_id, "seed")
    change(copy, statement, "0.4", run.run_id, "learning_rate")
    found = differing(copy)
    assert any(run.run_id in line and "tag qwerties.fingerprint is not " in line for line in found)
    assert any(child.run_id in line and "params are of no network of run" in line for line in found)


def test_an_altered_single_network(copy):
    run = run_of(copy, "train")
    statement = "UPDATE latest_metrics SET value = value + 1e-3 WHERE run_uuid = ? AND key = ?"
    change(copy, statement, run.run_id, "brier")
    (found,) = differing(copy, ALL)
    assert ": seed 7: brier is " in found


# Artifacts


def test_a_lost_artifact(copy):
    run = run_of(copy, "wide", child=True)
    (copy / "mlruns" / run.experiment_id / run.run_id / "artifacts" / "plots" / "loss_curve.png").unlink()
    (found,) = differing(copy)
    assert (
        found
        == f"differs: {run.name} ({run.run_id}): artifact plots/loss_curve.png is lost: it cannot be read"
    )


def test_a_damaged_run_that_was_made_again_is_no_fault(copy):
    """It stays in the store, superseded, and counts nowhere."""
    for child in (True, False):
        run = run_of(copy, "wide", child)
        for path in (copy / "mlruns" / run.experiment_id / run.run_id).rglob("*.png"):
            path.unlink()
    assert differing(copy)
    with contextlib.chdir(copy):
        store = Store(default_uri(copy))
        sweep({"wide": EXPERIMENTS["wide"]}, store, SEEDS, workers=Workers(), progress=lambda _: None)
    agrees, lines = told(copy)
    assert (agrees, [line for line in lines if line.startswith("differs")]) == (True, [])


@pytest.mark.parametrize(
    ("path", "alter"),
    [("seeds.csv", lambda b: b + b"\n"), ("plots/loss_curve.png", lambda b: b[: len(b) // 2])],
)
def test_an_artifact_cut_short_or_altered(copy, path, alter):
    run = rewrite(copy, "fast", path, alter, covered=False)
    (found,) = differing(copy)
    assert f"({run.run_id}): artifact {path} was altered or cut short: " in found


def test_one_altered_cell_is_named_beside_the_artifact(copy):
    rewrite(copy, "fast", "seeds.csv", cell("bce", 2, lambda text: repr(float(text) + 0.1)), covered=False)
    found = differing(copy)
    assert "artifact seeds.csv was altered" in found[0]
    assert any("seed 2: bce of seeds.csv is " in line for line in found)


@pytest.mark.parametrize(
    ("path", "alter"),
    [
        ("seeds.csv", lambda _: b"seed,state\n0,learned\n"),
        ("seeds.csv", cell("settled", 1, lambda _: "maybe")),
        ("curves.npz", lambda _: b""),
        ("curves.npz", entry("exemplars", 0, lambda seed: 99)),
        ("curves.npz", entry("exemplar.0.weight", slice(None), lambda w: w, dtype=float)),
        ("weights.npz", entry("0.weight", slice(None), lambda w: w, dtype=float)),
        ("weights.npz", lambda _: b"\x93NUMPY\x01\x00v\x00{}"),
    ],
)
def test_what_cannot_be_read_is_told(copy, path, alter):
    run = rewrite(copy, "fast", path, alter)
    (found,) = differing(copy, ALL)
    assert f"({run.run_id}): its record cannot be read: {path} cannot be read: " in found


class Trap:
    """Writes a file where it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return type(self.path).touch, (self.path,)


@pytest.mark.parametrize("path", ["curves.npz", "weights.npz"])
def test_nothing_is_unpickled(copy, tmp_path, path):
    def pickled(_):
        buffer = io.BytesIO()
        np.savez(buffer, **{"0.weight": np.array([Trap(tmp_path / "sprung")], dtype=object)})
        return buffer.getvalue()

    rewrite(copy, "fast", path, pickled)
    (found,) = differing(copy)
    assert f"{path} cannot be read: " in found
    assert not (tmp_path / "sprung").exists()


def test_runs_without_digests_are_counted(copy):
    run = run_of(copy, "fast")
    change(copy, "DELETE FROM tags WHERE run_uuid = ? AND key = ?", run.run_id, ARTIFACTS)
    agrees, lines = told(copy)
    assert agrees
    assert lines[0] == "1 run without digests, as older ones are: their artifacts were not checked"
    change(copy, "INSERT INTO tags (run_uuid, key, value) VALUES (?, ?, '0')", run.run_id, TRIAL)
    agrees, lines = told(copy)
    assert agrees
    assert "without digests" not in lines[0]


def test_digests_that_cannot_be_read(copy):
    run = run_of(copy, "fast")
    change(copy, "UPDATE tags SET value = '{' WHERE run_uuid = ? AND key = ?", run.run_id, ARTIFACTS)
    (found,) = differing(copy)
    assert found.endswith(f"({run.run_id}): tag qwerties.artifacts cannot be read")


# Hostile text


def test_text_of_the_store_cannot_break_the_output(copy):
    name = "\x1b[31mred\x1b[0m\nqwerties: all agree\r\u202e" + "x" * 400
    run = run_of(copy, "fast")
    paths = ["../../../secret", "/etc/passwd", "a\0b", "\x1b]0;title\x07", "\ud800", "x" * 5000]
    tag = json.dumps(dict.fromkeys(paths, "0" * 16))
    change(copy, "UPDATE runs SET name = ? WHERE run_uuid = ?", name, run.run_id)
    change(copy, "UPDATE tags SET value = ? WHERE run_uuid = ? AND key = 'mlflow.runName'", name, run.run_id)
    change(copy, "UPDATE tags SET value = ? WHERE run_uuid = ? AND key = ?", tag, run.run_id, ARTIFACTS)
    (copy.parent / "secret").write_bytes(b"")
    found = differing(copy)
    assert len(found) == len(paths)
    for line in found:
        assert not [c for c in line if unicodedata.category(c) in ("Cc", "Cf", "Cs")]
        assert len(line) < 700
    assert all("is lost: it cannot be read" in line for line in found)


@pytest.mark.parametrize(
    ("key", "value"),
    [("seeds", "0-2147483646"), ("epochs", "-3"), ("hidden", "1024x1024")],
)
def test_params_that_cannot_be_are_told(copy, key, value):
    run = run_of(copy, "fast")
    change(copy, "UPDATE params SET value = ? WHERE run_uuid = ? AND key = ?", value, run.run_id, key)
    (found,) = differing(copy, ALL)
    assert f"({run.run_id}): its record cannot be read: " in found


# Other code


@pytest.mark.parametrize("what", ["rate", "data", "start"])
def test_a_change_of_the_code_that_moves_numbers(tmp_path, monkeypatch, what):
    """The store is made by code that differs in one number; then everything is as it should be again."""
    fast = {"fast": EXPERIMENTS["fast"]}
    with monkeypatch.context() as patch:
        if what == "rate":
            hyper = training.networks.hyperparameters
            factors = torch.tensor([1.001, 1.0])
            patch.setattr(training.networks, "hyperparameters", lambda configs: hyper(configs) * factors)
        elif what == "data":
            place = training.data.place
            patch.setattr(
                training.data, "place", lambda noise, distance, data: place(noise, distance + 0.001, data)
            )
        else:
            start = training.networks.stacked_weights
            later = lambda config, seeds: start(config, [seed + 1 for seed in seeds])  # noqa: E731
            patch.setattr(training.networks, "stacked_weights", later)
        build(tmp_path / "other", fast)
    found = differing(tmp_path / "other", 3)
    seeds = {line.partition(": seed ")[2].partition(":")[0] for line in found if "loop" in line}
    assert len(seeds) >= 2, "every learning network must differ"
    assert any(": loss at epoch " in line for line in found)


def test_runs_of_other_code_are_retrained_and_told(copy):
    run = run_of(copy, "fast")
    change(copy, "UPDATE tags SET value = 'older' WHERE run_uuid = ? AND key = 'qwerties.code'", run.run_id)
    agrees, lines = told(copy, ALL)
    assert agrees
    assert lines[-2] == "6 networks made by other code than today's: their numbers agree"
    rewrite(copy, "fast", "curves.npz", entry("loss", (3, 20), lambda loss: loss + 1e-4))
    agrees, lines = told(copy, ALL)
    assert not agrees
    assert lines[-2] == "6 networks made by other code than today's: the numbers of 1 differ"
    assert lines[-3].endswith(" (made by other code)")


# The draw


def samples():
    return {
        "a": [verify.Sample(None, Config(epochs=i), Seeds(0, 50)) for i in (1, 2, 3)],
        "b": [verify.Sample(None, Config(epochs=9), Seeds(0, 2))],
        "c": [verify.Sample(None, Config(epochs=8), Seeds(0, 3, crossed=3))],
    }


def drawn(n, seed=0):
    return [
        (network.config.epochs, network.row)
        for network in verify.draw(samples(), n, np.random.default_rng(seed))
    ]


def test_the_draw_takes_from_every_experiment_and_every_run():
    for seed in range(20):
        experiment_names = collections.Counter(
            {9: "b", 8: "c"}.get(epochs, "a") for epochs, _ in drawn(5, seed)
        )
        assert sorted(experiment_names.values()) == [1, 2, 2]
        counts = collections.Counter(epochs for epochs, _ in drawn(20, seed))
        assert counts[9] == 2
        assert counts[8] == 9
        assert sorted(counts[i] for i in (1, 2, 3)) == [3, 3, 3]


def test_the_draw_repeats_and_takes_none_twice():
    assert drawn(40) == drawn(40)
    assert drawn(40) != drawn(40, seed=1)
    assert drawn(1000) == drawn(161)
    assert len(set(drawn(161))) == 161


# Tolerances


@pytest.mark.parametrize(
    ("gain", "epoch", "can"),
    [
        ((0, 0.5, 0.9), 3, True),
        ((0, 0.5, 0.9), 1, False),
        ((0, 0.5, 0.9), np.nan, False),
        ((0, 0.5, 0.9), 2, False),
        ((0, 0.799, 0.9), 1, True),
        ((0, 0.799, 0.9), 3, True),
        ((0, 0.801, 0.9), 3, True),
        ((0, 0.82, 0.9), 3, False),
        ((0, 0.5, 0.799), np.nan, True),
        ((0, 0.5, 0.801), np.nan, True),
        ((0, np.nan, np.nan), np.nan, True),
    ],
)
def test_when_a_network_learns_may_move_only_where_the_gain_is_at_the_bar(gain, epoch, can):
    assert network.can_learn_at(epoch, np.array([0, 1, 3]), np.array(gain), 0.005) == can


def test_a_network_is_hardly_settled_only_at_the_bar():
    losses = np.full(100, 0.5)
    for last, hardly in ((0.4, False), (0.495, True), (0.49501, True), (0.496, False), (0.5, False)):
        losses[-1] = last
        assert network.is_hardly_settled(losses, 1e-5) == hardly
    assert network.is_hardly_settled(np.array([0.5]), 1e-5) is False


def test_a_score_is_among_others():
    assert is_among(0.5, [0.4, 0.6], 0)
    assert is_among(0.61, [0.4, 0.6, np.nan], 0.02)
    assert not is_among(0.7, [0.4, 0.6], 0.02)
    assert is_among(np.nan, [0.4, np.nan], 0)
    assert not is_among(np.nan, [0.4], 0)
    assert not is_among(0.4, [np.nan], 0)
    assert is_among("dead", ["slow", "dead"], 0)
    assert not is_among("dead", ["slow"], 0)
    assert is_among(True, [False, True], 0)
    assert not is_among(True, [False], 0)


def test_distances_count_what_is_undefined():
    stored = np.array([1.0, np.nan, np.nan, np.inf, np.inf, 1.0, 200.0])
    value = np.array([1.5, np.nan, 1.0, np.inf, -np.inf, np.nan, 100.0])
    assert network.distances(stored, value).tolist() == [0.5 / 1.5, 0, np.inf, 0, np.inf, np.inf, 1]


SENSITIVE = Config(hidden=(8,) * 4, activation="linear", init="he", epochs=100, learning_rate=0.05)


def test_a_network_that_amplifies_rounding_is_told_as_such_unless_it_is_further_off(tmp_path):
    """Its loss jumps about: another order of adding up gives another curve, the loop's own no less."""
    build(tmp_path / "deep", {"deep": Experiment(title="Deep", question="?", configs=(SENSITIVE,))})
    agrees, lines = told(tmp_path / "deep", ALL)
    assert agrees
    sensitive = [line for line in lines if line.startswith("sensitive to rounding: ")]
    assert sensitive
    assert len(sensitive) < SEEDS
    steady = next(s for s in range(SEEDS) if not any(f": seed {s}:" in line for line in sensitive))
    rewrite(tmp_path / "deep", "deep", "curves.npz", entry("loss", (steady, -5), lambda loss: loss + 1e-2))
    assert any(f": seed {steady}: loss at epoch " in line for line in differing(tmp_path / "deep", ALL))


CHAOTIC = (
    Config(epochs=150, learning_rate=10, loss="mse"),
    Config(epochs=150, learning_rate=3, hidden=(4,)),
    Config(epochs=20, learning_rate=1e38),  # diverges
)


def test_a_chaotic_network_is_checked_up_to_where_rounding_takes_over(tmp_path):
    """At large rates one unit in the last place ends in another network: that is no difference, an altered loss is."""
    folder = tmp_path / "chaotic"
    build(folder, {"fast": Experiment(title="Chaotic", question="?", configs=CHAOTIC)}, seeds=3)
    agrees, lines = told(folder, ALL)
    assert agrees, lines
    starts = [
        int(line.partition("from epoch ")[2].split()[0].replace(",", ""))
        for line in lines
        if "from epoch" in line
    ]
    assert len(starts) >= 3
    assert min(starts) >= 5
    early = min(starts) // 2
    rewrite(folder, "fast", "curves.npz", entry("loss", (slice(None), early), lambda loss: loss + 0.05))
    assert sum(": loss at epoch " in line for line in differing(folder, ALL)) == 3


@pytest.mark.parametrize(
    ("trials", "allowed"),
    [
        ([], [1e-5, 1e-5, 1e-5]),
        ([[1, 1, 1]], [1e-5, 1e-5, 1e-5]),
        ([[1, 1 + 1e-6, 1], [1, 1, 1 - 2e-6]], [1e-5, 3e-5, 6e-5]),
        ([[1 + 1e-6, 1, 1]], [3e-5, 3e-5, 3e-5]),
        ([[1, 1.1, 1]], [1e-5, np.inf, np.inf]),
        ([[1, 1, np.nan]], [1e-5, 1e-5, np.inf]),
    ],
)
def test_what_is_allowed_is_what_the_loop_has_allowed_itself_so_far(trials, allowed):
    trials = [np.array(trial) for trial in trials]
    np.testing.assert_allclose(network.allowed_distance(np.ones(3), trials, 1e-5), allowed, rtol=1e-6)


def test_a_network_that_stands_on_a_threshold(sound, monkeypatch):
    """Rounding alone turns its scores: then neither is wrong."""
    block = read_stored(sound)
    row = int(block.table["phi"].first_valid_index())
    block.table.loc[row, "train_accuracy"] += 0.005
    assert len(check_scores(block, range(SEEDS))) == 1
    rescore = audit.rescore

    def on_it(block, rows, noise=None):
        table = rescore(block, rows, noise)
        if noise == 3:
            table["train_accuracy"] += 0.005
        return table

    monkeypatch.setattr(audit, "rescore", on_it)
    assert check_scores(block, range(SEEDS)) == []


# The command


def test_the_command(copy, monkeypatch, capsys):
    (copy / "experiments").mkdir()
    (copy / "pyproject.toml").write_text("[tool.qwerties]\n")
    monkeypatch.chdir(copy)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr("qwerties.cli.verify.cores", lambda: 1)
    assert cli.main(["verify", "--networks", "3", "--seed", "5"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith(
        "retraining 3 networks of 3 experiments with the notebook's loop, drawn with --seed 5\n"
    )
    assert out.endswith("; all agree\n")
    assert err == ""
    rewrite(copy, "fast", "plots/loss_curve.png", lambda b: b[:-1])
    rewrite(copy, "wide", "plots/loss_curve.png", lambda b: b[:-1], covered=False)
    assert cli.main(["verify", "--networks", "1"]) == 1
    assert capsys.readouterr().out.endswith("; 1 differ\n")
