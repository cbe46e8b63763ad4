"""BCE against MSE, each at the learning rate that suits it best."""

from dataclasses import replace

from qwerties import DEFAULT
from qwerties.tuning import Float, Pair, Tuned, Tuning

RATES = Float(1e-3, 10, log=True)
TRIALS = 30  # for either loss, by each sampler

experiment = Tuning(
    title="BCE or MSE, tuned",
    question=(
        "The gradients of the two losses differ in size, so that a rate that suits one need not suit the other: what "
        f"is left of the difference when each has the learning rate that suits it? It is searched from {RATES.low:g} "
        f"to {RATES.high:g}, with the same budget for both, on seeds that the comparison does not use. Does the search "
        "have to be a clever one? Random and evenly spread rates get the same budget."
    ),
    searches={
        loss: Tuned(
            replace(DEFAULT, loss=loss), {"learning_rate": RATES}, TRIALS, baselines=("random", "qmc")
        )
        for loss in ("bce", "mse")
    },
    contrasts=(Pair("bce", "mse", primary=True),),
    order=25,
)

if __name__ == "__main__":
    experiment.main()
