"""Maps of XOR: every pixel's networks score as they do in a run."""

import numpy as np
import pytest

from qwerties.config import Config, Seeds
from qwerties.maps.scores import measure
from qwerties.maps.spec import STATES
from qwerties.scoring.score import score
from qwerties.training.trainer import train

SEEDS = Seeds(0, 3)


@pytest.mark.parametrize("hidden", [(1,), (4,)])
def test_networks_on_both_arrangements_are_measured_as_a_run_scores_them(hidden):
    configs = [
        Config(data=data, hidden=hidden, distance=distance, learning_rate=0.1, epochs=150)
        for data in ("xor", "clusters")
        for distance in (2.0, 4.0)
    ]
    trained = train(configs, SEEDS)
    found = measure(trained)
    for i, one in enumerate(trained):
        table = score(one.config, one.seeds, one.losses, one.checkpoints, one.weights).table
        np.testing.assert_allclose(
            found.gain[i], table["gain"], rtol=0, atol=4e-3, err_msg=one.config.label()
        )
        assert [STATES[place] for place in found.state[i]] == table["state"].tolist()
