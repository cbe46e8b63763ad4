"""What the player shows: which networks and seeds, packed exactly, and nothing that is not what a run writes."""

import base64
import dataclasses
import hashlib
import json
import re

import numpy as np
import pandas as pd
import pytest
from factories import new_store
from filmed import plan, record

from qwerties.analysis.contrasts import load_results
from qwerties.analysis.tables import SeedTable
from qwerties.config import DEFAULT, Config, Seeds
from qwerties.plotting import style as theme
from qwerties.report import films
from qwerties.report.build import TEMPLATES, render
from qwerties.report.elements import Numbers
from qwerties.report.films import Film, Reel
from qwerties.report.sections import player
from qwerties.scoring import score as scoring
from qwerties.scoring.predict import accuracy
from qwerties.study import runs as results
from qwerties.tracking.store import StoreError
from qwerties.training.trainer import train

pytestmark = [
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning"),  # MLflow's own
    pytest.mark.filterwarnings(
        "ignore:.*Any type hint is inferred as AnyType:UserWarning"
    ),  # MLflow's own import
]

MSE, TANH = Config(loss="mse"), Config(activation="tanh")
SEEDS = Seeds(0, 4)
CHECKPOINTS, EPOCHS = np.array([0, 1, 10, 100, 1000, 2000]), np.array([1, 5, 2000])


def curves(seeds, *, watched=None, **changes):
    """What a run writes of networks that learn: made-up weights, the same for a seed wherever it is."""
    watched = seeds.numbers.tolist() if watched is None else watched
    rng = [np.random.default_rng(seed) for seed in watched]
    weights = np.stack(
        [np.outer(np.linspace(0.1, 1, 6), [1, 0.1, -3, 2, -1] + 0.1 * r.random(5)) for r in rng]
    )
    parts = {"0.weight": (0, 2), "0.bias": (2, 3), "2.weight": (3, 4), "2.bias": (4, 5)}
    shapes = {"0.weight": (1, 2), "0.bias": (1,), "2.weight": (1, 1), "2.bias": (1,)}
    centres = np.repeat([[1.0, 5.0], [1.0, 1.0]], 100, axis=1)
    arrays = {
        "epochs": EPOCHS,
        "loss": np.outer(1 + np.arange(len(seeds)), [0.7, 0.5, 0.1]).astype(np.float32),
        "checkpoints": CHECKPOINTS,
        "exemplars": np.array(watched),
        "exemplar_points": np.stack([centres + r.normal(size=(2, 200)) for r in rng]).astype(np.float32),
        **{
            f"exemplar.{name}": weights[:, :, a:b].reshape(len(watched), 6, *shapes[name]).astype(np.float32)
            for name, (a, b) in parts.items()
        },
    }
    return {name: value for name, value in (arrays | changes).items() if value is not None}


def table(seeds, states=()):
    given = pd.DataFrame({"seed": seeds.numbers, "state": "learned"})
    for seed, state in dict(states).items():
        given.loc[given["seed"] == seed, "state"] = state
    return given.assign(train_accuracy=0.97, phi=0.94, population_accuracy=0.97, gain=0.98)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where MLflow puts artifacts
    return tmp_path


@pytest.fixture
def store(folder):
    return new_store(folder)


def track(store, runs, experiment_name="losses", seeds=SEEDS):
    """Runs as (config, table, curves)."""
    experiment = store.experiment(
        experiment_name, plan(list(dict.fromkeys(config for config, *_ in runs)), seeds)
    )
    for config, scores, arrays in runs:
        store.write(experiment, record(config, seeds, scores, arrays))


def reels(store):
    return player.read_reels(store, load_results(store))


def made(config, states, **changes):
    """A reel whose films ended so, by seed."""
    points = curves(SEEDS, watched=list(states))["exemplar_points"]
    found = {
        seed: Film(
            state, points[i], np.tile(np.float32([1, 0, -3, 2, 0]), (6, 1)), np.float32([0.7, 0.5, 0.1])
        )
        for i, (seed, state) in enumerate(states.items())
    }
    return dataclasses.replace(Reel(config, CHECKPOINTS, EPOCHS, found), **changes)


# Films


def test_films_are_what_was_trained_and_stand_as_scoring_says():
    seeds = Seeds(0, 16)
    configs = [
        Config(loss=loss, activation=activation, epochs=300)
        for loss, activation in (("bce", "relu"), ("mse", "linear"), ("bce", "tanh"), ("bce", "sigmoid"))
    ]
    assert films.LEARNED_GAIN == scoring.LEARNED_GAIN
    seen = set()
    for trained in train(configs, seeds, compiled=False):
        config = trained.config
        scores = scoring.score(config, seeds, trained.losses, trained.checkpoints, trained.weights)
        arrays = results._curves(trained, results._watched(trained, ()))
        states = dict(zip(range(16), scores.table["state"], strict=True))
        reel = films._make_reel(config, arrays, {i: i for i in range(16)}, states)
        assert list(reel.films) == list(range(16))
        gain = (scores.population_accuracy - 0.5) / 0.47725
        for i, film in reel.films.items():
            z = films.logits(config.activation, film.weights, film.points)
            assert accuracy(z) == pytest.approx(scores.train_accuracy[i], abs=1e-9)
            told = np.array(films.states(config, film))
            assert told[-1] == states[i]
            assert ((told == "dead") == scores.dead[i])[:-1].all()
            assert (gain[i][told == "learned"] >= 0.8 - 1e-4).all()
            assert (scores.train_accuracy[i][told == "constant"] == 0.5).all()
            # the rule by which the last state was found is the rule for those before
            again = films.states(config, dataclasses.replace(film, state="?"))
            ends_so = films.states(config, Film("?", film.points, film.weights[[-1, -1]], film.losses))[0]
            assert again[:-1] == told[:-1].tolist()
            assert ends_so == states[i]
            seen |= set(told)
    assert seen >= {"learned", "slow", "constant", "dead"}


def test_a_network_that_left_the_numbers_diverged():
    weights = np.tile(np.float32([1, 0, -3, 2, 0]), (3, 1))
    weights[1, 0], weights[2, 4] = np.nan, np.inf
    points = curves(SEEDS)["exemplar_points"][0]
    told = films.states(DEFAULT, Film("diverged", points, weights, np.float32([0.1, np.nan])))
    assert told == ["learned", "diverged", "diverged"]


def test_a_reel_joins_blocks_of_seeds(store):
    first, second = Seeds(0, 4), Seeds(2, 8)
    experiment = store.experiment("losses", plan([DEFAULT], Seeds(0, 8)))
    for block, scale in ((first, 1), (second, 10)):
        arrays = curves(block, loss=scale * (block.numbers[:, None] + np.float32([0.7, 0.5, 0.1])))
        store.write(experiment, record(DEFAULT, block, table(block, {5: "slow"}), arrays))
    [reel] = reels(store)
    assert sorted(reel.films) == list(range(8))
    assert [reel.films[seed].losses[2] for seed in (1, 3, 4, 7)] == pytest.approx([1.1, 3.1, 41, 71])
    assert reel.films[5].state == "slow"


def test_losses_are_those_of_the_seed(store):
    """Watched networks need not be the first ones."""
    track(store, [(DEFAULT, table(SEEDS), curves(SEEDS, watched=[1, 3]))])
    [reel] = reels(store)
    assert {seed: film.losses[2] for seed, film in reel.films.items()} == pytest.approx({1: 0.2, 3: 0.4})


@pytest.mark.parametrize("missing", ["exemplars", "exemplar_points", "checkpoints"])
def test_runs_that_kept_no_films_are_left_out(store, missing):
    track(
        store, [(DEFAULT, table(SEEDS), curves(SEEDS, **{missing: None})), (MSE, table(SEEDS), curves(SEEDS))]
    )
    assert [reel.config for reel in reels(store)] == [MSE]


WRONG = {
    "checkpoints": [
        CHECKPOINTS[::-1],
        CHECKPOINTS + 1,
        CHECKPOINTS.astype(float),
        np.array([0, 2000] * 3),
        np.array(0),
    ],
    "epochs": [np.array([0, 5, 2000]), np.array([1, 5, 2001]), np.array([1, 5])],
    "exemplars": [
        np.array([0, 1, 1, 2]),
        np.array(["0", "1", "2", "3"]),
        np.zeros((2, 2), int),
        np.arange(3),
    ],
    "exemplar_points": [
        np.zeros((4, 2, 199), np.float32),
        np.full((4, 2, 200), np.nan),
        np.zeros((4, 2, 200), "U9"),
    ],
    "exemplar.0.weight": [np.zeros((4, 6, 2, 2)), np.zeros((4, 6, 1, 2), int), None],
    "exemplar.2.bias": [np.zeros((4, 5, 1)), None],
    "loss": [np.zeros((4, 2)), np.zeros((2, 3)), np.zeros(()), np.array(["<script>"] * 4), None],
}


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in WRONG.items() for value in values]
)
def test_what_no_run_writes_is_an_error_that_names_the_run(name, value):
    class Made:
        def read(self, run, path):
            return results._npz(curves(SEEDS, **{name: value}))

    class Run:
        run_id, name = "abc", "bce"

    networks = SeedTable(DEFAULT, (Run(),), (np.arange(4),), table(SEEDS))
    with pytest.raises(StoreError, match=r"run abc \(bce\)"):
        films.read_reel(Made(), networks)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no archive", b"\x93NUMPY", np.arange(3).tobytes()])
def test_bytes_that_are_no_archive_are_left_out(store, content):
    run = record(DEFAULT, SEEDS, table(SEEDS), curves(SEEDS))
    run.files["curves.npz"] = content
    store.write(store.experiment("losses", plan([DEFAULT])), run)
    assert reels(store) == []
    assert player.make_player(store, load_results(store), Numbers()) is None
    assert "Watch it learn" not in render(store)


# Which networks


def test_only_loss_and_activation_may_differ_from_the_notebook(store):
    others = [Config(epochs=500), Config(distance=3), Config(hidden=(2,)), Config(learning_rate=0.02)]
    configs = [TANH, *others, MSE, DEFAULT]
    track(store, [(config, table(SEEDS), curves(SEEDS)) for config in configs])
    assert [reel.config for reel in reels(store)] == [DEFAULT, TANH, MSE]


def test_nothing_tracked_is_nothing_to_watch():
    assert player.choose([]) is None


ENDS = {
    0: "learned",
    1: "slow",
    2: "learned",
    3: "learned",
    4: "dead",
    5: "dead",
    6: "constant",
    7: "slow",
    8: "slow",
}


def test_seeds_are_the_lowest_of_each_state_and_those_that_differ():
    right = ENDS | {3: "slow", 8: "constant"}
    cast = player.choose([made(DEFAULT, ENDS), made(TANH, ENDS), made(MSE, right)])
    assert cast.seeds == (0, 3, 1, 8, 6, 4)
    assert (cast.left, cast.right) == (0, 2)
    assert cast.seeds[cast.seed] == 3  # learned on the left alone


def test_it_opens_on_what_there_is():
    alike = player.choose([made(DEFAULT, ENDS), made(MSE, ENDS)])
    assert alike.seeds[alike.seed] == 0
    differing = player.choose([made(DEFAULT, ENDS), made(MSE, ENDS | {4: "learned"})])
    assert differing.seeds[differing.seed] == 4
    alone = player.choose([made(MSE, ENDS)])
    assert (alone.left, alone.right) == (0, 0)
    without = player.choose([made(TANH, ENDS), made(Config(loss="mse", activation="tanh"), ENDS)])
    assert (without.left, without.right) == (0, 1)


def test_seeds_are_shared_by_all_and_a_config_that_shares_few_is_left_out():
    some = {seed: state for seed, state in ENDS.items() if seed > 2}
    few = {seed: state for seed, state in ENDS.items() if seed in (0, 1)}
    cast = player.choose([made(DEFAULT, ENDS), made(TANH, few), made(MSE, some)])
    assert [reel.config for reel in cast.reels] == [DEFAULT, MSE]
    assert min(cast.seeds) == 3


def test_a_reel_of_other_times_or_points_is_left_out():
    later = made(MSE, ENDS, checkpoints=np.array([0, 2, 10, 100, 1000, 2000]))
    moved = made(TANH, ENDS)
    moved = dataclasses.replace(
        moved, films={s: dataclasses.replace(f, points=f.points + 1) for s, f in moved.films.items()}
    )
    cast = player.choose([made(DEFAULT, ENDS), moved, later])
    assert [reel.config for reel in cast.reels] == [DEFAULT]


# What the page holds


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """Three configs on four seeds; nothing else writes to it."""
    path = tmp_path_factory.mktemp("filled")
    scores = {
        DEFAULT: table(SEEDS, {1: "slow"}),
        MSE: table(SEEDS, {0: "dead", 1: "slow"}),
        TANH: table(SEEDS),
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(path)
        made = new_store(path)
        track(made, [(config, frame, curves(SEEDS)) for config, frame in scores.items()])
    return made


@pytest.fixture(scope="module")
def page(filled):
    return render(filled)


def packed(page):
    return re.search('<script type="application/json" id="player-data">(.*?)</script>', page, re.DOTALL)[1]


def unpacked(text):
    return np.frombuffer(base64.b64decode(text), "<f4")


def test_the_page_holds_the_weights_exactly(page):
    found = json.loads(packed(page))
    arrays = curves(SEEDS)
    seeds = [entry["seed"] for entry in found["seeds"]]
    assert seeds == [0, 2, 1]
    assert [(network["loss"], network["activation"]) for network in found["networks"]] == [
        ("bce", "relu"),
        ("bce", "tanh"),
        ("mse", "relu"),
    ]
    assert found["checkpoints"] == CHECKPOINTS.tolist()
    for i, seed in enumerate(seeds):
        assert (unpacked(found["seeds"][i]["points"]) == arrays["exemplar_points"][seed].ravel()).all()
        for network in found["networks"]:
            weights = unpacked(network["runs"][i]["weights"]).reshape(6, 5)
            for name, part in zip(films.NAMES, np.split(weights, [2, 3, 4], axis=1), strict=True):
                assert (part == arrays[f"exemplar.{name}"][seed].reshape(6, -1)).all()
            assert (unpacked(network["runs"][i]["losses"]) == arrays["loss"][seed]).all()
            assert re.fullmatch("((le|sl|co|de|di)){6}", network["runs"][i]["states"])
    assert found["networks"][2]["runs"][0]["states"].endswith("de")
    assert found["curves"]["bce"]["floor"] == pytest.approx(0.060427, abs=1e-6)
    assert found["curves"]["mse"]["plateau"] == 0.25


def test_the_policy_names_the_script_and_no_other(page):
    policy = re.search('Content-Security-Policy" content="(.*?)"', page)[1]
    directives = dict(part.split(" ", 1) for part in policy.split("; "))
    scripts = re.findall("<script>(.*?)</script>", page, re.DOTALL)
    [style] = re.findall("<style>(.*?)</style>", page, re.DOTALL)
    for name, texts in (("script-src", scripts), ("style-src", [style])):
        digests = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in texts]
        assert directives[name] == " ".join(f"'sha256-{digest}'" for digest in digests)
    assert directives["default-src"] == "'none'"
    assert scripts == [(TEMPLATES / name).read_text() for name in ("page.js", "player.js")]
    assert page.count("<script") == 3
    assert not re.search(r"<[^>]* (style|on\w+)=", page)
    assert not re.search(
        r"\b(eval|Function|innerHTML|outerHTML|insertAdjacentHTML|document\.write|fetch|import)\b",
        "".join(scripts),
    )
    assert "<" not in packed(page)


def test_the_section_comes_first_and_is_in_the_navigation(page):
    assert page.index('href="#watch"') < page.index('href="#losses"')
    assert page.index('id="watch"') < page.index('id="losses"')
    ids = re.findall(r' id="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    assert set(player.IDS) == {name for name in ids if name.startswith(("player", "watch"))}


def test_no_section_takes_its_ids(store):
    runs = [(DEFAULT, table(SEEDS), curves(SEEDS))]
    track(store, runs, experiment_name="watch")
    track(store, runs, experiment_name="player-data")
    ids = re.findall(r' id="([^"]+)"', render(store))
    assert len(ids) == len(set(ids))
    assert {"watch-2", "player-data-2"} <= set(ids)


def test_one_network_is_watched_alone(store):
    track(store, [(DEFAULT, table(SEEDS), curves(SEEDS))])
    page = render(store)
    assert page.count('class="panel"') == 1
    assert re.search('class="stage alone"', page)


def test_the_same_store_gives_the_same_bytes(filled, page):
    assert render(filled) == page
    assert len(packed(page)) < 250_000


def test_a_page_without_films_has_no_player(store):
    track(store, [(DEFAULT, table(SEEDS), curves(SEEDS, exemplar_points=None))])
    page = render(store)
    assert page.count("<script") == 1
    assert (TEMPLATES / "player.js").read_text() not in page
    assert "transport" not in page


def test_the_still_tells_what_it_shows(page):
    alt = re.search('<img src="data:image/png;base64,[^"]+" width="720" height="244" alt="([^"]+)"', page)[1]
    assert "on seed 0" in alt
    assert re.search(
        "bce · relu: [0-9.]+% at epoch 1, .* at epoch 2,000; it ends learned. mse · relu: .* it ends dead",
        alt,
    )


def test_a_film_that_is_not_finite_is_drawn_and_packed():
    weights = np.full((6, 5), np.nan, np.float32)
    reel = made(DEFAULT, {0: "diverged"})
    film = dataclasses.replace(reel.films[0], weights=weights, losses=np.full(3, np.inf, np.float32))
    cast = player.choose([dataclasses.replace(reel, films={0: film})])
    found = json.loads(player.embed(player.pack(cast)))
    assert found["networks"][0]["runs"][0]["states"] == "di" * 6
    fig, alt = player.draw_still(cast)
    assert theme.png(fig).startswith(b"\x89PNG")
    assert "it ends diverged" in alt


def test_text_cannot_leave_its_script_element():
    hostile = {"</script><script>alert(1)</script>": "<!--<script> ]]> & \u2028 \x00 \ud800"}
    text = player.embed(hostile)
    assert not re.search("[<>&\u2028\x00]", text)
    assert text.isascii()
    assert json.loads(text) == hostile
    with pytest.raises(ValueError, match="Out of range"):
        player.embed({"a": float("nan")})


def test_templates_ask_for_nothing():
    for path in TEMPLATES.glob("player.*"):
        text = path.read_text()
        assert not re.search(r"https?:|url\(|@import|//cdn", text)
    assert "</script" not in (TEMPLATES / "player.js").read_text()
    assert "<!--" not in (TEMPLATES / "player.js").read_text()
