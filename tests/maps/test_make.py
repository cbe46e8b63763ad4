"""A map's networks are those that `train` gives; it goes on where it was killed; a finished one is not made again."""

import dataclasses
import signal
import time
from contextlib import chdir
from pathlib import Path

import numpy as np
import pytest
from factories import call, fill, make_folder, new_store
from processes import started

from qwerties.config import Config, Seeds
from qwerties.maps import make as mapping
from qwerties.maps.make import make_blocks, make_map, train_map
from qwerties.maps.spec import MEASURES, STATES, Axis, MapSpec, from_bytes
from qwerties.report.cache_key import store_digest
from qwerties.scoring import final, one_unit, theory
from qwerties.scoring import score as scoring
from qwerties.scoring.digest import code_digest
from qwerties.tracking.store import Store, StoreError
from qwerties.tracking.tags import SUPERSEDED
from qwerties.tracking.uri import default_uri
from qwerties.training import reference
from qwerties.training.trainer import train
from qwerties.verify.audit import check_artifacts
from qwerties.verify.block import artifact_reader

RATE, DISTANCE = Axis("learning_rate", 1e-3, 10, "log", 3), Axis("distance", 0, 6, "linear", 2)
SMALL = MapSpec(RATE, DISTANCE, base=Config(epochs=3))


def expected(spec, place):
    """One pixel, from the scores that a sweep tracks."""
    config = spec.config(place)
    trained = train([config], Seeds(0, spec.seeds))[0]
    table = scoring.score(config, trained.seeds, trained.losses, trained.checkpoints, trained.weights).table
    gain = table["gain"].where(table["state"] != "diverged", 0.0).to_numpy()
    return {"gain": gain.mean(), **{state: (table["state"] == state).mean() for state in STATES}}


def same(arrays, spec, places):
    for place in places:
        for name, value in expected(spec, place).items():
            assert arrays[name][place] == pytest.approx(value, abs=1e-6), (name, place)


@pytest.mark.slow
def test_a_map_of_32_by_32_equals_the_same_networks_trained_by_train(tmp_path):
    spec = MapSpec(
        Axis("learning_rate", 1e-2, 100, "log", 32),
        Axis("distance", 0, 6, "linear", 32),
        base=Config(epochs=12),
    )
    arrays = train_map(spec, tmp_path / "scratch", workers=1)
    configs = [spec.config(tuple(place)) for place in np.ndindex(spec.shape)]
    alone = train(configs, Seeds(0, spec.seeds))
    gains = []
    for one in alone:  # by another way: the closed form for each network
        w = [one.final[name].astype(float) for name in one.final]
        accuracy = one_unit.population_accuracy(
            one.config.activation, w[0][:, 0], w[1][:, 0], w[2][:, 0, 0], w[3][:, 0], one.config.distance
        )
        gains.append((accuracy - 0.5) / (theory.bayes_accuracy(one.config.distance) - 0.5))
    assert arrays["gain"].ravel() == pytest.approx(np.mean(gains, axis=1), abs=1e-6)
    assert arrays["learned"].mean() > 0.1
    assert arrays["dead"][:, 0].mean() > 0.01
    assert not arrays["dead"][:, 1].any()  # linear units do not die


def test_a_pixel_is_what_the_notebooks_loop_gives(tmp_path):
    spec = dataclasses.replace(SMALL, base=Config(epochs=200), seeds=1)
    arrays = train_map(spec, tmp_path, workers=1)
    config = spec.config((1, 0, 1, 2))
    network = reference.train_reference(config, 0)
    w = [value.detach().double().numpy()[None] for value in network.model.state_dict().values()]
    accuracy = one_unit.population_accuracy("relu", w[0][:, 0], w[1], w[2][:, 0, 0], w[3], config.distance)
    gain = (accuracy.item() - 0.5) / (theory.bayes_accuracy(config.distance) - 0.5)
    assert arrays["gain"][1, 0, 1, 2] == pytest.approx(gain, abs=1e-4)


SPECS = {
    "epochs to the right": MapSpec(Axis("epochs", 1, 30, "log", 4), RATE, seeds=3),
    "epochs upwards": MapSpec(RATE, Axis("epochs", 1, 30, "log", 4), seeds=3),
    "sizes": MapSpec(Axis("samples", 1, 9, "linear", 4), DISTANCE, base=Config(epochs=9)),
    "sizes and epochs": MapSpec(Axis("epochs", 1, 9, "log", 2), Axis("samples", 1, 9, "linear", 2)),
    "momentum": MapSpec(
        Axis("momentum", 0, 1, "linear", 3), Axis("output_scale", -3, 3, "linear", 3), base=Config(epochs=9)
    ),
    "squashing": MapSpec(RATE, DISTANCE, ("mse",), ("tanh", "relu", "sigmoid"), 2, Config(epochs=9)),
    "widths": MapSpec(Axis("hidden", 1, 9, "log", 3), RATE, base=Config(data="xor", epochs=30)),
    "widths and sizes": MapSpec(
        Axis("samples", 3, 9, "linear", 2), Axis("hidden", 1, 9, "log", 3), base=Config(epochs=9)
    ),
    "wide": MapSpec(RATE, DISTANCE, ("bce",), ("relu", "tanh"), 2, Config(epochs=9, hidden=(3, 2))),
    "adam": MapSpec(RATE, DISTANCE, ("bce",), ("relu",), 1, Config(epochs=9, optimizer="adam", init="he")),
    "diverging": MapSpec(
        Axis("learning_rate", 1e3, 3e38, "log", 30), DISTANCE, base=Config(epochs=9, momentum=0.9)
    ),
}


@pytest.mark.parametrize("name", list(SPECS))
def test_every_kind_of_map_equals_train(tmp_path, name):
    spec = SPECS[name]
    arrays = train_map(spec, tmp_path, workers=1)
    assert np.allclose(sum(arrays[state] for state in STATES), 1)
    places = list(np.ndindex(spec.shape))
    same(arrays, spec, places[:: max(1, len(places) // 12)])
    if name == "diverging":
        assert arrays["diverged"].max() == 1
        assert (arrays["gain"][arrays["diverged"] == 1] == 0).all()


def test_gain_is_missing_where_there_is_nothing_to_gain(tmp_path):
    spec = MapSpec(
        RATE, Axis("momentum", 0, 0.9, "linear", 2), ("bce",), ("relu",), base=Config(epochs=3, distance=0)
    )
    arrays = train_map(spec, tmp_path, workers=1)
    assert np.isnan(arrays["gain"]).all()
    assert np.allclose(sum(arrays[state] for state in STATES), 1)
    assert not arrays["learned"].any()


def test_networks_do_not_depend_on_how_a_map_is_cut(tmp_path, monkeypatch):
    spec = dataclasses.replace(SMALL, seeds=5)
    whole = train_map(spec, tmp_path / "whole", workers=1)
    monkeypatch.setattr(mapping, "BLOCK", 3)  # seeds are split as well
    monkeypatch.setattr(final, "MAX_VALUES", 1)
    assert len(make_blocks(spec)) == spec.pixels
    cut = train_map(spec, tmp_path / "cut", workers=1)
    for name in MEASURES:
        np.testing.assert_array_equal(cut[name], whole[name])


@pytest.mark.parametrize(
    "spec",
    [
        MapSpec(dataclasses.replace(RATE, size=158), dataclasses.replace(DISTANCE, size=158)),
        MapSpec(RATE, DISTANCE, seeds=1000, base=Config(epochs=200_000)),
        MapSpec(RATE, DISTANCE, seeds=1000, base=Config(samples=1_000_000)),
        MapSpec(RATE, DISTANCE, seeds=1000, base=Config(hidden=(1024, 1024))),
        MapSpec(Axis("epochs", 1, 2000, "log", 1000), RATE),
        MapSpec(Axis("hidden", 1, 1024, "log", 10), Axis("samples", 10, 10_000, "log", 10)),
    ],
    ids=["many pixels", "epochs", "points", "weights", "a long line", "widths and sizes"],
)
def test_blocks_are_small_whatever_the_map_is(spec):
    blocks = make_blocks(spec)
    assert [block.start for block in blocks] == [0, *(block.stop for block in blocks[:-1])]
    assert blocks[-1].stop == spec.pixels
    line = spec.x.size if spec.x.field == "epochs" else 1
    largest = spec.largest
    assert (largest.samples, largest.hidden) >= (spec.base.samples, spec.base.hidden)
    for block in blocks:
        networks = -(-(block.stop - block.start) // line) * block.seeds
        assert networks <= mapping.BLOCK
        points = 2 * largest.samples * max(largest.hidden)
        for values in (spec.base.epochs, points, 64 * largest.weights):
            assert networks == 1 or networks * values <= mapping.MAX_VALUES


def no_pictures(arrays):
    return {"plots/gain.png": b"picture"}


def told_by_status(folder):
    out, _ = call(folder, "status")
    return [line for line in out.splitlines() if "disk" not in line]


def check_maps(store):
    checks = [
        check_artifacts(run, artifact_reader(store, run)) for run in store.maps() if run.status == "FINISHED"
    ]
    lines = [f"differs: {difference}" for _, differences in checks for difference in differences]
    return sum(checked for checked, _ in checks), [line.partition(".npz")[0] + ".npz" for line in lines]


def tracked(folder, spec=SMALL, lines=None):
    with chdir(folder):
        store = new_store(folder)
        log = (lambda line: None) if lines is None else lines.append
        return store, make_map(spec, store, folder, no_pictures, workers=1, log=log)


def test_a_map_is_one_run_apart_from_the_questions_and_made_anew_where_it_must_be(tmp_path, monkeypatch):
    make_folder(tmp_path)
    questions = fill(tmp_path).experiments()
    before = told_by_status(tmp_path)
    store, done = tracked(tmp_path)
    assert told_by_status(tmp_path) == before
    assert store.experiments() == questions
    (run,) = store.maps()
    assert run.run_id == done.run_id
    assert done.networks == SMALL.networks
    assert MapSpec.from_params(run.params) == SMALL
    assert run.tags["qwerties.fingerprint"] == SMALL.fingerprint(code_digest())
    arrays = from_bytes(store.read(run, "map.npz"), SMALL)
    np.testing.assert_array_equal(arrays["gain"], done.arrays["gain"])
    assert run.metrics["networks"] == SMALL.networks
    assert run.metrics["gain"] == pytest.approx(arrays["gain"].mean(), abs=1e-6)
    assert run.metrics["dead_fraction"] == pytest.approx(arrays["dead"].mean(), abs=1e-6)
    assert not list((tmp_path / ".cache" / "maps").glob("*/"))  # blocks are gone

    store, again = tracked(tmp_path)
    assert (again.run_id, again.networks) == (done.run_id, 0)
    assert len(store.maps()) == 1
    digest = store_digest(store)
    assert check_maps(store) == (2, [])
    with pytest.raises(StoreError, match="must be free or that of a question, got that of the maps"):
        store.experiment("map", {"qwerties.question": "Where?"})

    first = done
    Path(run.artifact_uri.removeprefix("file://"), "map.npz").write_bytes(b"altered")
    assert check_maps(store) == (2, [f"differs: {SMALL.name} ({first.run_id}): artifact map.npz"])
    assert store_digest(store) != digest  # a report is made again
    lines = []
    store, second = tracked(tmp_path, lines=lines)
    assert lines == [f"making the map again, because map.npz of run {first.run_id} is lost or altered"]
    assert second.networks == SMALL.networks
    monkeypatch.setattr(mapping, "code_digest", lambda: "other")
    store, third = tracked(tmp_path)
    gave_way = {run.run_id: run.tags.get(SUPERSEDED) for run in store.maps()}
    assert gave_way == {first.run_id: second.run_id, second.run_id: third.run_id, third.run_id: None}


MAP = ("map", "--size", "24", "--epochs", "40", "--jobs")
PLAN = MapSpec(
    Axis("learning_rate", 1e-3, 10, "log", 24), Axis("distance", 0, 6, "linear", 24), base=Config(epochs=40)
)


def finished(folder):
    """Blocks of maps that are done."""
    return set((folder / ".cache").glob("maps/*/[0-9]*.npy"))


def killed(folder, number):
    """Run a map in a process of its own, and stop it by a signal after one more block; return how it ended."""
    before = finished(folder)
    with started(folder, *MAP, "1") as command:
        begun = time.monotonic()
        while finished(folder) == before:
            assert command.poll() is None, command.texts()
            assert time.monotonic() - begun < 120
            time.sleep(0.005)
        asked = time.monotonic()
        command.send_signal(number)
        status, _, err = command.wait()
    return status, time.monotonic() - asked, err


@pytest.mark.slow
def test_a_map_goes_on_where_it_was_killed(tmp_path):
    make_folder(tmp_path)
    assert killed(tmp_path, signal.SIGKILL)[0] == -signal.SIGKILL
    kept = sorted(finished(tmp_path))
    assert 1 <= len(kept) < len(make_blocks(PLAN))
    status, seconds, said = killed(tmp_path, signal.SIGTERM)
    assert status == 143
    assert seconds < 10  # it takes 1 to 2 on a machine that is not busy
    assert said.endswith("stopped; what is tracked stays, the same command goes on from there\n")

    kept = sorted(finished(tmp_path))
    kept[-1].write_bytes(kept[-1].read_bytes()[:-100])  # as if it had been cut off
    (kept[0].parent / ".0-512.npy.1.npy").write_bytes(b"half")
    out, _ = call(tmp_path, *MAP, "2")  # by processes, which give the same
    first, second = out.splitlines()[:2]
    assert first == f"going on after {1024 * (len(kept) - 1):,} of 4,608 networks"
    assert second.startswith("4,608 networks in ")
    store = Store(default_uri(tmp_path))
    (run,) = store.maps()
    arrays = from_bytes(store.read(run, "map.npz"), PLAN)
    whole = train_map(PLAN, tmp_path / "whole", workers=1)
    for name in MEASURES:
        np.testing.assert_array_equal(arrays[name], whole[name])
    assert (tmp_path / "reports" / "map.png").read_bytes() == store.read(run, "plots/gain.png")

    out, _ = call(tmp_path, *MAP, "1", "--show", "dead")
    assert out.startswith(f"nothing to do: the map is tracked as run {run.run_id}\ndead: ")
    assert (tmp_path / "reports" / "map.png").read_bytes() == store.read(run, "plots/dead.png")


@pytest.mark.parametrize(
    "damage", [lambda b: b[:50], lambda b: b[:-1], lambda b: bytes(len(b)), lambda b: b""]
)
def test_a_damaged_block_is_trained_again(tmp_path, damage):
    whole = train_map(SMALL, tmp_path, workers=1)
    (path,) = tmp_path.glob("*.npy")
    path.write_bytes(damage(path.read_bytes()))
    said, done = [], []
    again = train_map(
        SMALL, tmp_path, workers=1, log=said.append, progress=lambda networks, total: done.append(networks)
    )
    assert (said, done) == ([], [0, SMALL.networks])
    np.testing.assert_array_equal(again["gain"], whole["gain"])
    np.save(path, np.zeros((2, 2), np.float32))  # of another map
    np.testing.assert_array_equal(train_map(SMALL, tmp_path, workers=1)["gain"], whole["gain"])
