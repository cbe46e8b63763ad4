"""The best of k networks by training loss, against plain enumeration of every choice of k."""

import itertools

import numpy as np
import pandas as pd
import pytest

from qwerties.analysis.retraining import COLUMNS, best_of


def frame_of(n, seed=0):
    rng = np.random.default_rng(seed)
    loss = rng.random(n)
    return pd.DataFrame(
        {
            "seed": np.arange(n),
            "state": np.where(loss < 0.4, "learned", rng.choice(["dead", "slow", "constant"], n)),
            "train_loss": loss,
            "train_accuracy": 1 - loss / 2,
            "population_accuracy": 0.5 + rng.random(n) / 2,
        }
    )


def enumerated(frame, k):
    """The means over all choices of k networks, one by one."""
    kept, any_learned = [], []
    for rows in itertools.combinations(range(len(frame)), k):
        chosen = frame.iloc[list(rows)]
        kept.append(chosen.loc[chosen["train_loss"].idxmin()])
        any_learned.append(bool(chosen["state"].eq("learned").any()))
    kept = pd.DataFrame(kept)
    train, population = kept["train_accuracy"].mean(), kept["population_accuracy"].mean()
    return kept["state"].eq("learned").mean(), np.mean(any_learned), train, population, train - population


@pytest.mark.parametrize("k", [1, 2, 3, 7, 8])
def test_the_best_of_k_is_the_mean_over_every_choice_of_k(k):
    frame = frame_of(8)
    found = best_of(frame, [k])
    np.testing.assert_allclose(found.loc[k, list(COLUMNS)], enumerated(frame, k), rtol=0, atol=1e-12)


def test_the_order_of_the_networks_does_not_matter():
    frame = frame_of(30)
    shuffled = frame.sample(frac=1, random_state=1)
    pd.testing.assert_frame_equal(best_of(frame), best_of(shuffled))


def test_the_best_of_many_is_found_in_a_large_crowd():
    """Of 5,000 networks one learned: it is among 20 with a chance of 20 in 5,000."""
    frame = frame_of(5000).assign(state="slow")
    frame.loc[frame["train_loss"].idxmin(), "state"] = "learned"
    found = best_of(frame, [1, 20])
    assert list(found["learned"]) == pytest.approx([1 / 5000, 20 / 5000])
    assert list(found["any_learned"]) == pytest.approx([1 / 5000, 20 / 5000])


def test_counts_above_the_number_of_networks_are_left_out():
    assert list(best_of(frame_of(4)).index) == [1, 2, 3]
    assert best_of(frame_of(4), [9]).empty


def test_one_network_is_itself():
    frame = frame_of(1)
    found = best_of(frame).loc[1]
    assert found["train_accuracy"] == found["train_accuracy_lo"] == frame["train_accuracy"][0]


def test_a_diverged_network_is_kept_last_and_counts_as_a_guess():
    frame = frame_of(3)
    frame["state"] = ["learned", "learned", "diverged"]
    frame.loc[2, ["train_loss", "train_accuracy", "population_accuracy"]] = np.nan
    found = best_of(frame, [1, 2])
    kept = frame["population_accuracy"][frame["train_loss"].idxmin()]
    other = frame["population_accuracy"][frame["train_loss"].idxmax()]
    assert found.loc[1, "population_accuracy"] == pytest.approx((kept + other + 0.5) / 3)
    assert found.loc[2, "population_accuracy"] == pytest.approx((2 * kept + other) / 3)
    assert found.loc[2, "learned"] == 1


def test_bounds_hold_the_estimate_and_shrink_with_more_networks():
    few, many = (best_of(frame_of(n), [1, 3]) for n in (50, 2000))
    for found in (few, many):
        for name in COLUMNS:
            assert (found[f"{name}_lo"] <= found[name] + 1e-12).all(), name
            assert (found[name] <= found[f"{name}_hi"] + 1e-12).all(), name
    width = [found["learned_hi"] - found["learned_lo"] for found in (few, many)]
    assert (width[1] < width[0] / 3).all()
    pd.testing.assert_frame_equal(few, best_of(frame_of(50), [1, 3]))


def test_the_bounds_of_one_network_are_those_of_a_proportion():
    frame = frame_of(400)
    share = frame["state"].eq("learned").mean()
    half = 1.96 * np.sqrt(share * (1 - share) / 400)
    found = best_of(frame, [1]).loc[1]
    assert found["learned_lo"] == pytest.approx(share - half, abs=0.01)
    assert found["learned_hi"] == pytest.approx(share + half, abs=0.01)
