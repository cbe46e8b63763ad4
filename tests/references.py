"""What a network of a batch must be: the notebook's own loop on that seed."""

import numpy as np

LOSS_TOLERANCE, WEIGHT_TOLERANCE = 1e-5, 1e-4


def assert_equals_reference(trained, i, expected, relative=0.0):
    """Compare network i with a training by `train_reference`; weights may be ten times as far off as losses."""
    np.testing.assert_allclose(trained.losses[i], expected.losses, rtol=relative, atol=LOSS_TOLERANCE)
    state = expected.model.state_dict()
    assert list(trained.final) == list(state)
    for name, value in state.items():
        np.testing.assert_allclose(
            trained.final[name][i], value, rtol=10 * relative, atol=WEIGHT_TOLERANCE, err_msg=name
        )
