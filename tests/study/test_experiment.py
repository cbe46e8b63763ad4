"""Grids and declarations: every field is checked, NumPy's scalars are what they stand for."""

import math

import numpy as np
import pytest

from qwerties.config import DEFAULT, FIELDS, Config, Seeds
from qwerties.study.experiment import FIGURES, Contrast, Experiment, Figure, config_names, grid

MSE, LINEAR = Config(loss="mse"), Config(activation="linear")
WHOLE = {"title": "t", "question": "q", "configs": (DEFAULT, MSE)}


def experiment(**fields):
    return Experiment(**(WHOLE | fields))


def test_grid_has_every_combination_the_last_field_fastest():
    found = grid(loss=("bce", "mse"), distance=(1, 2, 3))
    assert [(c.loss, c.distance) for c in found] == [(x, d) for x in ("bce", "mse") for d in (1, 2, 3)]
    assert found[0] == Config(distance=1)
    assert grid(MSE, epochs=np.arange(1, 3)) == (Config(loss="mse", epochs=1), Config(loss="mse", epochs=2))
    assert grid() == (DEFAULT,)
    assert len(grid(epochs=iter((1, 2)), distance=(d / 2 for d in range(3)))) == 6


BOTH = {"a": DEFAULT, "b": MSE}
CONTRAST = Contrast(DEFAULT, MSE)
DELTA = "delta must be a number above 0 and below 1 (0.01 is one point)"
KINDS = f"kind must be one of {', '.join(FIGURES)}, got"
BAD = [
    (grid, {"epochs": (1, 0)}, "epochs must be a whole number from 1 to 10000000, got 0"),
    (grid, {"base": "base"}, "the base of a grid must be a Config, got 'base'"),
    (grid, {"loss": "bce"}, "loss must be a list of values in a grid, got 'bce'"),
    (grid, {"loss": ()}, "loss must be a list of values in a grid, got none"),
    (grid, {"epochs": 3}, "epochs must be a list of values in a grid, got 3"),
    (grid, {"speed": (3,)}, f"a grid's axis must be one of {', '.join(FIELDS)}, got 'speed'"),
    (
        *(grid, {"optimiser": ("sgd",)}),
        f"a grid's axis must be one of {', '.join(FIELDS)}, got 'optimiser' (did you mean optimizer?)",
    ),
    (Contrast, {**BOTH, "delta": 0}, f"{DELTA}, got 0"),
    (Contrast, {**BOTH, "delta": math.inf}, f"{DELTA}, got inf"),
    (Contrast, {**BOTH, "delta": 1}, f"{DELTA}, got 1"),
    (Contrast, {**BOTH, "primary": 1}, "primary must be True or False, got 1"),
    (Contrast, {**BOTH, "names": "ab"}, "names must be None or two different names, got 'ab'"),
    (Contrast, {**BOTH, "names": ("a", "a")}, "names must be None or two different names, got ('a', 'a')"),
    (Contrast, {**BOTH, "names": ("a", 1)}, "names must be None or two different names, got ('a', 1)"),
    (Contrast, {**BOTH, "b": "mse"}, f"a contrast needs two Configs, got {DEFAULT!r} and 'mse'"),
    (Contrast, {**BOTH, "a": MSE}, f"a contrast needs two different configs, got {MSE.label()} twice"),
    (Figure, {"kind": "score"}, f"{KINDS} 'score' (did you mean scores?)"),
    (Figure, {"kind": "pie"}, f"{KINDS} 'pie'"),
    (Figure, {"kind": ["scores"]}, f"{KINDS} ('scores',)"),
    (Figure, {"x": "epoch"}, f"x must be one of {', '.join(FIELDS)}, got 'epoch' (did you mean epochs?)"),
    (Figure, {"kind": "lines"}, "x must be a field where kind is lines, got None"),
    (Figure, {"score": 3}, "score must be the name of a score, got 3"),
    (Experiment, {"title": 3}, "title must be text, got 3"),
    (Experiment, {"title": " "}, "title must be text, got ' '"),
    (Experiment, {"title": "a\0b"}, "title must be text, got 'a\\x00b'"),
    (Experiment, {"question": "\ud800"}, "question must be text, got '\\ud800'"),
    (Experiment, {"configs": ()}, "configs must hold one config or more, got none"),
    (Experiment, {"configs": MSE}, f"configs must be a tuple of Configs, (config,) for one, got {MSE!r}"),
    (Experiment, {"configs": (DEFAULT, MSE, MSE)}, f"configs must differ, got {MSE.label()} twice"),
    (
        *(Experiment, {"contrasts": CONTRAST}),
        f"contrasts must be a tuple of Contrasts, (contrast,) for one, got {CONTRAST!r}",
    ),
    (Experiment, {"share": 0}, "share must be above 0 and at most 4, got 0"),
    (Experiment, {"share": 4.5}, "share must be above 0 and at most 4, got 4.5"),
    (Experiment, {"order": 1.5}, "order must be a whole number of at most 1000000, got 1.5"),
    (Experiment, {"crossed": (3, True)}, "crossed must be None or two whole numbers above 0, got (3, True)"),
    (
        *(Experiment, {"title": None, "order": ""}),
        "title must be text, got None; order must be a whole number of at most 1000000, got ''",
    ),
    (
        *(Experiment, {"contrasts": (Contrast(DEFAULT, LINEAR),)}),
        f"a contrast compares configs of the experiment, got {LINEAR.label()}",
    ),
    (
        *(Experiment, {"contrasts": (CONTRAST,), "crossed": (3, 3)}),
        "contrasts need independent seeds: crossed ones must have none, got 1",
    ),
    (
        *(Experiment, {"contrasts": (CONTRAST, Contrast(MSE, DEFAULT))}),
        "contrasts must differ, got mse − bce twice",
    ),
]


@pytest.mark.parametrize(("kind", "fields", "message"), BAD, ids=[message[:50] for *_, message in BAD])
def test_bad_declarations_are_refused(kind, fields, message):
    with pytest.raises(ValueError, match="got") as caught:
        (experiment if kind is Experiment else kind)(**fields)
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
