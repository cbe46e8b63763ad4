"""Final scores of many configs at once are those that a run has, whatever else is scored beside them."""

import numpy as np
import pytest

from qwerties.config import Config, Seeds
from qwerties.scoring import final
from qwerties.scoring.final import final_scores
from qwerties.scoring.score import score
from qwerties.training.trainer import train

SEEDS = Seeds(0, 3)


def table_of(trained):
    return score(trained.config, trained.seeds, trained.losses, trained.checkpoints, trained.weights).table


@pytest.mark.parametrize("hidden", [(1,), (4,)])
def test_networks_on_both_arrangements_are_scored_as_a_run_scores_them(hidden):
    configs = [
        Config(data=data, hidden=hidden, distance=distance, learning_rate=0.1, epochs=150)
        for data in ("xor", "clusters")
        for distance in (2.0, 4.0)
    ]
    trained = train(configs, SEEDS)
    gain, state = final_scores(trained)
    for i, each in enumerate(trained):
        table = table_of(each)
        np.testing.assert_allclose(gain[i], table["gain"], rtol=0, atol=4e-3, err_msg=each.config.label())
        assert state[i].tolist() == table["state"].tolist()


def test_scores_do_not_depend_on_company(monkeypatch):
    configs = [
        Config(
            loss=loss, activation=activation, distance=distance, hidden=hidden, epochs=20, learning_rate=rate
        )
        for loss, activation in (("bce", "relu"), ("mse", "tanh"), ("bce", "linear"))
        for distance, hidden, rate in ((0, (1,), 1), (4, (1,), 3e38), (4, (2,), 1), (2, (1,), 1))
    ]
    trained = train(configs, SEEDS)
    gain, state = final_scores(trained)
    assert {"diverged", "slow"} < set(state.ravel())
    assert np.isnan(gain[[config.distance == 0 for config in configs]]).all()
    monkeypatch.setattr(final, "MAX_VALUES", 1)
    for i, each in enumerate(trained):
        alone = final_scores([each])
        np.testing.assert_array_equal(alone[0][0], gain[i])
        np.testing.assert_array_equal(alone[1][0], state[i])
