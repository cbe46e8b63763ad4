"""Grids and declarations: every field is checked, NumPy's scalars are what they stand for."""

import numpy as np
import pytest

from qwerties.config import DEFAULT, Config, Seeds
from qwerties.study.experiment import FIGURES, Contrast, Experiment, Figure, config_names, grid

MSE, LINEAR = Config(loss="mse"), Config(activation="linear")


def experiment(**fields):
    return Experiment(**{"title": "t", "question": "q", "configs": (DEFAULT, MSE), **fields})


def test_grid_has_every_combination_the_last_field_fastest():
    found = grid(loss=("bce", "mse"), distance=(1, 2, 3))
    assert [(c.loss, c.distance) for c in found] == [(x, d) for x in ("bce", "mse") for d in (1, 2, 3)]
    assert found[0] == Config(distance=1)
    assert grid(MSE, epochs=np.arange(1, 3)) == (Config(loss="mse", epochs=1), Config(loss="mse", epochs=2))
    assert grid() == (DEFAULT,)
    assert len(grid(epochs=iter((1, 2)), distance=(d / 2 for d in range(3)))) == 6


BAD = [
    (lambda: grid(epochs=(1, 0)), "epochs must be a whole number from 1 to 10000000, got 0"),
    (lambda: grid("base"), "the base of a grid must be a Config, got 'base'"),
    (lambda: grid(loss="bce"), "loss must be a list of values in a grid, got 'bce'"),
    (lambda: grid(epochs=3), "epochs must be a list of values in a grid, got 3"),
    (lambda: Contrast(DEFAULT, MSE, delta=0), "delta must be a finite number above 0, got 0"),
    (lambda: Contrast(DEFAULT, MSE, delta=float("nan")), "delta must be a finite number above 0, got nan"),
    (lambda: Contrast(DEFAULT, MSE, delta=float("inf")), "delta must be a finite number above 0, got inf"),
    (lambda: Contrast(DEFAULT, MSE, delta=True), "delta must be a finite number above 0, got True"),
    (lambda: Contrast(DEFAULT, MSE, primary=1), "primary must be True or False, got 1"),
    (lambda: Contrast(DEFAULT, MSE, primary="yes"), "primary must be True or False, got 'yes'"),
    (lambda: Contrast(DEFAULT, MSE, primary=None), "primary must be True or False, got None"),
    (lambda: Contrast(DEFAULT, MSE, names="ab"), "names must be None or two different names, got 'ab'"),
    (
        lambda: Contrast(DEFAULT, MSE, names=("a", "a")),
        "names must be None or two different names, got ('a', 'a')",
    ),
    (
        lambda: Contrast(DEFAULT, MSE, names=("a", 1)),
        "names must be None or two different names, got ('a', 1)",
    ),
    (lambda: Contrast(DEFAULT, "mse"), f"a contrast needs two Configs, got {DEFAULT!r} and 'mse'"),
    (
        lambda: Contrast(MSE, MSE),
        "a contrast needs two different configs, got mse · relu · d=4 · 2000 epochs twice",
    ),
    (
        lambda: Figure("score"),
        f"kind must be one of {', '.join(FIGURES)}, got 'score' (did you mean scores?)",
    ),
    (lambda: Figure("pie"), f"kind must be one of {', '.join(FIGURES)}, got 'pie'"),
    (lambda: Figure(["scores"]), f"kind must be one of {', '.join(FIGURES)}, got ('scores',)"),
    (lambda: Figure(score=3), "score must be the name of a score, got 3"),
    (lambda: experiment(title=3), "title must be text, got 3"),
    (lambda: experiment(title=" "), "title must be text, got ' '"),
    (lambda: experiment(question="\ud800"), "question must be text, got '\\ud800'"),
    (lambda: experiment(title="a\0b"), "title must be text, got 'a\\x00b'"),
    (lambda: experiment(configs=()), "configs must hold one config or more, got none"),
    (
        lambda: experiment(configs=DEFAULT),
        f"configs must be a tuple of Configs, (config,) for one, got {DEFAULT!r}",
    ),
    (
        lambda: experiment(contrasts=(Contrast(DEFAULT, MSE))),
        f"contrasts must be a tuple of Contrasts, (contrast,) for one, got {Contrast(DEFAULT, MSE)!r}",
    ),
    (
        lambda: experiment(configs=(DEFAULT, MSE, Config(loss="mse"))),
        "configs must differ, got mse · relu · d=4 · 2000 epochs twice",
    ),
    (lambda: experiment(share=0), "share must be above 0 and at most 4, got 0"),
    (lambda: experiment(share=4.5), "share must be above 0 and at most 4, got 4.5"),
    (lambda: experiment(share=True), "share must be above 0 and at most 4, got True"),
    (lambda: experiment(order=1.5), "order must be a whole number of at most 1000000, got 1.5"),
    (lambda: experiment(order=False), "order must be a whole number of at most 1000000, got False"),
    (
        lambda: experiment(crossed=(3, True)),
        "crossed must be None or two whole numbers above 0, got (3, True)",
    ),
    (
        lambda: experiment(title=None, order=""),
        "title must be text, got None; order must be a whole number of at most 1000000, got ''",
    ),
    (
        lambda: experiment(contrasts=(Contrast(DEFAULT, LINEAR),)),
        "a contrast compares configs of the experiment, got bce · linear · d=4 · 2000 epochs",
    ),
    (
        lambda: experiment(contrasts=(Contrast(DEFAULT, MSE),), crossed=(3, 3)),
        "contrasts need independent seeds: crossed ones must have none, got 1",
    ),
    (
        lambda: experiment(contrasts=(Contrast(DEFAULT, MSE), Contrast(MSE, DEFAULT))),
        "contrasts must differ, got mse − bce twice",
    ),
]


@pytest.mark.parametrize(("make", "message"), BAD, ids=[message[:50] for _, message in BAD])
def test_bad_declarations_are_refused(make, message):
    with pytest.raises(ValueError, match="got") as caught:
        make()
    assert str(caught.value) == message


def test_numpy_scalars_are_what_they_stand_for():
    contrast = Contrast(DEFAULT, MSE, delta=np.float32(0.5), primary=np.True_, names=["a", "b"])
    assert (type(contrast.delta), contrast.primary, contrast.names) == (float, True, ("a", "b"))
    assert contrast.primary is True
    found = experiment(share=np.float64(0.5), order=np.int64(3), crossed=[np.int64(4), 3])
    assert (type(found.share), type(found.order), found.crossed) == (float, int, (4, 3))
    assert experiment(configs=[DEFAULT, MSE]).configs == (DEFAULT, MSE)


@pytest.mark.parametrize(
    ("settings", "n_seeds", "seeds"),
    [
        ({}, 500, Seeds(0, 500)),
        ({"share": 0.1}, 500, Seeds(0, 50)),
        ({"share": 0.1}, 1, Seeds(0, 1)),
        ({"crossed": (30, 30)}, 500, Seeds(0, 30, crossed=30)),
        ({"crossed": (30, 20)}, 25, Seeds(0, 25, crossed=20)),
    ],
)
def test_seeds_that_a_sweep_gives_an_experiment(settings, n_seeds, seeds):
    assert experiment(**settings).seeds(n_seeds) == seeds


def test_configs_are_named_by_what_differs():
    assert config_names([DEFAULT, MSE]) == ["bce", "mse"]
    assert config_names([DEFAULT]) == ["bce · relu · d=4 · 2000 epochs"]
    assert config_names([DEFAULT, Config(momentum=0.5)]) == ["momentum 0", "momentum 0.5"]
